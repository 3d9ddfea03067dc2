package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
)

// effects follows writes to their effect, in calm and while 50 writes a second go on.
func (s *scaling) effects(ctx context.Context) (err error) {
	server, err := s.startAPIServer(ctx, anyCore, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	e, err := newEffects(ctx, s.cluster, server.address)
	if err != nil {
		return err
	}
	defer e.close()
	t := &table{
		Section: partEffect, Title: fmt.Sprintf("from a write's return to its effect, %d tokens, %d writes", len(s.issued), s.samples),
		Columns: []string{"write", "meanwhile", "p50 ms", "p99 ms", "longest ms"},
	}
	w := &writer{cluster: s.cluster}
	for _, meanwhile := range []string{"nothing", "writes"} {
		e.found = map[string][]time.Duration{}
		during := func(context.Context) error { return nil }
		if meanwhile == "writes" {
			during = w.run
		}
		if err := s.effectsDuring(ctx, e, during); err != nil {
			return err
		}
		if meanwhile == "writes" {
			meanwhile = fmt.Sprintf("%.0f writes/s", float64(w.done)/w.busy.Seconds())
		}
		for _, what := range []string{effectRecord, effectRevoke, effectDelete, effectIssue} {
			p50, p99 := milliseconds(quantile(e.found[what], .5)), milliseconds(quantile(e.found[what], .99))
			t.add(text(what), text(meanwhile), p50, p99, milliseconds(quantile(e.found[what], 1)))
		}
	}
	t.note("The first three are followed with the manager stopped, the fourth with the manager at work. It writes twice for each token that is issued; those writes come on top of the 50 a second.")
	return s.report.show(t)
}

// effectsDuring follows every kind of write while something else goes on.
func (s *scaling) effectsDuring(ctx context.Context, e *effects, during func(context.Context) error) error {
	if err := errors.Join(s.stopManager(), e.reconnect(ctx)); err != nil {
		return err
	}
	err := alongside(ctx, during, func(ctx context.Context) error {
		for range s.samples {
			if err := errors.Join(e.revoke(ctx), e.delete(ctx)); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, s.startManager(ctx), e.reconnect(ctx)); err != nil {
		return err
	}
	return alongside(ctx, during, func(ctx context.Context) error {
		for range s.samples {
			if err := e.issue(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}

// alongside does something while something else goes on, whose context ends with it.
func alongside(ctx context.Context, during, do func(context.Context) error) error {
	group, ctx := errgroup.WithContext(ctx)
	meanwhile, stop := context.WithCancel(ctx)
	group.Go(func() error { return during(meanwhile) })
	group.Go(func() error {
		defer stop()
		return do(ctx)
	})
	return group.Wait()
}
