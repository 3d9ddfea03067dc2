// Command kubectl-latchkey is the kubectl plugin, kubectl latchkey.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/cli-runtime/pkg/genericiooptions"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // kubeconfigs may sign in by OIDC

	"github.com/latchkey-dev/latchkey/internal/buildinfo"
	"github.com/latchkey-dev/latchkey/internal/cli"
)

func main() {
	os.Exit(run())
}

func run() int {
	// Otherwise a closed pipe ends the process without a word about the token
	// that was lost with it.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	err := cli.NewCommand(streams, buildinfo.Version()).ExecuteContext(ctx)
	if errors.Is(err, cli.ErrFindings) {
		return cli.ExitFindings
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		return 1
	}
	return 0
}
