package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// subject is what is put under load.
type subject struct {
	// label and name identify it in the tables.
	label, name string
	// address, requests and servers are those of its load.
	address  string
	requests [][]byte
	servers  []int
	// status and check say which answer is right. A nil check accepts any body.
	status int
	check  func(body []byte) error
	// length of every body, or negative.
	length int
	// refused is a request that must be answered with 401, or nil.
	refused []byte
	// during, if set, goes on while the subject is under load, until its context
	// ends.
	during func(context.Context) error
}

// settling is how long a token may take to work once its status says so: the record
// is stored after it.
const settling = 2 * time.Second

// firstAnswer is the one that the subject must give, as soon as it gives it.
func (s *subject) firstAnswer(ctx context.Context, conn *connection) (answer, error) {
	deadline := time.Now().Add(settling)
	for {
		a, err := conn.exchange(s.requests[0])
		if err != nil {
			return a, err
		}
		err = (&load{status: s.status, length: s.length}).expect(a)
		if err == nil || time.Now().After(deadline) || ctx.Err() != nil {
			return a, err
		}
		sleep(ctx, 10*time.Millisecond)
	}
}

// verify makes sure that a subject works: what is broken may look fast.
func (s *subject) verify(ctx context.Context) error {
	conn, err := dial(ctx, s.address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	a, err := s.firstAnswer(ctx, conn)
	if err != nil {
		return err
	}
	if s.check != nil {
		if err := s.check(a.body); err != nil {
			return err
		}
	}
	if s.refused == nil {
		return nil
	}
	if a, err = conn.exchange(s.refused); err == nil && a.status != 401 {
		err = fmt.Errorf("an unknown token was answered with %d, must be 401", a.status)
	}
	return err
}

func sameBody(want []byte) func([]byte) error {
	return func(body []byte) error {
		if !bytes.Equal(body, want) {
			return fmt.Errorf("the body is %.80q…, must be %.80q…", body, want)
		}
		return nil
	}
}

// maxTries is how often a turn in which nothing was answered is repeated.
const maxTries = 10

// alternate gives each subject its turn in every round.
func (b *bench) alternate(ctx context.Context, subjects []*subject) (*results, error) {
	for _, s := range subjects {
		if err := s.verify(ctx); err != nil {
			return nil, fmt.Errorf("subject %s, %s: %w", s.label, s.name, err)
		}
	}
	free, err := b.reserveCores(subjects)
	if err != nil {
		return nil, err
	}
	defer free()
	r := &results{subjects, make([][]measurement, len(subjects))}
	for range b.rounds {
		for i, s := range subjects {
			m, err := b.turn(ctx, s)
			// A machine that is busy with other things may leave no time at all.
			for tries := 1; err == nil && m.rate == 0 && tries < maxTries; tries++ {
				m, err = b.turn(ctx, s)
			}
			if err != nil {
				return nil, fmt.Errorf("subject %s, %s: %w", s.label, s.name, err)
			}
			r.found[i] = append(r.found[i], m)
		}
	}
	return r, nil
}

// turn puts one subject under load once.
func (b *bench) turn(ctx context.Context, s *subject) (m measurement, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	if s.during != nil {
		group.Go(func() error { return s.during(ctx) })
	}
	l := &load{
		address: s.address, requests: s.requests, status: s.status, length: s.length,
		warmup: b.duration / 5, duration: b.duration, servers: s.servers, helpers: b.helpers(),
	}
	group.Go(func() error {
		defer cancel()
		m, err = l.apply(ctx)
		return err
	})
	return m, group.Wait()
}

// reserveCores leaves the server's core to the subjects: this process and all
// that it started, but for them, move to the other one.
func (b *bench) reserveCores(subjects []*subject) (free func(), err error) {
	if !b.cores.pinned {
		return func() {}, nil
	}
	var stay []int
	for _, s := range subjects {
		stay = append(stay, s.servers...)
	}
	var undo []func()
	free = func() {
		for _, f := range undo {
			f()
		}
		runtime.SetDefaultGOMAXPROCS()
	}
	runtime.GOMAXPROCS(1)
	for _, pid := range append(descendants(os.Getpid()), os.Getpid()) {
		if slices.Contains(stay, pid) {
			continue
		}
		unpin, err := pin(pid, b.cores.load)
		if err != nil {
			free()
			return nil, err
		}
		undo = append(undo, unpin)
	}
	return free, nil
}

// results are what was measured of some subjects, by subject and round.
type results struct {
	subjects []*subject
	found    [][]measurement
}

// median is the median of a value over the rounds of a subject.
func (r *results) median(subject int, value func(measurement) float64) float64 {
	return median(column(r.found[subject], value))
}

// of is a value of the subject with the label, by round; none if there is no such
// subject.
func (r *results) of(label string, value func(measurement) float64) []float64 {
	for i, s := range r.subjects {
		if s.label == label {
			return column(r.found[i], value)
		}
	}
	return nil
}

func rate(m measurement) float64       { return m.rate }
func p50(m measurement) float64        { return float64(m.p50) }
func p99(m measurement) float64        { return float64(m.p99) }
func cpu(m measurement) float64        { return float64(m.cpu) }
func serverBusy(m measurement) float64 { return m.serverBusy }
func loadBusy(m measurement) float64   { return m.loadBusy }

// columnsOfLoad are the heads of what cells returns.
var columnsOfLoad = []string{"requests/s", "p50 µs", "p99 µs", "CPU µs/request", "server busy", "load busy"}

// cells are a subject's medians.
func (r *results) cells(subject int) []cell {
	return []cell{
		number("%.0f", r.median(subject, rate)),
		microseconds(time.Duration(r.median(subject, p50))),
		microseconds(time.Duration(r.median(subject, p99))),
		known("%.1f", r.median(subject, cpu)/1000),
		known("%.2f", r.median(subject, serverBusy)),
		known("%.2f", r.median(subject, loadBusy)),
	}
}

// doubt notes which throughputs are not what the server can do.
func (r *results) doubt(t *table) {
	const limit = .9
	var limited, disturbed []string
	for i, s := range r.subjects {
		server, load := r.median(i, serverBusy), r.median(i, loadBusy)
		switch {
		case server == 0 || server >= limit: // not told, or at its limit
		case load >= limit:
			limited = append(limited, s.label)
		default:
			disturbed = append(disturbed, s.label)
		}
	}
	if len(limited) > 0 {
		t.note("%s: load generator and backend were the limit; the server could do more.", strings.Join(limited, ", "))
	}
	if len(disturbed) > 0 {
		t.note("%s: neither core was busy: something else used the machine. Measure again.", strings.Join(disturbed, ", "))
	}
}
