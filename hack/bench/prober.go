package main

import (
	"context"
	"fmt"
	"time"
)

// prober asks again and again, as customers go on calling while something else
// happens, and counts what it is answered.
type prober struct {
	// interval is the pause between two questions.
	interval time.Duration
	// ask asks once. Its error is a failed request.
	ask func(ctx context.Context, n int) error

	latencies histogram
	asked     int
	failed    int
	// last is the last failure.
	last error

	cancel context.CancelFunc
	done   chan struct{}
}

// startProber begins to ask.
func startProber(ctx context.Context, interval time.Duration, ask func(ctx context.Context, n int) error) *prober {
	ctx, cancel := context.WithCancel(ctx)
	p := &prober{interval: interval, ask: ask, cancel: cancel, done: make(chan struct{})}
	go p.run(ctx)
	return p
}

func (p *prober) run(ctx context.Context) {
	defer close(p.done)
	for ; ; sleep(ctx, p.interval) {
		started := time.Now()
		err := p.ask(ctx, p.asked)
		if ctx.Err() != nil {
			return
		}
		p.asked++
		p.latencies.add(time.Since(started))
		if err != nil {
			p.failed++
			p.last = err
		}
	}
}

// stop ends it. What it counted may be read afterwards.
func (p *prober) stop() {
	p.cancel()
	<-p.done
}

// customers call the API server with one token after the other, over a connection
// each that is made anew after a failure.
func customers(address string, tokens []issuedToken) func(context.Context, int) error {
	var conn *connection
	return func(ctx context.Context, n int) (err error) {
		if conn == nil {
			if conn, err = dial(ctx, address); err != nil {
				return err
			}
		}
		_ = conn.SetDeadline(time.Now().Add(effectLimit))
		a, err := conn.exchange(tokens[(n*7919)%len(tokens)].request(target)) // a prime, so that tenants take turns
		if err != nil {
			_ = conn.Close()
			conn = nil
			return err
		}
		if a.status != 200 {
			return fmt.Errorf("%d: %.200s", a.status, a.body)
		}
		return nil
	}
}

// cells are what a prober tells in a table.
func (p *prober) cells() []cell {
	return []cell{number("%.0f", float64(p.asked)), number("%.0f", float64(p.failed)), milliseconds(p.latencies.quantile(.5)), milliseconds(p.latencies.quantile(.99)), milliseconds(p.latencies.quantile(1))}
}

var proberColumns = []string{"asked", "failed", "p50 ms", "p99 ms", "longest ms"}
