package server_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/testing/directorytest"
	"github.com/latchkey-dev/latchkey/internal/testing/freeport"
)

// rawGet is a GET of the endpoint with the token, the request line and the Host
// lines as given.
func rawGet(requestLine, plaintext string, hosts ...string) string {
	var text strings.Builder
	text.WriteString(requestLine + "\r\nConnection: close\r\nAuthorization: token " + plaintext + "\r\n")
	for _, host := range hosts {
		text.WriteString("Host: " + host + "\r\n")
	}
	return text.String() + "\r\n"
}

func TestHostsOfATenant(t *testing.T) {
	h := newHarness(t)
	plaintext := h.issue("acme").Token.Reveal()
	for _, host := range []string{
		"acme.example.com", "acme.example.com:443", "acme.example.com:", "acme.example.com.", "acme.example.com.:8443",
		"ACME.example.com", "Acme.Example.COM.:80",
	} {
		a := h.rawAnswer(rawGet("GET "+endpoint+" HTTP/1.1", plaintext, host))
		if a.StatusCode != http.StatusOK {
			t.Errorf("Host: %s: status %d, want 200: %s", host, a.StatusCode, a.body)
		}
		if got := h.backend.last(t).Host; got != host {
			t.Errorf("the backend was sent Host: %s, want %s", got, host)
		}
	}
}

// What is not exactly a label below the base domain is no tenant's host (Traefik
// CVE-2022-23632: a host that was not understood went round the rules for hosts).
func TestCVE2022_23632UnknownHosts(t *testing.T) {
	h := newHarness(t)
	plaintext := h.issue("acme").Token.Reveal()
	for _, host := range []string{
		"example.com", ".example.com", "unknown.example.com", "acme.example.org", "acmeexample.com", "acme",
		"a.acme.example.com", "acme.acme.example.com", "acme..example.com", "acme.example.com..",
		"acme.example.com,globex.example.com", "globex.example.com,acme.example.com", "acme,globex.example.com",
		"acme.example.com:http", "acme.example.com:80:80", "acme.example.com:-1", "acme.example.com:123456",
		"acme_.example.com", "acme%2eexample.com", "xn--acme.example.com", "127.0.0.1", "[::1]:80", "*.example.com",
		strings.Repeat("a", 64) + ".example.com",
	} {
		h.rawAnswer(rawGet("GET "+endpoint+" HTTP/1.1", plaintext, host)).wantProblem(t, http.StatusNotFound, "unknown-host")
	}
	if n := len(h.backend.all()); n != 0 {
		t.Errorf("%d of the requests reached the backend", n)
	}
}

func TestMissingAndDoubledHost(t *testing.T) {
	h := newHarness(t)
	plaintext := h.issue("acme").Token.Reveal()
	h.rawAnswer(rawGet("GET "+endpoint+" HTTP/1.0", plaintext)).wantProblem(t, http.StatusNotFound, "unknown-host")
	h.rawAnswer(rawGet("GET "+endpoint+" HTTP/1.1", plaintext, "")).wantProblem(t, http.StatusNotFound, "unknown-host")
	// These net/http refuses itself.
	h.rawAnswer(rawGet("GET "+endpoint+" HTTP/1.1", plaintext)).wantStatus(t, http.StatusBadRequest)
	h.rawAnswer(rawGet("GET "+endpoint+" HTTP/1.1", plaintext, acmeHost, acmeHost)).wantStatus(t, http.StatusBadRequest)
	h.rawAnswer(rawGet("GET "+endpoint+" HTTP/1.1", plaintext, acmeHost, "globex.example.com")).wantStatus(t, http.StatusBadRequest)
	if n := len(h.backend.all()); n != 0 {
		t.Errorf("%d of the requests reached the backend", n)
	}
}

// In the absolute form the request line would say which host is meant (Caddy
// CVE-2026-27588).
func TestCVE2026_27588AbsoluteForm(t *testing.T) {
	h := newHarness(t)
	plaintext := h.issue("acme").Token.Reveal()
	for _, target := range []string{
		"http://acme.example.com" + endpoint, "HTTP://acme.example.com" + endpoint, "https://acme.example.com" + endpoint,
		"http://globex.example.com" + endpoint, "ftp://acme.example.com" + endpoint,
	} {
		for _, host := range []string{acmeHost, "globex.example.com"} {
			a := h.rawAnswer(rawGet("GET "+target+" HTTP/1.1", plaintext, host))
			a.wantProblem(t, http.StatusBadRequest, "request-refused")
		}
	}
	if n := len(h.backend.all()); n != 0 {
		t.Errorf("%d of the requests reached the backend", n)
	}
}

// A host in a header is nobody's business (oauth2-proxy CVE-2026-40575).
func TestCVE2026_40575ForwardedHostIsIgnored(t *testing.T) {
	h := newHarness(t)
	acme := h.issue("acme").Token.Reveal()
	for _, name := range []string{"X-Forwarded-Host", "X-Forwarded-Server", "X-Host", "X-Original-Host", "Forwarded"} {
		r := h.request(http.MethodGet, endpoint, acme)
		r.Host = "globex.example.com"
		r.Header.Set(name, "host="+acmeHost)
		if a := h.do(r); a.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: status %d, want 401", name, a.StatusCode)
		}
	}
}

func TestOnlyTheBasePathIsServed(t *testing.T) {
	h := newHarness(t)
	plaintext := h.issue("acme").Token.Reveal()
	for _, target := range []string{"/", "/healthz", "/openapi.json", "/api", "/api/v1x/orders", "/api/v10", "/API/v1/orders", "/api/%761/orders", "/docs", "/settings"} {
		for _, sent := range []string{plaintext, ""} {
			h.get(target, sent).wantProblem(t, http.StatusNotFound, "not-found")
		}
	}
	if n := len(h.backend.all()); n != 0 {
		t.Errorf("%d of the requests reached the backend", n)
	}
	for _, target := range []string{"/api/v1", "/api/v1/", "/api/v1/orders"} {
		h.get(target, plaintext)
		if got := h.backend.last(t).RequestURI; got != target {
			t.Errorf("the backend was asked for %s, want %s", got, target)
		}
	}
}

// Tenants of another PublicApi are served below its base path, and at its backend.
func TestEachTenantHasItsPublicApi(t *testing.T) {
	h := newHarness(t)
	other := directorytest.PublicApi(h.deadBackend())
	other.Name, other.Spec.BasePath = "other", "/other"
	directorytest.Must(t, h.stores.PublicApis.Add(other))
	globex := directorytest.Tenant("globex")
	globex.Spec.PublicApi = "other"
	directorytest.Must(t, h.stores.Tenants.Update(globex))
	plaintext := h.issue("globex").Token.Reveal()
	for target, status := range map[string]int{endpoint: http.StatusNotFound, "/other/x": http.StatusBadGateway} {
		r := h.request(http.MethodGet, target, plaintext)
		r.Host = "globex.example.com"
		h.do(r).wantStatus(t, status)
	}
	if n := len(h.backend.all()); n != 0 {
		t.Error("the default PublicApi's backend was asked")
	}
}

func TestBaseDomainIsNormalised(t *testing.T) {
	for _, base := range []string{"example.com", "Example.COM", ".example.com", "example.com."} {
		h := newHarness(t, func(s *setup) { s.config.BaseDomain = base })
		h.get(endpoint, h.issue("acme").Token.Reveal()).wantStatus(t, http.StatusOK)
	}
}

// deadBackend is the URL of a backend that nobody listens at.
func (h *harness) deadBackend() string {
	h.t.Helper()
	address, err := freeport.Address()
	directorytest.Must(h.t, err)
	return "http://" + address
}

func withBackendURL(url string) func(*setup) {
	return withAPI(func(s *v1alpha1.PublicApiSpec) { s.Backend.URL = url })
}
