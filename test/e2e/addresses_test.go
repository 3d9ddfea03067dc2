//go:build e2e

package e2e

import (
	"net/netip"
	"strings"
	"testing"
)

// addresses shows that the address that the Ingress controller saw is the one
// that counts, not what a client claims.
func addresses(t *testing.T, w *world) {
	headers := w.curl(t, "acme", "/api/v1/headers", w.token).seen(t)
	seen, err := netip.ParseAddr(strings.Join(headers["X-Forwarded-For"], ""))
	if err != nil {
		t.Fatalf("the backend was told no address: %v", headers)
	}
	t.Logf("the Ingress controller sees this machine as %s", seen)
	if proxies := netip.MustParsePrefix(w.trustedProxies); proxies.Contains(seen) {
		t.Fatalf("that is one of the trusted proxies' own (%s): the controller hides its clients", proxies)
	}
	claim := []string{"-H", "X-Forwarded-For: 192.0.2.7", "-H", "X-Real-Ip: 192.0.2.7", "-H", "Forwarded: for=192.0.2.7"}
	here := w.create(t, "here", "--allow-cidr", netip.PrefixFrom(seen, seen.BitLen()).String())
	elsewhere := w.create(t, "elsewhere", "--allow-cidr", "192.0.2.0/24")
	w.answered(t, here, 200, "")
	w.answered(t, elsewhere, 403, "address-not-allowed")
	if err := w.curl(t, "acme", endpoint, elsewhere, claim...).is(403, "address-not-allowed"); err != nil {
		t.Errorf("with an address that was made up: %v", err)
	}
	if err := w.curl(t, "acme", endpoint, here, claim...).is(200, ""); err != nil {
		t.Errorf("with an address that was made up: %v", err)
	}
}
