//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// restOfTheHost shows that beside Latchkey's paths a tenant's host is what the
// product's own Ingress makes of it.
func restOfTheHost(t *testing.T, w *world) {
	for _, path := range []string{"/", "/?page=2"} {
		if a := w.curl(t, "acme", path, ""); a.status != 200 || !strings.Contains(a.body, "The product's own page") {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	// The example backend answers what it does not know with a problem of its own.
	if a := w.curl(t, "acme", "/pricing", ""); a.status != 404 || !strings.Contains(a.body, "Nothing is served at /pricing") {
		t.Errorf("/pricing: %d %s", a.status, a.body)
	}
	if err := w.curl(t, "acme", "/api/v1", "").is(401, "authorization-missing"); err != nil {
		t.Errorf("/api/v1: %v", err)
	}
	// What only begins like a path of ours is theirs, on the host and in their API.
	const strict = "does the controller take prefixes by the standard? See docs/guides/install.md"
	if a := w.curl(t, "acme", "/api/v10", ""); a.status != 404 || !strings.Contains(a.body, "Nothing is served at /api/v10") {
		t.Errorf("/api/v10: %d %s (%s)", a.status, a.body, strict)
	}
	if a := w.curl(t, "acme", "/api/v1/tokenize", w.token); a.status != 404 || !strings.Contains(a.body, "The API has no such operation") {
		t.Errorf("/api/v1/tokenize: %d %s (%s)", a.status, a.body, strict)
	}
}

const initech = `
apiVersion: latchkey.dev/v1alpha1
kind: Tenant
metadata: {name: initech}
spec: {members: [{kind: User, name: initech-admin, role: Admin}]}
`

// tenants are reachable soon after they are made, and gone soon after they are.
func tenants(t *testing.T, w *world) {
	w.apply(t, initech)
	took := eventually(t, within, func() error { return w.curl(t, "initech", endpoint, "").is(401, "authorization-missing") })
	t.Logf("a new tenant is reachable %s after kubectl apply", took)

	plaintext := w.kubectl(t, "latchkey", "create", "ci", "-n", "tenant-initech", "--as=initech-admin", "--lifetime=1h")
	w.tokens = append(w.tokens, plaintext)
	eventually(t, within, func() error { return w.curl(t, "initech", endpoint, plaintext).is(200, "") })

	w.kubectl(t, "delete", "tenant", "initech", "--wait=false")
	took = eventually(t, within, func() error {
		if a := w.curl(t, "initech", endpoint, plaintext); a.status < 400 || a.problem() == "token-invalid" {
			return fmt.Errorf("a deleted tenant's host answers %d %s", a.status, a.body)
		}
		return nil
	})
	t.Logf("a deleted tenant's API is gone after %s", took)
	took = eventually(t, within, func() error {
		if a := w.curl(t, "initech", endpoint, plaintext); a.status != 404 || a.problem() != "" {
			return fmt.Errorf("a deleted tenant's host answers %d %s", a.status, a.body)
		}
		return nil
	})
	t.Logf("and its route %s later", took)
	w.kubectl(t, "wait", "--for=delete", "--timeout=1m", "namespace/tenant-initech")
}
