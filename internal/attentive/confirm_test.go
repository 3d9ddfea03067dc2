package attentive_test

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"

	"github.com/latchkey-dev/latchkey/internal/attentive"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const silence = attentive.DefaultSilence

// feed is one that a test feeds.
type feed struct {
	made           time.Time
	heard, stirred atomic.Int64
}

func newFeed() *feed {
	f := &feed{made: time.Now()}
	f.heard.Store(int64(attentive.Never))
	return f
}

func (f *feed) Now() time.Duration     { return time.Since(f.made) }
func (f *feed) Heard() time.Duration   { return time.Duration(f.heard.Load()) }
func (f *feed) Stirred() time.Duration { return time.Duration(f.stirred.Load()) }

// apiServer is what reads and connections go to.
type apiServer struct {
	answer      atomic.Pointer[func(context.Context) error]
	reads       atomic.Int32
	reconnected atomic.Int32
}

func (a *apiServer) answers(with func(context.Context) error) { a.answer.Store(&with) }

func can(context.Context) error { return nil }

// hangs is what an API server does whose storage is silent.
func hangs(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// confirmer confirms the bookmarks of a watch whose connection is not known.
type confirmer struct {
	*attentive.Confirmer

	watch *attentive.ListerWatcher
}

func (c confirmer) confirm(count func()) { c.Confirm(c.watch, count) }

func hangsOnce() func(context.Context) error {
	var again atomic.Bool
	return func(ctx context.Context) error {
		if again.Swap(true) {
			return nil
		}
		return hangs(ctx)
	}
}

func run(t *testing.T, a *apiServer, feeds ...attentive.Feed) confirmer {
	c := attentive.NewConfirmer(attentive.ConfirmerOptions{
		Read: func(ctx context.Context) error {
			a.reads.Add(1)
			return (*a.answer.Load())(ctx)
		},
		Reconnect: func() { a.reconnected.Add(1) },
		Feeds:     feeds, Silence: silence, Clock: clock.RealClock{}, Logger: slog.New(slog.DiscardHandler),
	})
	go c.Run(t.Context())
	return confirmer{c, attentive.New(&cache.ListWatch{}, feeds[0], attentive.Options{Silence: silence})}
}

// A bookmark counts if the API server reads its storage soon after it, and otherwise never.
func TestBookmarkIsConfirmed(t *testing.T) {
	busy := func() func(context.Context) error {
		left := 2
		return func(context.Context) error {
			if left--; left < 0 {
				return nil
			}
			return apierrors.NewTooManyRequests("busy", 1)
		}
	}
	for name, tc := range map[string]struct {
		answer  func(context.Context) error
		counted bool
	}{
		"can read":         {can, true},
		"is busy at first": {busy(), true},
		"is busy":          {func(context.Context) error { return apierrors.NewTooManyRequests("busy", 1) }, false},
		"has lost it":      {func(context.Context) error { return apierrors.NewInternalError(errors.New("etcd")) }, false},
		"hangs":            {hangs, false},
		"is cut off":       {func(context.Context) error { return errors.New("connection reset") }, false},
		"hangs at first":   {hangsOnce(), true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &apiServer{}
				a.answers(tc.answer)
				c := run(t, a, newFeed())
				counted, later := atomic.Bool{}, atomic.Bool{}
				c.confirm(func() { counted.Store(true) })
				time.Sleep(30 * time.Second)
				if counted.Load() != tc.counted {
					t.Errorf("a bookmark counts: %t, want %t", counted.Load(), tc.counted)
				}
				a.answers(can)
				c.confirm(func() { later.Store(true) })
				synctest.Wait()
				if !later.Load() || counted.Load() != tc.counted {
					t.Errorf("a later bookmark counts: %t, and the first one then: %t; want true, %t", later.Load(), counted.Load(), tc.counted)
				}
			})
		})
	}
}

// Bookmarks that come while one is confirmed wait for a read that begins after them.
func TestReadBeginsAfterTheBookmark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, release := &apiServer{}, make(chan struct{})
		a.answers(func(context.Context) error { <-release; return nil })
		c := run(t, a, newFeed())
		counted := atomic.Int32{}
		c.confirm(func() { counted.Add(1) })
		synctest.Wait()
		for range 3 {
			c.confirm(func() { counted.Add(1) })
		}
		release <- struct{}{}
		synctest.Wait()
		if counted.Load() != 1 || a.reads.Load() != 2 {
			t.Errorf("%d bookmarks count and %d reads began, want 1 and 2", counted.Load(), a.reads.Load())
		}
		release <- struct{}{}
		synctest.Wait()
		if counted.Load() != 4 || a.reads.Load() != 2 {
			t.Errorf("%d bookmarks count and %d reads began, want 4 and 2", counted.Load(), a.reads.Load())
		}
	})
}

// Where nothing was heard for longer than a watch may be silent, connections are ended, and
// not again before as long has passed; but not where the API server reads its storage: a
// list is under way then, or something is wrong that another one could not mend.
func TestReconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, one, other := &apiServer{}, newFeed(), newFeed()
		a.answers(hangs)
		run(t, a, one, other)
		want := func(what string, n int32) {
			t.Helper()
			synctest.Wait()
			if got := a.reconnected.Load(); got != n {
				t.Errorf("%s: %d times reconnected, want %d", what, got, n)
			}
		}
		time.Sleep(silence)
		want("nothing was heard since the start", 0)
		time.Sleep(45 * time.Second)
		want("nothing was heard for longer, and nothing is answered", 1)
		time.Sleep(time.Minute)
		want("not as long again", 1)
		time.Sleep(45 * time.Second)
		want("as long again", 2)

		a.answers(can)
		time.Sleep(10 * silence)
		want("the API server reads its storage", 2)
		a.answers(func(context.Context) error { return apierrors.NewUnauthorized("expired") })
		time.Sleep(10 * silence)
		want("it refuses to", 2)
		for range 100 {
			one.stirred.Store(int64(one.Now()))
			other.stirred.Store(int64(other.Now()))
			time.Sleep(silence / 2)
			a.answers(hangs)
		}
		want("parts of lists arrive", 2)
		a.answers(can)
		for range 10 {
			for _, f := range []*feed{one, other} {
				f.heard.Store(int64(f.Now()))
			}
			a.answers(hangs)
			time.Sleep(time.Minute)
		}
		want("all is heard", 2)
		for range 3 {
			time.Sleep(40 * time.Second)
			one.heard.Store(int64(one.Now()))
		}
		want("one is not", 3)
	})
}
