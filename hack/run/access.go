package main

import (
	"context"
	"fmt"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
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
	return file, writeKubeconfig(file, name, v1alpha1.SystemNamespace, config)
}

// writeKubeconfig writes a file that only the user can read.
func writeKubeconfig(file, user, namespace string, config *rest.Config) error {
	const name = "latchkey"
	kubeconfig := clientcmdapi.NewConfig()
	kubeconfig.Clusters[name] = &clientcmdapi.Cluster{
		Server:                   config.Host,
		CertificateAuthorityData: config.CAData,
	}
	kubeconfig.AuthInfos[user] = &clientcmdapi.AuthInfo{
		ClientCertificateData: config.CertData,
		ClientKeyData:         config.KeyData,
		Token:                 config.BearerToken,
	}
	kubeconfig.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: user, Namespace: namespace}
	kubeconfig.CurrentContext = name
	if err := clientcmd.WriteToFile(*kubeconfig, file); err != nil {
		return fmt.Errorf("write the kubeconfig of %s: %w", user, err)
	}
	return nil
}
