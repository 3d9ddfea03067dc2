package controllers_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/controllers"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

// samples are the values of what a registry gathers, by name and label value.
func samples(t *testing.T, registry prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			name := family.GetName()
			for _, label := range metric.GetLabel() {
				name += " " + label.GetValue()
			}
			values[name] = metric.GetGauge().GetValue()
		}
	}
	return values
}

// Tokens and Tenants are counted by state as that changes.
func TestMetricsByState(t *testing.T) {
	registry := prometheus.NewRegistry()
	withRegistry := func(o *controllers.Options) { o.Metrics = registry }
	stop := startManager(t, withRegistry)
	owner := readyTenant(t)
	wants := func(want map[string]float64) {
		t.Helper()
		testenv.Eventually(t, func() error {
			got := samples(t, registry)
			for _, state := range []string{"active", "awaiting", "expired", "revoked", "suspended", "refused", "pending"} {
				if name := "latchkey_tokens " + state; got[name] != want[state] {
					return fmt.Errorf("%s is %v, want %v: %v", name, got[name], want[state], got)
				}
			}
			if got["latchkey_tokens_stalled"] != want["stalled"] {
				return fmt.Errorf("%v are stalled, want %v", got["latchkey_tokens_stalled"], want["stalled"])
			}
			return nil
		})
	}
	wants(nil)
	testenv.Eventually(t, func() error { // the manager's cache shows its own writes a moment later
		if got := samples(t, registry)["latchkey_tenants true"]; got < 1 {
			return fmt.Errorf("%v tenants are ready", got)
		}
		return nil
	})
	before := samples(t, registry)["latchkey_tenants false"]
	create(t, &v1alpha1.Tenant{ObjectMeta: metav1.ObjectMeta{Name: name(t) + "-lost"}, Spec: v1alpha1.TenantSpec{PublicApi: "missing"}})
	testenv.Eventually(t, func() error {
		if got := samples(t, registry)["latchkey_tenants false"]; got != before+1 {
			return fmt.Errorf("%v tenants are not ready, want %v", got, before+1)
		}
		return nil
	})

	first := issued(t, owner, "first", v1alpha1.ApiTokenSpec{})
	second := issued(t, owner, "second", v1alpha1.ApiTokenSpec{})
	create(t, apiToken(owner, "bare", v1alpha1.ApiTokenSpec{}))
	wants(map[string]float64{"active": 2, "awaiting": 1})
	long, _ := credential(t, owner.Name, time.Now())
	create(t, apiToken(owner, "long", v1alpha1.ApiTokenSpec{Credential: long, Lifetime: lifetime(9000 * time.Hour)}))
	wants(map[string]float64{"active": 2, "awaiting": 1, "refused": 1, "stalled": 1})
	change(t, first, func(o *v1alpha1.ApiToken) { o.Spec.Revoked = true })
	wants(map[string]float64{"active": 1, "awaiting": 1, "refused": 1, "stalled": 1, "revoked": 1})
	if err := env().Client.Delete(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	change(t, owner, func(o *v1alpha1.Tenant) { o.Spec.Suspended = true })
	waitFor(t, second, v1alpha1.ConditionActive, isFalse, v1alpha1.ReasonTenantSuspended)
	wants(map[string]float64{"suspended": 1, "awaiting": 1, "refused": 1, "stalled": 1})

	stop()
	if got := samples(t, registry); len(got) != 0 {
		t.Errorf("a manager that has ended reports %v", got)
	}
	// One that starts counts what is there.
	startManager(t, withRegistry)
	wants(map[string]float64{"suspended": 1, "awaiting": 1, "refused": 1, "stalled": 1})
}

// wantSilentUntilLeader wants no metrics of a manager that waits for another's lease.
func wantSilentUntilLeader(t *testing.T, other string, registry prometheus.Gatherer) {
	t.Helper()
	testenv.Eventually(t, func() error {
		got, held := samples(t, registry), lease()
		if err := get(t, held); err != nil {
			return err
		}
		if *held.Spec.HolderIdentity != other {
			return nil
		}
		if len(got) != 0 {
			t.Errorf("a manager that is not the leader reports %v", got)
		}
		return fmt.Errorf("the lease is still held by %s", other)
	})
	testenv.Eventually(t, func() error {
		if len(samples(t, registry)) == 0 {
			return errors.New("the leader reports nothing")
		}
		return nil
	})
}
