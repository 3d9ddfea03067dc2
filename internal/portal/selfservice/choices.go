package selfservice

import (
	"fmt"
	"slices"
	"time"

	"github.com/latchkey-dev/latchkey/internal/portal/settings"
	"github.com/latchkey-dev/latchkey/internal/portal/wording"
)

const day = 24 * time.Hour

// The times that are offered, as far as the policy permits them. Its own are offered
// too.
var (
	lifetimePresets = []time.Duration{7 * day, 30 * day, 90 * day, 180 * day, 365 * day}
	overlapPresets  = []time.Duration{0, time.Hour, day, 7 * day}
)

// lifetimes are those to choose from.
func (v *visit) lifetimes(now time.Time) []settings.LifetimeChoice {
	p := v.API.Policy
	return choices(within(lifetimePresets, p.MaxLifetime, p.DefaultLifetime, p.MaxLifetime), now)
}

// overlaps are those to choose from, that of the token among them.
func (v *visit) overlaps(own time.Duration, now time.Time) []settings.LifetimeChoice {
	return choices(within(overlapPresets, v.API.Policy.MaxOverlap, own), now)
}

// within are those times that are not longer than the longest, in their order.
func within(presets []time.Duration, longest time.Duration, more ...time.Duration) []time.Duration {
	all := slices.DeleteFunc(append(slices.Clone(presets), more...), func(d time.Duration) bool { return d > longest })
	slices.Sort(all)
	return slices.Compact(all)
}

func choices(times []time.Duration, now time.Time) []settings.LifetimeChoice {
	offered := make([]settings.LifetimeChoice, 0, len(times))
	for _, d := range times {
		choice := settings.LifetimeChoice{Value: value(d), Label: wording.Span(d)}
		if d > 0 {
			choice.Ends = now.Add(d)
		} else {
			choice.Label = "It stops at once"
		}
		offered = append(offered, choice)
	}
	return offered
}

// value is a time as forms send it: such as 720h, whatever unit it was written in.
func value(d time.Duration) string {
	if d%time.Hour == 0 {
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return d.String()
}

// chosen is the time that a form says, of those that were offered.
func chosen(offered []settings.LifetimeChoice, sent string) (time.Duration, bool) {
	for _, choice := range offered {
		if choice.Value == sent {
			d, err := time.ParseDuration(sent)
			return d, err == nil
		}
	}
	return 0, false
}
