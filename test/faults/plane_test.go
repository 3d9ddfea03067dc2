//go:build linux

package faults_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
	"github.com/latchkey-dev/latchkey/test/faults/history"
	"github.com/latchkey-dev/latchkey/test/faults/link"
)

// nothingWrong is what the others are compared with. A tenant is suspended meanwhile, and
// then is no more.
func nothingWrong(s *stage) {
	s.lasts(s.long(time.Second, 20*time.Second))
	lift := s.suspend("globex")
	s.lasts(s.long(time.Second, 10*time.Second))
	lift()
	s.mended()
}

// suspend suspends a tenant, and returns what lifts that again.
func (s *stage) suspend(name string) (lift func()) {
	s.t.Helper()
	tenant := &v1alpha1.Tenant{}
	tenant.Name = name
	change := s.history.End(history.End{
		Kind: history.Suspended, Tenant: name, Begun: s.history.Now(),
		Returned: history.Never, Lifted: history.Never, Restored: history.Never,
	})
	set := func(suspended bool) (returned history.Instant) {
		patch := fmt.Appendf(nil, `{"spec":{"suspended":%t}}`, suspended)
		must(s.t, s.client.Patch(s.t.Context(), tenant.DeepCopy(), client.RawPatch(mergePatch, patch)))
		return s.history.Now()
	}
	returned := set(true)
	change(func(e *history.End) { e.Returned = returned })
	return func() {
		lifted := s.history.Now()
		change(func(e *history.End) { e.Lifted = lifted })
		restored := set(false)
		change(func(e *history.End) { e.Restored = restored })
	}
}

// apiServerKilled is over when the API server says that it is ready.
func apiServerKilled(s *stage) {
	end := s.deaf(nil)
	must(s.t, s.apiServer.Kill(s.t.Context()))
	s.lasts(s.long(2*time.Second, 20*time.Second))
	must(s.t, s.apiServer.Start())
	must(s.t, s.apiServer.Healthy(s.t.Context()))
	s.mended(end)
}

// apiServerStopped keeps every connection of the API server open, with nobody there.
func apiServerStopped(s *stage) {
	end := s.deaf(nil)
	stopped := time.Now()
	must(s.t, s.apiServer.Signal(syscall.SIGSTOP))
	s.noticed(stopped, s.replicas...)
	s.lasts(s.long(0, 10*time.Second))
	must(s.t, s.apiServer.Signal(syscall.SIGCONT))
	must(s.t, s.apiServer.Healthy(s.t.Context()))
	s.mended(end)
}

// silenceLimit is within what a connection that is silent is given up (promise 4): one over
// which nothing came for 5 s is asked whether it lives, and has 5 s to say so.
const silenceLimit = 10 * time.Second

// silenceSlack is for a machine that is busy with other things. It leaves out client-go's
// defaults, 30 s and 15 s, in the short form too.
const silenceSlack = 15 * time.Second

// noticed waits until the replicas have given up the connections that they had when these
// fell silent (promise 4).
func (s *stage) noticed(since time.Time, replicas ...*replica) {
	s.t.Helper()
	var longest time.Duration
	for _, r := range replicas {
		testenv.Eventually(s.t, func() error {
			took, err := r.givenUp(since)
			longest = max(longest, took)
			return err
		})
	}
	s.note("noticed after %s", longest.Round(100*time.Millisecond))
	if longest > silenceLimit+s.long(silenceSlack, slack) {
		s.t.Errorf("a silent connection was given up after %s, must be within %s", longest, silenceLimit)
	}
	// No ping is unanswered for 5 s before: it was ended for something else.
	if longest < silenceLimit/2-slack {
		s.t.Errorf("the connections ended after %s already, which says nothing of how long silence is suffered", longest)
	}
}

func etcdKilled(s *stage) {
	end := s.deaf(nil)
	must(s.t, s.etcd.Kill(s.t.Context()))
	s.lasts(s.long(2*time.Second, 20*time.Second))
	must(s.t, s.etcd.Start())
	must(s.t, s.etcd.Healthy(s.t.Context()))
	must(s.t, s.apiServer.Healthy(s.t.Context()))
	s.mended(end)
}

// etcdStopped keeps every connection of etcd open, with nobody there.
func etcdStopped(s *stage) {
	end := s.deaf(nil)
	must(s.t, s.etcd.Signal(syscall.SIGSTOP))
	s.lasts(s.long(2*time.Second, 20*time.Second))
	must(s.t, s.etcd.Signal(syscall.SIGCONT))
	must(s.t, s.apiServer.Healthy(s.t.Context()))
	s.mended(end)
}

// etcdLost breaks the link from the API server to etcd.
func etcdLost(mode link.Mode) func(*stage) {
	return func(s *stage) {
		l := s.etcdLink()
		end := s.deaf(nil)
		l.Set(mode)
		s.lasts(s.long(2*time.Second, 20*time.Second))
		l.Set(link.Whole)
		must(s.t, s.apiServer.Healthy(s.t.Context()))
		s.mended(end)
	}
}

// etcdSlow slows down the API server's link to etcd. Writes take longer; what is written
// is not excused.
func etcdSlow(s *stage) {
	l := s.etcdLink()
	l.Set(link.Slow)
	s.lasts(s.long(2*time.Second, 20*time.Second))
	s.mended()
	l.Set(link.Whole)
}

// etcdLink has the API server reach etcd through a link, from the first call on.
func (s *stage) etcdLink() *link.Link {
	s.t.Helper()
	if s.toEtcd != nil {
		return s.toEtcd
	}
	l, err := link.New(strings.TrimPrefix(env().EtcdURL(), "http://"))
	must(s.t, err)
	s.toEtcd = l
	end := s.deaf(nil)
	must(s.t, s.apiServer.Kill(s.t.Context()))
	for n, arg := range s.apiServer.Args {
		if strings.HasPrefix(arg, "--etcd-servers=") {
			s.apiServer.Args[n] = "--etcd-servers=http://" + l.Address()
		}
	}
	must(s.t, s.apiServer.Start())
	must(s.t, s.apiServer.Healthy(s.t.Context()))
	for _, r := range s.replicas {
		s.awaitNews(r)
	}
	end(s.history.Now())
	return l
}

// compacted has a replica miss so much that its watches can't be resumed: what it missed
// is compacted away, and the API server starts with an empty cache.
func compacted(s *stage) {
	cut := s.replicas[0]
	first := s.resourceVersion()
	late := s.deaf(cut)
	cut.link.Set(link.Refused)
	s.lasts(s.long(2*time.Second, 10*time.Second))
	all := s.deaf(nil)
	must(s.t, s.apiServer.Kill(s.t.Context()))
	s.compact()
	must(s.t, s.apiServer.Start())
	must(s.t, s.apiServer.Healthy(s.t.Context()))
	for _, r := range s.replicas[1:] {
		s.awaitNews(r)
	}
	all(s.history.Now())
	if err := s.resume(first); !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err) {
		s.t.Errorf("to resume a watch at %s was answered %v, want 410: nothing was compacted", first, err)
	}
	cut.link.Set(link.Whole)
	s.mended(late)
}

// awaitNews waits until a replica has heard of a write that is made now.
func (s *stage) awaitNews(r *replica) {
	s.t.Helper()
	marker := s.doomed.take()
	must(s.t, s.endToken(s.t.Context(), marker, history.Revoked))
	s.awaitRefused(r, marker)
}

func (s *stage) resourceVersion() string {
	s.t.Helper()
	var list v1alpha1.ApiTokenList
	must(s.t, s.client.List(s.t.Context(), &list, client.Limit(1)))
	return list.ResourceVersion
}

// resume asks for what came after a version, and returns why that is not to be had.
func (s *stage) resume(version string) error {
	ctx, cancel := context.WithTimeout(s.t.Context(), 5*time.Second)
	defer cancel()
	w, err := s.client.Watch(ctx, &v1alpha1.ApiTokenList{}, &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: version}})
	if err != nil {
		return err
	}
	defer w.Stop()
	switch event, more := <-w.ResultChan(); {
	case !more:
		return errors.New("a watch ended without a word")
	case event.Type == watch.Error:
		return apierrors.FromObject(event.Object)
	default:
		return fmt.Errorf("a watch began with %s", event.Type)
	}
}

// compact has etcd forget everything but the present.
func (s *stage) compact() {
	s.t.Helper()
	var now struct {
		Header struct{ Revision json.Number }
	}
	must(s.t, s.etcdCall(s.t.Context(), "kv/range", `{"key":"AA=="}`, &now))
	var done struct{}
	must(s.t, s.etcdCall(s.t.Context(), "kv/compaction", fmt.Sprintf(`{"revision":%q,"physical":true}`, now.Header.Revision), &done))
}

// etcdRestored sets the store back to a copy of its files, as someone does who knows
// nothing of revisions. What was revoked since works again, by design: nobody is left who
// remembers. Revoking again helps. Neither managers nor replicas are restarted, and each
// has to notice that its watches can't resume in the restored store.
func etcdRestored(s *stage) {
	rollback := s.takeSnapshot()
	s.advanceRevision(3000)
	s.suspend("globex")()
	lost, again := s.mint("acme", time.Now().Add(time.Hour)), s.doomed.take()
	s.issue(lost)
	s.steadyAt(lost)
	must(s.t, s.endToken(s.t.Context(), again, history.Revoked))
	s.lasts(s.long(2*time.Second, 10*time.Second))

	blind := s.deaf(nil)
	must(s.t, s.apiServer.Kill(s.t.Context()))
	must(s.t, s.etcd.Kill(s.t.Context()))
	s.history.Span(history.Span{From: s.history.Now(), Rollback: rollback})
	s.history.Span(history.Span{Token: lost.name, From: s.history.Now(), Refusals: []string{"token-invalid"}})
	must(s.t, os.RemoveAll(env().EtcdDir()))
	must(s.t, os.CopyFS(env().EtcdDir(), os.DirFS(s.snapshotDir())))
	must(s.t, s.etcd.Start())
	must(s.t, s.etcd.Healthy(s.t.Context()))
	must(s.t, s.apiServer.Start())
	must(s.t, s.apiServer.Healthy(s.t.Context()))

	// At once, while the restored store has yet to reach the versions that watches held: a
	// watch that resumed would never tell of it.
	both := s.doomed.take()
	must(s.t, s.endToken(s.t.Context(), both, history.Revoked))
	took := s.until(s.scenario.recovery, "a revocation after the restore", func() error {
		for _, r := range s.replicas {
			if err := s.refused(r, both); err != nil {
				return err
			}
		}
		return nil
	})
	s.note("a revocation took effect after %s", round(took))
	s.until(s.scenario.recovery, "undoing what the restored store does not have", func() error { return s.undone(again, lost) })
	blind(s.history.Now())

	lift := s.suspend("globex")
	s.lasts(s.long(2*time.Second, 10*time.Second))
	lift()
	s.issue(s.mint("globex", time.Now().Add(time.Hour))) // by a manager that held what is gone
	must(s.t, s.endToken(s.t.Context(), again, history.Revoked))
	s.mended()
	for _, r := range s.replicas {
		s.awaitRefused(r, again)
	}
}

// takeSnapshot copies etcd's files while etcd does not run, and returns when.
func (s *stage) takeSnapshot() history.Instant {
	s.t.Helper()
	blind := s.deaf(nil)
	must(s.t, s.etcd.Kill(s.t.Context()))
	must(s.t, os.CopyFS(s.snapshotDir(), os.DirFS(env().EtcdDir())))
	taken := s.history.Now()
	must(s.t, s.etcd.Start())
	must(s.t, s.etcd.Healthy(s.t.Context()))
	must(s.t, s.apiServer.Healthy(s.t.Context()))
	s.awaitNews(s.replicas[0])
	s.awaitNews(s.replicas[1])
	blind(s.history.Now())
	return taken
}

// advanceRevision has etcd count on, so that a store that is set back does not reach the
// versions that watches hold while the scenario lasts.
func (s *stage) advanceRevision(by int) {
	s.t.Helper()
	group, ctx := errgroup.WithContext(s.t.Context())
	group.SetLimit(64)
	for range by {
		group.Go(func() error {
			var done struct{}
			return s.etcdCall(ctx, "kv/put", `{"key":"b3RoZXI="}`, &done)
		})
	}
	must(s.t, group.Wait())
}

func (s *stage) snapshotDir() string { return filepath.Join(s.dir, "snapshot") }

// undone returns nil once every replica accepts a token whose revocation the restored store
// does not have, and refuses one whose ApiToken it does not have.
func (s *stage) undone(revoked, lost *issued) error {
	for _, r := range s.replicas {
		c := newCaller(r)
		defer c.close()
		status, code, _, err := c.request(s.t.Context(), revoked.ask())
		switch {
		case err != nil:
			return err
		case status != http.StatusOK:
			return fmt.Errorf("%s answers a token whose revocation was undone with %d %s", r.name, status, code)
		}
		if err := s.refused(r, lost); err != nil {
			return err
		}
	}
	return nil
}

// steadyAt has every replica asked for more tokens that work, in turn.
func (s *stage) steadyAt(all ...*issued) {
	questions := make([]question, 0, len(all))
	for _, i := range all {
		questions = append(questions, i.ask())
	}
	for _, r := range s.asked() {
		s.traffic.cycle(r, questions)
	}
}
