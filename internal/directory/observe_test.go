package directory_test

import (
	"slices"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/directory"
	"github.com/latchkey-dev/latchkey/internal/policy"
	"github.com/latchkey-dev/latchkey/internal/testing/directorytest"
)

// The observer ends requests under way. It must be told of the right tenant, and
// must then see the change, or it would find nothing to end.
func TestObserverIsToldOnceTheChangeIsVisible(t *testing.T) {
	i := directorytest.Issue(t, "acme", expiry)
	revoked := i.ApiToken.DeepCopy()
	revoked.Spec.Revoked = true
	leaving := i.ApiToken.DeepCopy()
	leaving.DeletionTimestamp = at(now)
	shortened := i.ApiToken.DeepCopy()
	shortened.Spec.ExpiresAt = at(now)
	suspended := directorytest.Tenant("acme")
	suspended.Spec.Suspended = true
	damaged := i.Secret()
	delete(damaged.Data, "uid")
	moved := *i.Record
	moved.Tenant = "rival"

	for name, c := range map[string]struct {
		change  func(directory.Stores) error
		told    []string
		verdict policy.Verdict
	}{
		"revoked":                {func(s directory.Stores) error { return s.ApiTokens.Update(revoked) }, []string{"acme"}, policy.Revoked},
		"expiry brought up":      {func(s directory.Stores) error { return s.ApiTokens.Update(shortened) }, []string{"acme"}, policy.Expired},
		"ApiToken being deleted": {func(s directory.Stores) error { return s.ApiTokens.Update(leaving) }, []string{"acme"}, policy.Unknown},
		"ApiToken deleted":       {func(s directory.Stores) error { return s.ApiTokens.Delete(i.ApiToken) }, []string{"acme"}, policy.Unknown},
		"record deleted":         {func(s directory.Stores) error { return s.Records.Delete(i.Secret()) }, []string{"acme"}, policy.Unknown},
		"record damaged":         {func(s directory.Stores) error { return s.Records.Update(damaged) }, []string{"acme"}, policy.Unknown},
		"record moved":           {func(s directory.Stores) error { return s.Records.Update(moved.Secret("latchkey-records")) }, []string{"acme", "rival"}, policy.Unknown},
		"records relisted":       {func(s directory.Stores) error { return s.Records.Replace(nil, "2") }, []string{""}, policy.Unknown},
		"ApiTokens relisted":     {func(s directory.Stores) error { return s.ApiTokens.Replace([]any{revoked}, "2") }, []string{""}, policy.Revoked},
		"tenant suspended":       {func(s directory.Stores) error { return s.Tenants.Update(suspended) }, []string{"acme"}, policy.Suspended},
		"tenant deleted":         {func(s directory.Stores) error { return s.Tenants.Delete(suspended) }, []string{"acme"}, policy.Unknown},
		"tenants relisted":       {func(s directory.Stores) error { return s.Tenants.Replace([]any{suspended}, "2") }, []string{""}, policy.Suspended},
	} {
		t.Run(name, func(t *testing.T) {
			d, stores := newDirectory()
			directorytest.Must(t, stores.Tenants.Add(directorytest.Tenant("acme")))
			i.Add(t, stores)
			var told []string
			d.Observe(func(tenant string) {
				told = append(told, tenant)
				if got := verdict(d, "acme", i.Digest(), now); got != c.verdict {
					t.Errorf("when the observer is told of %q the verdict is %d, want %d", tenant, got, c.verdict)
				}
			})
			directorytest.Must(t, c.change(stores))
			if !slices.Equal(told, c.told) {
				t.Errorf("told of %q, want %q", told, c.told)
			}
		})
	}
}

// A token that takes a contested digest's place is news for its tenant too.
func TestObserverIsToldOfTheOneThatTakesOver(t *testing.T) {
	d, stores := newDirectory()
	directorytest.Must(t, stores.Tenants.Add(directorytest.Tenant("acme")))
	digest := digestOf("acme", "contested")
	first, second := claim(t, "acme", "1", digest), claim(t, "acme", "2", digest)
	first.ApiToken.Spec.Revoked = true
	second.Add(t, stores)
	told := false
	d.Observe(func(tenant string) { told = tenant == "acme" && verdict(d, "acme", digest, now) == policy.Revoked })
	first.Add(t, stores)
	if !told {
		t.Error("a lower UID, revoked, took over, and nobody was told")
	}
}

func TestObserverIsNotToldOfOthers(t *testing.T) {
	d, stores := newDirectory()
	directorytest.Issue(t, "acme", expiry).Add(t, stores)
	d.Observe(func(tenant string) {
		if tenant == "acme" {
			t.Error("told of acme for what happened to rival")
		}
	})
	i := directorytest.Issue(t, "rival", expiry.Add(time.Minute))
	i.Add(t, stores)
	i.UpdateApiToken(t, stores, func(a *v1alpha1.ApiToken) { a.Spec.Revoked = true })
	directorytest.Must(t, stores.Tenants.Add(directorytest.Tenant("rival")))
}
