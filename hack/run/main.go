// Command run is `make run`: a whole Latchkey on this machine, with no cluster. It
// builds what is missing, starts a Kubernetes control plane, the manager, the API
// server and the example backend on loopback, applies the samples, issues a token
// and prints how to use it. Everything ends with it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/go-logr/logr"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
)

func main() {
	ctrllog.SetLogger(logr.Discard()) // of the library that starts the control plane
	os.Exit(run(os.Args[1:]))
}

// run returns the exit code.
func run(args []string) int {
	settings, err := parseSettings(args)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		return failed(err)
	}
	session := newSession(settings, os.Stdout, os.Stderr)
	ctx, stop := interruptible(context.Background(), session.hurry)
	defer stop()
	err = session.run(ctx)
	if signal, ok := errors.AsType[*interrupted](err); ok {
		return signal.exitCode()
	}
	return failed(err)
}

func failed(err error) int {
	fmt.Fprintln(os.Stderr, "make run:", err)
	return 1
}
