package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/latchkey-dev/latchkey/internal/testing/controlplane"
)

const (
	// baseDomain is that of the tenants' hosts. Nothing resolves it: connections
	// go to loopback.
	baseDomain = "example.com"
	// target is the path of every request that is to reach the backend.
	target = "/api/v1/bench"
	// stopGrace is how long a process may take to end.
	stopGrace = 20 * time.Second
)

// bench is one run.
type bench struct {
	options
	cores  cores
	report *report
	// dir is removed at the end; the logs in it are kept after an error.
	dir string
	// self is this program, which is also the subjects that are not Latchkey.
	self string

	// What sections share is started by the first that needs it.
	backend  *child
	programs string
	shared   *cluster
	// whole starts all of the control plane, so that deleted namespaces end too.
	whole bool
	// elect has managers elect a leader.
	elect bool
	// checkCost is what the check of a token takes, if it was measured.
	checkCost time.Duration

	stops []func() error
}

func newBench(ctx context.Context, o options, out io.Writer) (*bench, error) {
	b := &bench{options: o, cores: findCores(), report: &report{out: out}}
	var err error
	if b.self, err = os.Executable(); err != nil {
		return nil, err
	}
	if b.dir, err = os.MkdirTemp("", "latchkey-bench-"); err != nil {
		return nil, err
	}
	if err = os.Mkdir(b.path("logs"), 0o700); err == nil {
		err = b.report.begin(hardware(b.cores))
	}
	if err == nil {
		b.backend, err = b.startSubject(ctx, b.cores.load, "backend")
	}
	if err != nil {
		return nil, errors.Join(err, b.close(ctx, err))
	}
	return b, nil
}

func (b *bench) path(elements ...string) string {
	return filepath.Join(append([]string{b.dir}, elements...)...)
}

func (b *bench) log(name string) string { return b.path("logs", name+".log") }

// say tells progress.
func (b *bench) say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

func (b *bench) onStop(stop func() error) { b.stops = append(b.stops, stop) }

// close ends what was started, last first. The logs stay after an error, unless it
// is that somebody interrupted the run.
func (b *bench) close(ctx context.Context, cause error) error {
	var errs []error
	for _, stop := range slices.Backward(b.stops) {
		errs = append(errs, stop())
	}
	b.stops = nil
	if cause == nil || ctx.Err() != nil {
		return errors.Join(append(errs, os.RemoveAll(b.dir))...)
	}
	entries, err := os.ReadDir(b.dir)
	errs = append(errs, err)
	for _, entry := range entries {
		if entry.Name() != "logs" {
			errs = append(errs, os.RemoveAll(b.path(entry.Name())))
		}
	}
	b.say("logs are in %s", b.path("logs"))
	return errors.Join(errs...)
}

// helpers are the processes that share a core with the load generator and take
// part in every request.
func (b *bench) helpers() []int { return []int{b.backend.pid()} }

// program is the path of one of this repository's programs, which the first call
// builds.
func (b *bench) program(ctx context.Context, name string) (string, error) {
	if b.programs == "" {
		dir := b.path("bin")
		if err := controlplane.BuildPrograms(ctx, dir, "./cmd/apiserver", "./cmd/manager"); err != nil {
			return "", err
		}
		b.programs = dir
	}
	return filepath.Join(b.programs, name), nil
}

// cluster is the control plane that sections share. Its tokens only grow in number.
func (b *bench) cluster(ctx context.Context) (*cluster, error) {
	if b.shared == nil {
		c, err := b.startCluster(ctx, "cluster")
		if err != nil {
			return nil, err
		}
		b.shared = c
	}
	return b.shared, nil
}

// step is a section, or one of its parts.
type step struct {
	section, title string
	run            func(context.Context) error
}

// steps are ordered so that the shared cluster only has to grow.
func (b *bench) steps() []step {
	steps := []step{
		{sectionCheck, sectionCheck, b.measureCheck},
		{sectionHeap, sectionHeap, b.measureHeap},
		{sectionRequest, sectionRequest, b.measureRequest},
		b.effectStep(b.few),
		{sectionIssue, sectionIssue, b.measureIssue},
	}
	for _, size := range b.tokens {
		steps = append(steps, step{sectionStart, fmt.Sprintf("%s with %d tokens", sectionStart, size), func(ctx context.Context) error {
			return b.measureStart(ctx, size)
		}})
	}
	return append(steps,
		b.effectStep(b.many()),
		step{sectionFlat, sectionFlat, b.measureFlat},
		step{sectionWrites, sectionWrites, b.measureWrites},
	)
}

func (b *bench) effectStep(size int) step {
	return step{sectionEffect, fmt.Sprintf("%s with %d tokens", sectionEffect, size), func(ctx context.Context) error {
		return b.measureEffect(ctx, size)
	}}
}
