//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

const (
	perSecond = 20
	// recovery bounds how long after a replica was killed requests may still fail:
	// kubelet has to see it and kube-proxy or the Ingress controller to hear of it.
	recovery = 10 * time.Second
	// takeover is what docs/guides/install.md promises.
	takeover = 20 * time.Second
)

// both paths are served by another surface each.
var bothSurfaces = []string{endpoint, "/api/v1/token"}

type pod struct{ name, uid string }

// pods are those of a Deployment that are to stay.
func (w *world) pods(t *testing.T, deployment string) []pod {
	t.Helper()
	var pods []pod
	for line := range strings.Lines(w.kubectl(t, "-n", system, "get", "pods", "-l", "app.kubernetes.io/name="+deployment, "--field-selector=status.phase=Running",
		"-o", `jsonpath={range .items[*]}{.metadata.name} {.metadata.uid} {.metadata.deletionTimestamp}{"\n"}{end}`)) {
		if f := strings.Fields(line); len(f) == 2 {
			pods = append(pods, pod{f[0], f[1]})
		}
	}
	if len(pods) < 2 {
		t.Fatalf("%s has the pods %v, want two or more", deployment, pods)
	}
	return pods
}

// leader is the manager's pod that works.
func (w *world) leader(t *testing.T) pod {
	t.Helper()
	var leader pod
	eventually(t, within, func() error {
		holder := w.kubectl(t, "-n", system, "get", "lease", "latchkey-manager", "-o", "jsonpath={.spec.holderIdentity}")
		for _, p := range w.pods(t, "latchkey-manager") {
			if strings.HasPrefix(holder, p.name) {
				leader = p
				return nil
			}
		}
		return fmt.Errorf("the lease is held by %q", holder)
	})
	return leader
}

// podsEnd as on a node that is drained: nobody notices.
func podsEnd(t *testing.T, w *world) {
	t.Run("servers", func(t *testing.T) {
		l := w.startLoad(t, perSecond, bothSurfaces...)
		l.reached(t, perSecond)
		w.kubectl(t, "-n", system, "delete", "pod", w.pods(t, "latchkey-apiserver")[0].name, w.pods(t, "latchkey-portal")[0].name)
		w.available(t, deployments...)
		l.flawless(t)
	})
	t.Run("manager", func(t *testing.T) {
		leader := w.leader(t)
		w.kubectl(t, "-n", system, "delete", "pod", leader.name, "--wait=false")
		w.takesOver(t, "after-end")
		w.available(t, "latchkey-manager")
	})
}

// takesOver measures until a new token works.
func (w *world) takesOver(t *testing.T, name string) {
	t.Helper()
	start := time.Now()
	plaintext := w.create(t, name)
	w.answered(t, plaintext, 200, "")
	took := time.Since(start).Round(10 * time.Millisecond)
	t.Logf("a new token works after %s", took)
	if took > takeover {
		t.Errorf("no token was issued for %s", took)
	}
}

// podsAreKilled as by a crash, without a chance to say goodbye.
func podsAreKilled(t *testing.T, w *world) {
	for _, deployment := range []string{"latchkey-apiserver", "latchkey-portal"} {
		t.Run(deployment, func(t *testing.T) {
			l := w.startLoad(t, perSecond, bothSurfaces...)
			l.reached(t, perSecond)
			w.kill(t, w.pods(t, deployment)[0])
			killed := time.Since(l.start)
			w.available(t, deployment)
			l.reached(t, 3*perSecond)
			l.end()
			t.Log(l)
			if n := len(l.failures); n > 0 {
				first, last := l.failures[0], l.failures[n-1]
				t.Logf("some requests failed for %s: %s", last.at-first.at, last)
				if last.at > killed+recovery {
					t.Errorf("requests failed for longer than %s", recovery)
				}
			}
		})
	}
	t.Run("manager", func(t *testing.T) {
		w.kill(t, w.leader(t))
		w.takesOver(t, "after-kill")
		w.available(t, "latchkey-manager")
	})
}

const killer = `
apiVersion: v1
kind: Namespace
metadata: {name: latchkey-e2e-killer, labels: {e2e.latchkey.dev/made: "true", pod-security.kubernetes.io/enforce: privileged}}
---
apiVersion: v1
kind: Pod
metadata: {name: kill-%[1]s, namespace: latchkey-e2e-killer}
spec:
  hostPID: true
  restartPolicy: Never
  automountServiceAccountToken: false
  nodeName: %[4]s
  containers:
  - name: kill
    image: %[2]s/latchkey-e2e-backend:v0.1.0
    imagePullPolicy: IfNotPresent
    args: [kill, %[3]s]
    securityContext: {runAsUser: 0, privileged: true}
`

// kill sends SIGKILL to the pod's processes, from another pod on its node, and
// waits until they are gone.
func (w *world) kill(t *testing.T, p pod) {
	t.Helper()
	node := w.kubectl(t, "-n", system, "get", "pod", p.name, "-o", "jsonpath={.spec.nodeName}")
	w.apply(t, fmt.Sprintf(killer, p.name, w.images, p.uid, node))
	w.kubectl(t, "-n", "latchkey-e2e-killer", "wait", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=1m", "pod/kill-"+p.name)
}

// rollingRestart replaces every server's pod while requests come in.
func rollingRestart(t *testing.T, w *world) {
	l := w.startLoad(t, perSecond, bothSurfaces...)
	l.reached(t, perSecond)
	old := append(w.pods(t, "latchkey-apiserver"), w.pods(t, "latchkey-portal")...)
	w.kubectl(t, "-n", system, "rollout", "restart", "deployment/latchkey-apiserver", "deployment/latchkey-portal")
	w.available(t, "latchkey-apiserver", "latchkey-portal")
	for _, p := range old {
		w.kubectl(t, "-n", system, "wait", "--for=delete", "--timeout=1m", "pod/"+p.name)
	}
	l.flawless(t)
}
