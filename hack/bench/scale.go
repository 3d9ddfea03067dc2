package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// scaleOptions say how large the installation is.
type scaleOptions struct {
	// total is how many tokens there are, of how many tenants. One tenant has many.
	total, tenants, crowd int
	// sample is how many of them are really issued.
	sample int
	only   []string
}

var (
	fullScale = scaleOptions{total: 100_000, tenants: 1000, crowd: 10_000, sample: 1000}
	fullRuns  = options{rounds: 2, samples: 200, batch: 1000, settle: 2 * time.Second, duration: 5 * time.Second}

	quickScale = scaleOptions{total: 2000, tenants: 50, crowd: 200, sample: 50}
	quickRuns  = options{rounds: 1, samples: 10, batch: 50, settle: 200 * time.Millisecond, duration: time.Second}
)

// scaling measures one large installation.
type scaling struct {
	*bench
	scaleOptions
	*cluster
	etcd *etcd
	// others are tokens of all tenants but the crowd's, and crowded are that one's.
	others, crowded []issuedToken
}

// The parts of the measurement, in their order.
const (
	partFill    = "fill"
	partIssue   = "issue"
	partMemory  = "memory"
	partEffect  = "effect"
	partManager = "manager"
	partResync  = "resync"
	partDelete  = "delete"
)

var scaleParts = []string{partFill, partIssue, partMemory, partEffect, partManager, partResync, partDelete}

// scale measures an installation with many tokens of many tenants on one control
// plane. docs/scaling.md explains the tables.
func scale(ctx context.Context, args []string, out io.Writer) (err error) {
	o, runs, err := parseScale(args)
	if err != nil {
		return err
	}
	b, err := newBench(ctx, runs, out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close(ctx, err)) }()
	b.whole = true
	s := &scaling{bench: b, scaleOptions: o}
	for _, part := range []struct {
		name string
		run  func(context.Context) error
	}{
		{partFill, s.fill}, {partIssue, s.issuing}, {partMemory, s.memory}, {partEffect, s.effects},
		{partManager, s.restarts}, {partResync, s.resync}, {partDelete, s.deletion},
	} {
		if part.name != partFill && len(o.only) > 0 && !slices.Contains(o.only, part.name) {
			continue
		}
		b.say("part %s …", part.name)
		started := time.Now()
		if err := part.run(ctx); err != nil {
			if ctx.Err() != nil {
				return errors.New("interrupted")
			}
			return fmt.Errorf("part %s: %w", part.name, err)
		}
		b.say("  took %s", time.Since(started).Round(time.Second))
		// What was measured so far is kept, whatever happens later.
		if err := b.report.write(runs.json, runs.markdown); err != nil {
			return err
		}
	}
	return b.report.finish(runs.json, runs.markdown)
}

func parseScale(args []string) (scaleOptions, options, error) {
	var given scaleOptions
	var runs options
	var quickly bool
	var only string
	flags := flag.NewFlagSet("scale", flag.ContinueOnError)
	flags.BoolVar(&quickly, "quick", false, "check in two minutes that everything works: fewer tokens, fewer rounds")
	flags.IntVar(&given.total, "tokens", 0, fmt.Sprintf("how many tokens there are (default %d, with --quick %d)", fullScale.total, quickScale.total))
	flags.IntVar(&given.tenants, "tenants", 0, fmt.Sprintf("how many tenants have them (default %d, with --quick %d)", fullScale.tenants, quickScale.tenants))
	flags.IntVar(&given.crowd, "crowd", 0, fmt.Sprintf("how many of the tokens are one tenant's, which is deleted at the end (default %d, with --quick %d)", fullScale.crowd, quickScale.crowd))
	flags.StringVar(&only, "only", "", "comma-separated parts to measure besides fill: "+strings.Join(scaleParts, ", ")+" (default: all)")
	flags.StringVar(&runs.json, "json", "", "a file that gets the figures as JSON")
	flags.StringVar(&runs.markdown, "markdown", "", "a file that gets the tables as Markdown, for docs/scaling.md")
	if err := flags.Parse(args); err != nil {
		return given, runs, err
	}
	o, r := fullScale, fullRuns
	if quickly {
		o, r = quickScale, quickRuns
	}
	o.total, o.tenants, o.crowd = cmp.Or(given.total, o.total), cmp.Or(given.tenants, o.tenants), cmp.Or(given.crowd, o.crowd)
	r.json, r.markdown = runs.json, runs.markdown
	r.tokens = []int{o.total}
	if only != "" {
		o.only = strings.Split(only, ",")
	}
	return o, r, o.validate(flags.Args())
}

func (o *scaleOptions) validate(rest []string) error {
	for _, name := range o.only {
		if !slices.Contains(scaleParts, name) {
			return fmt.Errorf("--only: there is no part %q; there are: %s", name, strings.Join(scaleParts, ", "))
		}
	}
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q; see --help", rest[0])
	case o.tenants < 2:
		return fmt.Errorf("--tenants=%d: must be at least 2", o.tenants)
	case o.crowd < 1 || o.total-o.crowd < o.tenants-1+o.sample:
		return fmt.Errorf("--tokens=%d --crowd=%d: must leave at least %d tokens for the other tenants", o.total, o.crowd, o.tenants-1+o.sample)
	}
	return nil
}
