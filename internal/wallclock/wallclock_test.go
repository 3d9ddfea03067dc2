package wallclock_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/latchkey-dev/latchkey/internal/wallclock"
)

var start = time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)

// system is a clock whose time of day can be set while its monotonic time runs on.
type system struct {
	*clocktesting.FakeClock

	set atomic.Int64
}

func newSystem() *system { return &system{FakeClock: clocktesting.NewFakeClock(start)} }

func (s *system) Now() time.Time { return s.FakeClock.Now().Add(time.Duration(s.set.Load())) }

func TestClock(t *testing.T) {
	type step struct {
		passed, set time.Duration
		// now is what the Clock tells then, after the start; ahead is of the system's.
		now, ahead time.Duration
	}
	for name, steps := range map[string][]step{
		"left alone":                           {{0, 0, 0, 0}, {time.Hour, 0, time.Hour, 0}},
		"set forward, it follows":              {{time.Minute, time.Hour, 61 * time.Minute, 0}, {time.Minute, 0, 62 * time.Minute, 0}},
		"set back, it runs on":                 {{time.Minute, -time.Hour, time.Minute, time.Hour}, {time.Minute, 0, 2 * time.Minute, time.Hour}},
		"set back and then right":              {{0, -time.Hour, 0, time.Hour}, {time.Minute, time.Hour, time.Minute, 0}},
		"set forward and then right":           {{0, time.Hour, time.Hour, 0}, {time.Minute, -time.Hour, 61 * time.Minute, time.Hour}},
		"set back and then forward by more":    {{0, -time.Hour, 0, time.Hour}, {0, 3 * time.Hour, 2 * time.Hour, 0}},
		"set forward again by less than it is": {{0, time.Hour, time.Hour, 0}, {0, -time.Hour, time.Hour, time.Hour}, {0, time.Minute, time.Hour, 59 * time.Minute}},
	} {
		t.Run(name, func(t *testing.T) {
			below := newSystem()
			c := wallclock.New(below)
			for i, s := range steps {
				below.Step(s.passed)
				below.set.Add(int64(s.set))
				if got := c.Now().Sub(start); got != s.now {
					t.Errorf("step %d: it is %s after the start, want %s", i, got, s.now)
				}
				if got := c.Ahead(); got != s.ahead {
					t.Errorf("step %d: ahead by %s, want %s", i, got, s.ahead)
				}
			}
		})
	}
}

// What was first told by nobody but Steps or Ahead counts as told.
func TestStepIsNoticedByWhoeverLooks(t *testing.T) {
	for name, look := range map[string]func(*wallclock.Clock){
		"Steps": func(c *wallclock.Clock) { c.Steps() },
		"Ahead": func(c *wallclock.Clock) { c.Ahead() },
	} {
		below := newSystem()
		c := wallclock.New(below)
		below.set.Store(int64(time.Hour))
		look(c)
		below.set.Store(0)
		if got := c.Now(); !got.Equal(start.Add(time.Hour)) {
			t.Errorf("after %s it is %s", name, got)
		}
	}
}

// Whatever happens to the system's clock, nobody is told an earlier time than anybody
// was told before.
func TestNeverGoesBack(t *testing.T) {
	below := newSystem()
	c := wallclock.New(below)
	var latest atomic.Int64
	var running sync.WaitGroup
	for range 4 {
		running.Go(func() {
			for range 2000 {
				before := latest.Load()
				now := c.Now().UnixNano()
				if now < before {
					t.Errorf("told %d after %d", now, before)
					return
				}
				for seen := latest.Load(); seen < now && !latest.CompareAndSwap(seen, now); seen = latest.Load() {
				}
			}
		})
	}
	running.Go(func() {
		for i := range 2000 {
			below.set.Store(int64(time.Duration(i%7-3) * time.Minute))
			below.Step(time.Millisecond)
		}
	})
	running.Wait()
}

// By the real clock it is the system's time.
func TestSystem(t *testing.T) {
	c := wallclock.System()
	before := time.Now()
	now := c.Now()
	if now.Before(before) || now.After(time.Now().Add(time.Second)) {
		t.Errorf("it is %s, the system says %s", now, before)
	}
	if ahead := c.Ahead(); ahead > time.Second {
		t.Errorf("ahead by %s", ahead)
	}
}

func BenchmarkNow(b *testing.B) {
	c := wallclock.System()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if c.Now().IsZero() {
				b.Error("no time")
			}
		}
	})
}
