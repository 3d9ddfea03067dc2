package main

import (
	"context"
	"path/filepath"

	"github.com/latchkey-dev/latchkey/internal/controlplane"
)

func (s *session) startControlPlane(ctx context.Context) error {
	var err error
	s.controlPlane, err = controlplane.Start(ctx, controlplane.Options{
		Binaries:          s.binaries,
		Dir:               s.files.controlPlane(),
		LogDir:            s.files.log(""),
		ControllerManager: true,
	})
	if err != nil {
		return err
	}
	s.onStop(s.controlPlane.Stop)
	go func() {
		if err := s.controlPlane.Watch(ctx); err != nil {
			s.fail(err)
		}
	}()
	return writeKubeconfig(s.files.kubeconfig(), "admin", "default", s.controlPlane.Config)
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
