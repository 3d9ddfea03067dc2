package controllers_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/controllers"
	"github.com/latchkey-dev/latchkey/internal/session"
	"github.com/latchkey-dev/latchkey/internal/session/ended"
	"github.com/latchkey-dev/latchkey/internal/session/keyring"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

func keySecret() *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: keyring.SecretName}}
}

func endedList() *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: ended.ConfigMapName}}
}

// installation is one that has no sessions yet, with a manager and a clock of its own.
func installation(t *testing.T) *clocktesting.FakeClock {
	t.Helper()
	forget := func() {
		for _, object := range []client.Object{keySecret(), endedList()} {
			if err := client.IgnoreNotFound(env().Client.Delete(context.Background(), object)); err != nil {
				t.Fatal(err)
			}
		}
	}
	forget()
	t.Cleanup(forget) // by another clock, what this one made is from another time
	clock := clocktesting.NewFakeClock(time.Now().Truncate(time.Second))
	startManager(t, func(o *controllers.Options) { o.Clock = clock })
	return clock
}

// day is for sessions that see keys come and go.
var day = session.Lifetimes{Idle: 23 * time.Hour, Absolute: 24 * time.Hour}

// replica runs a Store with the rights of the portal's account, until the test ends.
func replica(t *testing.T, clock *clocktesting.FakeClock) *session.Store {
	t.Helper()
	config, err := env().ServiceAccountConfig(t.Context(), v1alpha1.SystemNamespace, "latchkey-portal", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	store, err := session.New(session.Config{Namespace: v1alpha1.SystemNamespace, Lifetimes: day, Clock: clock, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- store.Run(ctx, config) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	testenv.Eventually(t, store.Ready)
	return store
}

// signIn starts a session with acme, and returns a request of its browser.
func signIn(t *testing.T, at *session.Store) (*session.Session, *http.Request) {
	t.Helper()
	answer := httptest.NewRecorder()
	started, err := at.Start(answer, "acme", session.Identity{User: "oidc:ann", Groups: []string{"oidc:admins"}, Kind: session.OIDC})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodGet, "https://acme.example.com/settings", http.NoBody)
	for _, c := range answer.Result().Cookies() {
		r.AddCookie(c)
	}
	return started, r
}

// sealedBy is the id of the key that sealed a request's session.
func sealedBy(r *http.Request) string { return strings.Split(r.Header.Get("Cookie"), ".")[1] }

// wantOpen waits until a replica that has just heard of something opens a session.
func wantOpen(t *testing.T, at *session.Store, r *http.Request) {
	t.Helper()
	testenv.Eventually(t, func() error { _, err := at.Of(r, "acme"); return err })
}

// wantClosed waits until it refuses one, and returns how long that took.
func wantClosed(t *testing.T, at *session.Store, r *http.Request, want error) time.Duration {
	t.Helper()
	began := time.Now()
	testenv.Eventually(t, func() error {
		if _, err := at.Of(r, "acme"); !errors.Is(err, want) {
			return fmt.Errorf("got %w, want %w", err, want)
		}
		return nil
	})
	return time.Since(began)
}

// keys waits for a number of them, and returns them.
func keys(t *testing.T, want int) keyring.Ring {
	t.Helper()
	var ring keyring.Ring
	testenv.Eventually(t, func() error {
		secret := keySecret()
		if err := get(t, secret); err != nil {
			return err
		}
		var wrong []error
		if ring, wrong = keyring.Parse(secret.Data); len(ring) != want || len(wrong) > 0 {
			return fmt.Errorf("%d keys, want %d; %w", len(ring), want, errors.Join(wrong...))
		}
		return nil
	})
	return ring
}

// touch has the manager look, as a change by anybody does.
func touch(t *testing.T, clock *clocktesting.FakeClock) {
	t.Helper()
	change(t, keySecret(), func(s *corev1.Secret) {
		s.Annotations = map[string]string{"touched": clock.Now().Format(time.RFC3339Nano)}
	})
}

func TestSessionsOnEveryReplica(t *testing.T) {
	clock := installation(t)
	one, other := replica(t, clock), replica(t, clock)
	first, firstRequest := signIn(t, one)
	_, second := signIn(t, other)
	for _, r := range []*http.Request{firstRequest, second} {
		for _, at := range []*session.Store{one, other, replica(t, clock)} {
			wantOpen(t, at, r)
		}
	}
	if err := one.End(t.Context(), httptest.NewRecorder(), first); err != nil {
		t.Fatal(err)
	}
	wantClosed(t, one, firstRequest, session.ErrEnded)
	if took := wantClosed(t, other, firstRequest, session.ErrEnded); took > 5*time.Second {
		t.Errorf("the other replica heard of a sign-out after %s", took)
	}
	wantOpen(t, one, second)
	last, third := signIn(t, one)
	if err := other.EndAll(t.Context(), httptest.NewRecorder(), last); err != nil {
		t.Fatal(err)
	}
	for _, at := range []*session.Store{one, other, replica(t, clock)} {
		wantClosed(t, at, second, session.ErrEnded)
		wantClosed(t, at, third, session.ErrEnded)
	}
	_, again := signIn(t, one)
	wantOpen(t, other, again)
}

// Replicas that write at once lose nothing, against the real thing.
func TestManySignOutsAtOnce(t *testing.T) {
	clock := installation(t)
	replicas := []*session.Store{replica(t, clock), replica(t, clock)}
	var running sync.WaitGroup
	requests, errs := make([]*http.Request, 20), make([]error, 20)
	for i := range requests {
		var started *session.Session
		started, requests[i] = signIn(t, replicas[i%2])
		running.Go(func() { errs[i] = replicas[i%2].End(t.Context(), httptest.NewRecorder(), started) })
	}
	running.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	late := replica(t, clock)
	for _, r := range requests {
		wantClosed(t, late, r, session.ErrEnded)
	}
}

// A day, and another: keys come in time for every replica, what the old one sealed lives
// as long as it should, and then the key goes.
func TestKeysAreRotated(t *testing.T) {
	clock := installation(t)
	first := keys(t, 1)[0]
	store, other := replica(t, clock), replica(t, clock)
	step := func(d time.Duration) {
		t.Helper()
		clock.Step(d)
		testenv.Eventually(t, store.Ready) // the watches were silent, and list anew
		testenv.Eventually(t, other.Ready)
	}
	step(keyring.Period - time.Second)
	touch(t, clock)
	_, old := signIn(t, store)
	wantOpen(t, other, old)
	keys(t, 1)
	step(time.Second) // nothing but time passes: the manager wakes up by itself
	second := keys(t, 2)[1]
	_, early := signIn(t, store)
	if sealedBy(old) != first.ID || sealedBy(early) != first.ID {
		t.Errorf("sealed by %s and %s, want %s: a new key is not used before every replica has it", sealedBy(old), sealedBy(early), first.ID)
	}
	step(keyring.Delay)
	var late *http.Request
	testenv.Eventually(t, func() error { // the key may be on its way to the replica
		if _, late = signIn(t, store); sealedBy(late) != second.ID {
			return fmt.Errorf("sealed by %s, want %s", sealedBy(late), second.ID)
		}
		return nil
	})
	for _, r := range []*http.Request{old, early, late} {
		wantOpen(t, other, r)
	}
	step(23 * time.Hour)
	for _, r := range []*http.Request{old, early, late} {
		wantClosed(t, other, r, session.ErrEnded)
	}
	step(time.Hour + time.Minute)
	wantClosed(t, store, old, session.ErrNone)
	wantClosed(t, store, late, session.ErrEnded)
	touch(t, clock)
	keys(t, 3)
	step(2 * time.Hour)
	touch(t, clock)
	for _, key := range keys(t, 2) {
		if key.ID == first.ID {
			t.Error("the first key is still there")
		}
	}
}

// Whatever somebody does to the Secret or the list: the manager mends it, and nothing that
// was signed out opens again.
func TestSessionObjectsAreMended(t *testing.T) {
	clock := installation(t)
	store := replica(t, clock)
	for name, breaks := range map[string]struct {
		how func()
		// want is what becomes of sessions.
		want error
	}{
		"the Secret is emptied": {func() { change(t, keySecret(), func(s *corev1.Secret) { s.Data = nil }) }, session.ErrNone},
		"the Secret is overwritten": {func() {
			change(t, keySecret(), func(s *corev1.Secret) { s.Data = map[string][]byte{"tls.key": []byte("x")} })
		}, session.ErrNone},
		"the Secret is deleted":   {func() { remove(t, keySecret()) }, session.ErrNone},
		"the list is emptied":     {func() { change(t, endedList(), func(c *corev1.ConfigMap) { c.Data = nil }) }, session.ErrEnded},
		"the list is overwritten": {func() { change(t, endedList(), func(c *corev1.ConfigMap) { c.Data[ended.DataKey] += "x" }) }, session.ErrEnded},
		"the list is deleted":     {func() { remove(t, endedList()) }, session.ErrEnded},
	} {
		t.Run(name, func(t *testing.T) {
			clock.Step(time.Second) // what began in the same instant as the last mend would go on
			_, r := signIn(t, store)
			wantOpen(t, store, r)
			breaks.how()
			wantClosed(t, store, r, breaks.want)
			testenv.Eventually(t, store.Ready)
			keys(t, 1)
			_, again := signIn(t, store)
			wantOpen(t, store, again)
		})
	}
}

func remove(t *testing.T, object client.Object) {
	t.Helper()
	if err := env().Client.Delete(t.Context(), object); err != nil {
		t.Fatal(err)
	}
}
