package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// connections is how many keep-alive connections a subject is loaded through. Each
// has one request under way at a time.
const connections = 32

// patience is how long an answer may be missing.
const patience = 10 * time.Second

// load is what a subject gets for a while.
type load struct {
	address string
	// requests are sent in turn.
	requests [][]byte
	// status is what every answer must have, and length, unless negative, how
	// long every body must be.
	status, length int
	warmup         time.Duration
	duration       time.Duration
	// servers are the processes whose CPU time is the subject's, and helpers those
	// that share the other core with this process.
	servers, helpers []int
}

// measurement is what came of a load.
type measurement struct {
	// rate is in requests a second.
	rate     float64
	p50, p99 time.Duration
	// cpu is the server's CPU time per request. serverBusy and loadBusy are the
	// shares of the time in which server and load generator (with the backend)
	// were at work; 1 means that it was the bottleneck. All three are 0 where the
	// system does not tell.
	cpu                  time.Duration
	serverBusy, loadBusy float64
}

type phase = int32

const (
	warming phase = iota
	counting
	over
)

// apply loads the subject and measures it.
func (l *load) apply(ctx context.Context) (measurement, error) {
	ctx, cancel := context.WithTimeout(ctx, l.warmup+l.duration+patience)
	defer cancel()
	var now atomic.Int32
	group, ctx := errgroup.WithContext(ctx)
	workers := make([]*worker, connections)
	for i := range workers {
		conn, err := dial(ctx, l.address)
		if err != nil {
			return measurement{}, err
		}
		defer func() { _ = conn.Close() }()
		workers[i] = &worker{load: l, conn: conn, now: &now, next: i * len(l.requests) / connections}
	}
	stop := context.AfterFunc(ctx, func() {
		for _, w := range workers {
			_ = w.conn.SetDeadline(time.Unix(1, 0)) // ends what they wait for
		}
	})
	defer stop()
	for _, w := range workers {
		group.Go(w.run)
	}
	m := l.observe(ctx, &now)
	if err := group.Wait(); err != nil {
		return measurement{}, err
	}
	return l.evaluate(workers, m), nil
}

// observed is how long was counted, and the CPU time used meanwhile.
type observed struct {
	elapsed           time.Duration
	server, generator time.Duration
	known             bool
}

// observe leads the workers through the phases.
func (l *load) observe(ctx context.Context, now *atomic.Int32) observed {
	defer now.Store(over)
	sleep(ctx, l.warmup)
	server, generator := startCPUMeter(l.servers), startCPUMeter(append(l.helpers, os.Getpid()))
	started := time.Now()
	now.Store(counting)
	sleep(ctx, l.duration)
	now.Store(over)
	o := observed{elapsed: time.Since(started)}
	var generatorKnown bool
	o.server, o.known = server.used()
	o.generator, generatorKnown = generator.used()
	o.known = o.known && generatorKnown
	return o
}

func (l *load) evaluate(workers []*worker, o observed) measurement {
	var all histogram
	for _, w := range workers {
		all.merge(&w.latencies)
	}
	m := measurement{
		rate: float64(all.total) / o.elapsed.Seconds(),
		p50:  all.quantile(.5),
		p99:  all.quantile(.99),
	}
	if o.known && all.total > 0 {
		m.cpu = o.server / time.Duration(all.total)
		m.serverBusy = o.server.Seconds() / o.elapsed.Seconds()
		m.loadBusy = o.generator.Seconds() / o.elapsed.Seconds()
	}
	return m
}

// worker keeps one connection busy.
type worker struct {
	load      *load
	conn      *connection
	now       *atomic.Int32
	next      int
	latencies histogram
}

func (w *worker) run() error {
	for {
		if w.now.Load() == over {
			return nil
		}
		request := w.load.requests[w.next%len(w.load.requests)]
		w.next++
		started := time.Now()
		a, err := w.conn.exchange(request)
		if err != nil {
			return fmt.Errorf("under load: %w", err)
		}
		if err := w.load.expect(a); err != nil {
			return fmt.Errorf("under load: %w", err)
		}
		if w.now.Load() == counting {
			w.latencies.add(time.Since(started))
		}
	}
}

func (l *load) expect(a answer) error {
	switch {
	case a.status == 429 && l.status != 429:
		return errors.New("429: a limit of the server's stands in the way; lift it in the flags that hack/bench/apiserver.go gives")
	case a.status != l.status:
		return fmt.Errorf("status is %d, must be %d: %.200s", a.status, l.status, a.body)
	case l.length >= 0 && len(a.body) != l.length:
		return fmt.Errorf("the body has %d bytes, must have %d", len(a.body), l.length)
	}
	return nil
}

// sleep waits, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
