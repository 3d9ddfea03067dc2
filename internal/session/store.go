package session

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"k8s.io/utils/clock"

	"github.com/latchkey-dev/latchkey/internal/attentive"
	"github.com/latchkey-dev/latchkey/internal/session/ended"
	"github.com/latchkey-dev/latchkey/internal/session/keyring"
	"github.com/latchkey-dev/latchkey/internal/wallclock"
)

// DefaultMaxStaleness is for how long sessions open without news of the Kubernetes API.
const DefaultMaxStaleness = 15 * time.Minute

// Config is what an installation says of its sessions.
type Config struct {
	// Namespace is the installation's, where the Secret and the ConfigMap are.
	Namespace string
	// Lifetimes are how long sessions live.
	Lifetimes Lifetimes
	// MaxStaleness is for how long sessions open without news of the Kubernetes API, and
	// so how long one that was signed out on another replica meanwhile may still open
	// here; DefaultMaxStaleness if zero. It is the API server's --max-staleness.
	MaxStaleness time.Duration
	// Silence is how long a watch may say nothing before it is made anew;
	// attentive.DefaultSilence if zero.
	Silence time.Duration
	// Reconnect ends every connection to the API server, so that new ones may lead to
	// another one; nil where that can't be done.
	Reconnect func()
	// Clock tells the time; the system's if nil. Where it is set back, the Store's runs
	// on, so that what ended stays ended. Its Since must not depend on the time of day.
	Clock clock.WithDelayedExecution
	// Logger is where it is said what could not be read or written; nowhere if nil.
	Logger *slog.Logger
}

// Store opens, seals and ends sessions. Its methods may be called from any goroutine.
type Store struct {
	namespace             string
	lifetimes             Lifetimes
	maxStaleness, silence time.Duration
	clock                 *wallclock.Clock
	made                  time.Time
	reconnect             func()
	logger                *slog.Logger

	keys    *view[locks]
	ended   *view[ended.List]
	signOut *signOuts
}

// New returns a Store that knows no key yet, so that nothing opens until it runs.
func New(c Config) (*Store, error) {
	if c.Namespace == "" {
		return nil, errors.New("session.Config: Namespace is required")
	}
	if err := c.Lifetimes.Validate(); err != nil {
		return nil, err
	}
	if c.Clock == nil {
		c.Clock = clock.RealClock{}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.MaxStaleness == 0 {
		c.MaxStaleness = DefaultMaxStaleness
	}
	if c.Silence == 0 {
		c.Silence = attentive.DefaultSilence
	}
	s := &Store{
		namespace: c.Namespace, lifetimes: c.Lifetimes.withDefaults(), maxStaleness: c.MaxStaleness, silence: c.Silence,
		clock: wallclock.New(c.Clock), made: c.Clock.Now(), reconnect: c.Reconnect, logger: c.Logger, signOut: newSignOuts(),
	}
	now := func() time.Duration { return s.clock.Since(s.made) }
	s.keys = newView[locks]("Secret "+c.Namespace+"/"+keyring.SecretName, now)
	s.ended = newView[ended.List]("ConfigMap "+c.Namespace+"/"+ended.ConfigMapName, now)
	return s, nil
}

// Lifetimes are those that the Store goes by.
func (s *Store) Lifetimes() Lifetimes { return s.lifetimes }

// Ready returns an error, an ErrUnavailable that says what is wrong, while no session
// opens.
func (s *Store) Ready() error {
	_, _, err := s.read()
	return err
}

// read returns what is known, if all that is needed is.
func (s *Store) read() (*locks, *ended.List, error) {
	l, err := s.keys.read(s.maxStaleness)
	if err != nil {
		return nil, nil, err
	}
	list, err := s.ended.read(s.maxStaleness)
	return l, list, err
}

// Start starts a session for a person who has just signed in, and sets its cookie. The
// tenant is a Tenant's UID, here and below. The session has a new id: one that the person had before is to be ended by End. It fails
// with ErrTooLarge or ErrUnavailable.
func (s *Store) Start(w http.ResponseWriter, tenant string, id Identity) (*Session, error) {
	if err := id.validate(); err != nil {
		return nil, fmt.Errorf("start a session with %s: %w", tenant, err)
	}
	l, list, err := s.read()
	if err != nil {
		return nil, err
	}
	now := s.clock.Now()
	started := &Session{ID: newID(), Tenant: tenant, Identity: id, SeenAt: now, endsAt: now.Add(s.lifetimes.absolute(id.Kind))}
	for _, cuts := range []*ended.List{list, s.signOut.here()} {
		at, ok := cuts.StartsAt(started.facts(), now)
		if !ok {
			return nil, fmt.Errorf("%w: a clock that was ahead of this one ended sessions until %s; the manager mends it", ErrUnavailable, at.UTC().Format(time.RFC3339))
		}
		if at.After(started.StartedAt) {
			started.StartedAt = at
		}
	}
	if started.AuthenticatedAt.IsZero() || started.AuthenticatedAt.After(now) {
		started.AuthenticatedAt = now // an identity provider's clock may be ahead
	}
	if err := s.set(w, l, started, now); err != nil {
		return nil, err
	}
	return started, nil
}

// Of returns the session that a request to a tenant's host belongs to. It fails with
// ErrNone, ErrEnded (an *EndedError) or ErrUnavailable.
func (s *Store) Of(r *http.Request, tenant string) (*Session, error) {
	text, ok := onlyCookie(r.Header, CookieName)
	if !ok {
		return nil, ErrNone
	}
	l, list, err := s.read()
	if err != nil {
		return nil, err
	}
	now := s.clock.Now()
	content, _, err := l.open(binding{purposeSession, tenant}, text, now, s.lifetimes.Absolute)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNone, err)
	}
	session, err := decode(tenant, content)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNone, err)
	}
	if err := s.check(session, list, now); err != nil {
		return nil, err
	}
	return session, nil
}

// check says whether a session goes on.
func (s *Store) check(session *Session, list *ended.List, now time.Time) error {
	endsAt := session.StartedAt.Add(s.lifetimes.absolute(session.Kind))
	if session.endsAt.Before(endsAt) {
		endsAt = session.endsAt // a flag that was raised since changes nothing
	}
	facts := session.facts()
	switch {
	case list.Has(facts) || s.signOut.here().Has(facts):
		return &EndedError{ReasonSignedOut}
	case session.SeenAt.After(now.Add(keyring.MaxSkew)):
		return &EndedError{ReasonClock}
	case !now.Before(endsAt):
		return &EndedError{ReasonAbsolute}
	case !now.Before(session.SeenAt.Add(s.lifetimes.Idle)):
		return &EndedError{ReasonIdle}
	}
	return nil
}

// renewals is how often an idle time's cookie is set anew.
const renewals = 10

// Renew notes that a session was used: its cookie is set anew once a tenth of the idle
// time has passed since that was done last. It fails with ErrEnded or ErrUnavailable.
func (s *Store) Renew(w http.ResponseWriter, session *Session) error {
	l, list, err := s.read()
	if err != nil {
		return err
	}
	now := s.clock.Now()
	if err := s.check(session, list, now); err != nil {
		return err
	}
	if now.Sub(session.SeenAt) < s.lifetimes.Idle/renewals {
		return nil
	}
	session.SeenAt = now
	return s.set(w, l, session, now)
}

// set seals a session into its cookie.
func (s *Store) set(w http.ResponseWriter, l *locks, session *Session, now time.Time) error {
	content, err := session.encode()
	if err != nil {
		return err
	}
	text, err := l.seal(binding{purposeSession, session.Tenant}, content, true, session.endsAt, now)
	if err != nil {
		return err
	}
	setSessionCookie(w, text)
	return nil
}

// IsRecent says whether the person signed in so recently that a token may be shown.
func (s *Store) IsRecent(session *Session) bool {
	age := s.clock.Now().Sub(session.AuthenticatedAt)
	return age < s.lifetimes.Recent && age >= -keyring.MaxSkew
}

// Seal seals what v is as JSON, to be opened by any replica for the same purpose and
// tenant before an instant, at most the absolute lifetime of sessions away. It fails with
// ErrTooLarge over 4000 bytes, or ErrUnavailable.
func (s *Store) Seal(purpose, tenant string, v any, until time.Time) (string, error) {
	l, err := s.keys.read(s.maxStaleness)
	if err != nil {
		return "", err
	}
	now := s.clock.Now()
	if life := until.Sub(now); life <= 0 || life > s.lifetimes.Absolute {
		return "", fmt.Errorf("seal for %s until %s: must be within %s from now, as long as keys are kept", purpose, until.UTC().Format(time.RFC3339), s.lifetimes.Absolute)
	}
	content, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("seal for %s: %w", purpose, err)
	}
	return l.seal(binding{purposePrefix + purpose, tenant}, content, false, until, now)
}

// Open opens what Seal sealed for the purpose and tenant, into v. It fails with ErrNone
// for anything else, ErrEnded past its time, or ErrUnavailable.
func (s *Store) Open(purpose, tenant, text string, v any) error {
	l, err := s.keys.read(s.maxStaleness)
	if err != nil {
		return err
	}
	now := s.clock.Now()
	content, until, err := l.open(binding{purposePrefix + purpose, tenant}, text, now, s.lifetimes.Absolute)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNone, err)
	}
	if !now.Before(until) {
		return &EndedError{ReasonAbsolute}
	}
	if err := json.Unmarshal(content, v); err != nil {
		return fmt.Errorf("%w: sealed content: %w", ErrNone, err)
	}
	return nil
}
