package policy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/policy"
)

var signIn = []string{v1alpha1.ScopeSettings}

func TestSignInViolations(t *testing.T) {
	// Neither the longest lifetime for tokens that are kept counts, nor their number.
	brief := strict
	brief.TokenSignIn, brief.MaxLifetime = true, time.Minute
	closed := brief
	closed.TokenSignIn = false
	const (
		tooLong = "the token would live %s from its issuedAt, with the scope settings at most 10m0s"
		denied  = "the PublicApi does not permit the scope settings (spec.settings.tokenSignIn)"
	)
	for name, c := range map[string]struct {
		policy   policy.Policy
		spec     v1alpha1.ApiTokenSpec
		issuedAt time.Time
		want     []string
	}{
		"ten minutes":             {brief, v1alpha1.ApiTokenSpec{Lifetime: duration(10 * time.Minute)}, noon, nil},
		"a second more":           {brief, v1alpha1.ApiTokenSpec{Lifetime: duration(10*time.Minute + time.Second)}, noon, []string{fmt.Sprintf(tooLong, "10m1s")}},
		"the default":             {brief, v1alpha1.ApiTokenSpec{}, noon, []string{fmt.Sprintf(tooLong, "240h0m0s")}},
		"until an instant":        {brief, v1alpha1.ApiTokenSpec{ExpiresAt: instant(noon.Add(10 * time.Minute))}, noon, nil},
		"until a later one":       {brief, v1alpha1.ApiTokenSpec{ExpiresAt: instant(noon.Add(601 * time.Second))}, noon, []string{fmt.Sprintf(tooLong, "10m1s")}},
		"until the year 9999":     {brief, v1alpha1.ApiTokenSpec{ExpiresAt: instant(time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC))}, noon, []string{fmt.Sprintf(tooLong, "2562047h47m16.854775807s")}},
		"issued before":           {brief, v1alpha1.ApiTokenSpec{ExpiresAt: instant(noon.Add(10 * time.Minute))}, noon.Add(-time.Second), []string{fmt.Sprintf(tooLong, "10m1s")}},
		"issued ahead of now":     {brief, v1alpha1.ApiTokenSpec{ExpiresAt: instant(noon.Add(11 * time.Minute))}, noon.Add(time.Minute), []string{fmt.Sprintf(tooLong, "11m0s")}},
		"denied":                  {closed, v1alpha1.ApiTokenSpec{Lifetime: duration(time.Minute)}, noon, []string{denied}},
		"denied, and for an hour": {closed, v1alpha1.ApiTokenSpec{Lifetime: duration(time.Hour)}, noon, []string{fmt.Sprintf(tooLong, "1h0m0s"), denied}},
		"denied by default":       {policy.Policy{}, v1alpha1.ApiTokenSpec{Lifetime: duration(time.Minute)}, noon, []string{denied}},
	} {
		t.Run(name, func(t *testing.T) {
			c.spec.Scopes = signIn
			if got := c.policy.Violations(&c.spec, c.issuedAt, noon, 1000); !slices.Equal(got, c.want) {
				t.Errorf("violations:\n%q\nwant\n%q", got, c.want)
			}
		})
	}
}

func TestTokenSignIn(t *testing.T) {
	for value, want := range map[v1alpha1.TokenSignIn]bool{"": true, v1alpha1.TokenSignInAllow: true, v1alpha1.TokenSignInDeny: false} {
		api := &v1alpha1.PublicApi{Spec: v1alpha1.PublicApiSpec{Settings: v1alpha1.Settings{TokenSignIn: value}}}
		if got := policy.Of(api).TokenSignIn; got != want {
			t.Errorf("%q: %t", value, got)
		}
	}
}

func TestTheScopeSettingsGoesWithNoOther(t *testing.T) {
	open := policy.Of(&v1alpha1.PublicApi{Spec: v1alpha1.PublicApiSpec{Scopes: []v1alpha1.Scope{{Name: "orders:read"}}}})
	const alone = "the scope settings goes with no other: leave out "
	for _, c := range []struct {
		scopes []string
		want   string
	}{
		{signIn, ""},
		{[]string{"settings", "orders:read"}, alone + "orders:read"},
		{[]string{"tokens:write", "settings", "nonsense"}, alone + "tokens:write, nonsense"},
	} {
		var want []string
		if c.want != "" {
			want = []string{c.want}
		}
		if got := open.ScopeViolations(c.scopes); !slices.Equal(got, want) {
			t.Errorf("%v: %q, want %q", c.scopes, got, want)
		}
	}
}

// What lives for long never gets the scope settings, and what has it gets no other.
func TestAddedScopeViolations(t *testing.T) {
	open := policy.Of(&v1alpha1.PublicApi{Spec: v1alpha1.PublicApiSpec{Scopes: []v1alpha1.Scope{{Name: "orders:read"}}}})
	const another = "make another ApiToken instead of adding "
	for _, c := range []struct {
		has, added []string
		want       string
	}{
		{nil, nil, ""},
		{nil, []string{"orders:read"}, ""},
		{nil, []string{"nonsense"}, "unknown scopes: nonsense"},
		{nil, signIn, another + "settings"},
		{[]string{"orders:read"}, signIn, another + "settings"},
		{signIn, nil, ""},
		{signIn, []string{"orders:read"}, another + "orders:read"},
	} {
		got := open.AddedScopeViolations(c.has, c.added)
		if (len(got) > 0) != (c.want != "") || !strings.Contains(strings.Join(got, ""), c.want) {
			t.Errorf("%v and %v: %q, want %q", c.has, c.added, got, c.want)
		}
		for _, scope := range c.added {
			if got := open.CanAdd(c.has, scope); got != (c.want == "") {
				t.Errorf("%v and %s: %t", c.has, scope, got)
			}
		}
	}
}

func TestRotationViolations(t *testing.T) {
	for _, c := range []struct {
		has, wanted []string
		refused     bool
	}{
		{nil, nil, false},
		{[]string{"orders:read"}, []string{"orders:write"}, false},
		{signIn, signIn, true},
		{signIn, nil, true},
		{nil, signIn, true},
	} {
		if got := policy.RotationViolations(c.has, c.wanted); (len(got) == 1) != c.refused || len(got) > 1 {
			t.Errorf("%v after %v: %q", c.wanted, c.has, got)
		}
	}
}

// It is offered nowhere, also where the product has a scope of that name.
func TestTheScopeSettingsIsNotOffered(t *testing.T) {
	declared := []v1alpha1.Scope{{Name: "settings", Description: "the product's own"}, {Name: "orders:read"}}
	for _, scope := range policy.Scopes(&v1alpha1.PublicApi{
		Spec:   v1alpha1.PublicApiSpec{Scopes: declared, OpenAPI: &v1alpha1.OpenAPI{}},
		Status: v1alpha1.PublicApiStatus{Document: &v1alpha1.Document{Scopes: declared}},
	}) {
		if scope.Name == v1alpha1.ScopeSettings {
			t.Errorf("offers %+v", scope)
		}
	}
}
