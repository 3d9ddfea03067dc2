// Command controlplane is the Kubernetes control plane that `make run` and the tests
// use, as one program: etcd, kube-apiserver, kubectl, and kube-controllers, which runs
// the few controllers that Latchkey depends on. The name under which the program is
// called decides which of them it is, so links with these names are made to it.
//
// One program is linked once, and the code that its parts share is compiled and stored
// once. The build tags without_etcd, without_kube_apiserver, without_kube_controllers and
// without_kubectl leave a part out, for machines that have it already.
package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// parts are the programs in this one, by name. Each never returns or ends the process
// when it returns.
var parts = map[string]func(){}

func main() {
	name := filepath.Base(os.Args[0])
	run, ok := parts[name]
	if !ok {
		names := slices.Sorted(maps.Keys(parts))
		fmt.Fprintf(os.Stderr, "%s: this program has to be called by the name of one of its parts, through a link: %s\n", name, strings.Join(names, ", "))
		os.Exit(2)
	}
	run()
}
