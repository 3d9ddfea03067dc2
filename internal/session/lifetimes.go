package session

import (
	"flag"
	"fmt"
	"time"

	"github.com/latchkey-dev/latchkey/internal/session/keyring"
)

// The lifetimes of sessions unless flags say otherwise.
const (
	DefaultIdle     = 30 * time.Minute
	DefaultAbsolute = 12 * time.Hour
	DefaultRecent   = 15 * time.Minute
	// TokenAbsolute is the age at which a session of the Kind Token ends: nobody signs
	// in with a password behind it, and the right to start it may since have gone.
	TokenAbsolute = time.Hour
	// MinLifetime is the shortest that a flag may set; shorter ones would end a session
	// while a form is filled in.
	MinLifetime = time.Minute
	// MaxAbsolute is the longest that a session may get, and so how long keys and ended
	// sessions are remembered. NIST SP 800-63B-4, section 2.2.3, has people sign in anew
	// at least once a day.
	MaxAbsolute = keyring.Retention
)

// Lifetimes are how long sessions live. Zero values mean the defaults.
//
//nolint:recvcheck // flags are written into it; all else takes a value
type Lifetimes struct {
	// Idle is how long a session lives without a request.
	Idle time.Duration
	// Absolute is the age at which it ends however much it is used.
	Absolute time.Duration
	// Recent is how long after a sign-in a person may have a token shown.
	Recent time.Duration
}

// AddFlags adds the flags that set them.
func (l *Lifetimes) AddFlags(flags *flag.FlagSet) {
	flags.DurationVar(&l.Idle, "session-idle", DefaultIdle, "how long somebody stays signed in to Settings without a request")
	flags.DurationVar(&l.Absolute, "session-absolute", DefaultAbsolute, fmt.Sprintf("how long somebody stays signed in at most, however active; at most %s, and %s without an identity provider", MaxAbsolute, TokenAbsolute))
	flags.DurationVar(&l.Recent, "session-recent", DefaultRecent, "how long after a sign-in tokens can be created, rotated and issued; later a new sign-in is asked for")
}

func (l Lifetimes) withDefaults() Lifetimes {
	for _, d := range []struct {
		value   *time.Duration
		instead time.Duration
	}{{&l.Idle, DefaultIdle}, {&l.Absolute, DefaultAbsolute}, {&l.Recent, DefaultRecent}} {
		if *d.value == 0 {
			*d.value = d.instead
		}
	}
	return l
}

// Validate says which flag is wrong, and how.
func (l Lifetimes) Validate() error {
	l = l.withDefaults()
	switch {
	case l.Absolute < MinLifetime || l.Absolute > MaxAbsolute:
		return fmt.Errorf("--session-absolute=%s: must be from %s to %s", l.Absolute, MinLifetime, MaxAbsolute)
	case l.Idle < MinLifetime || l.Idle > l.Absolute:
		return fmt.Errorf("--session-idle=%s: must be from %s to --session-absolute=%s", l.Idle, MinLifetime, l.Absolute)
	case l.Recent < MinLifetime || l.Recent > l.Absolute:
		return fmt.Errorf("--session-recent=%s: must be from %s to --session-absolute=%s", l.Recent, MinLifetime, l.Absolute)
	}
	return nil
}

// absolute is the age at which a session of a kind ends.
func (l Lifetimes) absolute(kind Kind) time.Duration {
	if kind == OIDC {
		return l.Absolute
	}
	return min(l.Absolute, TokenAbsolute)
}
