package attacks

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

// floodRates are how many bad requests a second there are while good ones are timed.
var floodRates = []int{0, 1_000, 5_000, 12_500}

// goal is how long 99 of 100 good requests take at most, while there are as many bad ones
// a second as goalRate.
const (
	goal     = 50 * time.Millisecond
	goalRate = 1_000
)

// How long good requests take depends on how many bad ones there are, and on what the
// machine has left for either: it is measured in turns with none, so that what else
// the machine does is in all of them. What others take only makes it longer: of the
// rounds of make attacks the best one decides, and one round decides nothing.
func TestFloodRates(t *testing.T) {
	w := newWorld(t)
	s := w.startServer(t, "--log-level=WARN")
	rounds, length := 1, time.Second
	if long() {
		rounds, length = 5, 10*time.Second
	}
	files := map[int]string{}
	for _, rate := range floodRates {
		files[rate] = w.badRequests(t, rate*int(length/time.Second))
	}
	measured := map[int][]measurement{}
	for range rounds {
		for _, rate := range floodRates {
			m := w.measure(t, s, files[rate], rate, length)
			measured[rate] = append(measured[rate], m)
			t.Logf("%5d bad requests a second: %s", rate, m)
		}
	}
	for _, rate := range floodRates {
		slices.SortFunc(measured[rate], func(a, b measurement) int { return cmp.Compare(a.good.at(0.99), b.good.at(0.99)) })
	}
	for _, rate := range floodRates {
		calm, best, worst := measured[0], measured[rate][0], measured[rate][rounds-1]
		t.Logf("%5d bad requests a second: p99 of good ones %s to %s, × %.1f of what it is without any (%s to %s)",
			rate, best.good.at(0.99), worst.good.at(0.99), float64(best.good.at(0.99))/float64(calm[0].good.at(0.99)), calm[0].good.at(0.99), calm[rounds-1].good.at(0.99))
		if took := best.good.at(0.99); rounds > 1 && rate <= goalRate && took > goal {
			t.Errorf("with %d bad requests a second 99 %% of the good ones took %s at best, want %s", rate, took, goal)
		}
	}
	w.take(t)
}

// measurement is what came of good requests during a flood.
type measurement struct {
	good times
	// reached is the flood's rate, and busy how many cores the API server used.
	reached, busy float64
}

func (m measurement) String() string {
	return fmt.Sprintf("%.0f/s reached, %s; the server used %.2f cores", m.reached, m.good, m.busy)
}

// measure sends good requests beside the flood, or for the time by themselves.
func (w *world) measure(t *testing.T, s *apiServer, file string, rate int, length time.Duration) (m measurement) {
	t.Helper()
	const cpu = "process_cpu_seconds_total"
	before, _, err := s.metrics(t)
	must(t, err)
	started, good := time.Now(), goodTraffic(t, s, w.tokens["acme"])
	if rate > 0 {
		m.reached = w.flood(t, s, file, rate).perSecond()
	} else {
		testenv.Eventually(t, func() error {
			if n := good.answered(); n < int(length/goodPace) {
				return fmt.Errorf("%d good requests were answered", n)
			}
			return nil
		})
	}
	m.good = good.end(t)
	after, _, err := s.metrics(t)
	must(t, err)
	m.busy = (after[cpu] - before[cpu]) / time.Since(started).Seconds()
	return m
}
