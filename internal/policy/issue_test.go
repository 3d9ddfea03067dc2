package policy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/quick"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/policy"
)

func duration(d time.Duration) *metav1.Duration { return &metav1.Duration{Duration: d} }

func instant(at time.Time) *metav1.Time { return new(metav1.NewTime(at)) }

func overlapping(d time.Duration) *v1alpha1.Rotation { return &v1alpha1.Rotation{Overlap: duration(d)} }

// strict is a policy whose bounds differ from one another and from the defaults.
var strict = policy.Policy{
	DefaultLifetime: 10 * day,
	MaxLifetime:     30 * day,
	MaxOverlap:      2 * day,
	Retention:       5 * day,
	Notice:          3 * day,
	MaxPerTenant:    4,
	Scopes:          []string{"orders:read", "orders:write"},
}

func TestExpiry(t *testing.T) {
	cases := []struct {
		name          string
		spec          v1alpha1.ApiTokenSpec
		issuedAt, now time.Time
		want          time.Time
	}{
		{"policy's default", v1alpha1.ApiTokenSpec{}, noon, noon, noon.Add(10 * day)},
		{"lifetime", v1alpha1.ApiTokenSpec{Lifetime: duration(time.Hour)}, noon, noon, noon.Add(time.Hour)},
		{"lifetime counts from issuedAt, not from now", v1alpha1.ApiTokenSpec{Lifetime: duration(time.Hour)},
			noon.Add(-50 * time.Minute), noon, noon.Add(10 * time.Minute)},
		{"default counts from issuedAt, not from now", v1alpha1.ApiTokenSpec{}, noon.Add(-9 * day), noon, noon.Add(day)},
		{"expired before it was issued", v1alpha1.ApiTokenSpec{Lifetime: duration(time.Hour)},
			noon.Add(-day), noon, noon.Add(-23 * time.Hour)},
		{"expiresAt", v1alpha1.ApiTokenSpec{ExpiresAt: instant(noon.Add(3 * day))}, noon, noon, noon.Add(3 * day)},
		{"expiresAt does not depend on issuedAt", v1alpha1.ApiTokenSpec{ExpiresAt: instant(noon.Add(3 * day))},
			noon.Add(time.Minute), noon, noon.Add(3 * day)},
		{"expiresAt in the past", v1alpha1.ApiTokenSpec{ExpiresAt: instant(noon.Add(-day))}, noon, noon, noon.Add(-day)},
		{"issuedAt ahead counts as now", v1alpha1.ApiTokenSpec{Lifetime: duration(time.Hour)},
			noon.Add(time.Minute), noon, noon.Add(time.Hour)},
		{"issuedAt far ahead counts as now", v1alpha1.ApiTokenSpec{}, noon.Add(1000 * day), noon, noon.Add(10 * day)},
		{"now is cut to whole seconds", v1alpha1.ApiTokenSpec{Lifetime: duration(time.Hour)},
			noon.Add(time.Minute), noon.Add(999 * time.Millisecond), noon.Add(time.Hour)},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := strict.Expiry(&c.spec, c.issuedAt, c.now)
			if !got.Equal(c.want) {
				t.Errorf("Expiry = %s, want %s", got, c.want)
			}
			if got.Location() != time.UTC {
				t.Errorf("Expiry is in %s, want UTC", got.Location())
			}
		})
	}
}

func TestExpiryIsInUTCWhateverZoneItWasGivenIn(t *testing.T) {
	zone := time.FixedZone("UTC-5", -5*60*60)
	for name, spec := range map[string]v1alpha1.ApiTokenSpec{
		"expiresAt": {ExpiresAt: instant(noon.Add(day).In(zone))},
		"lifetime":  {Lifetime: duration(day)},
	} {
		got := strict.Expiry(&spec, noon.In(zone), noon.In(zone))
		if got != noon.Add(day) {
			t.Errorf("%s: %v, want %v", name, got, noon.Add(day))
		}
	}
}

// A clock that is ahead, or an author who writes an issuedAt that is, gains no
// time from it.
func TestIssuedAtInTheFutureLengthensNothing(t *testing.T) {
	property := func(aheadMillis uint32, lifetimeSeconds uint32, nowMillis uint16) bool {
		now := noon.Add(time.Duration(nowMillis) * time.Millisecond)
		lifetime := time.Duration(lifetimeSeconds) * time.Second
		spec := v1alpha1.ApiTokenSpec{Lifetime: duration(lifetime)}
		ahead := now.Add(time.Duration(aheadMillis) * time.Millisecond)
		expiry := strict.Expiry(&spec, ahead, now)
		return !expiry.After(now.Add(lifetime)) && expiry.Nanosecond() == 0
	}
	if err := quick.Check(property, nil); err != nil {
		t.Error(err)
	}
}

// Neither is more permitted: the longest lifetime counts from now as well.
func TestIssuedAtInTheFuturePermitsNothingMore(t *testing.T) {
	ahead := noon.Add(policy.ClockTolerance)
	for name, spec := range map[string]v1alpha1.ApiTokenSpec{
		"lifetime":  {Lifetime: duration(strict.MaxLifetime + time.Second)},
		"expiresAt": {ExpiresAt: instant(noon.Add(strict.MaxLifetime + time.Second))},
	} {
		if found := strict.Violations(&spec, ahead, noon, 0); len(found) == 0 {
			t.Errorf("%s: a token that works %s from now is permitted, the policy's longest lifetime is %s",
				name, strict.Expiry(&spec, ahead, noon).Sub(noon), strict.MaxLifetime)
		}
	}
}

func TestOverlap(t *testing.T) {
	cases := map[string]struct {
		spec v1alpha1.ApiTokenSpec
		want time.Duration
	}{
		"no rotation":    {v1alpha1.ApiTokenSpec{}, 0},
		"empty rotation": {v1alpha1.ApiTokenSpec{Rotation: &v1alpha1.Rotation{}}, 0},
		"zero":           {v1alpha1.ApiTokenSpec{Rotation: overlapping(0)}, 0},
		"a day":          {v1alpha1.ApiTokenSpec{Rotation: overlapping(day)}, day},
	}
	for name, c := range cases {
		if got := policy.Overlap(&c.spec); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestViolations(t *testing.T) {
	const second = time.Second
	tooLong := func(lifetime string) string {
		return "the token would live " + lifetime + " from its issuedAt, the policy permits at most 720h0m0s"
	}
	const (
		overlap  = "rotation.overlap is 48h0m1s, the policy permits at most 48h0m0s"
		scopes   = "unknown scopes: a, b; the PublicApi knows: orders:read, orders:write"
		fullFour = "the tenant has 4 live tokens, the policy permits 4: revoke or delete some"
		fullNine = "the tenant has 9 live tokens, the policy permits 4: revoke or delete some"
	)
	cases := []struct {
		name string
		spec v1alpha1.ApiTokenSpec
		live int
		want []string
	}{
		{"nothing asked for", v1alpha1.ApiTokenSpec{}, 0, nil},
		{"the longest lifetime", v1alpha1.ApiTokenSpec{Lifetime: duration(30 * day)}, 0, nil},
		{"a second longer", v1alpha1.ApiTokenSpec{Lifetime: duration(30*day + second)}, 0, []string{tooLong("720h0m1s")}},
		{"expiresAt at the limit", v1alpha1.ApiTokenSpec{ExpiresAt: instant(noon.Add(30 * day))}, 0, nil},
		{"expiresAt a second after it", v1alpha1.ApiTokenSpec{ExpiresAt: instant(noon.Add(30*day + second))}, 0, []string{tooLong("720h0m1s")}},
		{"expiresAt in the past", v1alpha1.ApiTokenSpec{ExpiresAt: instant(noon.Add(-day))}, 0, nil},
		{"the longest overlap", v1alpha1.ApiTokenSpec{Rotation: overlapping(2 * day)}, 0, nil},
		{"a second longer overlap", v1alpha1.ApiTokenSpec{Rotation: overlapping(2*day + second)}, 0, []string{overlap}},
		{"known scopes", v1alpha1.ApiTokenSpec{Scopes: []string{"orders:write", "orders:read"}}, 0, nil},
		{"unknown scopes", v1alpha1.ApiTokenSpec{Scopes: []string{"a", "orders:read", "b"}}, 0, []string{scopes}},
		{"room for one", v1alpha1.ApiTokenSpec{}, 3, nil},
		{"full", v1alpha1.ApiTokenSpec{}, 4, []string{fullFour}},
		{"more than full", v1alpha1.ApiTokenSpec{}, 9, []string{fullNine}},
		{"everything at once", v1alpha1.ApiTokenSpec{Lifetime: duration(31 * day), Rotation: overlapping(2*day + second), Scopes: []string{"a", "b"}}, 4,
			[]string{tooLong("744h0m0s"), overlap, scopes, fullFour}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := strict.Violations(&c.spec, noon, noon, c.live); !slices.Equal(got, c.want) {
				t.Errorf("violations:\n%q\nwant\n%q", got, c.want)
			}
		})
	}
}

// The lifetime is measured from issuedAt: waiting does not make room for more.
func TestViolationsCountFromIssuedAt(t *testing.T) {
	spec := v1alpha1.ApiTokenSpec{ExpiresAt: instant(noon.Add(25 * day))}
	if got := strict.Violations(&spec, noon.Add(-6*day), noon, 0); len(got) != 1 || !strings.Contains(got[0], "744h0m0s") {
		t.Errorf("violations = %q, want one of 31 days", got)
	}
}

// An expiry that is centuries away overflows no duration into a permitted one.
func TestFarExpiriesAreViolations(t *testing.T) {
	for _, year := range []int{2100, 2318, 2319, 2610, 2999, 9999} {
		spec := v1alpha1.ApiTokenSpec{ExpiresAt: instant(time.Date(year, 12, 31, 23, 59, 59, 0, time.UTC))}
		if got := strict.Violations(&spec, noon, noon, 0); len(got) != 1 {
			t.Errorf("%d: violations = %q, want one", year, got)
		}
	}
}

func TestScopeViolations(t *testing.T) {
	open := policy.Of(&v1alpha1.PublicApi{Spec: v1alpha1.PublicApiSpec{Scopes: []v1alpha1.Scope{{Name: "orders:read"}}}})
	cases := []struct {
		asked   []string
		unknown string
	}{
		{nil, ""},
		{[]string{"orders:read"}, ""},
		{[]string{v1alpha1.ScopeTokensRead, v1alpha1.ScopeTokensWrite}, ""},
		{[]string{"orders"}, "orders"},
		{[]string{"orders:rea", "orders:read", "orders:read:all"}, "orders:rea, orders:read:all"},
	}
	for _, c := range cases {
		t.Run(fmt.Sprint(c.asked), func(t *testing.T) {
			var want []string
			if c.unknown != "" {
				want = []string{"unknown scopes: " + c.unknown + "; the PublicApi knows: tokens:read, tokens:write, orders:read"}
			}
			if got := open.ScopeViolations(c.asked); !slices.Equal(got, want) {
				t.Errorf("violations = %q, want %q", got, want)
			}
		})
	}
}

// A credential that was minted by the rights of another token expires no later than
// it may, and its own notAfter never lengthens anything.
func TestExpiryIsCappedByTheCredential(t *testing.T) {
	p := policy.Of(&v1alpha1.PublicApi{})
	issuedAt := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(d time.Duration) *metav1.Time { return new(metav1.NewTime(issuedAt.Add(d))) }
	for name, c := range map[string]struct {
		lifetime            *metav1.Duration
		expiresAt, notAfter *metav1.Time
		want                time.Duration
	}{
		"caps the lifetime":    {duration(time.Hour), nil, at(time.Minute), time.Minute},
		"caps the default":     {nil, nil, at(time.Minute), time.Minute},
		"caps expiresAt":       {nil, at(time.Hour), at(time.Minute), time.Minute},
		"lengthens nothing":    {duration(time.Hour), nil, at(2 * time.Hour), time.Hour},
		"nor an absolute time": {nil, at(time.Hour), at(2 * time.Hour), time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			spec := &v1alpha1.ApiTokenSpec{Lifetime: c.lifetime, ExpiresAt: c.expiresAt, Credential: &v1alpha1.Credential{NotAfter: c.notAfter}}
			if got := p.Expiry(spec, issuedAt, issuedAt); !got.Equal(issuedAt.Add(c.want)) {
				t.Errorf("expires at %s, want after %s", got, c.want)
			}
		})
	}
}

func TestDaysLeft(t *testing.T) {
	end := time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)
	for left, want := range map[time.Duration]int{
		-time.Second: 0, 0: 0, time.Nanosecond: 1, day: 1, day + 1: 2, 14 * day: 14, 14*day - 1: 14,
	} {
		if got := policy.DaysLeft(end, end.Add(-left)); got != want {
			t.Errorf("%s before the end: %d, want %d", left, got, want)
		}
	}
}

func TestNoticeDue(t *testing.T) {
	p := policy.Of(&v1alpha1.PublicApi{})
	end := time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name           string
		lifetime, left time.Duration
		want           int32
	}{
		{"long before", 90 * day, 15 * day, 0},
		{"just before the first", 90 * day, 14*day + 1, 0},
		{"the first", 90 * day, 14 * day, 14},
		{"between", 90 * day, 7*day + 1, 14},
		{"the second", 90 * day, 7 * day, 7},
		{"the last", 90 * day, day, 1},
		{"the last moment", 90 * day, 1, 1},
		{"over", 90 * day, 0, 0},
		{"a short life begins without one", 10 * day, 10 * day, 0},
		{"and gets those that lie in it", 10 * day, 7 * day, 7},
		{"as long as the notice", 14 * day, 14 * day, 0},
		{"an hour", time.Hour, time.Minute, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := p.NoticeDue(end.Add(-c.lifetime), end, end.Add(-c.left)); got != c.want {
				t.Errorf("%d days, want %d", got, c.want)
			}
		})
	}
}
