package usage_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/directory"
	"github.com/latchkey-dev/latchkey/internal/usage"
)

// counted counts the writes that a Store accepts.
type counted struct {
	usage.Store
	writes atomic.Int64
}

func (c *counted) PatchStatus(ctx context.Context, namespace, name string, patch []byte) error {
	err := c.Store.PatchStatus(ctx, namespace, name, patch)
	if err == nil {
		c.writes.Add(1)
	}
	return err
}

// Two replicas under the rights of the API server's account, and a real API server:
// each credential is written once in the interval, by one of them. The numbers for more
// of them are TestManyTokensAndTwoReplicas's, whose store is in memory: many objects take
// a real API server long to make, and teach nothing more about its resourceVersions.
func TestTwoReplicasInACluster(t *testing.T) {
	const tokens = 200
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "tenant-usage"}}
	if err := env().Client.Create(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	all := make([]*directory.Token, tokens)
	making, ctx := errgroup.WithContext(t.Context())
	making.SetLimit(16)
	for i := range tokens {
		making.Go(func() (err error) {
			all[i], err = createIssued(ctx, namespace.Name, fmt.Sprintf("token-%d", i))
			return err
		})
	}
	if err := making.Wait(); err != nil {
		t.Fatal(err)
	}
	config, err := env().ServiceAccountConfig(t.Context(), v1alpha1.SystemNamespace, "latchkey-apiserver", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	inCluster, err := usage.NewStore(config)
	if err != nil {
		t.Fatal(err)
	}
	store, clock := &counted{Store: inCluster}, clocktesting.NewFakeClock(start)
	fast := func(c *usage.Config) { c.WritesPerSecond = 2 * tokens }
	replicas := []*usage.Recorder{newRecorder(t, store, clock, fast), newRecorder(t, store, clock, fast)}
	flush := func(want int64, when string) {
		t.Helper()
		before := store.writes.Load()
		flushing, ctx := errgroup.WithContext(t.Context())
		for _, r := range replicas {
			for _, token := range all {
				r.Use(token, clock.Now())
			}
			flushing.Go(func() error { r.Flush(ctx); return nil })
		}
		if err := flushing.Wait(); err != nil {
			t.Fatal(err)
		}
		if got := store.writes.Load() - before; got != want {
			t.Errorf("%s: %d writes, want %d", when, got, want)
		}
	}
	flush(tokens, "first use")
	for _, token := range all {
		token.Used = true // as the watch tells
	}
	clock.Step(30 * time.Minute)
	flush(0, "within the interval")
	clock.Step(31 * time.Minute)
	flush(tokens, "an hour later")
	var list v1alpha1.ApiTokenList
	if err := env().Client.List(t.Context(), &list, client.InNamespace(namespace.Name)); err != nil {
		t.Fatal(err)
	}
	for i := range list.Items {
		c := list.Items[i].Status.Credential
		if c.LastUsedAt == nil || !c.LastUsedAt.Time.Equal(clock.Now()) || c.ID == "" || list.Items[i].Status.ObservedGeneration != 1 {
			t.Errorf("%s: status is %+v", list.Items[i].Name, list.Items[i].Status)
		}
	}
}

func createIssued(ctx context.Context, namespace, name string) (*directory.Token, error) {
	object := &v1alpha1.ApiToken{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	if err := env().Client.Create(ctx, object); err != nil {
		return nil, err
	}
	digest := digestOf(name)
	object.Status = v1alpha1.ApiTokenStatus{ObservedGeneration: 1, Credential: &v1alpha1.IssuedCredential{
		ID: "0123456789", Digest: digest.String(), ExpiresAt: metav1.NewTime(start.Add(1000 * time.Hour)),
	}}
	if err := env().Client.Status().Update(ctx, object); err != nil {
		return nil, err
	}
	return &directory.Token{Digest: digest, Tenant: "usage", Namespace: namespace, Name: name}, nil
}
