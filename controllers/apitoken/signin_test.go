package apitoken

import (
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// signInFacts are those of an ApiToken that signs in for ten minutes.
func signInFacts(t *testing.T) facts {
	f := someFacts(t)
	f.token.Spec.Lifetime, f.token.Spec.Scopes = duration(10*time.Minute), []string{v1alpha1.ScopeSettings}
	f.token.Annotations = map[string]string{v1alpha1.AnnotationCreatedVia: v1alpha1.ViaSettings}
	return f
}

// It is issued also where the tenant has all the tokens that it may, and is gone, its
// record included, the instant it expires.
func TestPlanOfASignIn(t *testing.T) {
	f := signInFacts(t)
	f.live = f.policy.MaxPerTenant
	first := rotate(t, &f, issueTime)
	if first.record == nil || !slices.Equal(first.record.Scopes, f.token.Spec.Scopes) || !first.next.Equal(issueTime.Add(10*time.Minute)) {
		t.Fatalf("record is %+v, next %s, conditions %+v", first.record, first.next, first.status.Conditions)
	}
	for after, over := range map[time.Duration]bool{10*time.Minute - 1: false, 10 * time.Minute: true} {
		if p := at(t, f, issueTime.Add(after)); p.retire != over || (p.record == nil) != over {
			t.Errorf("after %s: retire is %t, record %+v", after, p.retire, p.record)
		}
	}
}

// A refusal ends nothing and grants nothing: what was issued before stays as it was.
func TestPlanKeepsSignInsApart(t *testing.T) {
	for name, c := range map[string]struct {
		facts   func(*testing.T) facts
		scopes  []string
		rotates bool
		want    string
	}{
		"a sign-in is not rotated":              {signInFacts, []string{"settings"}, true, "one credential"},
		"nor rotated into an ordinary token":    {signInFacts, []string{"tokens:read"}, true, "one credential"},
		"nor an ordinary token into one":        {someFacts, []string{"settings"}, true, "one credential"},
		"a sign-in gets no other scope":         {signInFacts, []string{"settings", "tokens:write"}, false, "make another ApiToken"},
		"an ordinary token does not become one": {someFacts, []string{"settings"}, false, "make another ApiToken"},
	} {
		t.Run(name, func(t *testing.T) {
			f := c.facts(t)
			first := rotate(t, &f, issueTime)
			f.now = issueTime.Add(time.Minute)
			f.token.Spec.Scopes = c.scopes
			if c.rotates {
				f.token.Spec.Credential = credential(t, f.now)
			}
			p, err := makePlan(f)
			if err != nil {
				t.Fatal(err)
			}
			stalled := meta.FindStatusCondition(p.status.Conditions, v1alpha1.ConditionStalled)
			if stalled == nil || stalled.Reason != v1alpha1.ReasonPolicyViolation || !strings.Contains(stalled.Message, c.want) {
				t.Errorf("Stalled is %+v, want %q", stalled, c.want)
			}
			if !meta.IsStatusConditionPresentAndEqual(p.status.Conditions, v1alpha1.ConditionActive, metav1.ConditionTrue) {
				t.Errorf("conditions are %+v", p.status.Conditions)
			}
			if p.record == nil || p.record.Current.ID != first.record.Current.ID || p.record.Previous != nil {
				t.Fatalf("record is %+v", p.record)
			}
			for _, scope := range p.record.Scopes {
				if !slices.Contains(first.record.Scopes, scope) {
					t.Errorf("it is granted %s", scope)
				}
			}
		})
	}
}
