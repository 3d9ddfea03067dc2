package main

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/latchkey-dev/latchkey/internal/testing/controlplane"
)

func (s *session) startControlPlane(ctx context.Context) error {
	// Kubernetes' test library makes folders for temporary files: within ours they
	// go, whatever ends this process.
	if err := os.Setenv("TMPDIR", s.files.controlPlane()); err != nil {
		return err
	}
	err := s.abortable(ctx, func() (err error) {
		s.controlPlane, err = controlplane.Start(ctx, controlplane.Options{
			Binaries:    s.binaries,
			Dir:         s.files.controlPlane(),
			LogDir:      s.files.log(""),
			Controllers: true,
		})
		return err
	})
	if err != nil {
		return err
	}
	s.onStop(s.controlPlane.Stop)
	go func() {
		if err := s.controlPlane.Watch(ctx); err != nil {
			s.fail(err)
			_ = killPrograms(s.files) // none of them can end in order without the others
		}
	}()
	return controlplane.SaveKubeconfig(s.files.kubeconfig(), "admin", "default", s.controlPlane.Config)
}

// abortable kills what the work starts as soon as ctx ends: Kubernetes' test
// library would see the start of its processes through first.
func (s *session) abortable(ctx context.Context, work func() error) error {
	finished := make(chan struct{})
	var killer sync.WaitGroup
	killer.Go(func() {
		select {
		case <-finished:
			return
		case <-ctx.Done():
		}
		for {
			_ = killPrograms(s.files) // what is left is stopped in order afterwards
			select {
			case <-finished:
				return
			case <-time.After(attemptInterval):
			}
		}
	})
	defer killer.Wait()
	defer close(finished)
	return work()
}

// install applies what an installation has besides its Deployments.
func (s *session) install(ctx context.Context) error {
	if err := s.kubectl(ctx, "apply", "--server-side", "-k", filepath.Join("config", "cluster")); err != nil {
		return err
	}
	return s.kubectl(ctx, "wait", "--for=condition=Established", "crd", "--all", "--timeout="+patience.String())
}

// kubectl runs kubectl as administrator.
func (s *session) kubectl(ctx context.Context, args ...string) error {
	_, err := s.client("kubectl", s.files.kubeconfig(), args...).run(ctx)
	return err
}

// client is kubectl, or the plugin, with the kubeconfig. It neither reads nor
// writes the user's own settings and caches of kubectl.
func (s *session) client(name, kubeconfig string, args ...string) command {
	return command{
		path: s.files.bin(name),
		args: append([]string{"--kubeconfig=" + kubeconfig}, args...),
		env:  []string{"KUBECACHEDIR=" + filepath.Join(s.files.controlPlane(), "kubectl-cache"), "KUBERC=off"},
	}
}
