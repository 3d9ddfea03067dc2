package selfservice_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"k8s.io/utils/clock"

	"github.com/latchkey-dev/latchkey/internal/directory"
	"github.com/latchkey-dev/latchkey/internal/portal/selfservice"
	"github.com/latchkey-dev/latchkey/internal/portal/tokens"
	"github.com/latchkey-dev/latchkey/internal/problem"
	"github.com/latchkey-dev/latchkey/internal/session"
)

func newHandler(t *testing.T) *selfservice.Handler {
	t.Helper()
	sessions, err := session.New(session.Config{Namespace: "latchkey-system"})
	if err != nil {
		t.Fatal(err)
	}
	h, err := selfservice.New(selfservice.Config{
		Tokens: tokens.New(tokens.Config{Clock: clock.RealClock{}}), Sessions: sessions, Clock: clock.RealClock{}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

var called = &selfservice.Call{
	Tenant: &directory.Tenant{Name: "acme", Namespace: "tenant-acme"}, API: &directory.API{BasePath: "/api/v1", SettingsPath: "/settings", TokenSignIn: true},
	Origin: "https://acme.example.com",
}

// What the server refuses is told on a page, with the headers that go with it.
func TestRefuse(t *testing.T) {
	h := newHandler(t)
	for _, p := range []*problem.Problem{
		problem.Stale, problem.TooManyRequests, problem.TooManyBadTokens, problem.Misdirected, problem.RequestTooLarge(1), problem.RequestTimeout,
		problem.Internal, problem.NotFound, problem.TenantSuspended, problem.MethodNotAllowed("GET, HEAD"), problem.RequestRefused("<script>"), problem.TokenInvalid,
	} {
		answer := httptest.NewRecorder()
		h.Refuse(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://acme.example.com/settings", nil), called, p)
		header, body := answer.Header(), answer.Body.String()
		if answer.Code != p.Status || !strings.HasPrefix(header.Get("Content-Type"), "text/html") || !strings.Contains(body, "<h1>") || strings.Contains(body, "<script>") {
			t.Errorf("%v: %d %s\n%s", p, answer.Code, header.Get("Content-Type"), body)
		}
		wait := ""
		if p.RetryAfter > 0 {
			wait = strconv.Itoa(int(p.RetryAfter.Seconds()))
		}
		if header.Get("Retry-After") != wait || header.Get("Allow") != p.Allow || (header.Get("Connection") == "close") != p.Closes {
			t.Errorf("%v: %v", p, header)
		}
	}
}

// A session that nobody can check is none, and no sign-in.
func TestKeysUnread(t *testing.T) {
	h := newHandler(t)
	for _, target := range []string{"/settings", "/settings/tokens/new", "/settings/sign-in", "/settings/signed-in"} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://acme.example.com"+target, nil)
		r.Header.Set("Cookie", session.CookieName+"=x")
		answer := httptest.NewRecorder()
		if p := h.Serve(answer, r, called); p == nil || p.Status != http.StatusServiceUnavailable || answer.Code != p.Status || answer.Header().Get("Set-Cookie") != "" {
			t.Errorf("%s: %v, %d %v", target, p, answer.Code, answer.Header())
		}
		if h.IsMember(r, called.Tenant, called.API) {
			t.Error("somebody is a member")
		}
	}
}
