// Package kubeapiserver is Kubernetes' own API server, with all that a cluster's has.
package kubeapiserver

import (
	"os"

	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

// Main runs kube-apiserver as the command line says.
func Main() { os.Exit(cli.Run(app.NewAPIServerCommand())) }
