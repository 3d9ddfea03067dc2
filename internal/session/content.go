package session

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/latchkey-dev/latchkey/internal/session/ended"
)

// content is a session as it is sealed. Its tenant is not in it: a text opens for that
// alone. Times are in milliseconds since 1970.
type content struct {
	ID              string   `json:"i"`
	User            string   `json:"u"`
	Groups          []string `json:"g,omitempty"`
	Display         string   `json:"d,omitempty"`
	Kind            Kind     `json:"k"`
	AuthenticatedAt int64    `json:"a"`
	StartedAt       int64    `json:"s"`
	SeenAt          int64    `json:"n"`
	EndsAt          int64    `json:"e"`
}

func (s *Session) encode() ([]byte, error) {
	encoded, err := json.Marshal(content{
		ID: s.ID, User: s.User, Groups: s.Groups, Display: s.Display, Kind: s.Kind,
		AuthenticatedAt: s.AuthenticatedAt.UnixMilli(), StartedAt: s.StartedAt.UnixMilli(), SeenAt: s.SeenAt.UnixMilli(), EndsAt: s.endsAt.UnixMilli(),
	})
	if err != nil {
		return nil, fmt.Errorf("encode session %s: %w", s.ID, err)
	}
	return encoded, nil
}

func decode(tenant string, encoded []byte) (*Session, error) {
	var c content
	if err := json.Unmarshal(encoded, &c); err != nil {
		return nil, fmt.Errorf("decode session: %w", err)
	}
	id := Identity{User: c.User, Groups: c.Groups, Display: c.Display, Kind: c.Kind, AuthenticatedAt: time.UnixMilli(c.AuthenticatedAt)}
	if c.ID == "" {
		return nil, errors.New("decode session: it has no id")
	}
	if err := id.validate(); err != nil {
		return nil, fmt.Errorf("decode session %s: %w", c.ID, err)
	}
	return &Session{
		ID: c.ID, Tenant: tenant, Identity: id,
		StartedAt: time.UnixMilli(c.StartedAt), SeenAt: time.UnixMilli(c.SeenAt), endsAt: time.UnixMilli(c.EndsAt),
	}, nil
}

func (id Identity) validate() error {
	if id.User == "" || id.Kind != OIDC && id.Kind != Token {
		return fmt.Errorf("nobody is user %q of kind %q", id.User, id.Kind)
	}
	return nil
}

// facts are what of a session decides whether it was ended. A person is one of its kind:
// the name behind a token is what its maker claimed, and must not sign out whom the
// identity provider calls so.
func (s *Session) facts() ended.Session {
	return ended.Session{Tenant: s.Tenant, User: string(s.Kind) + " " + s.User, ID: s.ID, StartedAt: s.StartedAt}
}
