//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// platform is what the platform team says besides config/samples.
const platform = `
apiVersion: latchkey.dev/v1alpha1
kind: Tenant
metadata: {name: globex}
spec:
  displayName: Globex
  namespace: globex-apps
  members: [{kind: User, name: globex-admin, role: Admin}]
`

const apiToken = `
apiVersion: latchkey.dev/v1alpha1
kind: ApiToken
metadata: {name: %s, namespace: %s}
spec: {owner: ci-team@acme.example, scopes: ["orders:read", "orders:write"], lifetime: 720h}
`

// story is that of docs/architecture.md, as far as a customer sees it.
func story(t *testing.T, w *world) {
	samples := filepath.Join(root(t), "config", "samples", "platform")
	w.kubectl(t, "apply", "-f", filepath.Join(samples, "publicapi.yaml"), "-f", filepath.Join(samples, "tenant_acme.yaml"))
	w.apply(t, platform)
	w.kubectl(t, "wait", "--for=condition=Ready", "--timeout=1m", "tenants/acme", "tenants/globex", "publicapis/default")

	w.do(t, fmt.Sprintf(apiToken, "ci", "tenant-acme"), "kubectl", "apply", "--as=acme-admin", "-f", "-")
	w.token = w.kubectl(t, "latchkey", "issue", "ci", "-n", "tenant-acme", "--as=acme-admin")
	w.do(t, fmt.Sprintf(apiToken, "ci", "globex-apps"), "kubectl", "apply", "--as=globex-admin", "-f", "-")
	other := w.kubectl(t, "latchkey", "issue", "ci", "-n", "globex-apps", "--as=globex-admin")
	w.tokens = append(w.tokens, w.token, other)
	w.answered(t, w.token, 200, "")
	eventually(t, within, func() error { return w.curl(t, "globex", endpoint, other).is(200, "") }) // it has a route of its own

	t.Run("the customer's line", func(t *testing.T) { w.customersLine(t) })
	t.Run("what the backend is told", func(t *testing.T) { w.toldBackend(t) })
	t.Run("no other token works", func(t *testing.T) {
		for plaintext, problem := range map[string]string{"": "authorization-missing", other: "token-invalid", w.token + "x": "token-invalid"} {
			if err := w.curl(t, "acme", endpoint, plaintext).is(401, problem); err != nil {
				t.Error(err)
			}
		}
		if err := w.curl(t, "globex", endpoint, w.token).is(401, "token-invalid"); err != nil {
			t.Error(err)
		}
	})
	t.Run("what the token is", func(t *testing.T) {
		a := w.curl(t, "acme", "/api/v1/token", w.token)
		if a.status != 200 || !strings.Contains(a.body, `"name":"ci"`) {
			t.Errorf("the answer is %d %s", a.status, a.body)
		}
	})
	t.Run("HTTP/2", func(t *testing.T) {
		if a := w.curl(t, "acme", endpoint, w.token, "--http2"); a.status != 200 || !strings.HasPrefix(a.header, "HTTP/2") {
			t.Errorf("by HTTP/2: %d %s", a.status, a.header)
		}
	})
}

// customersLine is what the product's documentation tells its customers to do.
func (w *world) customersLine(t *testing.T) {
	line := `curl -X GET "https://acme.example.com/api/v1/example_endpoint" -H "Authorization: token YOUR_API_TOKEN"`
	line = strings.Replace(line, "YOUR_API_TOKEN", w.token, 1) + " -sS --resolve acme.example.com:443:" + w.ingress + " --cacert " + w.ca.file
	out, err := exec.CommandContext(t.Context(), "bash", "-c", line).CombinedOutput()
	var got struct {
		Tenant string
		Caller struct{ TokenName, Owner string }
	}
	if err != nil || json.Unmarshal(out, &got) != nil || got.Tenant != "acme" || got.Caller.TokenName != "ci" || got.Caller.Owner != "ci-team@acme.example" {
		t.Errorf("%v: %s", err, out)
	}
}

// seen are the headers that the backend got.
func (a answer) seen(t *testing.T) map[string][]string {
	t.Helper()
	var got struct{ Headers map[string][]string }
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.status != 200 {
		t.Fatalf("the answer is %d %s", a.status, a.body)
	}
	return got.Headers
}

func (w *world) toldBackend(t *testing.T) {
	headers := w.curl(t, "acme", "/api/v1/headers", w.token, "-H", "Latchkey-Tenant: globex", "-H", "Latchkey-Token-Owner: boss").seen(t)
	for name, want := range map[string]string{
		"Latchkey-Tenant": "acme", "Latchkey-Token-Name": "ci", "Latchkey-Token-Owner": "ci-team@acme.example",
		"Latchkey-Token-Scopes": "orders:read orders:write", "Latchkey-Token-Id": strings.Split(w.token, "_")[1], "Authorization": "",
	} {
		if got := strings.Join(headers[name], "|"); got != want {
			t.Errorf("%s: the backend got %q, want %q", name, got, want)
		}
	}
}
