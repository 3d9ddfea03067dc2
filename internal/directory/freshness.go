package directory

import (
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/utils/clock"

	"github.com/latchkey-dev/latchkey/internal/attentive"
)

const (
	// DefaultMaxStaleness is how long tokens are accepted without news of the cluster,
	// and so how long a token that is revoked meanwhile may still work.
	DefaultMaxStaleness = 15 * time.Minute
	// MinMaxStaleness leaves room for one bookmark that does not come and the list that
	// then replaces it: less would refuse tokens of a cluster where nothing is wrong.
	MinMaxStaleness = 2 * time.Minute
	// DefaultSilence is how long a watch may say nothing.
	DefaultSilence = attentive.DefaultSilence
)

// Options say how a directory ages. Zero values mean the defaults.
type Options struct {
	// MaxStaleness is how old what a feed knows may get before nothing is accepted.
	MaxStaleness time.Duration
	// Silence is how long a watch may say nothing before its feed starts over.
	Silence time.Duration
	// Clock measures both; the system's if nil. Its Since must not depend on the time
	// of day.
	Clock clock.WithDelayedExecution
	// Reconnect ends every connection to the API server, so that new ones may lead to
	// another one; nil where that can't be done. It is called where nothing was got for
	// longer than Silence and the API server does not read its storage.
	Reconnect func()
}

func (o Options) withDefaults() Options {
	if o.MaxStaleness == 0 {
		o.MaxStaleness = DefaultMaxStaleness
	}
	if o.Silence == 0 {
		o.Silence = DefaultSilence
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	return o
}

// freshness is how old the feeds' news are. Times are durations since the directory
// was made, by a clock that nobody sets back.
type freshness struct {
	Options

	made time.Time
	// until is when the oldest news become too old, in nanoseconds, or 0 while a feed
	// has not delivered its first list. Requests read it alone.
	until atomic.Int64
	// changed is told that the directory has become stale, or is so no more.
	changed func(stale bool)

	mu sync.Mutex
	// heard is when each feed last delivered something, or never.
	heard  [feedCount]time.Duration
	synced [feedCount]bool
	// stale is what was told last.
	stale bool
	// timer fires when the news may have become too old; nil before the first list of
	// the last feed.
	timer clock.Timer
}

const never = attentive.Never

func newFreshness(o Options, changed func(stale bool)) *freshness {
	o = o.withDefaults()
	f := &freshness{Options: o, made: o.Clock.Now(), changed: changed}
	for feed := range f.heard {
		f.heard[feed] = never
	}
	return f
}

func (f *freshness) now() time.Duration { return f.Clock.Since(f.made) }

// fresh is asked for every request.
func (f *freshness) fresh() bool { return int64(f.now()) < f.until.Load() }

// hear notes that a feed delivered something at a time, and whether that was a whole list.
func (f *freshness) hear(feed int, at time.Duration, list bool) {
	if f.note(feed, at, list) {
		f.changed(false)
	}
}

// note says whether the directory is stale no more.
func (f *freshness) note(feed int, at time.Duration, list bool) (recovered bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.heard[feed] = max(f.heard[feed], at)
	f.synced[feed] = f.synced[feed] || list
	oldest := f.heard[feed]
	for i, heard := range f.heard {
		if !f.synced[i] {
			return false
		}
		oldest = min(oldest, heard)
	}
	f.until.Store(int64(oldest + f.MaxStaleness))
	if !f.fresh() {
		return false
	}
	f.arm()
	recovered, f.stale = f.stale, false
	return recovered
}

// arm sets the timer, unless it is set. The caller holds the lock.
func (f *freshness) arm() {
	if f.timer == nil {
		f.timer = f.Clock.AfterFunc(f.left(), func() { go f.expire() }) // a fake clock waits for what it calls
	}
}

func (f *freshness) left() time.Duration { return time.Duration(f.until.Load()) - f.now() }

// expire tells that the directory has become stale, unless there were news since the
// timer was set.
func (f *freshness) expire() {
	f.mu.Lock()
	f.timer, f.stale = nil, !f.fresh()
	stale := f.stale
	if !stale {
		f.arm()
	}
	f.mu.Unlock()
	if stale {
		f.changed(true)
	}
}

// named names the feeds of which it is so.
func (f *freshness) named(is func(feed int) bool) (names []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for feed, name := range feedNames {
		if is(feed) {
			names = append(names, name)
		}
	}
	return names
}

// lastHeard is when a feed last delivered something, or never.
func (f *freshness) lastHeard(feed int) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.heard[feed]
}

// age is how old a feed's news are. ok is false for one that has none.
func (f *freshness) age(feed int) (age time.Duration, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now() - f.heard[feed], f.heard[feed] != never
}

// Fresh says whether the directory may be believed: every feed has delivered its
// first complete list, and nothing that a feed knows is older than MaxStaleness.
// Where it is not so, nothing may be accepted. The observer is told when that happens
// to a directory that was fresh.
func (d *Directory) Fresh() bool { return d.freshness.fresh() }

// MaxStaleness is how old what a feed knows may get.
func (d *Directory) MaxStaleness() time.Duration { return d.freshness.MaxStaleness }

// Overdue names the feeds that have delivered nothing for MaxStaleness or longer.
func (d *Directory) Overdue() []string {
	f := d.freshness
	now := f.now()
	return f.named(func(feed int) bool { return f.heard[feed] != never && now-f.heard[feed] >= f.MaxStaleness })
}

// Ages says, for each feed by name, for how long it has delivered nothing: no whole
// list, no change, and no bookmark, by which the API server says about once a minute
// that nothing else has changed, and which counts once it has shown that it reads its
// storage. What the API server had sent before can be seen. A feed that never delivered
// anything is left out. A watch that was merely opened does not count, nor does a part of a
// list.
func (d *Directory) Ages() map[string]time.Duration {
	ages := make(map[string]time.Duration, feedCount)
	for feed, name := range feedNames {
		if age, ok := d.freshness.age(feed); ok {
			ages[name] = age
		}
	}
	return ages
}

// LastHeard is when each feed by name last delivered something that counts for Ages;
// zero for one that has delivered nothing. Its times can be compared with others of
// this process whatever happens to the system's clock.
func (d *Directory) LastHeard() map[string]time.Time {
	f := d.freshness
	f.mu.Lock()
	defer f.mu.Unlock()
	times := make(map[string]time.Time, feedCount)
	for feed, name := range feedNames {
		times[name] = time.Time{}
		if f.heard[feed] != never {
			times[name] = f.made.Add(f.heard[feed])
		}
	}
	return times
}

// Synced says whether every feed has delivered its first complete list. Before that
// nothing may be accepted.
func (d *Directory) Synced() bool { return d.freshness.until.Load() != 0 }

// Unsynced names the feeds that have not delivered their first complete list.
func (d *Directory) Unsynced() []string {
	return d.freshness.named(func(feed int) bool { return !d.freshness.synced[feed] })
}

// freshnessChanged tells the observer where requests under way must end.
func (d *Directory) freshnessChanged(stale bool) {
	if !stale {
		d.logger.Info("everything was heard of the cluster again: tokens are accepted")
		return
	}
	d.logger.Error("nothing was heard of the cluster for too long: no token is accepted until it is",
		"maxStaleness", d.freshness.MaxStaleness, "resources", d.Overdue())
	d.mu.Lock()
	defer d.mu.Unlock()
	d.notify("")
}
