//go:build e2e

package e2e

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// follow keeps the logs of all pods of ours in the folder, those that end too.
func follow(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var running sync.WaitGroup
	running.Go(func() {
		seen := map[string]bool{}
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			for _, c := range containers(ctx) {
				if !seen[c.id] {
					seen[c.id] = true
					running.Go(func() { c.keep(ctx, dir) })
				}
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
	t.Cleanup(func() {
		stop()
		running.Wait()
	})
}

type container struct{ namespace, pod, name, id string }

// containers are those that have been started, of pods in our namespaces.
func containers(ctx context.Context) []container {
	const columns = `{range .items[*]}{.metadata.namespace} {.metadata.name} {range .status.containerStatuses[*]}{.name} {.containerID} {end}{"\n"}{end}`
	var all []container
	for _, namespace := range []string{system, "example", "gateway"} {
		out, err := exec.CommandContext(ctx, "kubectl", "get", "pods", "-n", namespace, "-o", "jsonpath="+columns).Output()
		if err != nil {
			continue // the API server is busy, or the test is over
		}
		for line := range strings.Lines(string(out)) {
			if f := strings.Fields(line); len(f) == 4 && strings.Contains(f[3], "://") {
				all = append(all, container{f[0], f[1], f[2], f[3]})
			}
		}
	}
	return all
}

// keep appends the container's log to the pod's file until it ends.
func (c container) keep(ctx context.Context, dir string) {
	file, err := os.OpenFile(filepath.Join(dir, c.namespace+"_"+c.pod+".log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	defer file.Close()
	cmd := exec.CommandContext(ctx, "kubectl", "logs", "-f", "-n", c.namespace, c.pod, "-c", c.name)
	cmd.Stdout, cmd.Stderr = file, io.Discard
	_ = cmd.Run() // ends with the container, or with the test
}
