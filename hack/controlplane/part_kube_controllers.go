//go:build !without_kube_controllers

package main

import "github.com/latchkey-dev/latchkey/hack/controlplane/kubecontrollers"

func init() { parts["kube-controllers"] = kubecontrollers.Main }
