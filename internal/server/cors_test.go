package server_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

const page = "https://app.example.com"

func withOrigins(origins ...string) func(*setup) {
	return withAPI(func(s *v1alpha1.PublicApiSpec) { s.CORS = &v1alpha1.CORS{AllowedOrigins: origins} })
}

func (h *harness) preflight(origin, method string) answer {
	r := h.request(http.MethodOptions, endpoint, "")
	r.Header.Set("Origin", origin)
	if method != "" {
		r.Header.Set("Access-Control-Request-Method", method)
	}
	return h.do(r)
}

func TestPreflightOfAnAllowedOriginNeedsNoToken(t *testing.T) {
	h := newHarness(t, withOrigins("https://other.example.com", page))
	a := h.preflight(page, http.MethodDelete)
	a.wantStatus(t, http.StatusNoContent)
	for name, want := range map[string]string{
		"Access-Control-Allow-Origin":  page,
		"Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
		"Access-Control-Allow-Headers": "Authorization, Content-Type, Accept, If-Match, If-None-Match, Idempotency-Key",
		"Access-Control-Max-Age":       "600",
		"Vary":                         "Origin",
	} {
		if got := a.Header.Values(name); !slices.Equal(got, []string{want}) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got := a.Header.Get("Access-Control-Allow-Credentials"); got != "" {
		t.Errorf("cookies are allowed: %s", got)
	}
	if n := len(h.backend.all()); n != 0 {
		t.Error("a request without a token reached the backend")
	}
}

// OPTIONS is no way round authentication (oauth2-proxy CVE-2026-34457).
func TestCVE2026_34457OtherPreflightsNeedAToken(t *testing.T) {
	for name, c := range map[string]struct {
		allowed        []string
		origin, method string
	}{
		"no CORS":                {nil, page, "GET"},
		"another origin":         {[]string{page}, "https://evil.example.com", "GET"},
		"origin's prefix":        {[]string{page}, page + ".evil.example", "GET"},
		"origin's scheme":        {[]string{page}, "http://app.example.com", "GET"},
		"origin's case":          {[]string{page}, "https://APP.example.com", "GET"},
		"null":                   {[]string{page}, "null", "GET"},
		"no origin":              {[]string{page}, "", "GET"},
		"no origin, all allowed": {[]string{"*"}, "", "GET"},
		"no preflight":           {[]string{page}, page, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var changes []func(*setup)
			if c.allowed != nil {
				changes = append(changes, withOrigins(c.allowed...))
			}
			h := newHarness(t, changes...)
			a := h.preflight(c.origin, c.method)
			a.wantProblem(t, http.StatusUnauthorized, "authorization-missing")
			if got := a.Header.Get("Access-Control-Allow-Origin"); got != "" && c.method != "" {
				t.Errorf("Access-Control-Allow-Origin: %s", got)
			}
		})
	}
}

// The backend's own CORS headers give way where the PublicApi has some, and stay
// where it has none.
func TestCORSOfAnswers(t *testing.T) {
	backend := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "https://backend.example.com")
		w.Header().Set("Access-Control-Allow-Credentials", "true")
		w.Header().Set("Vary", "Accept")
	}
	for name, c := range map[string]struct {
		allowed     []string
		origin      string
		allow       string
		credentials string
		vary        []string
	}{
		"none":           {nil, page, "https://backend.example.com", "true", []string{"Accept"}},
		"allowed":        {[]string{page}, page, page, "", []string{"Origin", "Accept"}},
		"all":            {[]string{"*"}, page, "*", "", []string{"Origin", "Accept"}},
		"another origin": {[]string{page}, "https://evil.example.com", "", "", []string{"Origin", "Accept"}},
		"no browser":     {[]string{page}, "", "", "", []string{"Origin", "Accept"}},
	} {
		t.Run(name, func(t *testing.T) {
			changes := []func(*setup){withBackend(backend)}
			if c.allowed != nil {
				changes = append(changes, withOrigins(c.allowed...))
			}
			h := newHarness(t, changes...)
			r := h.request(http.MethodGet, endpoint, h.issue("acme").Token.Reveal())
			if c.origin != "" {
				r.Header.Set("Origin", c.origin)
			}
			a := h.do(r)
			a.wantStatus(t, http.StatusOK)
			if got := a.Header.Get("Access-Control-Allow-Origin"); got != c.allow {
				t.Errorf("Access-Control-Allow-Origin: %s, want %s", got, c.allow)
			}
			if got := a.Header.Get("Access-Control-Allow-Credentials"); got != c.credentials {
				t.Errorf("Access-Control-Allow-Credentials: %s, want %s", got, c.credentials)
			}
			if got := a.Header.Values("Vary"); !slices.Equal(got, c.vary) {
				t.Errorf("Vary: %q, want %q", got, c.vary)
			}
			if got := a.Header.Get("Access-Control-Expose-Headers"); got != "Latchkey-Token-Expires, Latchkey-Token-Days-Left" {
				t.Errorf("Access-Control-Expose-Headers: %s", got)
			}
		})
	}
}

// A page must be able to read why it was refused.
func TestProblemsCanBeReadByAllowedOrigins(t *testing.T) {
	h := newHarness(t, withOrigins(page))
	r := h.request(http.MethodGet, endpoint, "")
	r.Header.Set("Origin", page)
	a := h.do(r)
	a.wantProblem(t, http.StatusUnauthorized, "authorization-missing")
	if got := a.Header.Get("Access-Control-Allow-Origin"); got != page {
		t.Errorf("Access-Control-Allow-Origin: %s", got)
	}
}
