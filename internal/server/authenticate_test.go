package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/server"
	"github.com/latchkey-dev/latchkey/internal/testing/directorytest"
	"github.com/latchkey-dev/latchkey/internal/token"
)

const endpoint = "/api/v1/example_endpoint"

func TestTokenReachesTheTenantsData(t *testing.T) {
	h := newHarness(t)
	plaintext := h.issue("acme").Token.Reveal()
	for _, scheme := range []string{"token", "Token", "TOKEN", "Bearer", "bearer", "BEARER"} {
		r := h.request(http.MethodGet, endpoint, "")
		r.Header.Set("Authorization", scheme+" "+plaintext)
		a := h.do(r)
		a.wantStatus(t, http.StatusOK)
		if !strings.Contains(a.body, "acme") {
			t.Errorf("scheme %s: the answer is not about acme: %s", scheme, a.body)
		}
		if got := a.Header.Get(server.HeaderTokenExpires); got != "2027-01-02T04:04:05Z" {
			t.Errorf("%s: %q", server.HeaderTokenExpires, got)
		}
		if got := a.Header.Values("Access-Control-Expose-Headers"); !slices.Equal(got, []string{server.HeaderTokenExpires + ", " + server.HeaderTokenDaysLeft}) {
			t.Errorf("Access-Control-Expose-Headers: %q", got)
		}
	}
}

// The grammar is strict before anything is looked up (capsule-proxy CVE-2023-48312).
func TestCVE2023_48312MalformedAuthorization(t *testing.T) {
	h := newHarness(t)
	plaintext := h.issue("acme").Token.Reveal()
	for name, c := range map[string]struct {
		values []string
		code   string
	}{
		"absent":                    {nil, "authorization-missing"},
		"empty":                     {[]string{""}, "authorization-missing"},
		"blank":                     {[]string{" \t "}, "authorization-missing"},
		"scheme alone":              {[]string{"token"}, "authorization-malformed"},
		"scheme and space":          {[]string{"token "}, "authorization-malformed"},
		"other scheme":              {[]string{"Basic " + plaintext}, "authorization-malformed"},
		"token without a scheme":    {[]string{plaintext}, "authorization-malformed"},
		"two spaces":                {[]string{"token  " + plaintext}, "authorization-malformed"},
		"tab":                       {[]string{"token\t" + plaintext}, "authorization-malformed"},
		"space and tab":             {[]string{"token \t" + plaintext}, "authorization-malformed"},
		"something after it":        {[]string{"token " + plaintext + " x"}, "authorization-malformed"},
		"list in one header":        {[]string{"token " + plaintext + ",token " + plaintext}, "authorization-malformed"},
		"comma":                     {[]string{"token " + plaintext + ","}, "authorization-malformed"},
		"doubled scheme":            {[]string{"token token " + plaintext}, "authorization-malformed"},
		"colon after the scheme":    {[]string{"token: " + plaintext}, "authorization-malformed"},
		"scheme with a Kelvin sign": {[]string{"to\u212aen " + plaintext}, "authorization-malformed"},
		"sent twice":                {[]string{"token " + plaintext, "token " + plaintext}, "authorization-malformed"},
		"sent twice, once empty":    {[]string{"", "token " + plaintext}, "authorization-malformed"},
		"quoted":                    {[]string{`token "` + plaintext + `"`}, "token-invalid"},
		"GitHub's parameter form":   {[]string{`token token=` + plaintext}, "token-invalid"},
		"not ASCII":                 {[]string{"token " + plaintext[:20] + "é" + plaintext[22:]}, "token-invalid"},
		"20 KB":                     {[]string{"token " + strings.Repeat(plaintext, 280)}, "token-invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			r := h.request(http.MethodGet, endpoint, "")
			r.Header["Authorization"] = c.values
			p := h.do(r).wantProblem(t, http.StatusUnauthorized, c.code)
			if c.code != "token-invalid" && !strings.Contains(p.Detail, "Authorization: token YOUR_API_TOKEN") {
				t.Errorf("the detail does not show the expected header: %s", p.Detail)
			}
		})
	}
	if n := len(h.backend.all()); n != 0 {
		t.Errorf("%d of the requests reached the backend", n)
	}
}

// NUL and other control characters net/http refuses before our code sees them.
func TestControlCharactersInAuthorization(t *testing.T) {
	h := newHarness(t)
	plaintext := h.issue("acme").Token.Reveal()
	for name, c := range map[string]string{"NUL": "\x00", "escape": "\x1b", "delete": "\x7f", "carriage return": "\r x"} {
		got := h.rawAnswer("GET " + endpoint + " HTTP/1.1\r\nHost: " + acmeHost + "\r\nConnection: close\r\nAuthorization: token " + plaintext + c + "\r\n\r\n")
		if got.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: status %d, want 400", name, got.StatusCode)
		}
	}
}

func TestTokenIsTakenFromTheHeaderOnly(t *testing.T) {
	h := newHarness(t)
	plaintext := h.issue("acme").Token.Reveal()
	for _, parameter := range []string{"token", "access_token", "authorization", "api_key"} {
		h.get(endpoint+"?"+parameter+"="+plaintext, "").wantProblem(t, http.StatusUnauthorized, "authorization-missing")
	}
	for _, name := range []string{"Cookie", "Proxy-Authorization", "X-Api-Key", "X-Authorization", "X-Forwarded-Authorization"} {
		r := h.request(http.MethodGet, endpoint, "")
		r.Header.Set(name, "token="+plaintext)
		h.do(r).wantProblem(t, http.StatusUnauthorized, "authorization-missing")
	}
	form := h.request(http.MethodPost, "/api/v1/orders", "")
	form.Body, form.ContentLength = http.NoBody, 0
	form.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	h.do(form).wantProblem(t, http.StatusUnauthorized, "authorization-missing")
}

var dateLine = regexp.MustCompile(`(?m)^Date: .*\r\n`)

// Who guesses learns nothing: whatever is wrong with a token, the answers are the
// same bytes (OpenBao CVE-2025-54999).
func TestCVE2025_54999InvalidTokensGetOneAnswer(t *testing.T) {
	h := newHarness(t)
	known := h.issue("acme").Token.Reveal()
	flipped := func(i int) string {
		c := "A"
		if known[i] == 'A' {
			c = "B"
		}
		return known[:i] + c + known[i+1:]
	}
	otherPrefix, err := token.Mint("xy")
	directorytest.Must(t, err)
	tokens := map[string]string{
		"never issued":                   directorytest.Issue(t, "acme", expiry).Token.Reveal(),
		"of another tenant":              h.issue("globex").Token.Reveal(),
		"of another tenant, expired":     h.issue("globex", func(i *directorytest.Issued) { i.Record.Current.NotAfter = start }).Token.Reveal(),
		"of another tenant, revoked":     h.issue("globex", revoked).Token.Reveal(),
		"deleted":                        h.issue("acme", func(i *directorytest.Issued) { i.ApiToken.Spec.Credential, i.ApiToken.Status.Credential = nil, nil }).Token.Reveal(),
		"with the tenant's wrong digest": h.issue("acme", func(i *directorytest.Issued) { i.Record.Namespace = "tenant-globex" }).Token.Reveal(),
		"of another installation":        otherPrefix.Reveal(),
		"with a wrong checksum":          flipped(len(known) - 1),
		"with one character changed":     flipped(30),
		"with its id changed":            flipped(5),
		"cut":                            known[:len(known)-1],
		"padded":                         known + "=",
		"garbage":                        "hunter2",
		"20 KB":                          strings.Repeat(known, 280),
	}
	want := ""
	for name, plaintext := range tokens {
		got := dateLine.ReplaceAllString(h.raw("GET "+endpoint+" HTTP/1.1\r\nHost: "+acmeHost+"\r\nConnection: close\r\nAuthorization: token "+plaintext+"\r\n\r\n"), "")
		if want == "" {
			want = got
		}
		if got != want {
			t.Errorf("a token %s is answered\n%s\nand another\n%s", name, got, want)
		}
	}
	if !strings.HasPrefix(want, "HTTP/1.1 401 Unauthorized\r\n") || !strings.Contains(want, "#token-invalid") {
		t.Errorf("the answer is %s", want)
	}
}

func revoked(i *directorytest.Issued) { i.ApiToken.Spec.Revoked = true }

// No leeway, by the server's clock (Kubernetes' own tokens have a minute).
func TestExpiryIsExact(t *testing.T) {
	h := newHarness(t)
	plaintext := h.issue("acme").Token.Reveal()
	for _, c := range []struct {
		after  time.Duration
		status int
	}{{-time.Millisecond, 200}, {-time.Nanosecond, 200}, {0, 401}, {time.Nanosecond, 401}, {time.Millisecond, 401}, {1000 * time.Hour, 401}} {
		h.clock.SetTime(expiry.Add(c.after))
		a := h.get(endpoint, plaintext)
		if a.StatusCode != c.status {
			t.Errorf("%s after the expiry: status %d, want %d", c.after, a.StatusCode, c.status)
		}
		if c.status == http.StatusUnauthorized {
			p := a.wantProblem(t, http.StatusUnauthorized, "token-expired")
			if p.ExpiredAt != "2027-01-02T04:04:05Z" || !strings.Contains(p.Detail, p.ExpiredAt) {
				t.Errorf("the problem says not since when: %+v", p)
			}
		}
	}
}

func TestPreviousCredentialExpiresWithTheOverlap(t *testing.T) {
	h := newHarness(t)
	i := directorytest.Issue(t, "acme", expiry)
	previous := i.Token.Reveal()
	i.Rotate(t, expiry, start.Add(time.Minute))
	i.Add(t, h.stores)
	h.get(endpoint, previous).wantStatus(t, http.StatusOK)
	h.clock.SetTime(start.Add(time.Minute))
	h.get(endpoint, previous).wantProblem(t, http.StatusUnauthorized, "token-expired")
	h.get(endpoint, i.Token.Reveal()).wantStatus(t, http.StatusOK)
}

func TestExpiryIsToldToTheWholeTokenOnly(t *testing.T) {
	h := newHarness(t)
	plaintext := h.issue("acme").Token.Reveal()
	h.clock.SetTime(expiry)
	h.get(endpoint, plaintext).wantProblem(t, http.StatusUnauthorized, "token-expired")
	id := plaintext[:len("lk_")+token.IDLength]
	for _, guess := range []string{id, plaintext[:len(plaintext)-1], id + directorytest.Issue(t, "acme", expiry).Token.Reveal()[len(id):]} {
		p := h.get(endpoint, guess).wantProblem(t, http.StatusUnauthorized, "token-invalid")
		if p.ExpiredAt != "" {
			t.Errorf("who knows the id learns the expiry: %+v", p)
		}
	}
}

func TestStatesOfTokenAndTenant(t *testing.T) {
	for name, c := range map[string]struct {
		change func(h *harness, i *directorytest.Issued)
		status int
		code   string
	}{
		"revoked": {func(h *harness, i *directorytest.Issued) {
			i.UpdateApiToken(t, h.stores, func(a *v1alpha1.ApiToken) { a.Spec.Revoked = true })
		}, 401, "token-revoked"},
		"deleted": {func(h *harness, i *directorytest.Issued) {
			directorytest.Must(t, h.stores.ApiTokens.Delete(i.ApiToken))
		}, 401, "token-invalid"},
		"tenant suspended": {func(h *harness, _ *directorytest.Issued) {
			tenant := directorytest.Tenant("acme")
			tenant.Spec.Suspended = true
			directorytest.Must(t, h.stores.Tenants.Update(tenant))
		}, 403, "tenant-suspended"},
		"tenant not accepted": {func(h *harness, _ *directorytest.Issued) {
			tenant := directorytest.Tenant("acme")
			tenant.Status.Namespace = ""
			directorytest.Must(t, h.stores.Tenants.Update(tenant))
		}, 404, "unknown-host"},
		"tenant deleted": {func(h *harness, _ *directorytest.Issued) {
			directorytest.Must(t, h.stores.Tenants.Delete(directorytest.Tenant("acme")))
		}, 404, "unknown-host"},
		"tenant with another namespace": {func(h *harness, _ *directorytest.Issued) {
			tenant := directorytest.Tenant("acme")
			tenant.Status.Namespace = "tenant-globex"
			directorytest.Must(t, h.stores.Tenants.Update(tenant))
		}, 401, "token-invalid"},
		"PublicApi deleted": {func(h *harness, _ *directorytest.Issued) {
			directorytest.Must(t, h.stores.PublicApis.Delete(directorytest.PublicApi("")))
		}, 404, "unknown-host"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			i := h.issue("acme")
			h.get(endpoint, i.Token.Reveal()).wantStatus(t, http.StatusOK)
			c.change(h, i)
			h.get(endpoint, i.Token.Reveal()).wantProblem(t, c.status, c.code)
		})
	}
}

// Nothing is accepted before every first list is there.
func TestNothingIsAcceptedBeforeTheDirectoryIsSynced(t *testing.T) {
	h := newHarness(t, func(s *setup) { s.unsynced = true })
	plaintext := h.issue("acme").Token.Reveal()
	a := h.get(endpoint, plaintext)
	a.wantProblem(t, http.StatusServiceUnavailable, "stale")
	if got := a.Header.Get("Retry-After"); got != "5" {
		t.Errorf("Retry-After: %q", got)
	}
	if n := len(h.backend.all()); n != 0 {
		t.Error("the request reached the backend")
	}
}

// 50 tenants, and the token of each on the host of each, with headers that name
// the token's own tenant (OpenBao CVE-2026-40264): none crosses over.
func TestCVE2026_40264NoTokenWorksOnAnotherTenantsHost(t *testing.T) {
	h := newHarness(t)
	const tenants = 50
	name := func(n int) string { return fmt.Sprintf("tenant%d", n) }
	var tokens []string
	for n := range tenants {
		directorytest.Must(t, h.stores.Tenants.Add(directorytest.Tenant(name(n))))
		tokens = append(tokens, h.issue(name(n)).Token.Reveal())
	}
	for owner, plaintext := range tokens {
		for host := range tenants {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/v1/token", nil)
			r.Host = name(host) + ".example.com"
			r.Header.Set("Authorization", "token "+plaintext)
			for _, spoofed := range []string{"X-Forwarded-Host", "X-Host", "X-Original-Host", "Forwarded", "Latchkey-Tenant", "X-Tenant"} {
				r.Header.Set(spoofed, name(owner)+".example.com")
			}
			w := httptest.NewRecorder()
			h.handler.ServeHTTP(w, r)
			if got := w.Code == http.StatusOK; got != (owner == host) {
				t.Fatalf("the token of %s on the host of %s: status %d", name(owner), name(host), w.Code)
			}
		}
	}
}

func TestDescribeToken(t *testing.T) {
	h := newHarness(t)
	i := h.issue("acme")
	a := h.get("/api/v1/token", i.Token.Reveal())
	a.wantStatus(t, http.StatusOK)
	var got map[string]any
	directorytest.Must(t, json.Unmarshal([]byte(a.body), &got))
	want := map[string]any{
		"id": i.Token.ID(), "name": i.ApiToken.Name, "tenant": "acme", "owner": "ada@example.com",
		"scopes": []any{"orders:read", "orders:write"}, "expiresAt": "2027-01-02T04:04:05Z",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if a.Header.Get("Content-Type") != "application/json" || a.Header.Get("Cache-Control") != "no-store" || a.Header.Get(server.HeaderTokenExpires) == "" {
		t.Errorf("headers %v", a.Header)
	}
	if len(h.backend.all()) != 0 {
		t.Error("the backend was asked")
	}

	bare := h.issue("acme", func(i *directorytest.Issued) { i.Record.Owner, i.Record.Scopes = "", nil })
	if a := h.get("/api/v1/token", bare.Token.Reveal()); !strings.Contains(a.body, `"scopes":[]`) || strings.Contains(a.body, "owner") {
		t.Errorf("without owner and scopes: %s", a.body)
	}
	h.get("/api/v1/token", "").wantProblem(t, http.StatusUnauthorized, "authorization-missing")
	for _, method := range []string{http.MethodPost, http.MethodDelete, http.MethodOptions} {
		a := h.do(h.request(method, "/api/v1/token", i.Token.Reveal()))
		a.wantProblem(t, http.StatusMethodNotAllowed, "method-not-allowed")
		if got := a.Header.Get("Allow"); got != "GET, HEAD" {
			t.Errorf("Allow: %s", got)
		}
	}
	head := h.do(h.request(http.MethodHead, "/api/v1/token", i.Token.Reveal()))
	head.wantStatus(t, http.StatusOK)
	if head.body != "" {
		t.Errorf("HEAD has the body %s", head.body)
	}
}

func TestProblemBaseIsConfigurable(t *testing.T) {
	h := newHarness(t, withConfig(func(c *server.Config) { c.ProblemBase = "https://help.example.com/e/" }))
	if a := h.get(endpoint, ""); !strings.Contains(a.body, `"type":"https://help.example.com/e/authorization-missing"`) {
		t.Errorf("got %s", a.body)
	}
}
