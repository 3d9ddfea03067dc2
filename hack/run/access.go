package main

import (
	"context"
	"time"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/testing/controlplane"
)

// serviceAccountValidity is longer than anybody leaves a run. Only a pod's kubelet
// would renew such a token.
const serviceAccountValidity = 30 * 24 * time.Hour

// serviceAccountKubeconfig writes a kubeconfig with which a process of ours is
// what it would be in a pod, and returns its name.
func (s *session) serviceAccountKubeconfig(ctx context.Context, name string) (string, error) {
	config, err := s.controlPlane.ServiceAccountConfig(ctx, v1alpha1.SystemNamespace, name, serviceAccountValidity)
	if err != nil {
		return "", err
	}
	file := s.files.access(name + ".kubeconfig")
	return file, controlplane.SaveKubeconfig(file, name, v1alpha1.SystemNamespace, config)
}
