//go:build !without_etcd

package main

import "github.com/latchkey-dev/latchkey/hack/controlplane/etcd"

func init() { parts["etcd"] = etcd.Main }
