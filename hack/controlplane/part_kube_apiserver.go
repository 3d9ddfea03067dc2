//go:build !without_kube_apiserver

package main

import "github.com/latchkey-dev/latchkey/hack/controlplane/kubeapiserver"

func init() { parts["kube-apiserver"] = kubeapiserver.Main }
