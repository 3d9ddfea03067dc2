//go:build e2e

package e2e

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// theirs is what the platform team has before it hears of Latchkey: its API, its
// product's own pages, and a namespace that a tenant may use.
const theirs = `
apiVersion: v1
kind: Namespace
metadata: {name: example, labels: {e2e.latchkey.dev/made: "true"}}
---
apiVersion: v1
kind: Namespace
metadata: {name: globex-apps, labels: {e2e.latchkey.dev/made: "true", latchkey.dev/allow-tenant: globex}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: theirs, namespace: globex-apps}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: example-backend, namespace: example}
spec:
  selector: {matchLabels: &labels {app.kubernetes.io/name: example-backend}}
  template:
    metadata: {labels: *labels}
    spec:
      automountServiceAccountToken: false
      containers:
      - name: backend
        image: %s/latchkey-e2e-backend:v0.1.0
        imagePullPolicy: IfNotPresent
        ports: [{containerPort: 8080}]
        readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: example-backend, namespace: example}
spec:
  selector: {app.kubernetes.io/name: example-backend}
  ports: [{port: 80, targetPort: 8080}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: product, namespace: example}
spec:
  rules:
  - host: acme.%s
    http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: example-backend, port: {number: 80}}}}
`

func before(t *testing.T, w *world) {
	w.apply(t, fmt.Sprintf(theirs, w.images, w.domain))
	w.kubectl(t, "-n", "example", "rollout", "status", "deployment/example-backend", "--timeout=2m")
	w.snapshot = w.everything(t)
}

// ofKubernetes are objects that come and go by themselves.
var ofKubernetes = regexp.MustCompile(`^(Event|Lease|Pod|ReplicaSet|EndpointSlice|Endpoints|ControllerRevision|ComponentStatus|NodeMetrics|PodMetrics|IPAddress) `)

// everything is all that the cluster has, by kind, namespace and name.
func (w *world) everything(t *testing.T) []string {
	t.Helper()
	resources := strings.Fields(w.kubectl(t, "api-resources", "--verbs=list", "-o", "name"))
	list := w.kubectl(t, "get", strings.Join(resources, ","), "-A", "--ignore-not-found", "--no-headers",
		"-o", "custom-columns=K:.kind,NS:.metadata.namespace,N:.metadata.name")
	var all []string
	for line := range strings.Lines(list) {
		if line = strings.Join(strings.Fields(line), " "); !ofKubernetes.MatchString(line) {
			all = append(all, line)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func install(t *testing.T, w *world) {
	if w.install == "chart" {
		w.installChart(t)
	} else {
		w.installManifests(t)
	}
	w.available(t, deployments...)
	for _, namespace := range []string{system, "latchkey-records"} {
		if got := w.kubectl(t, "get", "namespace", namespace, "-o", `jsonpath={.metadata.labels.pod-security\.kubernetes\.io/enforce}`); got != "restricted" {
			t.Errorf("%s enforces the Pod Security Standard %q", namespace, got)
		}
	}
	for line := range strings.SplitSeq(w.kubectl(t, "-n", system, "get", "pods", "-o", `jsonpath={range .items[*]}{.metadata.name} {.status.containerStatuses[0].restartCount}{"\n"}{end}`), "\n") {
		if !strings.HasSuffix(line, " 0") {
			t.Errorf("a container was restarted: %s", line)
		}
	}
}

// installManifests does what the guide says: first the one command, then, once a
// certificate is there, the settings.
func (w *world) installManifests(t *testing.T) {
	t.Helper()
	ours := strings.NewReplacer("saas.example", w.domain, "10.244.0.0/16", w.trustedProxies)
	for _, block := range guide(t, "install.md", "With one file", "sh") {
		w.sh(t, ours.Replace(block))
	}
	w.available(t, deployments...)
	for _, block := range guide(t, "install.md", "Settings", "sh") {
		w.sh(t, ours.Replace(block))
	}
}

func (w *world) installChart(t *testing.T) {
	t.Helper()
	for _, block := range guide(t, "install.md", "With Helm", "sh") {
		w.sh(t, strings.TrimSpace(block)+" --set ingress.tlsSecret=wildcard --set 'trustedProxies={"+w.trustedProxies+"}'")
	}
	w.kubectl(t, "-n", system, "create", "secret", "tls", "wildcard",
		"--cert="+filepath.Join(w.work, "wildcard.crt"), "--key="+filepath.Join(w.work, "wildcard.key"))
}
