//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

const kustomization = `
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [config/default]
components: [config/components/gateway]
configMapGenerator:
- name: latchkey-settings
  namespace: latchkey-system
  behavior: merge
  literals: [BASE_DOMAIN=%s, INGRESS_TLS_SECRET=wildcard, "TRUSTED_PROXIES=%s"]
images:
- {name: ghcr.io/latchkey-dev/latchkey-manager, newName: %[3]s/latchkey-manager, newTag: v0.1.0}
- {name: ghcr.io/latchkey-dev/latchkey-apiserver, newName: %[3]s/latchkey-apiserver, newTag: v0.1.0}
`

// theirGateway is a Traefik with the guide's configuration, before the backend.
const theirGateway = `
apiVersion: v1
kind: Namespace
metadata: {name: gateway, labels: {e2e.latchkey.dev/made: "true"}}
---
apiVersion: v1
kind: Service
metadata: {name: backend, namespace: example}
spec:
  selector: {app.kubernetes.io/name: example-backend}
  ports: [{port: 80, targetPort: 8080}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: gateway, namespace: gateway}
spec:
  selector: {matchLabels: &labels {app: gateway}}
  template:
    metadata: {labels: *labels}
    spec:
      automountServiceAccountToken: false
      containers:
      - name: traefik
        image: %s
        imagePullPolicy: IfNotPresent
        args: ["--entrypoints.web.address=:8000", "--providers.file.filename=/etc/gateway/dynamic.yaml", "--ping=true", "--ping.entrypoint=web", "--global.checknewversion=false", "--global.sendanonymoususage=false"]
        readinessProbe: {httpGet: {path: /ping, port: 8000}, periodSeconds: 1}
        volumeMounts: [{name: configuration, mountPath: /etc/gateway}]
      volumes: [{name: configuration, configMap: {name: gateway}}]
`

// gateway installs the component with kustomize, and puts the Traefik of
// docs/guides/gateways.md in front of the backend.
func gateway(t *testing.T, w *world) {
	if w.gatewayImage == "" {
		t.Skip("E2E_TRAEFIK_IMAGE names no image of Traefik that this cluster has")
	}
	w.installGatewayComponent(t)
	w.apply(t, fmt.Sprintf(theirGateway, w.gatewayImage))
	configuration, err := yaml.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "gateway", "namespace": "gateway"},
		"data": map[string]any{"dynamic.yaml": guide(t, "gateways.md", "Traefik", "yaml")[0]},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.apply(t, string(configuration))
	w.kubectl(t, "-n", "gateway", "rollout", "status", "deployment/gateway", "--timeout=2m")
	address := w.forward(t)

	call := func(tenant, path, plaintext string) answer {
		stdout, stderr, err := w.run(t.Context(), "", "curl", "-sS", "--max-time", "20", "-D", "/dev/stderr", "-w", "\n%{http_code}",
			"-H", "Host: "+w.host(tenant), "-H", "Authorization: token "+plaintext, "-H", "Latchkey-Tenant: globex", "http://"+address+path)
		if err != nil {
			return answer{body: stderr}
		}
		a := answer{header: stderr}
		i := strings.LastIndexByte(stdout, '\n')
		a.body = stdout[:i]
		_, _ = fmt.Sscan(stdout[i+1:], &a.status) // 0 for what is no number
		return a
	}
	eventually(t, within, func() error { return call("acme", endpoint, w.token).is(200, "") })
	headers := call("acme", "/api/v1/headers", w.token).seen(t)
	if tenant := strings.Join(headers["Latchkey-Tenant"], "|"); tenant != "acme" || len(headers["Authorization"]) > 0 {
		t.Errorf("the backend was told the tenant %q: %v", tenant, headers)
	}
	for tenant, plaintext := range map[string]string{"acme": "lk_nonsense", "globex": w.token} {
		if a := call(tenant, endpoint, plaintext); a.status != 401 || !strings.Contains(strings.ToLower(a.header), "latchkey-problem: token-invalid") {
			t.Errorf("%s: %d %s", tenant, a.status, a.header)
		}
	}
}

func (w *world) installGatewayComponent(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "config"), os.DirFS(filepath.Join(root(t), "config"))); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), fmt.Appendf(nil, kustomization, w.domain, w.trustedProxies, w.images), 0o600); err != nil {
		t.Fatal(err)
	}
	w.kubectl(t, "apply", "--server-side", "-k", dir)
	w.available(t, deployments...)
}

// forward makes the gateway's port one of this machine's.
func (w *world) forward(t *testing.T) (address string) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, "kubectl", "-n", "gateway", "port-forward", "deployment/gateway", ":8000", "--address=127.0.0.1")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		_ = cmd.Wait() // killed
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	found := regexp.MustCompile(`127\.0\.0\.1:\d+`).FindString(line)
	if found == "" {
		t.Fatalf("kubectl port-forward said %q: %v", line, err)
	}
	return found
}
