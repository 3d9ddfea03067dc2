package tokens

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// Only of a credential that never comes to work may the plaintext be kept back: its
// predecessor ends with any other.
func TestJudge(t *testing.T) {
	const old, asked = "0000000001", "0000000002"
	for name, c := range map[string]struct {
		active, stalled           string // the reasons, none for none
		present, refused          string
		isRevoked                 bool
		works, isRefused, isFinal bool
	}{
		"issued":                            {active: "Issued", present: asked, works: true},
		"not seen yet":                      {active: "Issued", present: old},
		"refused beside one that works":     {active: "Issued", stalled: "PolicyViolation", present: old, refused: asked, isRefused: true, isFinal: true},
		"another's":                         {active: "CredentialConflict", stalled: "CredentialConflict", refused: asked, isRefused: true, isFinal: true},
		"one before it was refused":         {active: "Issued", present: asked, refused: "0000000003", works: true},
		"refused by an older manager":       {active: "Issued", stalled: "PolicyViolation", present: old, isRefused: true},
		"the first of too many":             {active: "PolicyViolation", stalled: "PolicyViolation", isRefused: true},
		"no PublicApi":                      {active: "Issued", stalled: "PublicApiNotFound", present: old, isRefused: true},
		"no Tenant":                         {active: "NoTenant", present: old, isRefused: true},
		"a foreign record":                  {active: "RecordConflict", stalled: "RecordConflict", present: old, isRefused: true},
		"suspended, yet issued":             {active: "TenantSuspended", present: asked, isRefused: true},
		"of the future":                     {active: "IssuedInFuture"},
		"of the future, beside one":         {active: "Issued", stalled: "IssuedInFuture", present: old},
		"revoked":                           {active: "Revoked", present: asked, isRevoked: true, isRefused: true, isFinal: true},
		"works until the manager sees that": {active: "Issued", present: asked, isRevoked: true, works: true},
	} {
		latest := &v1alpha1.ApiToken{Spec: v1alpha1.ApiTokenSpec{Revoked: c.isRevoked}, Status: v1alpha1.ApiTokenStatus{RefusedCredentialID: c.refused}}
		status := metav1.ConditionFalse
		if c.active == v1alpha1.ReasonIssued {
			status = metav1.ConditionTrue
		}
		latest.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionActive, Status: status, Reason: c.active}}
		if c.stalled != "" {
			latest.Status.Conditions = append(latest.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionStalled, Status: metav1.ConditionTrue, Reason: c.stalled})
		}
		if c.present != "" {
			latest.Status.Credential = &v1alpha1.IssuedCredential{ID: c.present}
		}
		v := judge(latest, &v1alpha1.Credential{ID: asked}, 0)
		if v.works != c.works || (v.refusal != nil) != c.isRefused || v.final != c.isFinal {
			t.Errorf("%s: works %t, refused %+v, final %t", name, v.works, v.refusal, v.final)
		}
	}
}
