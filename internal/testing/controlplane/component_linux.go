package controlplane

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/latchkey-dev/latchkey/internal/testing/process"
)

// Component is a process of a control plane that a test may kill, stop and start again.
type Component struct {
	// Args are what it was started with, the program first.
	Args []string

	plane   *ControlPlane
	healthz string
	// pid is 0 while the process does not run.
	pid int
	// again is the process if it was started again; before, it is envtest's.
	again *process.Process
}

// Etcd is the control plane's etcd.
func (cp *ControlPlane) Etcd() (*Component, error) {
	return cp.component("etcd", "--data-dir="+cp.EtcdDir(), cp.EtcdURL()+"/health")
}

// EtcdDir is the folder with etcd's data.
func (cp *ControlPlane) EtcdDir() string { return cp.environment.ControlPlane.Etcd.DataDir }

// APIServer is the control plane's kube-apiserver.
func (cp *ControlPlane) APIServer() (*Component, error) {
	return cp.component("kube-apiserver", "--cert-dir="+cp.apiServer.CertDir, cp.apiServer.SecureServing.URL("https", "/readyz").String())
}

// ServiceAccountKey is the file with the key that signs ServiceAccounts' tokens, in PEM.
func (cp *ControlPlane) ServiceAccountKey() string {
	return filepath.Join(cp.apiServer.CertDir, "sa-signer.key")
}

// component finds a child of this process by a flag that it was given: envtest keeps the
// ids of what it starts to itself.
func (cp *ControlPlane) component(name, flag, healthz string) (*Component, error) {
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		args := strings.Split(strings.TrimRight(string(content), "\x00"), "\x00")
		if filepath.Base(args[0]) != name || !slices.Contains(args, flag) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		c := &Component{Args: args, plane: cp, healthz: healthz, pid: pid}
		cp.components = append(cp.components, c)
		return c, nil
	}
	return nil, fmt.Errorf("no process %s with %s runs", name, flag)
}

// Signal sends a signal.
func (c *Component) Signal(signal syscall.Signal) error {
	if c.pid == 0 {
		return fmt.Errorf("signal %s: %s does not run", signal, filepath.Base(c.Args[0]))
	}
	if err := syscall.Kill(c.pid, signal); err != nil {
		return fmt.Errorf("signal %s to %s: %w", signal, filepath.Base(c.Args[0]), err)
	}
	return nil
}

// Kill ends the process without letting it clean up, and waits for it.
func (c *Component) Kill(ctx context.Context) error {
	pid := c.pid
	if err := c.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	c.pid = 0
	if c.again != nil {
		return c.again.Kill()
	}
	return c.await(ctx, func(context.Context) error {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("process %d is still there", pid)
		}
		return nil
	})
}

// Start starts the process again, as it was. Healthy waits until it works.
func (c *Component) Start() error {
	name := filepath.Base(c.Args[0])
	p, err := process.Start(process.Command{
		Path: c.Args[0], Args: c.Args[1:],
		LogFile: filepath.Join(c.plane.logDir, fmt.Sprintf("%s-%d.log", name, time.Now().UnixNano())),
	})
	if err != nil {
		return err
	}
	c.again, c.pid = p, p.PID()
	return nil
}

// Healthy waits until the process says that it works.
func (c *Component) Healthy(ctx context.Context) error {
	client := &http.Client{Transport: insecureTransport(), Timeout: 2 * time.Second}
	defer client.CloseIdleConnections()
	return c.await(ctx, func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.healthz, http.NoBody)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer func() { _ = response.Body.Close() }()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("GET %s: %s", c.healthz, response.Status)
		}
		return nil
	})
}

func (c *Component) await(ctx context.Context, condition func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := condition(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", filepath.Base(c.Args[0]), errors.Join(ctx.Err(), err))
		case <-tick.C:
		}
	}
}

// stop ends what was started again; the rest is envtest's.
func (c *Component) stop() error {
	if c.pid != 0 {
		_ = syscall.Kill(c.pid, syscall.SIGCONT) // one that is stopped hears no other signal
	}
	if c.again == nil {
		return nil
	}
	return c.again.Stop(stopTimeout)
}
