package directory

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
)

// attentive lists and watches for a feed, and does not believe what may be old:
//
//   - Every list is as new as the cluster's storage when it was asked for. A reflector
//     would be content with what any API server happens to have cached, and a replica
//     that starts over could so learn of a revocation later than it knew of it before.
//   - A watch that says nothing for too long is ended: the connection may be open, and
//     nobody at its other end.
//   - After such a silence the feed starts over with a list. A watch that was resumed
//     would deliver what was missed one by one, and be taken for fresh by the first of
//     it.
type attentive struct {
	lister cache.ListerWatcherWithContext
	feed   feed
	// unsupported says that the API server can't be asked to begin a watch with a list.
	unsupported bool
	// mute says that the last watch that was to begin with a list said nothing.
	mute atomic.Bool
}

func newAttentive(lister cache.ListerWatcher, f feed) *attentive {
	a := &attentive{lister: cache.ToListerWatcherWithContext(lister), feed: f}
	if semantics, ok := lister.(interface{ IsWatchListSemanticsUnSupported() bool }); ok {
		a.unsupported = semantics.IsWatchListSemanticsUnSupported()
	}
	return a
}

// IsWatchListSemanticsUnSupported tells the reflector whether a watch can't begin with
// a list.
func (a *attentive) IsWatchListSemanticsUnSupported() bool { return a.unsupported }

// List implements cache.ListerWatcher.
func (a *attentive) List(o metav1.ListOptions) (runtime.Object, error) {
	return a.ListWithContext(context.Background(), o)
}

// Watch implements cache.ListerWatcher.
func (a *attentive) Watch(o metav1.ListOptions) (watch.Interface, error) {
	return a.WatchWithContext(context.Background(), o)
}

// ListWithContext implements cache.ListerWatcherWithContext.
func (a *attentive) ListWithContext(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
	o.ResourceVersion, o.ResourceVersionMatch = "", ""
	return a.lister.ListWithContext(ctx, o)
}

// WatchWithContext implements cache.ListerWatcherWithContext.
func (a *attentive) WatchWithContext(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	silence := a.feed.freshness().Silence
	initial := o.SendInitialEvents != nil && *o.SendInitialEvents
	if initial {
		if a.mute.Swap(false) {
			return nil, errMute
		}
		o.ResourceVersion = ""
	} else if age, ok := a.feed.freshness().age(a.feed.index); ok && age >= silence {
		return nil, apierrors.NewResourceExpired(fmt.Sprintf("nothing was heard for %s: list anew", age))
	}
	ctx, cancel := context.WithCancel(ctx)
	opening := a.feed.freshness().Clock.AfterFunc(silence, cancel)
	opened, err := a.lister.WatchWithContext(ctx, o)
	opening.Stop()
	if err != nil {
		cancel()
		return nil, err
	}
	return a.attend(opened, cancel, initial), nil
}

// errMute has the reflector list without a watch, where it would else try the same
// again for ever.
var errMute = errors.New("a watch that was to begin with a list said nothing")

// attended is a watch that ends where its feed says nothing for too long.
type attended struct {
	watch.Interface
	feed   feed
	mute   *atomic.Bool
	cancel context.CancelFunc
	// initial says that it begins with a list.
	initial bool
	timer   clock.Timer
	// opened is when the watch was, by the feed's clock.
	opened time.Duration
	ended  atomic.Bool
}

func (a *attentive) attend(opened watch.Interface, cancel context.CancelFunc, initial bool) *attended {
	f := a.feed
	w := &attended{Interface: opened, feed: f, mute: &a.mute, cancel: cancel, initial: initial, opened: f.freshness().now()}
	ready := make(chan struct{})
	defer close(ready)
	w.timer = f.freshness().Clock.AfterFunc(f.freshness().Silence, func() {
		go func() { <-ready; w.check() }() // a fake clock waits for what it calls
	})
	return w
}

// check ends the watch if it was silent for too long.
func (w *attended) check() {
	if w.ended.Load() {
		return
	}
	f := w.feed.freshness()
	silent := f.now() - max(w.opened, time.Duration(w.feed.directory.activity[w.feed.index].Load()))
	if silent < f.Silence {
		w.timer.Reset(f.Silence - silent)
		return
	}
	w.feed.directory.logger.Warn("a watch was silent for too long: it is made anew", "resource", feedNames[w.feed.index], "silence", silent)
	// One that had delivered its list since is a watch like any other.
	w.mute.Store(w.initial && w.feed.directory.lastHeard(w.feed.index) < w.opened)
	w.Interface.Stop()
}

// Stop implements watch.Interface.
func (w *attended) Stop() {
	w.ended.Store(true)
	w.timer.Stop()
	w.Interface.Stop()
	w.cancel()
}
