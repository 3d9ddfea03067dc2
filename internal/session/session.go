// Package session keeps people signed in to a tenant's pages without keeping anything of
// them: a session is sealed into the cookie that the browser sends back (AES-256-GCM),
// so that every replica knows it and a restart forgets none. What replicas share is one
// Secret with the keys, which the manager makes and rotates, and one ConfigMap with the
// sessions that ended before their time. Both are watched. Until both were read, and
// whenever nothing was heard of either for too long, no session opens.
package session

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"time"
)

// CookiePrefix begins the names of all cookies of ours. Browsers take a cookie with the
// prefix __Host- from its own host alone, over a secure connection (RFC 6265bis, section
// 4.1.3), so that no neighbouring tenant's page can plant one.
const CookiePrefix = "__Host-latchkey-"

// CookieName is the name of the cookie that holds a session.
const CookieName = CookiePrefix + "session"

// Kind is how a person signed in.
type Kind string

const (
	// OIDC is by the installation's identity provider.
	OIDC Kind = "oidc"
	// Token is by an ApiToken with the scope settings, which was used up by it.
	Token Kind = "token"
)

// Identity is who signed in.
type Identity struct {
	// User is the name that Kubernetes knows, with the prefix that the installation
	// gives to names of its identity provider.
	User string
	// Groups are those that Kubernetes knows, prefixed too.
	Groups []string
	// Display is what the person is called on pages.
	Display string
	// Kind is how the person signed in.
	Kind Kind
	// AuthenticatedAt is when the person last proved who it is; a session that starts
	// without it takes its start for it.
	AuthenticatedAt time.Time
}

// Session is a person signed in to a tenant's pages.
type Session struct {
	// ID names the session where it is ended and logged. It opens nothing.
	ID string
	// Tenant is the UID of the Tenant whose pages it is for. It opens on no other's, nor on
	// those of a Tenant that got the name later.
	Tenant string
	Identity
	// StartedAt is when the person signed in, SeenAt when the session was sealed last:
	// up to a tenth of the idle time before the last request.
	StartedAt, SeenAt time.Time

	// endsAt is when it ends whatever happens, by the lifetimes of its start.
	endsAt time.Time
}

// A session's errors, for errors.Is. None of them holds anything secret.
var (
	// ErrNone says that there is no session: no cookie, or one that was not sealed for
	// this tenant by a key that still opens anything, whatever is wrong with it.
	ErrNone = errors.New("not signed in")
	// ErrEnded says that there was a session; errors.As with an *EndedError tells why it
	// ended.
	ErrEnded = errors.New("the session has ended")
	// ErrUnavailable says that keys or ended sessions are not known, or were not heard of
	// for too long: nobody can say whether there is a session. It is answered with 503.
	ErrUnavailable = errors.New("sessions can't be checked at the moment")
	// ErrTooLarge says that what is to be sealed has no room in a cookie: the person is in
	// too many groups.
	ErrTooLarge = errors.New("too large for a cookie")
)

// Reason is why a session ended.
type Reason string

const (
	// ReasonIdle is for too long without a request.
	ReasonIdle Reason = "idle"
	// ReasonAbsolute is for its age.
	ReasonAbsolute Reason = "absolute"
	// ReasonSignedOut is by somebody's will: here, elsewhere, everywhere, or because so
	// many sessions were signed out that not all could be remembered.
	ReasonSignedOut Reason = "signed-out"
	// ReasonClock is that it comes from the future: this replica's clock was set back, or
	// another's is wrong.
	ReasonClock Reason = "clock"
)

// EndedError is an ErrEnded with its reason.
type EndedError struct{ Reason Reason }

// Error implements error.
func (e *EndedError) Error() string { return fmt.Sprintf("%v: %s", ErrEnded, e.Reason) }

// Is makes errors.Is(err, ErrEnded) true.
func (e *EndedError) Is(target error) bool { return target == ErrEnded }

// newID returns a session's id, of 128 random bits.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: the program ends instead
	return base64.RawURLEncoding.EncodeToString(b[:])
}
