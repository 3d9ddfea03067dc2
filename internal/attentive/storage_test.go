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

func run(t *testing.T, a *apiServer, feeds ...attentive.Feed) *attentive.Storage {
	s := attentive.NewStorage(attentive.StorageOptions{
		Read: func(ctx context.Context) error {
			a.reads.Add(1)
			return (*a.answer.Load())(ctx)
		},
		Reconnect: func() { a.reconnected.Add(1) },
		Feeds:     feeds, Silence: silence, Clock: clock.RealClock{}, Logger: slog.New(slog.DiscardHandler),
	})
	go s.Run(t.Context())
	return s
}

// A bookmark counts if the API server reads its storage after it, and otherwise never: a
// later answer may be that of another one.
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
	for name, c := range map[string]struct {
		answer  func(context.Context) error
		counted bool
	}{
		"can read":         {can, true},
		"is busy at first": {busy(), true},
		"is busy":          {func(context.Context) error { return apierrors.NewTooManyRequests("busy", 1) }, false},
		"has lost it":      {func(context.Context) error { return apierrors.NewInternalError(errors.New("etcd")) }, false},
		"hangs":            {hangs, false},
		"is cut off":       {func(context.Context) error { return errors.New("connection reset") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &apiServer{}
				a.answers(c.answer)
				s := run(t, a, newFeed())
				counted, later := atomic.Bool{}, atomic.Bool{}
				s.Confirm(func() { counted.Store(true) })
				time.Sleep(10 * time.Second) // a watch that says nothing for so much longer is ended
				if counted.Load() != c.counted {
					t.Errorf("a bookmark counts: %t, want %t", counted.Load(), c.counted)
				}
				a.answers(can)
				s.Confirm(func() { later.Store(true) })
				synctest.Wait()
				if !later.Load() || counted.Load() != c.counted {
					t.Errorf("a later bookmark counts: %t, and the first one then: %t; want true, %t", later.Load(), counted.Load(), c.counted)
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
		s := run(t, a, newFeed())
		counted := atomic.Int32{}
		s.Confirm(func() { counted.Add(1) })
		synctest.Wait()
		for range 3 {
			s.Confirm(func() { counted.Add(1) })
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

// Where nothing was heard for longer than a watch may be silent, the connection is made
// anew, and not again before as long has passed.
func TestReconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, heard, deaf := &apiServer{}, newFeed(), newFeed()
		a.answers(can)
		run(t, a, heard, deaf)
		hear := func(f *feed) { f.heard.Store(int64(f.Now())); f.stirred.Store(int64(f.Now())) }
		want := func(what string, n int32) {
			t.Helper()
			synctest.Wait()
			if got := a.reconnected.Load(); got != n {
				t.Errorf("%s: %d times reconnected, want %d", what, got, n)
			}
		}
		time.Sleep(silence)
		want("nothing was heard since the start", 0)
		time.Sleep(silence / 2)
		want("nothing was heard for longer", 1)
		time.Sleep(silence / 2)
		want("soon after", 1)
		time.Sleep(silence / 2)
		want("as long again", 2)

		for range 100 { // parts of a list arrive
			time.Sleep(10 * time.Second)
			deaf.stirred.Store(int64(deaf.Now()))
		}
		want("a list arrives", 2)
		hear(heard)
		hear(deaf)
		for range 6 {
			time.Sleep(time.Minute)
			hear(heard)
			hear(deaf)
		}
		want("all is well", 2)
	})
}
