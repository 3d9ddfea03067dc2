package server_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/proxy"
	"github.com/latchkey-dev/latchkey/internal/testing/directorytest"
)

func TestBackendIsToldWhoCalls(t *testing.T) {
	h := newHarness(t)
	i := h.issue("acme")
	h.get(endpoint, i.Token.Reveal()).wantStatus(t, http.StatusOK)
	got := h.backend.last(t)
	for name, want := range map[string]string{
		proxy.HeaderTenant: "acme", proxy.HeaderTokenID: i.Token.ID(), proxy.HeaderTokenName: i.ApiToken.Name,
		proxy.HeaderTokenOwner: "ada@example.com", proxy.HeaderTokenScopes: "orders:read orders:write",
		"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": acmeHost,
	} {
		if values := got.Header.Values(name); len(values) != 1 || values[0] != want {
			t.Errorf("%s: %q, want %q", name, values, want)
		}
	}
	if got.Host != acmeHost {
		t.Errorf("Host: %s", got.Host)
	}
	if values := got.Header.Values("Authorization"); len(values) != 0 {
		t.Error("the token was passed on")
	}
}

// What a client sends under these names must not reach the backend, in whatever
// spelling (Traefik CVE-2026-41181).
func TestCVE2026_41181SpoofedHeadersDoNotReachTheBackend(t *testing.T) {
	h := newHarness(t)
	i := h.issue("acme", func(i *directorytest.Issued) { i.Record.Owner, i.Record.Scopes = "", nil })
	spoofed := []string{
		"Latchkey-Tenant", "latchkey-tenant", "LATCHKEY-TENANT", "Latchkey-Token-Owner", "Latchkey-Token-Scopes", "Latchkey-Token-Id",
		"Latchkey-Token-Name", "Latchkey-Whatever", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Prefix",
		"X-Forwarded-Port", "X-Forwarded-Uri", "X-Forwarded-User", "X-Forwarded-Client-Cert", "Forwarded", "X-Real-Ip", "X-Original-Url",
		"X-Rewrite-Url", "X-Http-Method-Override", "Proxy-Authorization",
	}
	r := h.request(http.MethodGet, endpoint, i.Token.Reveal())
	for _, name := range spoofed {
		r.Header[name] = []string{"spoofed", "spoofed-too"}
	}
	r.Header.Set("X-Tenant", "kept") // only names of ours are ours
	h.do(r).wantStatus(t, http.StatusOK)
	got := h.backend.last(t)
	if strings.Contains(got.dump, "spoofed") {
		t.Errorf("the backend was sent\n%s", got.dump)
	}
	if got.Header.Get(proxy.HeaderTenant) != "acme" || got.Header.Get("X-Tenant") != "kept" {
		t.Errorf("the backend was sent\n%s", got.dump)
	}
	if _, ok := got.Header[proxy.HeaderTokenOwner]; ok {
		t.Error("a token without an owner has one")
	}
	if values := got.Header.Values(proxy.HeaderTokenScopes); len(values) != 1 || values[0] != "" {
		t.Errorf("a token without scopes has %q", values)
	}
}

func TestRequestsAndAnswersPass(t *testing.T) {
	h := newHarness(t)
	plaintext := h.issue("acme").Token.Reveal()
	r := h.request(http.MethodPost, "/api/v1/orders", plaintext)
	r.Body = http.NoBody
	body := `{"customer":"Ada","item":"Tea","quantity":2}`
	r.Body, r.ContentLength = readCloser(body), int64(len(body))
	r.Header.Set("Content-Type", "application/json")
	created := h.do(r)
	created.wantStatus(t, http.StatusCreated)
	location := created.Header.Get("Location")
	if read := h.get(location, plaintext); read.StatusCode != http.StatusOK || !strings.Contains(read.body, `"Ada"`) {
		t.Errorf("GET %s: status %d: %s", location, read.StatusCode, read.body)
	}
	h.do(h.request(http.MethodDelete, location, plaintext)).wantStatus(t, http.StatusNoContent)
	// The backend's own answers stay what they are, with the token's expiry.
	gone := h.get(location, plaintext)
	if gone.StatusCode != http.StatusNotFound || !strings.Contains(gone.body, "about:blank") || gone.Header.Get("Latchkey-Token-Expires") == "" {
		t.Errorf("status %d, headers %v: %s", gone.StatusCode, gone.Header, gone.body)
	}
	head := h.do(h.request(http.MethodHead, endpoint, plaintext))
	head.wantStatus(t, http.StatusOK)
}
