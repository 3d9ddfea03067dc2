package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/latchkey-dev/latchkey/internal/testing/freeport"
	"github.com/latchkey-dev/latchkey/internal/testing/process"
)

// manager is the real manager.
type manager struct {
	*child
	health, metrics string
}

// startManager starts the real manager, unless it runs, and waits until it has
// nothing more to do.
func (c *cluster) startManager(ctx context.Context) error {
	if c.manager != nil {
		return nil
	}
	m, err := c.launchManager(ctx)
	if err != nil {
		return err
	}
	c.manager = m
	return m.idle(ctx, len(c.issued))
}

// launchManager starts a manager and waits until it says that it is ready: it has read
// everything then, and may lead or not.
func (c *cluster) launchManager(ctx context.Context) (*manager, error) {
	m, err := c.beginManager(ctx)
	if err != nil {
		return nil, err
	}
	return m, m.ready(ctx, m.health)
}

// beginManager starts a manager.
func (c *cluster) beginManager(ctx context.Context) (*manager, error) {
	program, err := c.bench.program(ctx, "manager")
	if err != nil {
		return nil, err
	}
	kubeconfig, err := c.kubeconfig(ctx, "latchkey-manager")
	if err != nil {
		return nil, err
	}
	health, err := freeport.Address()
	if err != nil {
		return nil, err
	}
	metrics, err := freeport.Address()
	if err != nil {
		return nil, err
	}
	s, err := c.bench.start(anyCore, process.Command{
		Path: program,
		Args: []string{
			"--kubeconfig=" + kubeconfig, "--base-domain=" + baseDomain, fmt.Sprintf("--leader-elect=%t", c.bench.elect),
			"--health-listen=" + health, "--metrics-listen=" + metrics, "--log-level=WARN",
		},
		LogFile: c.bench.log("manager"),
	})
	if err != nil {
		return nil, err
	}
	return &manager{child: s, health: "http://" + health + "/readyz", metrics: "http://" + metrics + "/metrics"}, nil
}

func (c *cluster) stopManager() error {
	if c.manager == nil {
		return nil
	}
	stopped := c.manager
	c.manager = nil
	return stopped.stop()
}

// quietChecks is how often in a row a manager must have nothing to do.
const quietChecks = 5

// idle waits until the manager has looked at every ApiToken at least once since it
// was started, and has worked through its queues.
func (m *manager) idle(ctx context.Context, apiTokens int) error {
	quiet := 0
	return m.await(ctx, 100*time.Millisecond, func() error {
		seen, pending, err := m.progress(ctx)
		if err != nil {
			return err
		}
		if quiet++; seen < float64(apiTokens) || pending > 0 {
			quiet = 0
		}
		if quiet < quietChecks {
			return fmt.Errorf("the manager has reconciled %.0f times and %.0f objects wait; there are %d ApiTokens", seen, pending, apiTokens)
		}
		return nil
	})
}

// progress is how many ApiTokens were reconciled, and how many objects of any
// kind wait for it.
func (m *manager) progress(ctx context.Context) (seen, pending float64, err error) {
	const reconciled = "controller_runtime_reconcile_total"
	samples, err := scrape(ctx, http.DefaultClient, m.metrics, reconciled, "workqueue_depth", "controller_runtime_active_workers")
	for _, s := range samples {
		switch {
		case s.name != reconciled:
			pending += s.value
		case s.labels["controller"] == "apitoken":
			seen += s.value
		}
	}
	return seen, pending, err
}
