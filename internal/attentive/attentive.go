// Package attentive is lists and watches that do not believe what may be old. The API
// server's views of the cluster are made of them (docs/adr/0011-staleness.md).
package attentive

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
)

// DefaultSilence is how long a watch may say nothing. kube-apiserver sends a bookmark a
// minute after the last one, at a second's precision, so that a frozen watch is noticed
// within 75 s.
const DefaultSilence = 70 * time.Second

// Never is the time of what has not happened yet.
const Never = time.Duration(-1)

// Feed is what is fed by a watch, and knows when. Times are durations since a moment of
// its own, by a clock that nobody sets back. Its methods are called from any goroutine.
type Feed interface {
	// Now is the time.
	Now() time.Duration
	// Heard is when the feed last got a whole list, a change or a bookmark; Never before
	// the first.
	Heard() time.Duration
	// Stirred is when anything arrived, parts of a list included.
	Stirred() time.Duration
}

// Advance notes a time as a Feed has it, unless a later one is noted.
func Advance(noted *atomic.Int64, at time.Duration) {
	for {
		before := noted.Load()
		if before >= int64(at) || noted.CompareAndSwap(before, int64(at)) {
			return
		}
	}
}

// Options are for one ListerWatcher.
type Options struct {
	// Resource is what logs call it.
	Resource string
	// Silence is how long a watch may say nothing before the feed starts over.
	Silence time.Duration
	// Clock fires at the end of it.
	Clock clock.WithDelayedExecution
	// Logger is told of watches that are made anew.
	Logger *slog.Logger
}

// ListerWatcher lists and watches for a feed, and does not believe what may be old:
//
//   - Every list is as new as the cluster's storage when it was asked for, and no watch
//     resumes in a store that may have been restored from an older copy (RestoreGuard).
//   - A watch that says nothing for too long is ended: the connection may be open, and
//     nobody at its other end.
//   - After such a silence the feed starts over with a list. A watch that was resumed
//     would deliver what was missed one by one, and be taken for fresh by the first of
//     it.
type ListerWatcher struct {
	*RestoreGuard

	feed    Feed
	options Options
	// mute says that the last watch that was to begin with a list said nothing.
	mute atomic.Bool
	// current is the last watch that was opened.
	current atomic.Pointer[attended]
	// anew says that the feed is to start over with a list.
	anew atomic.Bool
}

// New returns a ListerWatcher on top of another.
func New(lister cache.ListerWatcher, feed Feed, o Options) *ListerWatcher {
	return &ListerWatcher{RestoreGuard: NewRestoreGuard(lister), feed: feed, options: o}
}

// List implements cache.ListerWatcher.
func (a *ListerWatcher) List(o metav1.ListOptions) (runtime.Object, error) {
	return a.ListWithContext(context.Background(), o)
}

// Watch implements cache.ListerWatcher.
func (a *ListerWatcher) Watch(o metav1.ListOptions) (watch.Interface, error) {
	return a.WatchWithContext(context.Background(), o)
}

// ListWithContext implements cache.ListerWatcherWithContext.
func (a *ListerWatcher) ListWithContext(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
	a.anew.Store(false)
	return a.RestoreGuard.ListWithContext(ctx, o)
}

// WatchWithContext implements cache.ListerWatcherWithContext.
func (a *ListerWatcher) WatchWithContext(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	silence := a.options.Silence
	initial := beginsWithList(o)
	if initial {
		if a.mute.Swap(false) {
			return nil, errMute
		}
		a.anew.Store(false)
	} else if a.anew.Load() {
		return nil, apierrors.NewResourceExpired("another connection is used now: list anew")
	} else if heard := a.feed.Heard(); heard != Never && a.feed.Now()-heard >= silence {
		return nil, apierrors.NewResourceExpired(fmt.Sprintf("nothing was heard for %s: list anew", a.feed.Now()-heard))
	}
	ctx, cancel := context.WithCancel(ctx)
	ctx, connection := traced(ctx)
	opening := a.options.Clock.AfterFunc(silence, cancel)
	opened, err := a.RestoreGuard.WatchWithContext(ctx, o)
	opening.Stop()
	if err != nil {
		cancel()
		return nil, err
	}
	w := &attended{Interface: opened, of: a, cancel: cancel, initial: initial, connection: connection(), opened: a.feed.Now()}
	w.attend()
	a.current.Store(w)
	return w, nil
}

// errMute has the reflector list without a watch, where it would else try the same
// again for ever.
var errMute = errors.New("a watch that was to begin with a list said nothing")

// attended is a watch that ends where its feed says nothing for too long.
type attended struct {
	watch.Interface
	of     *ListerWatcher
	cancel context.CancelFunc
	// initial says that it begins with a list.
	initial bool
	// connection is what it shares with other requests, or nil if it can't be known.
	connection net.Conn
	// confirming is how many of its bookmarks wait to be confirmed.
	confirming atomic.Int32
	timer      clock.Timer
	// opened is when the watch was, by the feed's clock.
	opened time.Duration
	ended  atomic.Bool
}

// attend sets the timer.
func (w *attended) attend() {
	ready := make(chan struct{})
	defer close(ready)
	w.timer = w.of.options.Clock.AfterFunc(w.of.options.Silence, func() {
		go func() { <-ready; w.check() }() // a fake clock waits for what it calls
	})
}

// check ends the watch if it was silent for too long.
func (w *attended) check() {
	if w.ended.Load() {
		return
	}
	feed, o := w.of.feed, w.of.options
	silent := feed.Now() - max(w.opened, feed.Stirred())
	if silent < o.Silence {
		w.timer.Reset(o.Silence - silent)
		return
	}
	if w.confirming.Load() > 0 {
		w.timer.Reset(o.Silence / retryPart)
		return
	}
	o.Logger.Warn("a watch was silent for too long: it is made anew", "resource", o.Resource, "silence", silent)
	// One that had delivered its list since is a watch like any other.
	w.of.mute.Store(w.initial && feed.Heard() < w.opened)
	w.Interface.Stop()
}

// startOver ends the watch, and has the feed list, unless it has another watch already.
func (w *attended) startOver() {
	if w.of.current.Load() != w {
		return
	}
	w.of.options.Logger.Info("a watch has another connection than what is asked now: starting over with a list", "resource", w.of.options.Resource)
	w.of.anew.Store(true)
	w.Interface.Stop()
}

// Stop implements watch.Interface.
func (w *attended) Stop() {
	w.ended.Store(true)
	w.timer.Stop()
	w.Interface.Stop()
	w.cancel()
}
