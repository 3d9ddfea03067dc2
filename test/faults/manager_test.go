//go:build linux

package faults_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
	"github.com/latchkey-dev/latchkey/test/faults/history"
	"github.com/latchkey-dev/latchkey/test/faults/link"
)

// issuingLimit is within what a manager that was killed is replaced (promise 10).
const issuingLimit = 20 * time.Second

// managerKilled kills the manager that leads when it has written a status, and not yet
// the record; the other one takes over.
func managerKilled(s *stage) {
	s.stopManagers()
	record := func(r *http.Request) bool {
		return r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/namespaces/"+v1alpha1.RecordsNamespace+"/secrets")
	}
	held := map[*manager]<-chan struct{}{}
	var gateways []*link.Gateway
	for _, name := range []string{"manager-3", "manager-4"} {
		gateway, err := link.NewGateway(planeURL(), env().Config.CAData)
		must(s.t, err)
		s.t.Cleanup(gateway.Close)
		m := s.startManager(name, s.access("latchkey-manager", name, gateway.Address(), gateway.CA()))
		s.managers = append(s.managers, m)
		held[m] = gateway.Hold(record)
		gateways = append(gateways, gateway)
	}
	i := s.mint("acme", time.Now().Add(time.Hour))
	must(s.t, s.client.Create(s.t.Context(), i.object.DeepCopy()))
	var leader, other *manager
	select {
	case <-held[s.managers[0]]:
		leader, other = s.managers[0], s.managers[1]
	case <-held[s.managers[1]]:
		leader, other = s.managers[1], s.managers[0]
	case <-time.After(time.Minute):
		s.t.Fatal("no manager writes the record")
	}
	for _, gateway := range gateways {
		gateway.HoldNothing() // who takes over is not hindered
	}
	killed := time.Now()
	must(s.t, leader.Kill())
	must(s.t, s.client.Get(s.t.Context(), client.ObjectKeyFromObject(i.object), i.object))
	if c := i.object.Status.Credential; c == nil || c.Digest != i.object.Spec.Credential.Digest {
		s.t.Errorf("the status does not vouch for the credential yet: %+v", c)
	}
	for _, r := range s.replicas {
		if err := s.refuses(r, i); err != nil {
			s.t.Errorf("without a record: %v", err)
		}
	}
	s.managers = []*manager{other}
	for _, r := range s.replicas {
		s.awaitAccepted(r, i)
	}
	took := time.Since(killed)
	s.note("issued %s after the kill", round(took))
	if took > issuingLimit+slack && *full {
		s.t.Errorf("to issue again took %s, must be within %s", took, issuingLimit)
	}
	s.stopManagers()
	s.startManagers()
	s.mended()
}

// twoLeaders runs two managers that both believe to lead: they do the same work, and
// neither undoes the other's.
func twoLeaders(s *stage) {
	s.stopManagers()
	for _, name := range []string{"manager-5", "manager-6"} {
		s.startAnotherManager(name, "--leader-elect=false")
	}
	all := s.mintSome(20)
	s.issue(all...)
	s.steadyAt(all...)
	s.lasts(s.long(2*time.Second, 20*time.Second))
	for _, i := range all {
		testenv.Eventually(s.t, func() error { return s.settled(i) })
	}
	s.mended()
	s.stopManagers()
	s.startManagers()
}

// renewLimit is within what a manager ends that can't renew its lease, and so one that
// wakes when its lease is another's: until then two do the same work.
const renewLimit = 10 * time.Second

// leaderFrozen stops the manager that leads for longer than its lease, and wakes it when
// another leads: it has to end, and what it does until then spoils nothing.
func leaderFrozen(s *stage) {
	s.stopManagers()
	frozen := s.startAnotherManager("manager-7")
	s.issue(s.mint("acme", time.Now().Add(time.Hour))) // and so it leads: it is alone
	s.startAnotherManager("manager-8")
	s.managers = s.managers[1:]
	stopped := time.Now()
	frozen.signal(s.t, syscall.SIGSTOP)
	s.t.Cleanup(func() { _ = frozen.Kill() })
	all := s.mintSome(20)
	s.issue(all...)
	took := time.Since(stopped)
	s.note("issued %s after the stop", round(took))
	if took > issuingLimit+slack && *full {
		s.t.Errorf("to issue again took %s, must be within %s", took, issuingLimit)
	}
	frozen.signal(s.t, syscall.SIGCONT) // it hears of all that now
	woken := time.Now()
	both := s.mintSome(20)
	s.issue(both...)
	all = append(all, both...)
	s.steadyAt(all...)
	testenv.Eventually(s.t, func() error {
		select {
		case <-frozen.Done():
			return nil
		default:
			return errors.New("a manager whose lease is another's goes on")
		}
	})
	took = time.Since(woken)
	s.note("ended %s after it woke", round(took))
	if took > renewLimit+slack && *full {
		s.t.Errorf("a manager that woke ended after %s, must be within %s", took, renewLimit)
	}
	s.lasts(s.long(time.Second, 10*time.Second))
	for _, i := range all {
		testenv.Eventually(s.t, func() error { return s.settled(i) })
	}
	s.mended()
	s.stopManagers()
	s.startManagers()
}

// mintSome makes tokens of both tenants that nobody has issued yet.
func (s *stage) mintSome(n int) (all []*issued) {
	s.t.Helper()
	for i := range n {
		all = append(all, s.mint(tenants[i%len(tenants)], time.Now().Add(time.Hour)))
	}
	return all
}

func (s *stage) startAnotherManager(name string, more ...string) *manager {
	s.t.Helper()
	m := s.startManager(name, s.access("latchkey-manager", name, planeAddress(), nil), more...)
	s.managers = append(s.managers, m)
	return m
}

// managersGone has no manager for longer than --max-staleness (promise 16). Nothing goes
// stale for that, what expires expires, and what is revoked, deleted or suspended meanwhile
// is so at once. An ApiToken that is made meanwhile waits.
func managersGone(s *stage) {
	absence := s.long(4*time.Second, maxStaleness+10*time.Second)
	expiring := s.mint("acme", time.Now().Add(absence))
	s.issue(expiring)
	s.steadyAt(expiring)
	end := s.dismissManagers()
	waiting := s.mint("acme", time.Now().Add(time.Hour))
	must(s.t, s.client.Create(s.t.Context(), waiting.object.DeepCopy()))
	s.lasts(absence)
	for _, r := range s.replicas {
		s.awaitRefused(r, expiring)
	}
	for _, kind := range []history.EndKind{history.Revoked, history.Deleted} {
		i := s.doomed.take()
		must(s.t, s.endToken(s.t.Context(), i, kind))
		for _, r := range s.replicas {
			s.awaitRefused(r, i)
		}
	}
	lift := s.suspend("acme")
	for _, r := range s.replicas {
		s.awaitStatus(r, s.steady[0], http.StatusForbidden)
	}
	lift()
	for _, r := range s.replicas {
		s.awaitStatus(r, s.steady[0], http.StatusOK)
		s.wantFresh(r)
		if err := s.refuses(r, waiting); err != nil {
			s.t.Errorf("without a manager: %v", err)
		}
	}
	s.mended()
	end()
	back := time.Now()
	s.startManagers()
	for _, r := range s.replicas {
		s.awaitAccepted(r, waiting)
	}
	s.note("issued %s after a manager was started", round(time.Since(back)))
}

// dismissManagers leaves no manager that does anything: one is killed, and one is stopped
// where it is, until end. In the short form both end in order: nobody has to wait for a
// lease afterwards.
func (s *stage) dismissManagers() (end func()) {
	s.t.Helper()
	if !*full {
		s.stopManagers()
		return func() {}
	}
	killed, frozen := s.managers[0], s.managers[1]
	s.managers = nil
	s.t.Cleanup(func() { _ = frozen.Kill() })
	frozen.signal(s.t, syscall.SIGSTOP)
	must(s.t, killed.Kill())
	return func() { must(s.t, frozen.Kill()) }
}

// wantFresh wants a replica to be ready, and not stale.
func (s *stage) wantFresh(r *replica) {
	s.t.Helper()
	if err := ready(r.admin); err != nil {
		s.t.Error(err)
	}
	if value, err := r.metric("latchkey_directory_stale"); err != nil || value != "0" {
		s.t.Errorf("%s: latchkey_directory_stale is %q, %v; want 0", r.name, value, err)
	}
}

// settled says whether an ApiToken's status has the credential of its spec.
func (s *stage) settled(i *issued) error {
	if err := s.client.Get(s.t.Context(), client.ObjectKeyFromObject(i.object), i.object); err != nil {
		return err
	}
	if c := i.object.Status.Credential; c == nil || c.Digest != i.object.Spec.Credential.Digest {
		return fmt.Errorf("the status of %s has the credential %+v", i.name, c)
	}
	return nil
}
