package server_test

import (
	"net/http"
	"net/netip"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/server"
	"github.com/latchkey-dev/latchkey/internal/testing/directorytest"
)

func cidrs(texts ...string) (prefixes []netip.Prefix) {
	for _, text := range texts {
		prefixes = append(prefixes, netip.MustParsePrefix(text))
	}
	return prefixes
}

func TestAllowedCIDRs(t *testing.T) {
	for name, c := range map[string]struct {
		allowed   []string
		trusted   []netip.Prefix
		forwarded string
		status    int
	}{
		"anywhere":                               {nil, nil, "", 200},
		"the peer":                               {[]string{"127.0.0.0/8"}, nil, "", 200},
		"one of several":                         {[]string{"192.0.2.0/24", "127.0.0.1/32"}, nil, "", 200},
		"another":                                {[]string{"192.0.2.0/24"}, nil, "", 403},
		"another, which the client claims to be": {[]string{"192.0.2.0/24"}, nil, "192.0.2.1", 403},
		"told by a trusted proxy":                {[]string{"192.0.2.0/24"}, cidrs("127.0.0.0/8"), "192.0.2.1", 200},
		"made up before a trusted proxy":         {[]string{"192.0.2.0/24"}, cidrs("127.0.0.0/8"), "192.0.2.1, 203.0.113.9", 403},
		"unreadable":                             {[]string{"0.0.0.0/0", "::/0"}, cidrs("127.0.0.0/8"), "garbage", 403},
		"the trusted proxy is not the client":    {[]string{"127.0.0.0/8"}, cidrs("127.0.0.0/8"), "203.0.113.9", 403},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, withConfig(func(s *server.Config) { s.TrustedProxies = c.trusted }))
			i := h.issue("acme", func(i *directorytest.Issued) { i.Record.AllowedCIDRs = cidrs(c.allowed...) })
			r := h.request(http.MethodGet, endpoint, i.Token.Reveal())
			if c.forwarded != "" {
				r.Header.Set("X-Forwarded-For", c.forwarded)
			}
			a := h.do(r)
			if c.status == http.StatusForbidden {
				a.wantProblem(t, http.StatusForbidden, "address-not-allowed")
			} else {
				a.wantStatus(t, c.status)
			}
		})
	}
}

// That a token is limited to other addresses, only its owner learns.
func TestAddressIsJudgedLast(t *testing.T) {
	h := newHarness(t)
	elsewhere := func(i *directorytest.Issued) { i.Record.AllowedCIDRs = cidrs("192.0.2.0/24") }
	h.get(endpoint, h.issue("globex", elsewhere).Token.Reveal()).wantProblem(t, http.StatusUnauthorized, "token-invalid")
	i := h.issue("acme", elsewhere)
	h.clock.SetTime(expiry)
	h.get(endpoint, i.Token.Reveal()).wantProblem(t, http.StatusUnauthorized, "token-expired")
}

// The backend is told the address that was judged.
func TestBackendIsToldTheClientsAddress(t *testing.T) {
	h := newHarness(t, withConfig(func(s *server.Config) { s.TrustedProxies = cidrs("127.0.0.0/8") }))
	r := h.request(http.MethodGet, endpoint, h.issue("acme").Token.Reveal())
	r.Header.Set("X-Forwarded-For", "198.51.100.7, 203.0.113.9")
	h.do(r).wantStatus(t, http.StatusOK)
	if got := h.backend.last(t).Header.Values("X-Forwarded-For"); len(got) != 1 || got[0] != "203.0.113.9" {
		t.Errorf("X-Forwarded-For: %q", got)
	}
}
