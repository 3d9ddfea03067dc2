package controllers_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"sync/atomic"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/controllers"
	"github.com/latchkey-dev/latchkey/internal/record"
	"github.com/latchkey-dev/latchkey/internal/server"
	"github.com/latchkey-dev/latchkey/internal/testing/lifecycletest"
	"github.com/latchkey-dev/latchkey/internal/wallclock"
)

// A token's life is that of the model with everything real: API server, manager,
// watches, HTTP. controllers/apitoken has many more lives, in memory.
func TestLife(t *testing.T) {
	checks := 2
	if os.Getenv("ATTACKS") == "long" {
		checks = 20
	}
	lifecycletest.Bound(t, checks, 20)
	s := &life{t: t, clock: clocktesting.NewFakeClock(time.Now().UTC().Truncate(time.Second)), backend: backendURL(t)}
	s.front = startServer(t, func(c *server.Config) { c.Clock, c.Uses = wallclock.New(s.clock), nil })
	t.Cleanup(func() { _ = s.Manage(false) })
	rapid.Check(t, func(rt *rapid.T) {
		s.begin()
		lifecycletest.Run(rt, s, s.clock.Now())
	})
}

// life is a tenant of its own for each run, of one control plane.
type life struct {
	t       *testing.T
	clock   *clocktesting.FakeClock
	backend string
	front   *httptest.Server
	// stop stops the manager; nil while none runs.
	stop   func()
	tenant *v1alpha1.Tenant
}

var lives atomic.Int64

// begin makes the tenant of the next run.
func (s *life) begin() {
	name := fmt.Sprintf("life-%d", lives.Add(1))
	create(s.t, &v1alpha1.PublicApi{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.PublicApiSpec{
		Backend: v1alpha1.Backend{URL: s.backend}, BasePath: "/api/v1",
	}})
	s.tenant = create(s.t, &v1alpha1.Tenant{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.TenantSpec{PublicApi: name}})
	_ = s.Manage(true)
	waitFor(s.t, s.tenant, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonProvisioned)
}

// Tenant implements lifecycletest.System, as the methods below do.
func (s *life) Tenant() string { return s.tenant.Name }

// Write creates the ApiToken or replaces its spec, as often as the manager comes first.
func (s *life) Write(name string, spec *v1alpha1.ApiTokenSpec) error {
	object := apiToken(s.tenant, name, *spec.DeepCopy())
	for {
		present := object.DeepCopy()
		err := env().Client.Get(s.t.Context(), client.ObjectKeyFromObject(object), present)
		switch {
		case apierrors.IsNotFound(err):
			return env().Client.Create(s.t.Context(), object)
		case err != nil:
			return err
		}
		spec.DeepCopyInto(&present.Spec)
		if err := env().Client.Update(s.t.Context(), present); !apierrors.IsConflict(err) {
			return err
		}
	}
}

// Delete deletes an ApiToken.
func (s *life) Delete(name string) error {
	return env().Client.Delete(s.t.Context(), apiToken(s.tenant, name, v1alpha1.ApiTokenSpec{}))
}

// Suspend changes the Tenant.
func (s *life) Suspend(suspended bool) error {
	change(s.t, s.tenant, func(tenant *v1alpha1.Tenant) { tenant.Spec.Suspended = suspended })
	return nil
}

// Manage starts or stops the manager.
func (s *life) Manage(runs bool) error {
	switch {
	case runs && s.stop == nil:
		s.stop = runManager(s.t, nil, func(o *controllers.Options) { o.Clock = s.clock })
	case !runs && s.stop != nil:
		s.stop()
		s.stop = nil
	}
	return nil
}

// Advance sets the clock forward.
func (s *life) Advance(d time.Duration) { s.clock.Step(d) }

// Await waits for the watches, and counts meanwhile what works.
func (s *life) Await(wanted lifecycletest.Wanted) error {
	deadline := time.Now().Add(time.Minute)
	pace := time.NewTicker(20 * time.Millisecond)
	defer pace.Stop()
	for {
		err := wanted.Compare(s.issued, s.accepts)
		if err == nil || time.Now().After(deadline) || s.t.Context().Err() != nil {
			return err
		}
		<-pace.C
		if excess := s.count(&wanted); excess != nil {
			return excess
		}
	}
}

// count fails where more than two tokens of an ApiToken work.
func (s *life) count(wanted *lifecycletest.Wanted) error {
	working := map[string]int{}
	for i := range wanted.Tokens {
		t := &wanted.Tokens[i]
		works, err := s.accepts(t)
		if err != nil {
			return err
		}
		if works {
			working[t.Owner]++
		}
	}
	for owner, n := range working {
		if n > 2 {
			return fmt.Errorf("%d tokens of %s work", n, owner)
		}
	}
	return nil
}

// issued is what status and record agree on. A record is written after the status.
func (s *life) issued(name string) (lifecycletest.Issued, error) {
	object := apiToken(s.tenant, name, v1alpha1.ApiTokenSpec{})
	if err := get(s.t, object); err != nil {
		return lifecycletest.Issued{}, err
	}
	issued := lifecycletest.IssuedOf(object)
	stored, _, err := recordOf(s.t, object)
	switch {
	case apierrors.IsNotFound(err):
		if issued.Current.ID != "" {
			return lifecycletest.Issued{}, nil
		}
		return issued, nil
	case err != nil:
		return issued, err
	}
	current := lifecycletest.Credential{ID: stored.Current.ID, NotAfter: stored.Current.NotAfter}
	if !current.Equal(issued.Current) {
		return lifecycletest.Issued{Current: current}, nil
	}
	return issued, previousAgrees(stored, issued)
}

func previousAgrees(stored *record.Record, issued lifecycletest.Issued) error {
	if p := stored.Previous; p != nil && (p.ID != issued.Previous.ID || !p.NotAfter.Equal(issued.Previous.NotAfter)) {
		return fmt.Errorf("the record's previous credential is %+v, in status %+v", *p, issued.Previous)
	}
	return nil
}

func (s *life) accepts(t *lifecycletest.Token) (bool, error) {
	switch status, body := call(s.t.Context(), s.front, s.tenant.Name, t.Reveal()); status {
	case http.StatusOK:
		return true, nil
	case http.StatusUnauthorized, http.StatusForbidden:
		return false, nil
	default:
		return false, errors.New(body)
	}
}
