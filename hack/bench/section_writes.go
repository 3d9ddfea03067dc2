package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// writesPerSecond is what goes on while requests are served.
const writesPerSecond = 50

// measureWrites compares throughput while tokens come and go with calm. The writes
// are about the tenant that the requests are of, so that its requests under way
// are reviewed at each.
func (b *bench) measureWrites(ctx context.Context) (err error) {
	c, err := b.cluster(ctx)
	if err != nil {
		return err
	}
	if err := errors.Join(c.grow(ctx, b.many()), c.stopManager()); err != nil {
		return err
	}
	s, err := c.startAPIServer(ctx, b.cores.server, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	e, err := newEffects(ctx, c, s.address)
	if err != nil {
		return err
	}
	defer e.close()
	known, object, err := e.accepted(ctx)
	if err != nil {
		return err
	}
	calm := &subject{
		label: "calm", name: "without writes", address: s.address, servers: []int{s.pid()}, requests: [][]byte{known.request(target)},
		status: 200, length: len(body), check: sameBody(body),
	}
	w := &writer{cluster: c}
	busy := *calm
	busy.label, busy.name, busy.during = "busy", "with writes", w.run
	results, err := b.alternate(ctx, []*subject{calm, &busy})
	if err != nil {
		return err
	}
	if err := e.remove(ctx, object, true); err != nil {
		return err
	}
	return b.showWrites(len(c.issued), w, results)
}

func (b *bench) showWrites(tokens int, w *writer, r *results) error {
	t := &table{
		Section: sectionWrites, Title: fmt.Sprintf("through the API server while tokens come and go, %d tokens, %d rounds of %s", tokens, b.rounds, b.duration),
		Columns: slices.Concat([]string{"", "meanwhile"}, columnsOfLoad, []string{"÷ calm"}),
	}
	written := fmt.Sprintf("%.0f writes/s", float64(w.done)/w.busy.Seconds())
	for i, meanwhile := range []string{"nothing", written} {
		s := r.subjects[i]
		ratio := medianRatio(r.of(s.label, rate), r.of(r.subjects[0].label, rate))
		t.add(slices.Concat([]cell{text(s.label), text(meanwhile)}, r.cells(i), []cell{number("%.2f", ratio)})...)
	}
	t.note("What the writes cost, and the control plane, is on the load generator's core.")
	r.doubt(t)
	b.report.atLeast(7, .9, "throughput with "+written+" ÷ calm", t.Rows[1][len(t.Columns)-1])
	return b.report.show(t)
}

// writer makes tokens and ends them again: an ApiToken, its record, and the end of
// both are four writes.
type writer struct {
	cluster *cluster
	serial  int
	done    int
	busy    time.Duration
	undone  []func(context.Context) error
}

// run writes at its pace until ctx ends, and cleans up then.
func (w *writer) run(ctx context.Context) error {
	started := time.Now()
	tick := time.NewTicker(time.Second / writesPerSecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			w.busy += time.Since(started)
			return w.finish(context.WithoutCancel(ctx))
		case <-tick.C:
			if err := w.next(context.WithoutCancel(ctx)); err != nil {
				return err
			}
			w.done++
		}
	}
}

// next makes the next write: one that is due of the token under way, or the first
// of a new one.
func (w *writer) next(ctx context.Context) error {
	if len(w.undone) == 0 {
		return w.begin(ctx)
	}
	write := w.undone[0]
	w.undone = w.undone[1:]
	return write(ctx)
}

func (w *writer) begin(ctx context.Context) error {
	w.serial++
	_, object, err := newApiToken(benchTenant, fmt.Sprintf("writes-%06d", w.serial))
	if err != nil {
		return err
	}
	if err := w.cluster.client.Create(ctx, object); err != nil {
		return err
	}
	secret, err := recordOf(object)
	if err != nil {
		return err
	}
	w.undone = []func(context.Context) error{
		func(ctx context.Context) error { // where a manager runs, it may have been sooner
			return client.IgnoreAlreadyExists(w.cluster.client.Create(ctx, secret))
		},
		func(ctx context.Context) error { return w.cluster.client.Delete(ctx, object) },
		func(ctx context.Context) error { return client.IgnoreNotFound(w.cluster.client.Delete(ctx, secret)) },
	}
	return nil
}

func (w *writer) finish(ctx context.Context) error {
	for len(w.undone) > 0 {
		if err := w.next(ctx); err != nil {
			return err
		}
	}
	return nil
}
