package session_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"k8s.io/client-go/rest"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/latchkey-dev/latchkey/internal/session"
	"github.com/latchkey-dev/latchkey/internal/session/keyring"
	"github.com/latchkey-dev/latchkey/internal/testing/attentivetest"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

func TestSignOutCountsEverywhere(t *testing.T) {
	w := newWorld(t)
	one, other := w.replica(session.Lifetimes{}), w.replica(session.Lifetimes{})
	b, started := w.signIn(one, ann)
	elsewhere, _ := w.signIn(other, ann)
	answer := httptest.NewRecorder()
	w.must(one.End(t.Context(), answer, started))
	copied := *b
	if b.take(answer); b.value != "" {
		t.Error("the browser keeps its cookie")
	}
	for _, at := range []*session.Store{one, other, w.replica(session.Lifetimes{})} {
		w.wantEnded(at, &copied, session.ReasonSignedOut)
		w.wantOpen(at, elsewhere)
	}
}

func TestSignOutEverywhere(t *testing.T) {
	w := newWorld(t)
	one, other := w.replica(session.Lifetimes{}), w.replica(session.Lifetimes{})
	first, _ := w.signIn(one, ann)
	second, started := w.signIn(other, ann)
	bob := ann
	bob.User = "oidc:bob@example.com"
	his, _ := w.signIn(one, bob)
	claimed := ann // by whoever made the token
	claimed.Kind = session.Token
	byToken, _ := w.signIn(one, claimed)
	w.must(other.EndAll(t.Context(), httptest.NewRecorder(), started))
	again, _ := w.signIn(one, ann)
	for _, at := range []*session.Store{one, other, w.replica(session.Lifetimes{})} {
		w.wantEnded(at, first, session.ReasonSignedOut)
		w.wantEnded(at, second, session.ReasonSignedOut)
		w.wantOpen(at, his)
		w.wantOpen(at, byToken)
		w.wantOpen(at, again)
	}
	// And once more, at the same instant.
	w.must(one.EndAll(t.Context(), httptest.NewRecorder(), w.wantOpen(one, again)))
	w.wantEnded(other, again, session.ReasonSignedOut)
	last, _ := w.signIn(other, ann)
	w.wantOpen(one, last)
}

// Replicas that write at once lose nothing of each other.
func TestManySignOutsAtOnce(t *testing.T) {
	w := newWorld(t)
	replicas := []*session.Store{w.replica(session.Lifetimes{}), w.replica(session.Lifetimes{}), w.replica(session.Lifetimes{})}
	var running sync.WaitGroup
	browsers := make([]*browser, 60)
	errs := make([]error, len(browsers))
	for i := range browsers {
		b, started := w.signIn(replicas[i%3], ann)
		browsers[i] = b
		running.Go(func() { errs[i] = replicas[i%3].End(t.Context(), httptest.NewRecorder(), started) })
	}
	running.Wait()
	w.must(errors.Join(errs...))
	late := w.replica(session.Lifetimes{})
	for _, b := range browsers {
		w.wantEnded(late, b, session.ReasonSignedOut)
	}
}

// What can't be stored is said, counts here, and is stored as soon as that is possible.
func TestSignOutWhileNothingCanBeStored(t *testing.T) {
	w := newWorld(t)
	one, other := w.replica(session.Lifetimes{}), w.replica(session.Lifetimes{})
	b, started := w.signIn(one, ann)
	w.shared.Fail(errors.New("etcd is on fire"))
	answer := httptest.NewRecorder()
	err := one.End(t.Context(), answer, started)
	if !errors.Is(err, session.ErrUnavailable) || !strings.Contains(err.Error(), "etcd is on fire") {
		t.Errorf("got %v", err)
	}
	if !strings.Contains(answer.Header().Get("Set-Cookie"), "Max-Age=0") {
		t.Errorf("the cookie stays: %v", answer.Header())
	}
	w.wantEnded(one, b, session.ReasonSignedOut)
	w.wantOpen(other, b)
	w.shared.Fail(nil)
	testenv.Eventually(t, func() error {
		w.clock.Step(time.Second)
		if _, err := other.Of(b.request(), "acme"); !errors.Is(err, session.ErrEnded) {
			return fmt.Errorf("on the other replica: %w", err)
		}
		return nil
	})
	if logs := w.logs.String(); !strings.Contains(logs, "etcd is on fire") {
		t.Errorf("the logs are %s", logs)
	}
}

// Somebody who does not wait any more, and a process that ends.
func TestSignOutThatNobodyWaitsFor(t *testing.T) {
	w := newWorld(t)
	store, err := session.New(session.Config{Namespace: "latchkey-system", Clock: w.clock})
	w.must(err)
	_, started := w.signIn(w.replica(session.Lifetimes{}), ann)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := store.End(ctx, httptest.NewRecorder(), started); !errors.Is(err, session.ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// While nothing is heard of the others' sign-outs, sessions open for as long as it was
// said, and no longer. With the first news all is known.
func TestStaleness(t *testing.T) {
	w := newWorld(t)
	one, other := w.replica(session.Lifetimes{}), w.replica(session.Lifetimes{})
	b, started := w.signIn(one, ann)
	mine, _ := w.signIn(one, ann)
	w.shared.Cut()
	w.must(one.End(t.Context(), httptest.NewRecorder(), started))
	w.clock.Step(session.DefaultMaxStaleness - 1)
	w.wantEnded(one, b, session.ReasonSignedOut)
	w.wantOpen(other, b)
	w.must(other.Ready())
	w.clock.Step(1)
	for _, at := range []*session.Store{one, other} {
		w.wantRefused(at, mine.request(), "acme", session.ErrUnavailable)
		if err := at.Ready(); !errors.Is(err, session.ErrUnavailable) {
			t.Errorf("ready: %v", err)
		}
		if _, err := at.Start(httptest.NewRecorder(), "acme", ann); !errors.Is(err, session.ErrUnavailable) {
			t.Errorf("a session starts: %v", err)
		}
		if err := at.Renew(httptest.NewRecorder(), started); !errors.Is(err, session.ErrUnavailable) {
			t.Errorf("a session is renewed: %v", err)
		}
		w.wantRefused(at, (&browser{}).request(), "acme", session.ErrNone)
	}
	w.must(w.shared.Hear())
	for _, at := range []*session.Store{one, other} {
		w.wantEnded(at, b, session.ReasonSignedOut)
		w.wantOpen(at, mine)
	}
}

// An API server that has lost its storage, and says that nothing has changed, is not
// believed: somebody may have signed out since.
func TestBookmarksOfAnAPIServerThatLostItsStorage(t *testing.T) {
	before := goleak.IgnoreCurrent()
	api := &attentivetest.Speaker{}
	server := httptest.NewServer(api)
	const bound = 6 * time.Second
	store, err := session.New(session.Config{
		Namespace: "latchkey-system", MaxStaleness: bound, Silence: bound / 3, Reconnect: server.CloseClientConnections,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- store.Run(ctx, &rest.Config{Host: server.URL, QPS: -1}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		server.CloseClientConnections()
		server.Close()
		goleak.VerifyNone(t, before)
	})
	says := func(what string) error {
		if said := fmt.Sprint(store.Ready()); !strings.Contains(said, what) {
			return fmt.Errorf("it says %s, want: %s", said, what)
		}
		return nil
	}
	began := time.Now()
	testenv.Eventually(t, func() error { return says("is missing") }) // which was heard, of an empty cluster
	lists := api.Lists.Load()
	testenv.Eventually(t, func() error {
		if err := says("is missing"); err != nil {
			t.Fatalf("%s after the start: %v", time.Since(began), err)
		}
		if time.Since(began) < 2*bound {
			return errors.New("the bound is not over yet")
		}
		return nil
	})
	if n := api.Lists.Load(); n > lists+1 { // the other object's may have come later
		t.Errorf("%d lists were made beside the first %d, though bookmarks came", n-lists, lists)
	}
	api.Lost.Store(true)
	testenv.Eventually(t, func() error { return says("nothing was heard") })
	api.Lost.Store(false)
	testenv.Eventually(t, func() error { return says("is missing") })
}

// What ended stays ended, wherever the clock is set.
func TestTheClockIsSetBack(t *testing.T) {
	w := newWorld(t)
	store := w.replica(session.Lifetimes{})
	b, _ := w.signIn(store, ann)
	w.clock.Step(30 * time.Minute)
	w.must(w.shared.Hear())
	w.wantEnded(store, b, session.ReasonIdle)
	for _, set := range []time.Duration{-10 * time.Minute, -31 * time.Minute, -24 * time.Hour} {
		w.clock.set.Store(int64(set))
		w.wantEnded(store, b, session.ReasonIdle)
	}
	// A replica that starts while the clock is behind believes it, but takes nothing that
	// it says has not happened yet.
	w.clock = &system{FakeClock: clocktesting.NewFakeClock(start.Add(-keyring.MaxSkew))}
	w.wantOpen(w.replica(session.Lifetimes{}), b)
	w.clock = &system{FakeClock: clocktesting.NewFakeClock(start.Add(-keyring.MaxSkew - time.Millisecond))}
	w.wantEnded(w.replica(session.Lifetimes{}), b, session.ReasonClock)
}

// A cut by a clock of next year would lock its person out for a year: nobody starts a
// session that is refused at once, and the reason is said.
func TestSignInAfterASignOutByAClockThatIsAhead(t *testing.T) {
	w := newWorld(t)
	store := w.replica(session.Lifetimes{})
	_, started := w.signIn(store, ann)
	w.clock.set.Store(int64(365 * 24 * time.Hour))
	w.must(store.EndAll(t.Context(), httptest.NewRecorder(), started))
	w.clock.set.Store(0)
	late := w.replica(session.Lifetimes{})
	if _, err := late.Start(httptest.NewRecorder(), "acme", ann); !errors.Is(err, session.ErrUnavailable) || !strings.Contains(err.Error(), "2028-01-02") {
		t.Errorf("got %v", err)
	}
}

// Nothing opens before all is known, and what can't be read is not taken for nothing.
func TestNothingIsKnown(t *testing.T) {
	w := newWorld(t)
	store := w.replica(session.Lifetimes{})
	b, started := w.signIn(store, ann)
	unread, err := session.New(session.Config{Namespace: "latchkey-system", Clock: w.clock})
	w.must(err)
	w.wantRefused(unread, b.request(), "acme", session.ErrUnavailable)
	w.wantRefused(unread, (&browser{}).request(), "acme", session.ErrNone)
	if _, err := unread.Seal("flow", "acme", 1, start.Add(time.Minute)); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("it seals: %v", err)
	}
	if err := unread.Open("flow", "acme", b.value, new(int)); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("it opens: %v", err)
	}
	for _, broken := range []string{"", "v1", "v1\nsession acme\n"} {
		w.must(w.shared.SetEnded(broken))
		w.wantRefused(store, b.request(), "acme", session.ErrUnavailable)
		if err := store.End(t.Context(), httptest.NewRecorder(), started); !errors.Is(err, session.ErrUnavailable) {
			t.Errorf("with %q a sign-out is stored: %v", broken, err)
		}
		if stored := w.shared.Ended(); stored != broken {
			t.Errorf("%q was replaced by %q", broken, stored)
		}
	}
	w.must(w.shared.SetEnded("v1\n"))
	w.wantEnded(store, b, session.ReasonSignedOut)
	w.must(w.shared.SetKeys(nil))
	w.wantRefused(store, b.request(), "acme", session.ErrUnavailable)
}

func TestRunRefusesABrokenConfig(t *testing.T) {
	store, err := session.New(session.Config{Namespace: "latchkey-system"})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Run(t.Context(), &rest.Config{Host: "://"}); err == nil {
		t.Error("no error")
	}
}

// Neither keys nor cookies are in a log, whatever goes wrong.
func TestNothingSecretIsLogged(t *testing.T) {
	w := newWorld(t)
	store := w.replica(session.Lifetimes{})
	b, started := w.signIn(store, ann)
	w.shared.Fail(errors.New("no"))
	end := store.End(t.Context(), httptest.NewRecorder(), started)
	w.must(w.shared.SetEnded("broken " + started.ID))
	w.must(w.shared.SetKeys(nil))
	logs := w.logs.String() + end.Error()
	for _, secret := range []string{b.value, strings.Split(b.value, ".")[2][:20], "broken " + started.ID} {
		if strings.Contains(logs, secret) {
			t.Errorf("%q is in %s", secret, logs)
		}
	}
	if strings.Count(logs, "\n") < 3 {
		t.Errorf("only this was logged: %s", logs)
	}
}
