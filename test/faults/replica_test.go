//go:build linux

package faults_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/internal/testing/process"
	"github.com/latchkey-dev/latchkey/test/faults/link"
)

// replica is a process of the API server, and its way to the cluster.
type replica struct {
	*process.Process
	name    string
	program string
	link    *link.Link
	// kubeconfig is its access, through the link.
	kubeconfig string
	// address is where it serves, and admin where its probes and metrics are.
	address, admin string
	env            []string
	// delay is how long it goes on serving after it was told to end.
	delay time.Duration
}

// newReplica starts a replica and waits until it is ready.
func (w *world) newReplica(name, program string, env ...string) *replica {
	w.t.Helper()
	r := w.prepareReplica(name, program, planeAddress(), nil)
	r.env = env
	w.startReplica(r)
	awaitReady(w.t, r.Process, r.admin)
	return r
}

// prepareReplica opens the link of a replica that is not started yet, to a target that
// leads to the kube-apiserver.
func (w *world) prepareReplica(name, program, target string, ca []byte) *replica {
	w.t.Helper()
	l, err := link.New(target)
	must(w.t, err)
	r := &replica{name: name, program: program, link: l, address: freeAddress(w.t), admin: freeAddress(w.t)}
	r.kubeconfig = w.access("latchkey-apiserver", name, l.Address(), ca)
	w.t.Cleanup(func() { r.close(w.t) })
	return r
}

func (w *world) startReplica(r *replica) {
	w.t.Helper()
	p, err := process.Start(process.Command{
		Path: r.program,
		Args: []string{
			"--kubeconfig=" + r.kubeconfig, "--base-domain=" + baseDomain, "--surfaces=api",
			"--listen=" + r.address, "--admin-listen=" + r.admin,
			"--shutdown-delay=" + r.delay.String(), "--shutdown-grace-period=1s", "--log-level=WARN",
			"--max-staleness=" + maxStaleness.String(),
			// All bad tokens come from one address here, and each has to be judged.
			"--max-bad-tokens-per-minute=0",
		},
		Env: r.env, LogFile: w.log("apiserver-" + r.name),
	})
	must(w.t, err)
	r.Process = p
}

// close ends a replica for good.
func (r *replica) close(t *testing.T) {
	r.link.Reset()
	r.link.Set(link.Whole)
	if r.Process != nil {
		if err := r.Stop(stopGrace); err != nil {
			t.Error(err)
		}
	}
	if err := r.link.Close(); err != nil {
		t.Error(err)
	}
}

// metric is the line of a metric, without its name.
func (r *replica) metric(name string) (string, error) {
	response, err := http.Get("http://" + r.admin + "/metrics")
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(content)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value), nil
		}
	}
	return "", fmt.Errorf("%s has no metric %s", r.name, name)
}

// givenUp is how long after an instant the replica had given up the last connection to the
// cluster that it had at that instant: those that carry its watches are among them.
func (r *replica) givenUp(since time.Time) (time.Duration, error) {
	at, err := r.link.GivenUp(since)
	if err != nil {
		return 0, fmt.Errorf("%s, after %s: %w", r.name, time.Since(since), err)
	}
	return at.Sub(since), nil
}
