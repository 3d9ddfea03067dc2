package controlplane

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"k8s.io/client-go/rest"

	"github.com/latchkey-dev/latchkey/internal/testing/process"
)

const (
	watchInterval = time.Second
	watchTimeout  = 5 * time.Second
	// watchFailures in a row mean that the API server is gone: fewer may be a
	// machine that is busy or was asleep.
	watchFailures = 5
)

// Watch blocks until a process of the control plane ends by itself, and says
// which. It returns nil once ctx ends.
func (cp *ControlPlane) Watch(ctx context.Context) error {
	client, err := rest.HTTPClientFor(cp.Config)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	var ended <-chan struct{} // stays nil, and blocks, without controllers
	if cp.controllers != nil {
		ended = cp.controllers.Done()
	}
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for failures := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-ended:
			return cp.controllers.Err()
		case <-tick.C:
		}
		if err := cp.live(ctx, client); err == nil {
			failures = 0
		} else if failures++; failures == watchFailures && ctx.Err() == nil {
			return cp.lost(err)
		}
	}
}

// live asks the API server, which asks etcd. envtest keeps the processes
// themselves to itself.
func (cp *ControlPlane) live(ctx context.Context, client *http.Client) error {
	ctx, cancel := context.WithTimeout(ctx, watchTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, cp.apiServer.SecureServing.URL("https", "/livez").String(), http.NoBody)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", request.URL, response.Status)
	}
	return nil
}

func (cp *ControlPlane) lost(cause error) error {
	etcd, apiServer := filepath.Join(cp.logDir, etcdLog), filepath.Join(cp.logDir, apiServerLog)
	return fmt.Errorf("kube-apiserver does not answer any more, or its etcd doesn't: %w\nThe log %s ends with:\n%s\nThe log %s ends with:\n%s",
		cause, etcd, process.Tail(etcd, 5), apiServer, process.Tail(apiServer, 5))
}
