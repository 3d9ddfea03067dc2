package server

import (
	"context"
	"errors"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"github.com/latchkey-dev/latchkey/internal/directory"
	"github.com/latchkey-dev/latchkey/internal/token"
	"github.com/latchkey-dev/latchkey/internal/wallclock"
)

// Why a request under way was ended.
var (
	errTokenExpired = errors.New("the token expired while the request was under way")
	errTokenEnded   = errors.New("the token stopped working while the request was under way")
)

const inflightShards = 64

// inflight are the requests under way. A request ends with its token: by a timer
// at the token's expiry, and by the directory's word when something else changes.
type inflight struct {
	clock  *wallclock.Clock
	shards [inflightShards]inflightShard
}

type inflightShard struct {
	mu      sync.Mutex
	flights map[*flight]struct{}
}

// flight is one request under way.
type flight struct {
	tenant string
	digest token.Digest
	cancel context.CancelCauseFunc
	timer  clock.Timer
	// notAfter is what the timer is set to.
	notAfter time.Time
}

func newInflight(c *wallclock.Clock) *inflight {
	i := &inflight{clock: c}
	for n := range i.shards {
		i.shards[n].flights = map[*flight]struct{}{}
	}
	return i
}

// begin registers a request and returns it with a context that ends when its
// token stops working. end must be called when the request is over.
func (i *inflight) begin(ctx context.Context, t *directory.Token) (context.Context, *flight) {
	ctx, cancel := context.WithCancelCause(ctx)
	f := &flight{tenant: t.Tenant, digest: t.Digest, cancel: cancel, notAfter: t.NotAfter}
	shard := i.shard(f)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	f.timer = i.clock.AfterFunc(t.NotAfter.Sub(i.clock.Now()), func() { cancel(errTokenExpired) })
	shard.flights[f] = struct{}{}
	return ctx, f
}

// end forgets a request that is over.
func (i *inflight) end(f *flight) {
	shard := i.shard(f)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	f.timer.Stop()
	delete(shard.flights, f)
	f.cancel(nil)
}

func (i *inflight) shard(f *flight) *inflightShard {
	return &i.shards[uint(f.digest[0])%inflightShards]
}

// lookUp asks for the present state of a token, and whether it works.
type lookUp func(tenant string, digest token.Digest) (t *directory.Token, works bool)

// review ends the requests of a tenant (of all where it is empty) whose token
// works no more, and brings forward the end of those whose expiry was.
func (i *inflight) review(tenant string, current lookUp) {
	for n := range i.shards {
		shard := &i.shards[n]
		shard.mu.Lock()
		for f := range shard.flights {
			if tenant == "" || f.tenant == tenant {
				i.adjust(f, current)
			}
		}
		shard.mu.Unlock()
	}
}

// retime sets every timer anew, after the time of day was set: they count by
// monotonic time.
func (i *inflight) retime() {
	for n := range i.shards {
		shard := &i.shards[n]
		shard.mu.Lock()
		for f := range shard.flights {
			if left := f.notAfter.Sub(i.clock.Now()); left > 0 {
				f.timer.Reset(left)
			} else {
				f.cancel(errTokenExpired)
			}
		}
		shard.mu.Unlock()
	}
}

// clockCheckInterval is how often the time of day is compared with monotonic time, and
// so how long a request under way may outlive a token that was made to expire by
// setting the clock forward.
const clockCheckInterval = 500 * time.Millisecond

// followClock ends requests on time also where the system's clock is set forward,
// until stop is called.
func (i *inflight) followClock() (stop func()) {
	timer, followed := i.clock.NewTimer(clockCheckInterval), i.clock.Steps()
	stopped, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		defer timer.Stop()
		for ; ; timer.Reset(clockCheckInterval) {
			select {
			case <-stopped:
				return
			case <-timer.C():
			}
			if steps := i.clock.Steps(); steps-followed >= clockTolerance {
				followed = steps
				i.retime()
			}
		}
	}()
	return func() { close(stopped); <-ended }
}

// clockTolerance is by how much the two clocks may differ without anything being done
// about it: their readings are some time apart.
const clockTolerance = time.Millisecond

// recheck reviews one request.
func (i *inflight) recheck(f *flight, current lookUp) {
	shard := i.shard(f)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	i.adjust(f, current)
}

// adjust ends a request or sets its timer anew. The caller holds its shard's lock.
func (i *inflight) adjust(f *flight, current lookUp) {
	switch t, works := current(f.tenant, f.digest); {
	case !works:
		f.cancel(errTokenEnded)
	case !t.NotAfter.Equal(f.notAfter):
		f.notAfter = t.NotAfter
		f.timer.Reset(t.NotAfter.Sub(i.clock.Now()))
	}
}

// count is how many requests are under way.
func (i *inflight) count() int {
	n := 0
	for s := range i.shards {
		i.shards[s].mu.Lock()
		n += len(i.shards[s].flights)
		i.shards[s].mu.Unlock()
	}
	return n
}
