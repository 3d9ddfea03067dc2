// Package fairqueue shares a rate of requests among tenants. A tenant that asks for more
// than its share waits behind its own requests, not before those of others.
package fairqueue

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/utils/clock"
)

// ErrFull is the error where so many requests of a tenant wait already that another one is
// refused at once.
var ErrFull = errors.New("too many requests of this tenant wait for the cluster")

// maxWaiting is how many requests of one tenant may wait in each class.
const maxWaiting = 100

// urgentOf and urgentShare say that of urgentOf requests at most urgentShare are urgent ones,
// as long as others wait: a flood of urgent ones must not stop everything else.
const urgentOf, urgentShare = 4, 3

// Queue lets requests through at a rate: the tenants take turns, and urgent requests go
// first. Requests that name no tenant are one tenant's.
type Queue struct {
	rate  float64
	burst float64
	clock clock.WithDelayedExecution

	mu sync.Mutex
	// credit is how many requests may pass at once, as of then.
	credit float64
	then   time.Time
	// urgent and normal are what waits.
	urgent, normal class
	passed         int
	timer          clock.Timer
}

var _ flowcontrol.RateLimiter = (*Queue)(nil)

// New returns a queue that lets perSecond requests pass, and burst at once.
func New(perSecond, burst int, c clock.WithDelayedExecution) *Queue {
	return &Queue{rate: float64(perSecond), burst: float64(burst), credit: float64(burst), clock: c, then: c.Now()}
}

// share is whose request a context belongs to.
type share struct {
	tenant string
	urgent bool
}

type shareKey struct{}

// With returns a context whose requests are a tenant's.
func With(ctx context.Context, tenant string) context.Context {
	return context.WithValue(ctx, shareKey{}, share{tenant: tenant})
}

// Urgent returns a context whose requests go before others, the tenants again in turns.
func Urgent(ctx context.Context) context.Context {
	s, _ := ctx.Value(shareKey{}).(share)
	s.urgent = true
	return context.WithValue(ctx, shareKey{}, s)
}

// class holds the requests of one urgency that wait.
type class struct {
	// turns are the tenants with something that waits, the next one first.
	turns []string
	by    map[string][]chan struct{}
}

// Wait returns once the request may be sent, or with an error: ErrFull, or the context's.
func (q *Queue) Wait(ctx context.Context) error {
	s, _ := ctx.Value(shareKey{}).(share)
	q.mu.Lock()
	c := &q.normal
	if s.urgent {
		c = &q.urgent
	}
	if len(c.by[s.tenant]) >= maxWaiting {
		q.mu.Unlock()
		return ErrFull
	}
	turn := c.add(s.tenant)
	q.pass()
	q.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case <-turn: // it passed in this moment
		return nil
	default:
	}
	c.remove(s.tenant, turn)
	return ctx.Err()
}

// pass lets through what may pass, and sets the timer for the next. mu is held.
func (q *Queue) pass() {
	now := q.clock.Now()
	q.credit = min(q.burst, q.credit+now.Sub(q.then).Seconds()*q.rate)
	q.then = now
	for q.credit >= 1 && q.next() {
		q.credit--
		q.passed++
	}
	if q.timer != nil || len(q.urgent.turns)+len(q.normal.turns) == 0 {
		return
	}
	wait := time.Duration((1 - q.credit) / q.rate * float64(time.Second))
	q.timer = q.clock.AfterFunc(max(wait, time.Millisecond), func() {
		go func() { // a fake clock waits for what it calls
			q.mu.Lock()
			defer q.mu.Unlock()
			q.timer = nil
			q.pass()
		}()
	})
}

// next lets one request through, and reports whether there was one.
func (q *Queue) next() bool {
	if q.passed%urgentOf < urgentShare {
		return q.urgent.next() || q.normal.next()
	}
	return q.normal.next() || q.urgent.next()
}

func (c *class) add(tenant string) chan struct{} {
	if c.by == nil {
		c.by = map[string][]chan struct{}{}
	}
	if len(c.by[tenant]) == 0 {
		c.turns = append(c.turns, tenant)
	}
	turn := make(chan struct{})
	c.by[tenant] = append(c.by[tenant], turn)
	return turn
}

func (c *class) next() bool {
	if len(c.turns) == 0 {
		return false
	}
	tenant := c.turns[0]
	c.turns = c.turns[1:]
	waiting := c.by[tenant]
	close(waiting[0])
	if len(waiting) == 1 {
		delete(c.by, tenant)
		return true
	}
	c.by[tenant] = waiting[1:]
	c.turns = append(c.turns, tenant)
	return true
}

func (c *class) remove(tenant string, turn chan struct{}) {
	waiting := slices.DeleteFunc(c.by[tenant], func(t chan struct{}) bool { return t == turn })
	if len(waiting) > 0 {
		c.by[tenant] = waiting
		return
	}
	delete(c.by, tenant)
	c.turns = slices.DeleteFunc(c.turns, func(t string) bool { return t == tenant })
}

// TryAccept implements flowcontrol.RateLimiter. Nothing passes while others wait.
func (q *Queue) TryAccept() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.pass()
	if q.credit < 1 || len(q.urgent.turns)+len(q.normal.turns) > 0 {
		return false
	}
	q.credit--
	return true
}

// Accept implements flowcontrol.RateLimiter.
func (q *Queue) Accept() { _ = q.Wait(context.Background()) }

// Stop implements flowcontrol.RateLimiter.
func (q *Queue) Stop() {}

// QPS implements flowcontrol.RateLimiter.
func (q *Queue) QPS() float32 { return float32(q.rate) }
