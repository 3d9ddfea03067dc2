package session

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/latchkey-dev/latchkey/internal/session/ended"
)

const (
	// storeTimeout is how long a request waits until its sign-out is stored.
	storeTimeout = 10 * time.Second
	// maxAttempts is how often one write is tried while others write too. Each conflict
	// means that one of them got on.
	maxAttempts = 20
	// minRetry and maxRetry are when writing is tried again after a failure, which
	// doubles from one to the other.
	minRetry, maxRetry = time.Second, time.Minute
)

// ConfigMap is where ended sessions are kept.
type ConfigMap interface {
	// Get reads it from the API server itself.
	Get(ctx context.Context) (*corev1.ConfigMap, error)
	// Update writes it, unless it was changed since it was read.
	Update(ctx context.Context, configMap *corev1.ConfigMap) error
}

// signOuts are the sessions that were ended here. One goroutine stores them, whatever
// came together in one write.
type signOuts struct {
	// all are those of this process, which count here whether or not they were stored and
	// heard of. The list is never changed, but replaced.
	all  atomic.Pointer[ended.List]
	wake chan struct{}

	mu sync.Mutex
	// pending are those that are not stored.
	pending *ended.List
	// waiting are told how the next write went.
	waiting []chan<- error
}

func newSignOuts() *signOuts {
	o := &signOuts{wake: make(chan struct{}, 1), pending: &ended.List{}}
	o.all.Store(&ended.List{})
	return o
}

// here is what was ended here. Nobody may change it.
func (o *signOuts) here() *ended.List { return o.all.Load() }

// add ends sessions, and returns where it is told whether that was stored.
func (o *signOuts) add(now time.Time, end func(*ended.List)) <-chan error {
	stored := make(chan error, 1)
	o.mu.Lock()
	defer o.mu.Unlock()
	all := o.all.Load().Clone()
	all.Prune(now)
	end(all)
	o.all.Store(all)
	end(o.pending)
	o.waiting = append(o.waiting, stored)
	o.rouse()
	return stored
}

// rouse has what is pending stored.
func (o *signOuts) rouse() {
	select {
	case o.wake <- struct{}{}:
	default: // it is about to be
	}
}

// take takes what is to be stored, and who waits for it.
func (o *signOuts) take() (pending *ended.List, waiting []chan<- error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	pending, waiting = o.pending, o.waiting
	o.pending, o.waiting = &ended.List{}, nil
	return pending, waiting
}

// putBack is for what could not be stored.
func (o *signOuts) putBack(pending *ended.List, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.pending.Merge(pending, now)
}

// End signs a session out and removes its cookie. It counts here at once, and elsewhere
// as soon as it was stored and heard of, within a second or so. If it fails, with
// ErrUnavailable, the cookie is removed nonetheless, and storing it goes on being tried
// for as long as the session might live and this process runs.
func (s *Store) End(ctx context.Context, w http.ResponseWriter, session *Session) error {
	return s.end(ctx, w, session, func(l *ended.List, now time.Time) { l.EndSession(session.facts(), session.endsAt, now) })
}

// EndAll signs out every session of the session's person with this tenant, as End does.
func (s *Store) EndAll(ctx context.Context, w http.ResponseWriter, session *Session) error {
	return s.end(ctx, w, session, func(l *ended.List, now time.Time) { l.EndUser(session.facts(), now) })
}

func (s *Store) end(ctx context.Context, w http.ResponseWriter, session *Session, end func(l *ended.List, now time.Time)) error {
	removeSessionCookie(w)
	now := s.clock.Now()
	stored := s.signOut.add(now, func(l *ended.List) { end(l, now) })
	timeout := s.clock.NewTimer(storeTimeout)
	defer timeout.Stop()
	var err error
	select {
	case err = <-stored:
	case <-ctx.Done():
		err = ctx.Err()
	case <-timeout.C():
		err = fmt.Errorf("not stored within %s", storeTimeout)
	}
	if err != nil {
		return fmt.Errorf("%w: session %s is signed out on this replica only: %w", ErrUnavailable, session.ID, err)
	}
	return nil
}

// Write stores the sessions that end here until ctx ends.
func (s *Store) Write(ctx context.Context, to ConfigMap) error {
	wait := minRetry
	for {
		select {
		case <-ctx.Done():
			_, waiting := s.signOut.take()
			tell(waiting, ctx.Err())
			return nil
		case <-s.signOut.wake:
		}
		pending, waiting := s.signOut.take()
		err := s.store(ctx, to, pending)
		if err == nil {
			tell(waiting, nil)
			wait = minRetry
			continue
		}
		s.logger.Error("sign-outs are not stored, and count on this replica only until they are", "configmap", ended.ConfigMapName, "error", err, "retryIn", wait)
		s.signOut.putBack(pending, s.clock.Now())
		tell(waiting, err)
		s.clock.AfterFunc(wait, s.signOut.rouse)
		wait = min(2*wait, maxRetry)
	}
}

func tell(waiting []chan<- error, err error) {
	for _, w := range waiting {
		w <- err // each has room for one
	}
}

// store adds ended sessions to those that are kept.
func (s *Store) store(ctx context.Context, to ConfigMap, pending *ended.List) error {
	if pending.IsEmpty() {
		return nil
	}
	var err error
	for range maxAttempts {
		if err = s.storeOnce(ctx, to, pending); !apierrors.IsConflict(err) {
			break
		}
	}
	return err
}

func (s *Store) storeOnce(ctx context.Context, to ConfigMap, pending *ended.List) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	configMap, err := to.Get(ctx)
	if err != nil {
		return fmt.Errorf("read ConfigMap %s/%s: %w", s.namespace, ended.ConfigMapName, err)
	}
	list, err := ended.Parse(configMap.Data[ended.DataKey])
	if err != nil {
		return fmt.Errorf("ConfigMap %s/%s, which the manager mends: %w", s.namespace, ended.ConfigMapName, err)
	}
	list.Merge(pending, s.clock.Now())
	configMap = configMap.DeepCopy()
	configMap.Data[ended.DataKey] = list.String()
	if err := to.Update(ctx, configMap); err != nil {
		return fmt.Errorf("update ConfigMap %s/%s: %w", s.namespace, ended.ConfigMapName, err)
	}
	return nil
}
