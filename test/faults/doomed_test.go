//go:build linux

package faults_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/test/faults/history"
)

// writeLimit is how long a write to the Kubernetes API may take before it is tried again.
const writeLimit = 2 * time.Second

// doomed are tokens that are ended one by one while they are asked for.
type doomed struct {
	stage *stage

	mu sync.Mutex
	// all is every one; the first few are ended, or about to be.
	all   []*issued
	ended int
	// refused are those that a replica is known to refuse, by replica and token.
	refused map[[2]string]bool
}

// reserve is how many tokens the churn leaves to the scenario.
const reserve = 8

// take is the next token to be ended.
func (d *doomed) take() *issued {
	i := d.takeLeaving(0)
	if i == nil {
		d.stage.t.Fatal("no token is left to end")
	}
	return i
}

// takeLeaving is the next token to be ended; nil if there are no more than so many.
func (d *doomed) takeLeaving(left int) *issued {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended+left >= len(d.all) {
		return nil
	}
	d.ended++
	return d.all[d.ended-1]
}

// asker asks a replica for what has ended and it may still accept, and now and then for what
// ended before and for what will end next.
func (d *doomed) asker(r *replica) func() question {
	turn, fresh, old := 0, 0, 0
	return func() question {
		d.mu.Lock()
		defer d.mu.Unlock()
		turn++
		hot := d.hot(r)
		switch {
		case len(hot) > 0 && turn%4 != 0:
			fresh++
			return hot[fresh%len(hot)].ask()
		case d.ended > 0 && turn%8 != 0:
			old++
			return d.all[old%d.ended].ask()
		}
		return d.all[min(d.ended, len(d.all)-1)].ask()
	}
}

// hot are those that ended and that the replica may still accept: the oldest few, which tell
// how late it is, and the latest few, so that each is asked for soon, however many there are.
// The caller holds the lock.
func (d *doomed) hot(r *replica) []*issued {
	const few = 3
	var hot []*issued
	for _, i := range d.all[:d.ended] {
		if !d.refused[[2]string{r.name, i.name}] {
			hot = append(hot, i)
		}
	}
	if len(hot) > 2*few {
		hot = slices.Delete(hot, few, len(hot)-few)
	}
	return hot
}

// note learns from an answer which tokens a replica refuses for good.
func (d *doomed) note(a history.Answer) {
	if a.Status != http.StatusUnauthorized {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refused[[2]string{a.Replica, a.Token}] = true
}

// churn ends a token every interval, by turns in each way that there is, until ctx ends.
func (d *doomed) churn(ctx context.Context, interval time.Duration) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		i := d.takeLeaving(reserve)
		if i == nil {
			return
		}
		kind := history.Revoked
		if n%2 == 1 {
			kind = history.Deleted
		}
		_ = d.stage.endToken(ctx, i, kind) // it was not done: the history says so
	}
}

// endToken ends a token, however often that has to be tried, and returns once it is done.
func (s *stage) endToken(ctx context.Context, i *issued, kind history.EndKind) error {
	change := s.history.End(history.End{
		Kind: kind, Token: i.name, Tenant: i.tenant, Begun: s.history.Now(),
		Returned: history.Never, Lifted: history.Never, Restored: history.Never,
	})
	for {
		err := s.write(ctx, i, kind)
		if err == nil {
			now := s.history.Now()
			change(func(e *history.End) { e.Returned = now })
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("token %s was not %s: %w", i.name, kind, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *stage) write(ctx context.Context, i *issued, kind history.EndKind) error {
	ctx, cancel := context.WithTimeout(ctx, writeLimit)
	defer cancel()
	object := &v1alpha1.ApiToken{}
	object.Namespace, object.Name = i.object.Namespace, i.object.Name
	if kind == history.Deleted {
		return client.IgnoreNotFound(s.client.Delete(ctx, object)) // it was done at the attempt before
	}
	return s.client.Patch(ctx, object, client.RawPatch(mergePatch, []byte(`{"spec":{"revoked":true}}`)))
}

const mergePatch = "application/merge-patch+json"
