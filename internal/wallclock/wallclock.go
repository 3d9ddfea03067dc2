// Package wallclock tells the time of day, by a clock that nobody can set back. What
// has expired by it stays expired.
package wallclock

import (
	"sync/atomic"
	"time"

	"k8s.io/utils/clock"

	"github.com/latchkey-dev/latchkey/internal/fault"
)

// Clock is the system's clock as long as that is only set forward. After it was set
// back, the Clock runs on from the latest time that the system has told, at the pace
// of the monotonic clock: standing still instead would let tokens live longer by as
// much as the system's clock lost. So a Clock may be ahead of the system's for the
// rest of its life, and tokens expire too early by it rather than too late.
//
// Its other methods, timers above all, are those of the clock below, and count by
// monotonic time. Its methods may be called from any goroutine.
type Clock struct {
	clock.WithDelayedExecution

	start time.Time
	// steps is the largest sum by which the system's clock has been set forward since
	// the start, in nanoseconds.
	steps atomic.Int64
}

// New returns a Clock on top of another, whose Since must not depend on its time of
// day: clock.RealClock{} in programs.
func New(below clock.WithDelayedExecution) *Clock {
	return &Clock{WithDelayedExecution: below, start: below.Now()}
}

// System returns a Clock on top of the system's.
func System() *Clock { return New(fault.Clock(clock.RealClock{})) }

// Now is the time, never earlier than one that was told before. It costs two readings
// of the clock, and writes no memory unless the clock was just set forward.
func (c *Clock) Now() time.Time {
	now, stepped := c.read()
	return now.Add(c.advance(stepped) - stepped)
}

// Steps is by how much the system's clock was set forward since the start, at most at
// any time. Timers that were set for a time of day before it changed are late by as much.
func (c *Clock) Steps() time.Duration {
	_, stepped := c.read()
	return c.advance(stepped)
}

// Ahead is by how much the Clock is ahead of the system's, because that was set back.
func (c *Clock) Ahead() time.Duration {
	_, stepped := c.read()
	return c.advance(stepped) - stepped
}

// read reads the system's clock, and by how much it has been set since the start. The
// time of day is read first: what passes in between makes the step smaller, never
// larger.
func (c *Clock) read() (now time.Time, stepped time.Duration) {
	now = c.WithDelayedExecution.Now()
	elapsed := c.Since(c.start)
	return now, now.Round(0).Sub(c.start.Round(0)) - elapsed // Round strips the monotonic reading
}

// advance notes a step, and returns the largest until now.
func (c *Clock) advance(stepped time.Duration) time.Duration {
	for {
		largest := c.steps.Load()
		if int64(stepped) <= largest {
			return time.Duration(largest)
		}
		if c.steps.CompareAndSwap(largest, int64(stepped)) {
			return stepped
		}
	}
}
