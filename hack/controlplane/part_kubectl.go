//go:build !without_kubectl

package main

import "github.com/latchkey-dev/latchkey/hack/controlplane/kubectl"

func init() { parts["kubectl"] = kubectl.Main }
