package directory_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/latchkey-dev/latchkey/internal/directory"
	"github.com/latchkey-dev/latchkey/internal/testing/directorytest"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

// What a reflector receives counts as heard: the list, each change, and bookmarks,
// which a cluster where nothing happens sends alone. That a watch ended does not.
func TestLastHeard(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	d := directory.New(slog.New(slog.DiscardHandler))
	heard := func() time.Time { return d.LastHeard()["records"] }
	if !heard().IsZero() {
		t.Fatalf("heard at %s before anything was", heard())
	}
	listed := make(chan struct{})
	watches := make(chan *watch.FakeWatcher, 10)
	listWatch := &cache.ListWatch{
		ListWithContextFunc: func(context.Context, metav1.ListOptions) (runtime.Object, error) {
			<-listed
			return &corev1.SecretList{ListMeta: metav1.ListMeta{ResourceVersion: "1"}}, nil
		},
		WatchFuncWithContext: func(context.Context, metav1.ListOptions) (watch.Interface, error) {
			w := watch.NewFake()
			watches <- w
			return w, nil
		},
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		cache.NewReflectorWithOptions(unsupported{listWatch}, &corev1.Secret{}, d.Stores().Records, cache.ReflectorOptions{}).RunWithContext(ctx)
	}()
	defer func() { cancel(); <-ended }()
	hears := func(what string, send func()) {
		t.Helper()
		before := time.Now()
		send()
		testenv.Eventually(t, func() error {
			if at := heard(); at.Before(before) {
				return &notHeard{what}
			}
			return nil
		})
		if at := heard(); at.After(time.Now()) {
			t.Errorf("%s was heard in the future, at %s", what, at)
		}
	}
	hears("the list", func() { close(listed) })
	w := <-watches
	secret := directorytest.Issue(t, "acme", expiry).Secret()
	secret.ResourceVersion = "2"
	hears("an addition", func() { w.Add(secret) })
	hears("a change", func() { w.Modify(secret) })
	hears("a bookmark", func() { w.Action(watch.Bookmark, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{ResourceVersion: "3"}}) })
	hears("a deletion", func() { w.Delete(secret) })
	last := heard()
	w.Stop()
	<-watches // it watches again
	if heard() != last {
		t.Error("the end of a watch, or the begin of another, was taken for news")
	}
	for _, other := range []string{"apitokens", "tenants", "publicapis", "documents"} {
		if at := d.LastHeard()[other]; !at.IsZero() {
			t.Errorf("%s were heard of at %s", other, at)
		}
	}
}

// A cluster's watches tell of each resource.
func TestLastHeardOfACluster(t *testing.T) {
	before := time.Now()
	d := run(t, slog.New(slog.DiscardHandler), "latchkey-records")
	testenv.Eventually(t, func() error {
		for name, at := range d.LastHeard() {
			if at.Before(before) {
				return &notHeard{name}
			}
		}
		return nil
	})
}

type notHeard struct{ what string }

func (n *notHeard) Error() string { return n.what + " was not heard" }

// unsupported makes a reflector list and then watch.
type unsupported struct{ *cache.ListWatch }

func (unsupported) IsWatchListSemanticsUnSupported() bool { return true }
