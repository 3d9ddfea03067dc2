package fairqueue_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"k8s.io/utils/clock"

	"github.com/latchkey-dev/latchkey/internal/fairqueue"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const perSecond, burst = 100, 200

// flood has a tenant ask as fast as it is let through, many requests at a time, until the
// context ends. It returns how many passed and how many were refused at once.
func flood(ctx context.Context, q *fairqueue.Queue, atATime int) (passed, refused chan int) {
	passed, refused = make(chan int, atATime), make(chan int, atATime)
	for range atATime {
		go func() {
			p, r := 0, 0
			for ctx.Err() == nil {
				switch err := q.Wait(ctx); {
				case err == nil:
					p++
				case errors.Is(err, fairqueue.ErrFull):
					r++
					time.Sleep(100 * time.Millisecond) // in a bubble of synctest
				}
			}
			passed <- p
			refused <- r
		}()
	}
	return passed, refused
}

func sum(c chan int) (total int) {
	for range cap(c) {
		total += <-c
	}
	return total
}

// While one tenant floods, another's requests wait for a turn and no longer, and an urgent one
// not even for that. The rate is kept all the while, and nobody's share is left unused.
func TestAFloodOnlySlowsItself(t *testing.T) {
	for name, tc := range map[string]struct {
		tenants int
		urgent  bool
		longest time.Duration
	}{
		"one tenant floods":                   {1, false, 40 * time.Millisecond},
		"one floods, and the other is urgent": {1, true, 20 * time.Millisecond},
		"ten tenants flood":                   {10, false, 150 * time.Millisecond},
		"ten flood, and the other is urgent":  {10, true, 20 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := fairqueue.New(perSecond, burst, clock.RealClock{})
				ctx, cancel := context.WithCancel(t.Context())
				var passed, refused []chan int
				for n := range tc.tenants {
					p, r := flood(fairqueue.With(ctx, fmt.Sprint("flooder ", n)), q, 120)
					passed, refused = append(passed, p), append(refused, r)
				}
				time.Sleep(4 * time.Second) // the burst is used up
				other := fairqueue.With(ctx, "other")
				if tc.urgent {
					other = fairqueue.Urgent(other)
				}
				for range 50 {
					began := time.Now()
					if err := q.Wait(other); err != nil {
						t.Fatal(err)
					}
					if took := time.Since(began); took > tc.longest {
						t.Errorf("another tenant's request waited for %s, want %s at most", took, tc.longest)
					}
				}
				cancel()
				total, turnedAway := 50, 0
				for n := range passed {
					total, turnedAway = total+sum(passed[n]), turnedAway+sum(refused[n])
				}
				if total < burst+4*perSecond {
					t.Errorf("%d requests passed in more than 4 s at %d/s: some of the rate was left unused", total, perSecond)
				}
				if turnedAway == 0 {
					t.Error("of 120 requests of a tenant at a time none was refused")
				}
			})
		})
	}
}

// The rate holds, whoever asks.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := fairqueue.New(perSecond, burst, clock.RealClock{})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		a, _ := flood(fairqueue.With(ctx, "a"), q, 120)
		b, _ := flood(fairqueue.Urgent(fairqueue.With(ctx, "b")), q, 120)
		ofA, ofB := sum(a), sum(b)
		if total := ofA + ofB; total < burst+10*perSecond*99/100 || total > burst+10*perSecond*101/100 {
			t.Errorf("%d requests passed in 10 s, want %d", total, burst+10*perSecond)
		}
		if ofA < 10*perSecond/5 {
			t.Errorf("a flood of urgent requests left %d of %d to others", ofA, ofA+ofB)
		}
	})
}

// A request that is given up leaves its place, and passes nothing.
func TestGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := fairqueue.New(1, 1, clock.RealClock{})
		if !q.TryAccept() || q.TryAccept() {
			t.Error("a burst of one lets other than one request pass")
		}
		for range 1000 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			if err := q.Wait(fairqueue.With(ctx, "a")); err != nil && !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
			cancel()
		}
		began := time.Now()
		if err := q.Wait(fairqueue.With(t.Context(), "a")); err != nil || time.Since(began) > time.Second {
			t.Errorf("after those that were given up the next one waited for %s: %v", time.Since(began), err)
		}
	})
}
