//go:build e2e

package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// usage is what a process says of itself.
type usage struct{ bytes, cpuSeconds float64 }

// usage reads the pod's metrics through the Kubernetes API.
func (w *world) usage(t *testing.T, p pod, port int) (u usage) {
	t.Helper()
	text := w.kubectl(t, "get", "--raw", fmt.Sprintf("/api/v1/namespaces/%s/pods/%s:%d/proxy/metrics", system, p.name, port))
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		number, _ := strconv.ParseFloat(value, 64) // 0 for what is no number
		switch name {
		case "process_resident_memory_bytes":
			u.bytes = number
		case "process_cpu_seconds_total":
			u.cpuSeconds = number
		}
	}
	if u.bytes == 0 || u.cpuSeconds == 0 {
		t.Fatalf("%s does not say what it uses:\n%s", p.name, text)
	}
	return u
}

// resources tells what the pods use at rest and under load, which is where the
// requests and limits of config/ come from.
func resources(t *testing.T, w *world) {
	const rate, requests = 100, 1000
	ports := map[string]int{"latchkey-manager": 8080, "latchkey-apiserver": 8081, "latchkey-portal": 8081}
	before, start := map[pod]usage{}, time.Now()
	for deployment, port := range ports {
		for _, p := range w.pods(t, deployment) {
			before[p] = w.usage(t, p, port)
		}
	}
	l := w.startLoad(t, rate, bothSurfaces...)
	l.reached(t, requests)
	l.end()
	t.Log(l)
	for deployment, port := range ports {
		for _, p := range w.pods(t, deployment) {
			after, took := w.usage(t, p, port), time.Since(start).Seconds()
			t.Logf("%s: %.0f MiB before, %.0f MiB after, %.0f m of CPU", p.name, before[p].bytes/(1<<20), after.bytes/(1<<20),
				1000*(after.cpuSeconds-before[p].cpuSeconds)/took)
			if after.bytes > 128<<20 {
				t.Errorf("%s has %.0f MiB, more than it requests", p.name, after.bytes/(1<<20))
			}
		}
	}
}
