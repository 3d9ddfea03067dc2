package server_test

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/latchkey-dev/latchkey/internal/server"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
	"github.com/latchkey-dev/latchkey/internal/wallclock"
)

// settable is the system's clock, whose time of day somebody sets while monotonic time
// runs on.
type settable struct {
	*clocktesting.FakeClock

	by atomic.Int64
}

func (s *settable) Now() time.Time { return s.FakeClock.Now().Add(time.Duration(s.by.Load())) }

func (s *settable) set(by time.Duration) { s.by.Add(int64(by)) }

// newClockHarness is a harness whose clock can also be set.
func newClockHarness(t *testing.T, changes ...func(*setup)) (*harness, *settable) {
	t.Helper()
	var system *settable
	h := newHarness(t, append(changes, withConfig(func(c *server.Config) {
		system = &settable{FakeClock: c.Clock.WithDelayedExecution.(*clocktesting.FakeClock)}
		c.Clock = wallclock.New(system)
	}))...)
	return h, system
}

// A token that has expired stays so, whatever somebody sets the clock to.
func TestExpiredTokenStaysExpired(t *testing.T) {
	for name, c := range map[string]struct{ passed, set, back time.Duration }{
		"in time, then the clock is set back":    {time.Hour, 0, -2 * time.Hour},
		"in time, then it is set back by little": {time.Hour, 0, -time.Millisecond},
		"by setting it forward, and back again":  {0, time.Hour, -time.Hour},
		"by both":                                {30 * time.Minute, 30 * time.Minute, -30 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			h, system := newClockHarness(t)
			plaintext := h.issue("acme").Token.Reveal()
			h.get(endpoint, plaintext).wantStatus(t, http.StatusOK)
			h.clock.Step(c.passed)
			system.set(c.set)
			h.get(endpoint, plaintext).wantProblem(t, http.StatusUnauthorized, "token-expired")
			system.set(c.back)
			h.get(endpoint, plaintext).wantProblem(t, http.StatusUnauthorized, "token-expired")
			h.wantMetrics(fmt.Sprintf("latchkey_clock_ahead_seconds %v", -c.back.Seconds()))
		})
	}
}

// Nor does a clock that is set back let a token live longer.
func TestClockSetBackDoesNotLengthenALife(t *testing.T) {
	h, system := newClockHarness(t)
	plaintext := h.issue("acme").Token.Reveal()
	h.clock.Step(time.Minute)
	system.set(-time.Hour)
	h.clock.Step(59*time.Minute - time.Millisecond)
	h.get(endpoint, plaintext).wantStatus(t, http.StatusOK)
	h.clock.Step(time.Millisecond)
	h.get(endpoint, plaintext).wantProblem(t, http.StatusUnauthorized, "token-expired")
}

// Answers under way end when the clock is set past their token's expiry, although
// their timers count by another.
func TestStreamEndsWhenTheClockIsSetPastItsExpiry(t *testing.T) {
	backend := newStreaming()
	h, system := newClockHarness(t, func(s *setup) { s.backend = backend })
	h.run(server.Listeners{Admin: loopback}).address("admin")
	s := h.openStream(backend, h.issue("acme").Token.Reveal())
	system.set(-time.Hour) // by which it runs on
	h.followClock()
	s.wantOpen()
	system.set(2*time.Hour - 10*time.Second) // short of the expiry
	h.followClock()
	s.wantOpen()
	system.set(10 * time.Second)
	h.clock.Step(checkInterval)
	s.wantCut()
	h.wantOutcome("token-expired")
}

// Where it is set less far, they end earlier by as much.
func TestStreamEndsEarlierWhereTheClockIsSetForward(t *testing.T) {
	backend := newStreaming()
	h, system := newClockHarness(t, func(s *setup) { s.backend = backend })
	h.run(server.Listeners{Admin: loopback}).address("admin")
	s := h.openStream(backend, h.issue("acme").Token.Reveal())
	system.set(20 * time.Minute)
	h.followClock()
	h.clock.Step(40*time.Minute - checkInterval - time.Millisecond)
	s.wantOpen()
	h.clock.Step(time.Millisecond)
	s.wantCut()
	h.wantOutcome("token-expired")
}

// checkInterval is how often a running server compares its clocks.
const checkInterval = 500 * time.Millisecond

// followClock returns once the running server has compared its clocks. One stream is
// under way.
func (h *harness) followClock() {
	h.t.Helper()
	h.clock.Step(checkInterval)
	testenv.Eventually(h.t, func() error {
		if n := h.clock.Waiters(); n != 2 { // the stream's timer, and that for the next time
			return fmt.Errorf("%d timers", n)
		}
		return nil
	})
}
