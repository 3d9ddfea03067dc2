package policy_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/internal/policy"
)

var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

var verdictNames = map[policy.Verdict]string{
	policy.Unknown: "Unknown", policy.Revoked: "Revoked", policy.Expired: "Expired",
	policy.Suspended: "Suspended", policy.Works: "Works",
}

// Every combination of what decides, each at the instants around the expiry.
func TestDecide(t *testing.T) {
	cases := []struct {
		tenant  policy.TenantState
		revoked bool
		// What holds before the expiry, and from it on.
		before, after policy.Verdict
	}{
		{policy.TenantActive, false, policy.Works, policy.Expired},
		{policy.TenantActive, true, policy.Revoked, policy.Revoked},
		{policy.TenantSuspended, false, policy.Suspended, policy.Expired},
		{policy.TenantSuspended, true, policy.Revoked, policy.Revoked},
		{policy.TenantMissing, false, policy.Unknown, policy.Unknown},
		{policy.TenantMissing, true, policy.Unknown, policy.Unknown},
	}
	before := []time.Duration{-10 * 365 * day, -time.Second, -time.Millisecond, -time.Nanosecond}
	after := []time.Duration{0, time.Nanosecond, time.Millisecond, time.Second, 10 * 365 * day}
	for _, c := range cases {
		s := policy.State{Tenant: c.tenant, Revoked: c.revoked, NotAfter: noon}
		check := func(offsets []time.Duration, want policy.Verdict) {
			for _, offset := range offsets {
				t.Run(fmt.Sprintf("tenant=%d revoked=%t at %s", c.tenant, c.revoked, offset), func(t *testing.T) {
					if got := policy.Decide(s, noon.Add(offset)); got != want {
						t.Errorf("%s, want %s", verdictNames[got], verdictNames[want])
					}
				})
			}
		}
		check(before, c.before)
		check(after, c.after)
	}
}

// Whatever was left unset opens nothing.
func TestDecideFailsClosed(t *testing.T) {
	states := map[string]struct {
		state policy.State
		want  policy.Verdict
	}{
		"nothing set":     {policy.State{}, policy.Unknown},
		"only the tenant": {policy.State{Tenant: policy.TenantActive}, policy.Expired},
		"only the expiry": {policy.State{NotAfter: noon.Add(day)}, policy.Unknown},
	}
	for name, c := range states {
		t.Run(name, func(t *testing.T) {
			if got := policy.Decide(c.state, noon); got != c.want {
				t.Errorf("%s, want %s", verdictNames[got], verdictNames[c.want])
			}
		})
	}
}

// An instant is the same in every time zone.
func TestDecideIgnoresTimeZones(t *testing.T) {
	kiritimati := time.FixedZone("UTC+14", 14*60*60)
	s := policy.State{Tenant: policy.TenantActive, NotAfter: noon.In(kiritimati)}
	if got := policy.Decide(s, noon.Add(-time.Millisecond)); got != policy.Works {
		t.Errorf("just before: %s", verdictNames[got])
	}
	if got := policy.Decide(s, noon); got != policy.Expired {
		t.Errorf("at the instant: %s", verdictNames[got])
	}
}

func TestExpiringSoon(t *testing.T) {
	const notice = 14 * day
	working := policy.State{Tenant: policy.TenantActive, NotAfter: noon}
	suspended := policy.State{Tenant: policy.TenantSuspended, NotAfter: noon}
	missing := policy.State{NotAfter: noon}
	revoked := policy.State{Tenant: policy.TenantActive, Revoked: true, NotAfter: noon}
	cases := []struct {
		name   string
		state  policy.State
		notice time.Duration
		at     time.Duration
		want   bool
	}{
		{"long before", working, notice, -30 * day, false},
		{"1 ms before the notice", working, notice, -notice - time.Millisecond, false},
		{"as the notice begins", working, notice, -notice, true},
		{"1 ms within the notice", working, notice, -notice + time.Millisecond, true},
		{"1 ms before the expiry", working, notice, -time.Millisecond, true},
		{"as it expires", working, notice, 0, false},
		{"after it expired", working, notice, time.Millisecond, false},
		{"no notice", working, 0, -time.Millisecond, false},
		{"suspended", suspended, notice, -time.Hour, false},
		{"no tenant", missing, notice, -time.Hour, false},
		{"revoked", revoked, notice, -time.Hour, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := policy.ExpiringSoon(c.state, c.notice, noon.Add(c.at)); got != c.want {
				t.Errorf("ExpiringSoon = %t", got)
			}
		})
	}
}

func TestEarliest(t *testing.T) {
	past, soon, later := noon.Add(-time.Hour), noon.Add(time.Nanosecond), noon.Add(time.Hour)
	cases := map[string]struct {
		instants []time.Time
		want     time.Time
		ok       bool
	}{
		"none":             {nil, time.Time{}, false},
		"only the past":    {[]time.Time{past, past.Add(time.Minute)}, time.Time{}, false},
		"now is not later": {[]time.Time{noon}, time.Time{}, false},
		"zero times":       {[]time.Time{{}, {}}, time.Time{}, false},
		"one":              {[]time.Time{later}, later, true},
		"in order":         {[]time.Time{soon, later}, soon, true},
		"out of order":     {[]time.Time{later, soon}, soon, true},
		"mixed":            {[]time.Time{past, {}, later, noon, soon, past}, soon, true},
		"the same twice":   {[]time.Time{soon, soon}, soon, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got, ok := policy.Earliest(noon, c.instants...); !got.Equal(c.want) || ok != c.ok {
				t.Errorf("Earliest = %s, %t; want %s, %t", got, ok, c.want, c.ok)
			}
		})
	}
}

// A verdict changes at no instant that Earliest does not name: a controller that
// sleeps until then misses nothing.
func TestNothingChangesBetweenInstants(t *testing.T) {
	s := policy.State{Tenant: policy.TenantActive, NotAfter: noon}
	const notice = 7 * day
	now := noon.Add(-30 * day)
	for {
		next, ok := policy.Earliest(now, s.NotAfter, s.NotAfter.Add(-notice))
		if !ok {
			break
		}
		for _, at := range []time.Time{now.Add(time.Nanosecond), next.Add(-time.Nanosecond)} {
			if policy.Decide(s, at) != policy.Decide(s, now) || policy.ExpiringSoon(s, notice, at) != policy.ExpiringSoon(s, notice, now) {
				t.Errorf("something changed at %s, between %s and %s", at, now, next)
			}
		}
		if policy.Decide(s, next) == policy.Decide(s, now) && policy.ExpiringSoon(s, notice, next) == policy.ExpiringSoon(s, notice, now) {
			t.Errorf("nothing changed at %s", next)
		}
		now = next
	}
	if !now.Equal(noon) {
		t.Errorf("the last change was at %s", now)
	}
}
