// Package sessiontest is for tests of what people sign in to: Stores that share keys and
// ended sessions, as the replicas of an installation do, without a cluster.
package sessiontest

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/session"
	"github.com/latchkey-dev/latchkey/internal/session/ended"
	"github.com/latchkey-dev/latchkey/internal/session/keyring"
)

// Shared is what replicas share.
type Shared struct {
	mu      sync.Mutex
	keys    *corev1.Secret
	ended   *corev1.ConfigMap
	version int
	feeds   []session.Stores
	failure error
	cut     bool
}

// NewShared is of a new installation: with one key, and nothing ended.
func NewShared(now time.Time) *Shared {
	meta := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: name}
	}
	return &Shared{
		keys:  &corev1.Secret{ObjectMeta: meta(keyring.SecretName), Data: keyring.Of(keyring.New(now)).Data()},
		ended: &corev1.ConfigMap{ObjectMeta: meta(ended.ConfigMapName), Data: map[string]string{ended.DataKey: (&ended.List{}).String()}},
	}
}

// Store is another replica's, which works until the test ends. Its namespace is set.
func (s *Shared) Store(t testing.TB, c session.Config) *session.Store {
	t.Helper()
	c.Namespace = v1alpha1.SystemNamespace
	store, err := session.New(c)
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	s.feeds = append(s.feeds, store.Stores())
	err = s.feed(store.Stores())
	s.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- store.Write(ctx, s) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return store
}

// New is a Store that is alone.
func New(t testing.TB, c session.Config) *session.Store {
	t.Helper()
	now := time.Now()
	if c.Clock != nil {
		now = c.Clock.Now()
	}
	return NewShared(now).Store(t, c)
}

// SetKeys is what the manager does: the keys of all replicas are these from now on.
func (s *Shared) SetKeys(ring keyring.Ring) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = s.keys.DeepCopy()
	s.keys.Data = ring.Data()
	return s.feedAll()
}

// SetEnded makes the stored list this text, be it a list or not.
func (s *Shared) SetEnded(text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.setEnded(&corev1.ConfigMap{ObjectMeta: s.ended.ObjectMeta, Data: map[string]string{ended.DataKey: text}})
}

// Ended is the stored list.
func (s *Shared) Ended() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended.Data[ended.DataKey]
}

// Fail makes all reads and writes of the list fail with an error, or succeed again with nil.
func (s *Shared) Fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failure = err
}

// Cut keeps the replicas from hearing of anything, until Hear.
func (s *Shared) Cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut = true
}

// Hear tells the replicas what there is.
func (s *Shared) Hear() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut = false
	return s.feedAll()
}

func (s *Shared) feedAll() error {
	if s.cut {
		return nil
	}
	for _, f := range s.feeds {
		if err := s.feed(f); err != nil {
			return err
		}
	}
	return nil
}

func (s *Shared) feed(f session.Stores) error {
	if err := f.Keys.Replace([]any{s.keys}, ""); err != nil {
		return err
	}
	return f.Ended.Replace([]any{s.ended}, "")
}

func (s *Shared) setEnded(c *corev1.ConfigMap) error {
	s.version++
	s.ended = c.DeepCopy()
	s.ended.ResourceVersion = strconv.Itoa(s.version)
	return s.feedAll()
}

// Get implements session.ConfigMap.
func (s *Shared) Get(context.Context) (*corev1.ConfigMap, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended.DeepCopy(), s.failure
}

// Update implements session.ConfigMap.
func (s *Shared) Update(_ context.Context, c *corev1.ConfigMap) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure != nil {
		return s.failure
	}
	if c.ResourceVersion != s.ended.ResourceVersion {
		return apierrors.NewConflict(corev1.Resource("configmaps"), c.Name, fmt.Errorf("%q is not %q", c.ResourceVersion, s.ended.ResourceVersion))
	}
	return s.setEnded(c)
}
