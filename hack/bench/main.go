// Command bench measures what Latchkey costs beside what others cost: everything
// in one run on one machine, in alternating rounds, so that the machine's noise
// hits all alike. docs/benchmarks.md explains the tables.
//
//	bench [flags]                 measures and prints tables
//	bench scale [flags]           measures one large installation
//	bench profile [flags]         writes a CPU profile of one subject under load
//	bench serve SUBJECT [flags]   is one of the subjects; the others start it
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// What the Kubernetes libraries log would stand between the tables.
	klog.SetLogger(logr.Discard())
	ctrllog.SetLogger(logr.Discard())
	if err := dispatch(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func dispatch(ctx context.Context, args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case "serve":
			return serve(ctx, args[1:])
		case "profile":
			return profile(ctx, args[1:], os.Stdout)
		case "scale":
			return scale(ctx, args[1:], os.Stdout)
		}
	}
	return run(ctx, args, os.Stdout)
}

// run measures every section that was asked for. Figures never make it fail;
// wrong answers and errors do.
func run(ctx context.Context, args []string, out io.Writer) (err error) {
	o, err := parseOptions(args)
	if err != nil {
		return err
	}
	b, err := newBench(ctx, o, out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close(ctx, err)) }()
	for _, step := range b.steps() {
		if !o.wants(step.section) {
			continue
		}
		b.say("section %s …", step.title)
		if err := step.run(ctx); err != nil {
			if ctx.Err() != nil {
				return errors.New("interrupted")
			}
			return fmt.Errorf("section %s: %w", step.title, err)
		}
	}
	return b.report.finish(o.json, o.markdown)
}
