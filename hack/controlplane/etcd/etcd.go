// Package etcd is etcd's server.
package etcd

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

// Main runs etcd as the command line says.
func Main() { etcdmain.Main(os.Args) }
