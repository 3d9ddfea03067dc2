package session

import (
	"fmt"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/latchkey-dev/latchkey/internal/attentive"
	"github.com/latchkey-dev/latchkey/internal/session/ended"
	"github.com/latchkey-dev/latchkey/internal/session/keyring"
)

// view is what was read of one object, and how old that is.
type view[T any] struct {
	// name is the object's, with its kind.
	name    string
	now     func() time.Duration
	content atomic.Pointer[T]
	// heard is as attentive.Feed has it.
	heard atomic.Int64
}

func newView[T any](name string, now func() time.Duration) *view[T] {
	v := &view[T]{name: name, now: now}
	v.heard.Store(int64(attentive.Never))
	return v
}

// Now implements attentive.Feed.
func (v *view[T]) Now() time.Duration { return v.now() }

// Heard implements attentive.Feed.
func (v *view[T]) Heard() time.Duration { return time.Duration(v.heard.Load()) }

// Stirred implements attentive.Feed: a list of one object has no parts.
func (v *view[T]) Stirred() time.Duration { return v.Heard() }

// hear notes that something arrived at a time, once it can be seen.
func (v *view[T]) hear(at time.Duration) { attentive.Advance(&v.heard, at) }

// read returns what is known, unless nothing is, or nothing was heard for too long.
func (v *view[T]) read(maxStaleness time.Duration) (*T, error) {
	heard := v.Heard() // before the content: what is seen is as new as this at least
	content := v.content.Load()
	switch age := v.now() - heard; {
	case heard == attentive.Never:
		return nil, fmt.Errorf("%w: %s was not read yet", ErrUnavailable, v.name)
	case age >= maxStaleness:
		return nil, fmt.Errorf("%w: nothing was heard of %s for %s", ErrUnavailable, v.name, age.Truncate(time.Second))
	case content == nil:
		return nil, fmt.Errorf("%w: %s is missing, or can't be read; the manager mends it", ErrUnavailable, v.name)
	}
	return content, nil
}

// Stores are what reflectors feed, one an object.
type Stores struct{ Keys, Ended cache.ReflectorStore }

// Stores returns the stores for the Secret with the keys and the ConfigMap with the ended
// sessions. Whoever feeds them vouches for bookmarks.
func (s *Store) Stores() Stores {
	believe := func(count func()) { count() }
	return s.stores(believe, believe)
}

func (s *Store) stores(confirmKeys, confirmEnded func(count func())) Stores {
	return Stores{
		Keys:  &single[*corev1.Secret, locks]{view: s.keys, name: keyring.SecretName, decode: s.decodeKeys, confirm: confirmKeys},
		Ended: &single[*corev1.ConfigMap, ended.List]{view: s.ended, name: ended.ConfigMapName, decode: s.decodeEnded, confirm: confirmEnded},
	}
}

// decodeKeys returns nil where no key can be read.
func (s *Store) decodeKeys(secret *corev1.Secret) *locks {
	ring, wrong := keyring.Parse(secret.Data)
	for _, err := range wrong {
		s.logger.Error("a session key is ignored", "secret", secret.Name, "error", err)
	}
	if len(ring) == 0 {
		s.logger.Error("no session key can be read: nobody is signed in until the manager made one", "secret", secret.Name)
		return nil
	}
	l, err := newLocks(ring)
	if err != nil {
		s.logger.Error("session keys can't be used", "secret", secret.Name, "error", err)
		return nil
	}
	return l
}

// decodeEnded returns nil where the list can't be read: then nobody can say who signed
// out.
func (s *Store) decodeEnded(configMap *corev1.ConfigMap) *ended.List {
	list, err := ended.Parse(configMap.Data[ended.DataKey])
	if err != nil {
		s.logger.Error("ended sessions can't be read: no session opens until the manager mended that", "configmap", configMap.Name, "error", err)
		return nil
	}
	return list
}

// single adapts a view of one object to a reflector.
type single[O interface{ GetName() string }, T any] struct {
	view   *view[T]
	name   string
	decode func(O) *T
	// confirm calls back once a bookmark may be believed.
	confirm func(func())
}

var _ cache.ReflectorBookmarkStore = (*single[*corev1.Secret, locks])(nil)

func (s *single[O, T]) of(object any) (O, bool, error) {
	typed, ok := object.(O)
	if !ok {
		return typed, false, fmt.Errorf("a %T can't be in the store of %s", object, s.view.name)
	}
	return typed, typed.GetName() == s.name, nil
}

func (s *single[O, T]) set(content *T) {
	s.view.content.Store(content)
	s.view.hear(s.view.now())
}

// Add implements cache.ReflectorStore. Objects of other names are ignored.
func (s *single[O, T]) Add(object any) error {
	typed, ours, err := s.of(object)
	if err == nil && ours {
		s.set(s.decode(typed))
	}
	return err
}

// Update implements cache.ReflectorStore.
func (s *single[O, T]) Update(object any) error { return s.Add(object) }

// Delete implements cache.ReflectorStore.
func (s *single[O, T]) Delete(object any) error {
	_, ours, err := s.of(object)
	if err == nil && ours {
		s.set(nil)
	}
	return err
}

// Replace implements cache.ReflectorStore.
func (s *single[O, T]) Replace(objects []any, _ string) error {
	var content *T
	for _, object := range objects {
		typed, ours, err := s.of(object)
		if err != nil {
			return err
		}
		if ours {
			content = s.decode(typed)
		}
	}
	s.set(content)
	return nil
}

// Bookmark implements cache.ReflectorBookmarkStore: nothing else has changed until now.
func (s *single[O, T]) Bookmark(string) error {
	at := s.view.now()
	s.confirm(func() { s.view.hear(at) })
	return nil
}

// Resync implements cache.ReflectorStore.
func (s *single[O, T]) Resync() error { return nil }
