package signin_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/latchkey-dev/latchkey/internal/session"
	"github.com/latchkey-dev/latchkey/internal/signin"
	"github.com/latchkey-dev/latchkey/internal/testing/check"
	"github.com/latchkey-dev/latchkey/internal/testing/signintest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	callback = "https://acme.example.com/settings/callback"
	secret   = `s3cret :/+%"` // has what forms and headers have to escape
)

// noon is when tests begin, by everybody's clock.
var noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

// world is a provider and who signs in at it.
type world struct {
	t        testing.TB
	clock    *clocktesting.FakePassiveClock
	idp      *signintest.Provider
	provider *signin.Provider
	browser  *signintest.Browser
	logs     *buffer
}

func users() []signintest.User {
	return []signintest.User{{
		Name: "u-1", FullName: "Ada Lovelace", Email: "ada@example.com", EmailVerified: true, Groups: []string{"acme-admins", "staff"},
	}}
}

// newWorld starts both. mutate changes how people sign in.
func newWorld(t testing.TB, options signintest.Options, mutate ...func(*signin.Config)) *world {
	t.Helper()
	w := &world{t: t, clock: clocktesting.NewFakePassiveClock(noon), logs: &buffer{}}
	options.Clock = w.clock
	if options.Users == nil {
		options.Users = users()
	}
	w.idp = signintest.Start(t, options)
	config := w.idp.Config(t)
	for _, m := range mutate {
		m(&config)
	}
	w.provider = newProvider(t, config, w.logs)
	w.browser = w.idp.NewBrowser()
	return w
}

// in is the same world for a test within the one that it was made for.
func (w *world) in(t testing.TB) *world {
	inner := *w
	inner.t = t
	return &inner
}

func newProvider(t testing.TB, config signin.Config, logs *buffer) *signin.Provider {
	t.Helper()
	provider, err := signin.New(config, slog.New(slog.NewJSONHandler(logs, nil)))
	must(t, err)
	return provider
}

func (w *world) begin(again bool) (string, signin.Flow) {
	w.t.Helper()
	location, flow, err := w.provider.Begin(w.t.Context(), callback, again)
	must(w.t, err)
	return location, flow
}

// visit has the browser sign in, and returns the query that it comes back with.
func (w *world) visit(location string) url.Values {
	w.t.Helper()
	back, err := w.browser.SignIn(w.t.Context(), location, "u-1")
	must(w.t, err)
	return back.Query()
}

func (w *world) finish(flow signin.Flow, query url.Values) (session.Identity, error) {
	w.t.Helper()
	identity, err := w.provider.Finish(w.t.Context(), flow, query)
	w.wantNoSecrets(err, flow, query)
	return identity, err
}

func (w *world) signIn(again bool) (session.Identity, error) {
	w.t.Helper()
	location, flow := w.begin(again)
	return w.finish(flow, w.visit(location))
}

// wantNoSecrets wants nothing in an error or the log that opens anything.
func (w *world) wantNoSecrets(err error, flow signin.Flow, query url.Values) {
	w.t.Helper()
	text := w.logs.String()
	if err != nil {
		text += err.Error()
	}
	for _, secret := range append([]string{flow.State, flow.Nonce, flow.Verifier, secret}, query["code"]...) {
		if len(secret) > 3 && strings.Contains(text, secret) {
			w.t.Errorf("a secret is told: %s", text)
		}
	}
}

// wantError wants an error of one of signin's kinds that says something.
func wantError(t testing.TB, err, kind error, says string) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Fatalf("got %v, want %v", err, kind)
	}
	for _, other := range []error{signin.ErrUnavailable, signin.ErrRefused, signin.ErrDenied} {
		if errors.Is(err, other) && !errors.Is(kind, other) {
			t.Errorf("%v is %v as well", err, other)
		}
	}
	if !strings.Contains(err.Error(), says) {
		t.Errorf("got %q, want it to say %q", err, says)
	}
}

var must = check.Must

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "out of order", code) }
}

func document(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(text))
	}
}

func writeFile(t testing.TB, name, content string) {
	t.Helper()
	must(t, os.WriteFile(name, []byte(content), 0o600))
}

// impatient is a context that has ended.
func impatient(t testing.TB) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

// buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
