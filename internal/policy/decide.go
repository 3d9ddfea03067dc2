// Package policy holds the pure decisions about tokens: may a credential be
// issued, and until when; does it work now; and when does that change. The
// controllers turn the answers into records, conditions and a requeue, the API
// server asks for every request with its own clock; nothing else decides.
package policy

import "time"

// TenantState is what of a tenant matters to its tokens.
type TenantState uint8

// The states of a tenant.
const (
	// TenantMissing: there is none, or it was not accepted.
	TenantMissing TenantState = iota
	// TenantSuspended: its tokens do not work for now.
	TenantSuspended
	// TenantActive: its tokens work.
	TenantActive
)

// State is everything that decides whether an issued credential works.
type State struct {
	// Tenant is the state of the tenant that the credential was issued for.
	Tenant TenantState
	// Revoked says that the ApiToken was revoked.
	Revoked bool
	// NotAfter is the credential's expiry. The zero time has long passed.
	NotAfter time.Time
}

// Verdict says whether a credential works, or why not.
type Verdict uint8

// The verdicts. Where several reasons hold, the most lasting one is given.
const (
	// Unknown: there is no such credential, as far as its user may know.
	Unknown Verdict = iota
	// Revoked for good.
	Revoked
	// Expired for good.
	Expired
	// Suspended for as long as its tenant is.
	Suspended
	// Works now.
	Works
)

// Decide says whether a credential in the state works at the instant now. It
// works strictly before NotAfter, with no leeway.
func Decide(s State, now time.Time) Verdict {
	switch {
	case s.Tenant == TenantMissing:
		return Unknown
	case s.Revoked:
		return Revoked
	case !now.Before(s.NotAfter):
		return Expired
	case s.Tenant == TenantSuspended:
		return Suspended
	default:
		return Works
	}
}

// ExpiringSoon says whether a credential that works expires within the notice.
func ExpiringSoon(s State, notice time.Duration, now time.Time) bool {
	return Decide(s, now) == Works && !now.Before(s.NotAfter.Add(-notice))
}

// DaysLeft is how many days are left until the end, a begun day counted whole: 1
// in the last 24 hours, 0 once it is over.
func DaysLeft(end, now time.Time) int {
	left := end.Sub(now)
	if left <= 0 {
		return 0
	}
	return int((left + day - 1) / day)
}

// NoticeDue is which of the policy's NoticeDays was reached last, or 0. Those that
// lay before the credential was issued are not notices: who asked for a token of
// an hour knows.
func (p Policy) NoticeDue(issuedAt, end, now time.Time) int32 {
	due := int32(0)
	for _, days := range p.NoticeDays {
		at := end.Add(-time.Duration(days) * day)
		if at.After(issuedAt) && !now.Before(at) && now.Before(end) {
			due = days
		}
	}
	return due
}

// Earliest returns the earliest of the instants that lie after now, and whether
// there is one: the moment at which a decision has to be taken anew.
func Earliest(now time.Time, instants ...time.Time) (next time.Time, ok bool) {
	for _, instant := range instants {
		if instant.After(now) && (!ok || instant.Before(next)) {
			next, ok = instant, true
		}
	}
	return next, ok
}
