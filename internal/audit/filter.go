// Package audit finds the ApiTokens that somebody should look at. It is pure, so
// that the API for tokens and the kubectl plugin find the same.
package audit

import (
	"time"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// Day is the day that filters count in.
const Day = 24 * time.Hour

// Filter says which ApiTokens are looked for. All that is set has to hold; the zero
// Filter finds every one.
type Filter struct {
	// IdleDays finds those that work and were not used for as many days, as far as
	// uses are recorded.
	IdleDays *int
	// NeverUsed finds those that work and of which no use was ever recorded.
	NeverUsed bool
	// ExpiringWithinDays finds those that work and expire within as many days.
	ExpiringWithinDays *int
	// Expired finds those whose time is over.
	Expired bool
	// WithoutOwner finds those that nobody answers for.
	WithoutOwner bool
	// Owner finds those of an owner; empty means of any.
	Owner string
}

// Matches says whether the filter finds the token at the instant now.
func (f Filter) Matches(t *v1alpha1.ApiToken, now time.Time) bool {
	end, issued := Expiry(t)
	live := issued && !t.Spec.Revoked && now.Before(end)
	switch {
	case !live && (f.IdleDays != nil || f.NeverUsed || f.ExpiringWithinDays != nil),
		f.IdleDays != nil && !idle(t, now.Add(-days(*f.IdleDays))),
		f.NeverUsed && !NeverUsed(t),
		f.ExpiringWithinDays != nil && end.After(now.Add(days(*f.ExpiringWithinDays))),
		f.Expired && (!issued || now.Before(end)),
		f.WithoutOwner && t.Spec.Owner != "",
		f.Owner != "" && t.Spec.Owner != f.Owner:
		return false
	}
	return true
}

func days(n int) time.Duration { return time.Duration(n) * Day }

// Expiry is when the last of the token's credentials stops working, if it has one.
func Expiry(t *v1alpha1.ApiToken) (end time.Time, issued bool) {
	for _, c := range credentials(t) {
		if c.ExpiresAt.After(end) {
			end, issued = c.ExpiresAt.Time, true
		}
	}
	return end, issued
}

// LastUsed is when one of the token's credentials was last used, if a use is known.
func LastUsed(t *v1alpha1.ApiToken) (last time.Time, used bool) {
	for _, c := range credentials(t) {
		if c.LastUsedAt != nil && c.LastUsedAt.After(last) {
			last, used = c.LastUsedAt.Time, true
		}
	}
	return last, used
}

// NeverUsed says that uses are recorded, and none was. It means since
// status.useRecordedSince and no more.
func NeverUsed(t *v1alpha1.ApiToken) bool {
	_, used := LastUsed(t)
	return !used && t.Status.UseRecordedSince != nil
}

// idle says that the token is known not to have been used after the instant.
func idle(t *v1alpha1.ApiToken, after time.Time) bool {
	if last, used := LastUsed(t); used {
		return !last.After(after)
	}
	since := t.Status.UseRecordedSince
	if since == nil {
		return false // nothing is known
	}
	begin := since.Time
	if c := t.Status.Credential; c != nil && c.IssuedAt != nil && c.IssuedAt.After(begin) {
		begin = c.IssuedAt.Time
	}
	return !begin.After(after)
}

func credentials(t *v1alpha1.ApiToken) []*v1alpha1.IssuedCredential {
	var all []*v1alpha1.IssuedCredential
	for _, c := range []*v1alpha1.IssuedCredential{t.Status.Credential, t.Status.PreviousCredential} {
		if c != nil {
			all = append(all, c)
		}
	}
	return all
}
