package server_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/testing/directorytest"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

// streaming is a backend that sends what the test tells it to, and reports when
// its request ends.
type streaming struct {
	target  string
	send    chan string
	entered chan struct{}
	ended   chan struct{}
}

func newStreaming() *streaming {
	return &streaming{target: endpoint, send: make(chan string), entered: make(chan struct{}, 8), ended: make(chan struct{}, 8)}
}

func (s *streaming) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() { s.ended <- struct{}{} }()
	s.entered <- struct{}{}
	for {
		select {
		case text := <-s.send:
			_, _ = io.WriteString(w, text)
			_ = http.NewResponseController(w).Flush()
		case <-r.Context().Done():
			return
		}
	}
}

func await(t *testing.T, what string, happened <-chan struct{}) {
	t.Helper()
	select {
	case <-happened:
	case <-time.After(30 * time.Second):
		t.Fatalf("%s did not happen", what)
	}
}

// stream is an answer under way.
type stream struct {
	t       *testing.T
	backend *streaming
	body    io.ReadCloser
}

// openStream starts an answer and receives the first piece of it.
func (h *harness) openStream(backend *streaming, plaintext string) *stream {
	h.t.Helper()
	go func() { backend.send <- "first" }()
	s := &stream{h.t, backend, h.open(h.request(http.MethodGet, backend.target, plaintext)).Body}
	await(h.t, "the request's arrival at the backend", backend.entered)
	s.wantReceive("first")
	return s
}

func (s *stream) wantReceive(want string) {
	s.t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(s.body, got); err != nil || string(got) != want {
		s.t.Fatalf("received %q, %v, want %q", got, err, want)
	}
}

// wantOpen wants another piece to pass.
func (s *stream) wantOpen() {
	s.t.Helper()
	select {
	case s.backend.send <- "more":
		s.wantReceive("more")
	case <-s.backend.ended:
		s.t.Fatal("the stream has ended")
	}
}

// wantCut wants the client to see that the answer is not whole, and the backend to
// be told.
func (s *stream) wantCut() {
	s.t.Helper()
	rest, err := io.ReadAll(s.body)
	if err == nil {
		s.t.Errorf("the answer seems whole after %q", rest)
	}
	await(s.t, "the end of the backend's request", s.backend.ended)
}

// Each piece is received before the next one is sent.
func TestStreamsPassEventByEvent(t *testing.T) {
	backend := newStreaming()
	h := newHarness(t, func(s *setup) { s.backend = backend })
	s := h.openStream(backend, h.issue("acme").Token.Reveal())
	for range 5 {
		s.wantOpen()
	}
}

func TestServerSentEventsArriveWhole(t *testing.T) {
	h := newHarness(t)
	a := h.get("/api/v1/events?interval=10ms&count=3", h.issue("acme").Token.Reveal())
	a.wantStatus(t, http.StatusOK)
	if n := strings.Count(a.body, "event: orders\n"); n != 3 || a.Header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("%d events: %s", n, a.body)
	}
}

// A lease must not outlive its token (Vault CVE-2020-25816): a stream ends at the
// instant of the expiry, and not a millisecond before.
func TestCVE2020_25816StreamEndsWithTheToken(t *testing.T) {
	backend := newStreaming()
	h := newHarness(t, func(s *setup) { s.backend = backend })
	s := h.openStream(backend, h.issue("acme").Token.Reveal())
	h.clock.SetTime(expiry.Add(-time.Millisecond))
	s.wantOpen()
	h.clock.SetTime(expiry)
	s.wantCut()
}

func TestStreamEndsWhen(t *testing.T) {
	suspend := func(suspended bool) *v1alpha1.Tenant {
		tenant := directorytest.Tenant("acme")
		tenant.Spec.Suspended = suspended
		return tenant
	}
	for name, c := range map[string]struct {
		harmless, end func(h *harness, i *directorytest.Issued) error
		outcome       string
	}{
		"the token is revoked": {
			func(h *harness, i *directorytest.Issued) error { return h.stores.ApiTokens.Update(i.ApiToken) },
			func(h *harness, i *directorytest.Issued) error {
				i.ApiToken.Spec.Revoked = true
				return h.stores.ApiTokens.Update(i.ApiToken)
			}, "token-revoked",
		},
		"the ApiToken is deleted": {
			func(h *harness, i *directorytest.Issued) error {
				return h.stores.ApiTokens.Replace([]any{i.ApiToken}, "2")
			},
			func(h *harness, i *directorytest.Issued) error { return h.stores.ApiTokens.Delete(i.ApiToken) }, "token-invalid",
		},
		"the ApiToken is missing in a relist": {
			func(h *harness, i *directorytest.Issued) error {
				return h.stores.Records.Replace([]any{i.Secret()}, "2")
			},
			func(h *harness, _ *directorytest.Issued) error { return h.stores.ApiTokens.Replace(nil, "2") }, "token-invalid",
		},
		"the record is deleted": {
			func(h *harness, i *directorytest.Issued) error { return h.stores.Records.Update(i.Secret()) },
			func(h *harness, i *directorytest.Issued) error { return h.stores.Records.Delete(i.Secret()) }, "token-invalid",
		},
		"the tenant is suspended": {
			func(h *harness, _ *directorytest.Issued) error { return h.stores.Tenants.Update(suspend(false)) },
			func(h *harness, _ *directorytest.Issued) error { return h.stores.Tenants.Update(suspend(true)) }, "tenant-suspended",
		},
		"the tenant is deleted": {
			func(h *harness, _ *directorytest.Issued) error {
				return h.stores.Tenants.Delete(directorytest.Tenant("globex"))
			},
			func(h *harness, _ *directorytest.Issued) error { return h.stores.Tenants.Delete(suspend(false)) }, "unknown-host",
		},
		"the expiry is brought forward to the past": {
			func(h *harness, i *directorytest.Issued) error { return h.stores.Records.Update(i.Secret()) },
			func(h *harness, i *directorytest.Issued) error {
				i.ApiToken.Spec.ExpiresAt = new(metaTime(start))
				return h.stores.ApiTokens.Update(i.ApiToken)
			}, "token-expired",
		},
	} {
		t.Run(name, func(t *testing.T) {
			backend := newStreaming()
			h := newHarness(t, func(s *setup) { s.backend = backend })
			i := h.issue("acme")
			s := h.openStream(backend, i.Token.Reveal())
			directorytest.Must(t, c.harmless(h, i))
			s.wantOpen()
			directorytest.Must(t, c.end(h, i))
			s.wantCut()
			h.wantOutcome(c.outcome)
		})
	}
}

// wantOutcome waits for the line of the access log with the outcome.
func (h *harness) wantOutcome(outcome string) {
	h.t.Helper()
	testenv.Eventually(h.t, func() error {
		for _, line := range h.logs.lines("request") {
			if line["outcome"] == outcome {
				return nil
			}
		}
		return errors.New("no request with the outcome " + outcome + " is in the log:\n" + h.logs.String())
	})
}

func TestOtherTokensStreamsGoOn(t *testing.T) {
	backend, otherBackend := newStreaming(), newStreaming()
	otherBackend.target = "/api/v1/other"
	mux := http.NewServeMux()
	mux.Handle(backend.target, backend)
	mux.Handle(otherBackend.target, otherBackend)
	h := newHarness(t, withBackend(mux.ServeHTTP))
	doomed, other := h.issue("acme"), h.issue("acme")
	a, b := h.openStream(backend, doomed.Token.Reveal()), h.openStream(otherBackend, other.Token.Reveal())
	doomed.UpdateApiToken(t, h.stores, func(a *v1alpha1.ApiToken) { a.Spec.Revoked = true })
	a.wantCut()
	b.wantOpen()
}

func TestExpiryIsBroughtForwardWhileAStreamIsUnderWay(t *testing.T) {
	backend := newStreaming()
	h := newHarness(t, func(s *setup) { s.backend = backend })
	i := h.issue("acme")
	s := h.openStream(backend, i.Token.Reveal())
	earlier := start.Add(time.Minute)
	i.UpdateApiToken(t, h.stores, func(a *v1alpha1.ApiToken) { a.Spec.ExpiresAt = new(metaTime(earlier)) })
	h.clock.SetTime(earlier.Add(-time.Millisecond))
	s.wantOpen()
	h.clock.SetTime(earlier)
	s.wantCut()
	h.wantOutcome("token-expired")
}

// A request that still waits for its answer is told why it gets none.
func TestWaitingRequestIsToldWhyItEnded(t *testing.T) {
	for name, c := range map[string]struct {
		end    func(h *harness, i *directorytest.Issued)
		status int
		code   string
	}{
		"expired": {func(h *harness, _ *directorytest.Issued) { h.clock.SetTime(expiry) }, 401, "token-expired"},
		"revoked": {func(h *harness, i *directorytest.Issued) {
			i.UpdateApiToken(t, h.stores, func(a *v1alpha1.ApiToken) { a.Spec.Revoked = true })
		}, 401, "token-revoked"},
		"deleted": {func(h *harness, i *directorytest.Issued) {
			directorytest.Must(t, h.stores.ApiTokens.Delete(i.ApiToken))
		}, 401, "token-invalid"},
		"suspended": {func(h *harness, _ *directorytest.Issued) {
			tenant := directorytest.Tenant("acme")
			tenant.Spec.Suspended = true
			directorytest.Must(t, h.stores.Tenants.Update(tenant))
		}, 403, "tenant-suspended"},
		"tenant deleted": {func(h *harness, _ *directorytest.Issued) {
			directorytest.Must(t, h.stores.Tenants.Delete(directorytest.Tenant("acme")))
		}, 404, "unknown-host"},
	} {
		t.Run(name, func(t *testing.T) {
			backend := newStreaming()
			h := newHarness(t, func(s *setup) { s.backend = backend })
			i := h.issue("acme")
			go func() {
				<-backend.entered
				c.end(h, i)
			}()
			a := h.get(endpoint, i.Token.Reveal())
			a.wantProblem(t, c.status, c.code)
			if got := a.Header.Get("Latchkey-Token-Expires"); got != "" {
				t.Errorf("a refusal carries an expiry: %s", got)
			}
			await(t, "the end of the backend's request", backend.ended)
		})
	}
}

// What happens between the look-up and the moment at which the request is known to
// be under way, nobody would tell it.
func TestChangesWhileARequestIsAdmittedAreNotMissed(t *testing.T) {
	for name, change := range map[string]func(a *v1alpha1.ApiToken){
		"revoked":         func(a *v1alpha1.ApiToken) { a.Spec.Revoked = true },
		"brought forward": func(a *v1alpha1.ApiToken) { a.Spec.ExpiresAt = new(metaTime(start.Add(time.Minute))) },
	} {
		t.Run(name, func(t *testing.T) {
			backend := newStreaming()
			h := newHarness(t, func(s *setup) { s.backend = backend })
			i := h.issue("acme")
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, endpoint, nil)
			r.Host = acmeHost
			r.Header.Set("Authorization", "token "+i.Token.Reveal())
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			hooked := &hookedContext{Context: ctx, hook: func() { i.UpdateApiToken(t, h.stores, change) }}
			w := &discard{header: http.Header{}}
			served := make(chan struct{})
			go func() {
				defer close(served)
				defer func() { _ = recover() }() // http.ErrAbortHandler, where the answer had begun
				h.handler.ServeHTTP(w, r.WithContext(hooked))
			}()
			if name == "brought forward" {
				await(t, "the request's arrival at the backend", backend.entered)
				h.clock.SetTime(start.Add(time.Minute))
			}
			await(t, "the end of the request", served)
			if w.status != http.StatusUnauthorized {
				t.Errorf("status %d, want 401", w.status)
			}
		})
	}
}

// A Tenant that is suspended between its look-up and that of the token.
func TestTenantSuspendedWhileARequestIsAdmitted(t *testing.T) {
	h := newHarness(t, withAPI(func(a *v1alpha1.PublicApiSpec) { a.CORS = &v1alpha1.CORS{AllowedOrigins: []string{"*"}} }))
	i := h.issue("acme")
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, endpoint, nil)
	r.Host = acmeHost
	r.Header.Set("Origin", "https://app.example.org")
	r.Header.Set("Authorization", "token "+i.Token.Reveal())
	w := &discard{header: http.Header{}, hook: func() { // CORS comes before the token
		suspended := directorytest.Tenant("acme")
		suspended.Spec.Suspended = true
		directorytest.Must(t, h.stores.Tenants.Update(suspended))
	}}
	h.handler.ServeHTTP(w, r)
	if w.status != http.StatusForbidden {
		t.Errorf("status %d, want 403", w.status)
	}
}

// hookedContext calls the hook when somebody first derives a context from it.
type hookedContext struct {
	context.Context
	hook func()
}

func (c *hookedContext) Done() <-chan struct{} {
	if hook := c.hook; hook != nil {
		c.hook = nil
		hook()
	}
	return c.Context.Done()
}

type discard struct {
	header http.Header
	status int
	// hook is called once, when the headers are first asked for.
	hook func()
}

func (w *discard) Header() http.Header {
	if hook := w.hook; hook != nil {
		w.hook = nil
		hook()
	}
	return w.header
}

func (w *discard) Write(b []byte) (int, error) { return len(b), nil }
func (w *discard) WriteHeader(status int)      { w.status = status }

func TestRequestsInFlightAreCounted(t *testing.T) {
	backend := newStreaming()
	h := newHarness(t, func(s *setup) { s.backend = backend })
	s := h.openStream(backend, h.issue("acme").Token.Reveal())
	if text := h.metrics(); !strings.Contains(text, "latchkey_http_requests_in_flight 1\n") {
		t.Errorf("the metrics are\n%s", text)
	}
	directorytest.Must(t, s.body.Close())
	await(t, "the end of the backend's request", backend.ended)
	testenv.Eventually(t, func() error {
		if text := h.metrics(); !strings.Contains(text, "latchkey_http_requests_in_flight 0\n") {
			return errors.New(text)
		}
		if h.clock.HasWaiters() {
			return errors.New("the timer of a request that is over is still set")
		}
		return nil
	})
}
