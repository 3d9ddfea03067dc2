package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// starting is one way to read every token at start.
type starting struct {
	name string
	run  func(context.Context) (*child, time.Duration, error)
	// found, a round each.
	ready, resident, peak []float64
}

// measureStart compares how soon the API server is ready, and how much memory it
// takes, with default client-go informers of the same objects.
func (b *bench) measureStart(ctx context.Context, size int) error {
	c, err := b.cluster(ctx)
	if err != nil {
		return err
	}
	if err := errors.Join(c.grow(ctx, size), c.stopManager()); err != nil {
		return err
	}
	subjects := c.startings()
	for range b.rounds {
		for _, s := range subjects {
			if err := b.startOnce(ctx, s); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	return b.showStart(len(c.issued), subjects)
}

func (c *cluster) startings() []*starting {
	informer := func(kinds string) func(context.Context) (*child, time.Duration, error) {
		return func(ctx context.Context) (*child, time.Duration, error) { return c.startInformer(ctx, kinds) }
	}
	return []*starting{
		{name: "informer, records", run: informer("secrets")},
		{name: "informer, records and ApiTokens", run: informer("secrets,apitokens")},
		{name: "API server", run: func(ctx context.Context) (*child, time.Duration, error) {
			s, err := c.startAPIServer(ctx, anyCore, true)
			if err != nil {
				return nil, 0, err
			}
			return s.child, s.readyAfter, nil
		}},
	}
}

// startInformer starts a default informer and waits until it is synced.
func (c *cluster) startInformer(ctx context.Context, kinds string) (*child, time.Duration, error) {
	kubeconfig, err := c.kubeconfig(ctx, "latchkey-apiserver")
	if err != nil {
		return nil, 0, err
	}
	started := time.Now()
	s, err := c.bench.startSubject(ctx, anyCore, "informer", "--kubeconfig="+kubeconfig, "--kinds="+kinds)
	if err != nil {
		return nil, 0, err
	}
	err = s.ready(ctx, "http://"+s.address+"/")
	return s, time.Since(started), err
}

func (b *bench) startOnce(ctx context.Context, s *starting) (err error) {
	process, took, err := s.run(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, process.stop()) }()
	sleep(ctx, b.settle)
	used, ok := memoryOf(process.pid())
	s.ready = append(s.ready, float64(took))
	if !ok {
		s.resident, s.peak = append(s.resident, math.NaN()), append(s.peak, math.NaN())
		return nil
	}
	s.resident, s.peak = append(s.resident, float64(used.resident)), append(s.peak, float64(used.peak))
	return nil
}

func (b *bench) showStart(tokens int, subjects []*starting) error {
	t := &table{
		Section: sectionStart, Title: fmt.Sprintf("from start to ready, and memory %s later, %d tokens, %d rounds", b.settle, tokens, b.rounds),
		Columns: []string{"process", "ready ms", "÷ informer", "RSS MiB", "peak RSS MiB", "peak ÷ informer"},
	}
	reference, ours := subjects[1], subjects[2]
	for _, s := range subjects {
		t.add(text(s.name), milliseconds(time.Duration(median(s.ready))), number("%.2f", medianRatio(s.ready, reference.ready)),
			mebibytes(median(s.resident)), mebibytes(median(s.peak)), number("%.2f", medianRatio(s.peak, reference.peak)))
	}
	t.note("Ratios are to the informer of records and ApiTokens, which the API server reads too.")
	if tokens >= b.many() {
		b.report.atMost(5, .4, "peak RSS ÷ the default informers' of the same objects", number("%.2f", medianRatio(ours.peak, reference.peak)))
		b.report.atMost(6, 1, "start to ready ÷ the default informers' of the same objects", number("%.2f", medianRatio(ours.ready, reference.ready)))
	}
	return b.report.show(t)
}
