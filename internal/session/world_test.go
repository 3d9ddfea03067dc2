package session_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/latchkey-dev/latchkey/internal/session"
	"github.com/latchkey-dev/latchkey/internal/testing/check"
	"github.com/latchkey-dev/latchkey/internal/testing/sessiontest"
)

var start = time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)

// system is a clock whose time of day can be set while its monotonic time runs on.
type system struct {
	*clocktesting.FakeClock

	set atomic.Int64
}

func newSystem() *system { return &system{FakeClock: clocktesting.NewFakeClock(start)} }

func (s *system) Now() time.Time { return s.FakeClock.Now().Add(time.Duration(s.set.Load())) }

// world is an installation whose replicas log to one place.
type world struct {
	*testing.T

	clock  *system
	shared *sessiontest.Shared
	logs   *buffer
}

func newWorld(t *testing.T) *world {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
	return &world{T: t, clock: newSystem(), shared: sessiontest.NewShared(start), logs: &buffer{}}
}

func (w *world) replica(l session.Lifetimes) *session.Store {
	w.Helper()
	return w.shared.Store(w, session.Config{Lifetimes: l, Clock: w.clock, Logger: slog.New(slog.NewTextHandler(w.logs, nil))})
}

func (w *world) must(err error) {
	w.Helper()
	check.Must(w, err)
}

// buffer is what was logged.
type buffer struct {
	mu      sync.Mutex
	content bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.content.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.content.String()
}

// browser keeps the session's cookie.
type browser struct{ value string }

// take takes what an answer sets.
func (b *browser) take(w *httptest.ResponseRecorder) {
	for _, c := range w.Result().Cookies() { // the body is empty
		if c.Name == session.CookieName {
			b.value = c.Value
		}
	}
}

func (b *browser) request() *http.Request {
	r := httptest.NewRequest(http.MethodGet, "https://acme.example.com/settings", http.NoBody)
	if b.value != "" {
		r.Header.Set("Cookie", session.CookieName+"="+b.value)
	}
	return r
}

var ann = session.Identity{User: "oidc:ann@example.com", Groups: []string{"oidc:admins", "oidc:ops"}, Display: "Ann", Kind: session.OIDC}

// signIn starts a session for acme.
func (w *world) signIn(at *session.Store, id session.Identity) (*browser, *session.Session) {
	w.Helper()
	answer, b := httptest.NewRecorder(), &browser{}
	started, err := at.Start(answer, "acme", id)
	w.must(err)
	b.take(answer)
	return b, started
}

// wantOpen reads the session of a browser with acme.
func (w *world) wantOpen(at *session.Store, b *browser) *session.Session {
	w.Helper()
	found, err := at.Of(b.request(), "acme")
	w.must(err)
	return found
}

// wantEnded wants a session to have ended for a reason.
func (w *world) wantEnded(at *session.Store, b *browser, reason session.Reason) {
	w.Helper()
	found, err := at.Of(b.request(), "acme")
	var because *session.EndedError
	if !errors.Is(err, session.ErrEnded) || !errors.As(err, &because) || because.Reason != reason || found != nil {
		w.Errorf("got %v, %v; want it ended: %s", found, err, reason)
	}
}

// wantRefused wants one of the other errors.
func (w *world) wantRefused(at *session.Store, r *http.Request, tenant string, want error) {
	w.Helper()
	if found, err := at.Of(r, tenant); !errors.Is(err, want) || found != nil {
		w.Errorf("got %v, %v; want %v", found, err, want)
	}
}

// groups are that many, of names that have nothing in common.
func groups(n int) []string {
	all := make([]string, n)
	for i := range all {
		sum := sha256.Sum256([]byte{byte(i), byte(i >> 8)})
		all[i] = "oidc:" + hex.EncodeToString(sum[:16])
	}
	return all
}
