package session_test

import (
	"errors"
	"flag"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-dev/latchkey/internal/session"
	"github.com/latchkey-dev/latchkey/internal/session/keyring"
	"github.com/latchkey-dev/latchkey/internal/testing/sessiontest"
)

type flow struct{ State, Return string }

func TestSeal(t *testing.T) {
	w := newWorld(t)
	one, other := w.replica(session.Lifetimes{}), w.replica(session.Lifetimes{})
	want := flow{"abc", "/settings/tokens/new"}
	text, err := one.Seal("flow", "acme", want, start.Add(10*time.Minute))
	w.must(err)
	if strings.Contains(text, "abc") {
		t.Error("it can be read")
	}
	b, _ := w.signIn(one, ann)
	for name, c := range map[string]struct {
		purpose, tenant, text string
		after                 time.Duration
		want                  error
	}{
		"the same":            {"flow", "acme", text, 10*time.Minute - 1, nil},
		"past its time":       {"flow", "acme", text, 10 * time.Minute, session.ErrEnded},
		"another purpose":     {"flows", "acme", text, 0, session.ErrNone},
		"no purpose":          {"", "acme", text, 0, session.ErrNone},
		"another tenant":      {"flow", "globex", text, 0, session.ErrNone},
		"the border moved":    {"flow\x00acme", "", text, 0, session.ErrNone},
		"changed":             {"flow", "acme", text[:len(text)-1], 0, session.ErrNone},
		"nothing":             {"flow", "acme", "", 0, session.ErrNone},
		"a session":           {"session", "acme", b.value, 0, session.ErrNone},
		"by its key, garbage": {"flow", "acme", b.value[:21] + strings.Repeat("A", 64), 0, session.ErrNone},
	} {
		t.Run(name, func(t *testing.T) {
			w.clock.SetTime(start.Add(c.after))
			defer w.clock.SetTime(start)
			fresh := w.replica(session.Lifetimes{})
			var got flow
			if err := fresh.Open(c.purpose, c.tenant, c.text, &got); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if c.want == nil && got != want || c.want != nil && got != (flow{}) {
				t.Errorf("got %+v", got)
			}
		})
	}
	var number int
	if err := other.Open("flow", "acme", text, &number); !errors.Is(err, session.ErrNone) {
		t.Errorf("into another type: %v", err)
	}
}

func TestSealRefuses(t *testing.T) {
	w := newWorld(t)
	store := w.replica(session.Lifetimes{})
	for name, c := range map[string]struct {
		purpose, tenant string
		value           any
		until           time.Duration
		want            error
	}{
		"what lives longer than keys":     {"flow", "acme", 1, 12*time.Hour + 1, nil},
		"what is over":                    {"flow", "acme", 1, 0, nil},
		"what is no JSON":                 {"flow", "acme", func() {}, time.Minute, nil},
		"a purpose with the separator":    {"fl\x00ow", "acme", 1, time.Minute, nil},
		"a tenant with the separator":     {"flow", "ac\x00me", 1, time.Minute, nil},
		"too much":                        {"flow", "acme", strings.Repeat("x", 4000), time.Minute, session.ErrTooLarge},
		"what would be small if deflated": {"flow", "acme", strings.Repeat("x", 3000), time.Minute, session.ErrTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			text, err := store.Seal(c.purpose, c.tenant, c.value, start.Add(c.until))
			if err == nil || text != "" || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("got %q, %v", text, err)
			}
		})
	}
}

func TestFlags(t *testing.T) {
	var l session.Lifetimes
	flags := flag.NewFlagSet("apiserver", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	l.AddFlags(flags)
	if err := flags.Parse([]string{"--session-recent=5m", "--session-absolute=8h"}); err != nil {
		t.Fatal(err)
	}
	if want := (session.Lifetimes{Idle: 30 * time.Minute, Absolute: 8 * time.Hour, Recent: 5 * time.Minute}); !cmp.Equal(l, want) || l.Validate() != nil {
		t.Errorf("got %+v, %v", l, l.Validate())
	}
}

// Nothing opens but what was sealed.
func FuzzOpen(f *testing.F) {
	shared := sessiontest.NewShared(start)
	// The same in every process, so that what was found opens again.
	if err := shared.SetKeys(keyring.Of(keyring.Key{ID: "0123456789abcdef", MadeAt: start})); err != nil {
		f.Fatal(err)
	}
	store := shared.Store(f, session.Config{Clock: newSystem()})
	want := flow{"abc", "/settings"}
	sealed, err := store.Seal("flow", "acme", want, start.Add(time.Minute))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Add(sealed[:len(sealed)-2])
	f.Add("v1.0123456789abcdef.")
	f.Add("v1.0123456789abcdef." + strings.Repeat("A", 60))
	f.Fuzz(func(t *testing.T, text string) {
		var got flow
		err := store.Open("flow", "acme", text, &got)
		if err == nil && got != want || err != nil && (!errors.Is(err, session.ErrNone) || got != (flow{})) {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
		r := (&browser{}).request()
		r.Header["Cookie"] = []string{session.CookieName + "=" + text}
		if found, err := store.Of(r, "acme"); !errors.Is(err, session.ErrNone) {
			t.Errorf("%q is the session %+v, %v", text, found, err)
		}
	})
}
