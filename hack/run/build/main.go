// Command build builds what `make run` and the tests start, and reports its progress. It
// needs nothing but the standard library, so Go compiles it in seconds even where the rest
// takes minutes.
//
//	build run [flags]     builds everything for `make run`, and then becomes it
//	build controlplane    builds the control plane, and prints its folder
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/latchkey-dev/latchkey/internal/testing/programs"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	err := run(ctx, os.Args[1:])
	switch {
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(os.Stderr, "\nStopped. What was compiled is kept; the next start goes on from there.")
		os.Exit(128 + int(syscall.SIGINT))
	case err != nil:
		fmt.Fprintf(os.Stderr, "%s: %v\n", caller(), err)
		os.Exit(1)
	}
}

// caller names the command that the user has started.
func caller() string {
	if len(os.Args) > 1 && os.Args[1] == "run" {
		return "make run"
	}
	return "build"
}

func run(ctx context.Context, args []string) error {
	if err := programs.CheckRoot(); err != nil {
		return err
	}
	if len(args) == 0 {
		return errors.New("say what to build: run or controlplane")
	}
	report := programs.NewReport(os.Stderr)
	switch args[0] {
	case "run":
		return buildAndRun(ctx, report, args[1:])
	case "controlplane":
		dir, err := programs.ControlPlane(ctx, report)
		if err != nil {
			return err
		}
		fmt.Println(dir)
		return nil
	}
	return fmt.Errorf("unknown argument %q: say run or controlplane", args[0])
}

// buildAndRun replaces this process, so that whoever started it signals the new one.
func buildAndRun(ctx context.Context, report *programs.Report, args []string) error {
	dir, err := filepath.Abs(filepath.Join(cmp.Or(os.Getenv("RUN_DIR"), ".run"), "programs"))
	if err != nil {
		return fmt.Errorf("RUN_DIR: %w", err)
	}
	controlPlane, err := programs.Build(ctx, report, dir, append(programs.Latchkey, "./hack/run")...)
	if err != nil {
		return err
	}
	program := filepath.Join(dir, "run")
	arguments := append([]string{program, "-controlplane=" + controlPlane}, args...)
	return fmt.Errorf("start %s: %w", program, syscall.Exec(program, arguments, os.Environ()))
}
