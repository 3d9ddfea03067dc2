package ratelimit_test

import (
	"math"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/internal/ratelimit"
)

func limit(requests int, period time.Duration, burst int) ratelimit.Limit {
	return ratelimit.Limit{Requests: requests, Period: period, Burst: burst}
}

func TestShare(t *testing.T) {
	for name, c := range map[string]struct {
		of       ratelimit.Limit
		replicas int
		want     ratelimit.Limit
	}{
		"alone":                {limit(100, time.Minute, 100), 1, limit(100, time.Minute, 100)},
		"nobody knows":         {limit(100, time.Minute, 100), 0, limit(100, time.Minute, 100)},
		"two":                  {limit(100, time.Minute, 100), 2, limit(100, 2*time.Minute, 50)},
		"a rest of the burst":  {limit(100, time.Minute, 10), 3, limit(100, 3*time.Minute, 3)},
		"more than the burst":  {limit(100, time.Minute, 2), 3, limit(100, 3*time.Minute, 1)},
		"more than requests":   {limit(1, time.Second, 1), 5, limit(1, 5*time.Second, 1)},
		"beyond what is a sum": {limit(1, 24*time.Hour, 1), math.MaxInt32, limit(1, 365*24*time.Hour, 1)},
		"no limit":             {ratelimit.Limit{}, 2, ratelimit.Limit{}},
	} {
		if got := c.of.Share(c.replicas); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestCovers(t *testing.T) {
	base := limit(60, time.Minute, 10)
	for name, c := range map[string]struct {
		by                ratelimit.Limit
		covers, isCovered bool
	}{
		"itself":                {base, true, true},
		"the same rate":         {limit(1, time.Second, 10), true, true},
		"a lower rate":          {limit(59, time.Minute, 10), true, false},
		"a lower burst":         {limit(60, time.Minute, 9), true, false},
		"a higher rate":         {limit(61, time.Minute, 10), false, true},
		"slower, but in bursts": {limit(1000, time.Hour, 1000), false, false},
		"faster, without":       {limit(120, time.Minute, 1), false, false},
		"none":                  {ratelimit.Limit{}, false, true},
	} {
		if got := c.by.Covers(base); got != c.covers {
			t.Errorf("%s covers it: %t", name, got)
		}
		if got := base.Covers(c.by); got != c.isCovered {
			t.Errorf("%s is covered: %t", name, got)
		}
	}
	if !(ratelimit.Limit{}).Covers(ratelimit.Limit{}) {
		t.Error("no limit does not cover itself")
	}
}
