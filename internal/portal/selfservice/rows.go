package selfservice

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/audit"
	"github.com/latchkey-dev/latchkey/internal/policy"
	"github.com/latchkey-dev/latchkey/internal/portal/settings"
)

// row is an ApiToken as a list shows it.
func (v *visit) row(t *v1alpha1.ApiToken, now time.Time) settings.Row {
	row := settings.Row{
		Name: t.Name, Owner: t.Spec.Owner, Description: t.Spec.Description, Scopes: t.Spec.Scopes,
		CreatedAt: t.CreationTimestamp.Time,
		UsedSince: instant(t.Status.UseRecordedSince),
	}
	row.LastUsedAt = instant(audit.LastUse(t))
	if issued := t.Status.Credential; issued != nil {
		row.ID, row.ExpiresAt = issued.ID, expiry(t)
		row.DaysLeft = policy.DaysLeft(row.ExpiresAt, now)
	}
	row.State, row.StateDetail = v.state(t, now)
	return row
}

// expiry is when the present credential stops working: an earlier expiresAt in spec
// counts before the manager has seen it.
func expiry(t *v1alpha1.ApiToken) time.Time {
	end := t.Status.Credential.ExpiresAt.Time
	if wanted := t.Spec.ExpiresAt; wanted != nil && wanted.Time.Before(end) {
		return wanted.Time
	}
	return end
}

// state is an ApiToken's state, and what there is to say of it.
func (v *visit) state(t *v1alpha1.ApiToken, now time.Time) (state settings.State, detail string) {
	issued := t.Status.Credential
	stalled := meta.FindStatusCondition(t.Status.Conditions, v1alpha1.ConditionStalled)
	active := meta.FindStatusCondition(t.Status.Conditions, v1alpha1.ConditionActive)
	if stalled != nil && stalled.Status == metav1.ConditionTrue {
		detail = stalled.Message
	}
	switch {
	case t.Spec.Revoked:
		return settings.Revoked, ""
	case issued == nil && detail != "":
		return settings.Refused, detail
	case issued == nil:
		return settings.Waiting, ""
	case !now.Before(expiry(t)):
		return settings.Expired, detail
	case v.Tenant.Suspended:
		return settings.Suspended, detail
	case active != nil && active.Status == metav1.ConditionFalse && isConflict(active.Reason):
		return settings.Refused, active.Message
	case !now.Before(expiry(t).Add(-v.API.Policy.Notice)):
		return settings.ExpiringSoon, detail
	}
	return settings.Active, detail
}

// isConflict says whether an issued credential does not work for a reason that somebody
// has to mend. The others pass, or are states of their own.
func isConflict(reason string) bool {
	return reason == v1alpha1.ReasonCredentialConflict || reason == v1alpha1.ReasonRecordConflict
}

// instant is a time of an object's, or nil.
func instant(t *metav1.Time) *time.Time {
	if t == nil {
		return nil
	}
	return &t.Time
}
