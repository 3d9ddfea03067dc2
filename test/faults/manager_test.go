//go:build linux

package faults_test

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/testenv"
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
		gateway, err := link.NewGateway(planeURL(), env.Config.CAData)
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
		s.managers = append(s.managers, s.startManager(name, s.access("latchkey-manager", name, planeAddress(), nil), "--leader-elect=false"))
	}
	var all []*issued
	for n := range 20 {
		all = append(all, s.mint(tenants[n%2], time.Now().Add(time.Hour)))
	}
	s.issue(all...)
	for _, i := range all {
		s.steadyAt(i)
	}
	s.lasts(s.long(2*time.Second, 20*time.Second))
	for _, i := range all {
		testenv.Eventually(s.t, func() error { return s.settled(i) })
	}
	s.mended()
	s.stopManagers()
	s.startManagers()
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
