package audit_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/audit"
	"github.com/latchkey-dev/latchkey/internal/policy"
)

const day = 24 * time.Hour

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) *metav1.Time { return new(metav1.NewTime(now.Add(-d))) }

// every asks all that there is.
var every = audit.Checks{
	Idle: 90 * day, Expiring: 14 * day, MaxScopes: new(2), ScopePattern: audit.Pattern("*:write"),
	NeverUsed: true, Expired: true, WithoutOwner: true, OwnerGone: true, ViolatesPolicy: true, PreviousInUse: true,
}

var facts = audit.Facts{
	Now:    now,
	Tenant: "acme",
	Users: audit.Users(&v1alpha1.Tenant{Spec: v1alpha1.TenantSpec{Members: []v1alpha1.Member{
		{Kind: v1alpha1.MemberUser, Name: "jo"}, {Kind: v1alpha1.MemberGroup, Name: "ann"},
	}}}),
	Policy: &policy.Policy{MaxLifetime: 365 * day, MaxOverlap: 7 * day, Scopes: []string{"a", "b", "c", "a:write"}, TokenSignIn: true},
}

// sound is an ApiToken without a finding: issued 100 days ago for 200, used
// yesterday, owned by a member.
func sound(change ...func(*v1alpha1.ApiToken)) *v1alpha1.ApiToken {
	t := &v1alpha1.ApiToken{}
	t.Spec.Owner, t.Spec.Scopes = "jo", []string{"a"}
	t.Spec.Credential = &v1alpha1.Credential{ID: "current", IssuedAt: *ago(100 * day)}
	t.Status.Credential = &v1alpha1.IssuedCredential{ID: "current", ExpiresAt: *ago(-100 * day), LastUsedAt: ago(day)}
	t.Status.UseRecordedSince = ago(1000 * day)
	for _, f := range change {
		f(t)
	}
	return t
}

func previous(used *metav1.Time, ends *metav1.Time) func(*v1alpha1.ApiToken) {
	return func(t *v1alpha1.ApiToken) {
		t.Status.PreviousCredential = &v1alpha1.IssuedCredential{ID: "previous", ExpiresAt: *ends, LastUsedAt: used}
	}
}

// signingIn is an ApiToken with the scope settings, issued five minutes ago.
func signingIn(lifetime time.Duration) func(*v1alpha1.ApiToken) {
	return func(t *v1alpha1.ApiToken) {
		t.Spec.Scopes, t.Spec.Credential.IssuedAt = []string{"settings"}, *ago(5 * time.Minute)
		t.Status.Credential = &v1alpha1.IssuedCredential{ID: "current", ExpiresAt: *ago(5*time.Minute - lifetime), Scopes: []string{"settings"}}
	}
}

func TestFindings(t *testing.T) {
	type token = *v1alpha1.ApiToken
	for name, c := range map[string]struct {
		change []func(token)
		want   []audit.Check
	}{
		"sound": {nil, nil},
		"idle": {[]func(token){func(t token) { t.Status.Credential.LastUsedAt = ago(90*day + time.Second) }},
			[]audit.Check{audit.CheckIdle}},
		"idle for just so long": {[]func(token){func(t token) { t.Status.Credential.LastUsedAt = ago(90 * day) }}, nil},
		"used by its previous token": {[]func(token){
			func(t token) { t.Status.Credential.LastUsedAt = nil }, previous(ago(day), ago(time.Hour))}, nil},
		"never used": {[]func(token){func(t token) { t.Status.Credential.LastUsedAt = nil }},
			[]audit.Check{audit.CheckIdle, audit.CheckNeverUsed}},
		"not used since uses are recorded": {[]func(token){func(t token) {
			t.Status.Credential.LastUsedAt, t.Status.UseRecordedSince = nil, ago(day)
		}}, []audit.Check{audit.CheckNeverUsed}},
		"uses are not recorded": {[]func(token){func(t token) {
			t.Status.Credential.LastUsedAt, t.Status.UseRecordedSince = nil, nil
		}}, nil},
		"expiring": {[]func(token){func(t token) { t.Status.Credential.ExpiresAt = *ago(-14 * day) }},
			[]audit.Check{audit.CheckExpiring}},
		"not expiring yet": {[]func(token){func(t token) { t.Status.Credential.ExpiresAt = *ago(-14*day - time.Second) }}, nil},
		"expired, and nobody's": {[]func(token){func(t token) {
			t.Status.Credential.ExpiresAt, t.Spec.Owner, t.Status.Credential.LastUsedAt = *ago(0), "", nil
		}}, []audit.Check{audit.CheckExpired}},
		"revoked, and nobody's": {[]func(token){func(t token) { t.Spec.Revoked, t.Spec.Owner = true, "" }}, nil},
		"without owner":         {[]func(token){func(t token) { t.Spec.Owner = "" }}, []audit.Check{audit.CheckWithoutOwner}},
		"owner gone":            {[]func(token){func(t token) { t.Spec.Owner = "eve" }}, []audit.Check{audit.CheckOwnerGone}},
		"owner is a group":      {[]func(token){func(t token) { t.Spec.Owner = "ann" }}, []audit.Check{audit.CheckOwnerGone}},
		"awaits a credential, without owner": {[]func(token){func(t token) { t.Status, t.Spec.Credential, t.Spec.Owner = v1alpha1.ApiTokenStatus{}, nil, "" }},
			[]audit.Check{audit.CheckWithoutOwner}},
		"lives too long": {[]func(token){func(t token) { t.Status.Credential.ExpiresAt = *ago(-365 * day) }},
			[]audit.Check{audit.CheckViolatesPolicy}},
		"overlap too long": {[]func(token){func(t token) {
			t.Spec.Rotation = &v1alpha1.Rotation{Overlap: &metav1.Duration{Duration: 8 * day}}
		}}, []audit.Check{audit.CheckViolatesPolicy}},
		"unknown scope": {[]func(token){func(t token) { t.Spec.Scopes = []string{"x"} }}, []audit.Check{audit.CheckViolatesPolicy}},
		"many scopes":   {[]func(token){func(t token) { t.Spec.Scopes = []string{"a", "b", "c"} }}, []audit.Check{audit.CheckWideScopes}},
		"wide scope":    {[]func(token){func(t token) { t.Spec.Scopes = []string{"a:write"} }}, []audit.Check{audit.CheckWideScopes}},
		"previous in use": {[]func(token){previous(ago(time.Hour), ago(-time.Hour))},
			[]audit.Check{audit.CheckPreviousInUse}},
		"previous used before the rotation only": {[]func(token){previous(ago(100*day), ago(-time.Hour))}, nil},
		"previous is over":                       {[]func(token){previous(ago(time.Hour), ago(0))}, nil},
		"signs in":                               {[]func(token){signingIn(10 * time.Minute)}, nil},
		"signs in, and is over":                  {[]func(token){signingIn(5 * time.Minute)}, nil},
		"signs in for long":                      {[]func(token){signingIn(10*time.Minute + time.Second)}, []audit.Check{audit.CheckViolatesPolicy}},
		"is said to sign in": {[]func(token){func(t token) { t.Spec.Scopes, t.Status.Credential.LastUsedAt = []string{"settings"}, nil }},
			[]audit.Check{audit.CheckIdle, audit.CheckNeverUsed}},
	} {
		t.Run(name, func(t *testing.T) {
			object := sound(c.change...)
			var got []audit.Check
			for _, finding := range every.Findings(object, facts) {
				if got = append(got, finding.Check); finding.Detail == "" {
					t.Errorf("%s has no detail", finding.Check)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("found %v, want %v", got, c.want)
			}
			if none := (audit.Checks{}).Findings(object, facts); len(none) > 0 {
				t.Errorf("nothing was asked, found %v", none)
			}
		})
	}
}

// Of several checks, as the API for tokens asks them, each has to find the token.
func TestAllFind(t *testing.T) {
	type token = *v1alpha1.ApiToken
	unused := func(t token) { t.Status.Credential.LastUsedAt = nil }
	nobodys := func(t token) { t.Spec.Owner = "" }
	gone := func(t token) { t.Spec.Owner = "eve" }
	wide := func(t token) { t.Spec.Scopes = []string{"a:write"} }
	over := func(t token) { t.Status.Credential.ExpiresAt = *ago(0) }
	for name, c := range map[string]struct {
		checks audit.Checks
		change []func(token)
		want   bool
	}{
		"nothing asked":                  {audit.Checks{}, nil, true},
		"nothing asked of an expired":    {audit.Checks{}, []func(token){over}, true},
		"one asked, none found":          {audit.Checks{NeverUsed: true}, nil, false},
		"one asked and found":            {audit.Checks{NeverUsed: true}, []func(token){unused}, true},
		"one asked, others too":          {audit.Checks{NeverUsed: true}, []func(token){unused, nobodys, wide}, true},
		"two asked, one found":           {audit.Checks{NeverUsed: true, WithoutOwner: true}, []func(token){unused}, false},
		"two asked, the other found":     {audit.Checks{NeverUsed: true, WithoutOwner: true}, []func(token){nobodys}, false},
		"two asked and found":            {audit.Checks{NeverUsed: true, WithoutOwner: true}, []func(token){unused, nobodys}, true},
		"owner gone, and wide by number": {audit.Checks{OwnerGone: true, MaxScopes: new(0)}, []func(token){gone}, true},
		"wide by pattern, and not":       {audit.Checks{ScopePattern: audit.Pattern("*:write")}, nil, false},
		"wide by pattern":                {audit.Checks{ScopePattern: audit.Pattern("*:write")}, []func(token){wide}, true},
		"what is over answers to none":   {audit.Checks{Expired: true, WithoutOwner: true}, []func(token){over, nobodys}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.checks.AllFind(sound(c.change...), facts); got != c.want {
				t.Errorf("found: %t, want %t", got, c.want)
			}
		})
	}
}

func TestAskingWideScopes(t *testing.T) {
	for text, want := range map[string]string{"": "nothing", "0": "more than 0", "3": "more than 3", "*:write": "^.*:write$", "-1": "-1: must not be negative"} {
		got := "nothing"
		switch checks, err := (audit.Checks{}).AskingWideScopes(text); {
		case err != nil:
			got = err.Error()
		case checks.MaxScopes != nil:
			got = fmt.Sprint("more than ", *checks.MaxScopes)
		case checks.ScopePattern != nil:
			got = checks.ScopePattern.String()
		}
		if got != want {
			t.Errorf("%q asks for %s, want %s", text, got, want)
		}
	}
}

// Where Tenant and policy are unknown, nothing is said that needs them.
func TestFindingsWithoutThePlatform(t *testing.T) {
	object := sound(func(t *v1alpha1.ApiToken) { t.Spec.Owner, t.Spec.Scopes = "eve", []string{"x"} })
	if got := every.Findings(object, audit.Facts{Now: now}); len(got) > 0 {
		t.Errorf("found %v", got)
	}
}

func TestPattern(t *testing.T) {
	for _, c := range []struct {
		pattern, scope string
		want           bool
	}{
		{"*:write", "orders:write", true}, {"*:write", "orders:write:all", false}, {"orders:*", "orders:read", true},
		{"a.b", "axb", false}, {"a.b", "a.b", true}, {"*", "anything", true}, {"admin", "admin", true}, {"admin", "administrator", false},
	} {
		if got := audit.Pattern(c.pattern).MatchString(c.scope); got != c.want {
			t.Errorf("%s matches %s: %v", c.pattern, c.scope, got)
		}
	}
}
