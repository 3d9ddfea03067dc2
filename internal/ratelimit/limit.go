// Package ratelimit decides whether one more request keeps its limits. It is pure:
// time is given, nothing is read and nobody is told.
//
// The algorithm is GCRA (ITU-T I.371): all that is kept of a key is the instant at
// which it will have paid for what it sent, each request at a price of period ÷
// requests. It may be in debt by burst requests. What was used comes back evenly, so
// that no two windows meet in which twice the limit passes.
package ratelimit

import "time"

// Limit is how many requests may be sent in a period, and how many of them at once.
// The zero value is no limit.
type Limit struct {
	// Requests are how many pass in a period, over a long time.
	Requests int
	// Period is what Requests counts for.
	Period time.Duration
	// Burst is how many pass at once after a pause.
	Burst int
}

// IsZero says that there is no limit.
func (l Limit) IsZero() bool { return l.Requests <= 0 || l.Period <= 0 }

// maxDebt bounds what a key can owe, so that sums of times fit in 64 bits. A burst
// that takes longer than that to come back is cut to what comes back in it.
const maxDebt = 365 * 24 * time.Hour

// prices are what a request costs, rounded up to a nanosecond, and the most that a
// key can owe: at least one request.
func (l Limit) prices() (interval, capacity time.Duration) {
	requests := time.Duration(l.Requests)
	interval = max(1, min(l.Period/requests+min(1, l.Period%requests), maxDebt))
	burst := max(1, min(int64(l.Burst), int64(maxDebt/interval)))
	return interval, time.Duration(int64(interval) * burst)
}

// Share is the part of the limit that one of several replicas enforces: as many
// requests in as many times the period, which divides without a rest, and the part
// of the burst that is a whole number, at least one. All replicas together let
// through no more than the limit, unless there are more of them than the burst has
// requests.
func (l Limit) Share(replicas int) Limit {
	if replicas <= 1 || l.IsZero() {
		return l
	}
	l.Burst = max(1, l.Burst/replicas)
	if l.Period > maxDebt/time.Duration(replicas) {
		l.Period = maxDebt
	} else {
		l.Period *= time.Duration(replicas)
	}
	return l
}

// Covers says that whoever keeps this limit keeps the other one too: it has neither
// the higher rate nor the higher burst. No limit is covered by every other.
func (l Limit) Covers(other Limit) bool {
	switch {
	case other.IsZero():
		return true
	case l.IsZero():
		return false
	}
	interval, _ := l.prices()
	otherInterval, _ := other.prices()
	return interval >= otherInterval && l.Burst <= other.Burst
}
