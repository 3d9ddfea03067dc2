package apitoken

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/policy"
	"github.com/latchkey-dev/latchkey/internal/token"
)

var issueTime = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func credential(t *testing.T, issuedAt time.Time) *v1alpha1.Credential {
	t.Helper()
	minted, err := token.Mint("lk")
	if err != nil {
		t.Fatal(err)
	}
	return &v1alpha1.Credential{ID: minted.ID(), Digest: minted.Digest("acme").String(), IssuedAt: metav1.NewTime(issuedAt)}
}

func duration(d time.Duration) *metav1.Duration { return &metav1.Duration{Duration: d} }

// someFacts are those of a token that may be issued for 100 days.
func someFacts(t *testing.T) facts {
	return facts{
		now: issueTime,
		token: &v1alpha1.ApiToken{
			ObjectMeta: metav1.ObjectMeta{Namespace: "tenant-acme", Name: "ci", UID: types.UID("uid"), Generation: 1},
			Spec:       v1alpha1.ApiTokenSpec{Lifetime: duration(2400 * time.Hour), Credential: credential(t, issueTime)},
		},
		tenant: &v1alpha1.Tenant{ObjectMeta: metav1.ObjectMeta{Name: "acme"}, Status: v1alpha1.TenantStatus{Namespace: "tenant-acme"}},
		policy: new(policy.Of(&v1alpha1.PublicApi{})),
	}
}

// at plans for a later instant, with the status that the first plan led to.
func at(t *testing.T, f facts, now time.Time) *plan {
	t.Helper()
	p, err := makePlan(f)
	if err != nil {
		t.Fatal(err)
	}
	f.token.Status, f.now = p.status, now
	if p, err = makePlan(f); err != nil {
		t.Fatal(err)
	}
	return p
}

// A token's life is planned from one instant to the next, with nothing between.
func TestPlanGoesFromInstantToInstant(t *testing.T) {
	const day = 24 * time.Hour
	expiry := issueTime.Add(100 * day)
	for _, c := range []struct {
		name               string
		now, next          time.Time
		active             metav1.ConditionStatus
		reason             string
		soon               metav1.ConditionStatus
		hasRecord, revoked bool
	}{
		{"fresh", issueTime, expiry.Add(-14 * day), "True", "Issued", "False", true, false},
		{"just before notice", expiry.Add(-14*day - time.Nanosecond), expiry.Add(-14 * day), "True", "Issued", "False", true, false},
		{"notice", expiry.Add(-14 * day), expiry, "True", "Issued", "True", true, false},
		{"last moment", expiry.Add(-time.Nanosecond), expiry, "True", "Issued", "True", true, false},
		{"expired", expiry, expiry.Add(30 * day), "False", "Expired", "False", true, false},
		{"retention over", expiry.Add(30 * day), time.Time{}, "False", "Expired", "False", false, false},
		{"revoked", issueTime.Add(day), issueTime.Add(31 * day), "False", "Revoked", "False", true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := someFacts(t)
			if c.revoked {
				p, err := makePlan(f)
				if err != nil {
					t.Fatal(err)
				}
				f.token.Status, f.token.Spec.Revoked, f.now = p.status, true, c.now
			}
			p := at(t, f, c.now)
			active := meta.FindStatusCondition(p.status.Conditions, v1alpha1.ConditionActive)
			soon := meta.FindStatusCondition(p.status.Conditions, v1alpha1.ConditionExpiringSoon)
			if active.Status != c.active || active.Reason != c.reason || soon.Status != c.soon {
				t.Errorf("Active is %s %s, ExpiringSoon %s", active.Status, active.Reason, soon.Status)
			}
			if !p.next.Equal(c.next) {
				t.Errorf("next is %s, want %s", p.next, c.next)
			}
			if (p.record != nil) != c.hasRecord {
				t.Errorf("record is %+v", p.record)
			}
		})
	}
}

// Scopes that were granted stay granted only as far as spec asks for them.
func TestPlanGrantsNoScopeThatSpecDoesNotAskFor(t *testing.T) {
	f := someFacts(t)
	f.token.Spec.Scopes = []string{"tokens:read", "old"}
	p, err := makePlan(f)
	if err != nil {
		t.Fatal(err)
	}
	if p.record != nil {
		t.Fatalf("issued with an unknown scope: %+v", p.record)
	}
	f.token.Spec.Scopes = []string{"tokens:read"}
	if p, err = makePlan(f); err != nil {
		t.Fatal(err)
	}
	f.token.Status = p.status
	f.token.Spec.Scopes = []string{"tokens:read", "old"}
	f.token.Status.Credential.Scopes = []string{"old", "root"}
	if p, err = makePlan(f); err != nil {
		t.Fatal(err)
	}
	if got := p.record.Scopes; len(got) != 2 || got[0] != "tokens:read" || got[1] != "old" {
		t.Errorf("scopes are %v", got)
	}
}

// Between two rotations there are never more than two credentials, and the one
// that was replaced never outlives its own expiry.
func TestPlanRotatesTwice(t *testing.T) {
	f := someFacts(t)
	f.token.Spec.Lifetime = duration(time.Hour)
	f.token.Spec.Rotation = &v1alpha1.Rotation{Overlap: duration(2 * time.Hour)}
	first := f.token.Spec.Credential
	p := at(t, f, issueTime)
	f.token.Status = p.status
	second := credential(t, issueTime.Add(10*time.Minute))
	f.token.Spec.Credential, f.now = second, issueTime.Add(10*time.Minute)
	p = at(t, f, f.now)
	if got := p.record.Previous; got == nil || got.ID != first.ID || !got.NotAfter.Equal(issueTime.Add(time.Hour)) {
		t.Errorf("previous is %+v, want %s until its own expiry", got, first.ID)
	}
	f.token.Status = p.status
	third := credential(t, issueTime.Add(20*time.Minute))
	f.token.Spec.Credential, f.now = third, issueTime.Add(20*time.Minute)
	p = at(t, f, f.now)
	if p.record.Current.ID != third.ID || p.record.Previous.ID != second.ID {
		t.Errorf("current is %s and previous %s, want %s and %s", p.record.Current.ID, p.record.Previous.ID, third.ID, second.ID)
	}
}

// A refused rotation leaves the credential that works alone.
func TestPlanKeepsWhatWorksWhenARotationIsRefused(t *testing.T) {
	f := someFacts(t)
	first := f.token.Spec.Credential
	p, err := makePlan(f)
	if err != nil {
		t.Fatal(err)
	}
	f.token.Status = p.status
	f.token.Spec.Credential = credential(t, issueTime.Add(time.Minute))
	f.token.Spec.Lifetime = duration(100000 * time.Hour)
	if p, err = makePlan(f); err != nil {
		t.Fatal(err)
	}
	if p.record == nil || p.record.Current.ID != first.ID {
		t.Fatalf("record is %+v, want %s", p.record, first.ID)
	}
	if !meta.IsStatusConditionTrue(p.status.Conditions, v1alpha1.ConditionActive) ||
		!meta.IsStatusConditionTrue(p.status.Conditions, v1alpha1.ConditionStalled) {
		t.Errorf("conditions are %+v", p.status.Conditions)
	}
}

func TestPlanFailsOnWhatValidationCantHaveLetThrough(t *testing.T) {
	f := someFacts(t)
	f.token.Spec.AllowedCIDRs = []string{"nonsense"}
	if _, err := makePlan(f); err == nil {
		t.Error("a CIDR that can't be parsed must not become a token that works from anywhere")
	}
}

// Going back to the credential that was replaced would lengthen it.
func TestPlanDoesNotIssueTheReplacedCredentialAgain(t *testing.T) {
	f := someFacts(t)
	first := f.token.Spec.Credential
	f.token.Status = at(t, f, issueTime).status
	second := credential(t, issueTime.Add(time.Minute))
	f.token.Spec.Credential, f.now = second, issueTime.Add(time.Minute)
	f.token.Status = at(t, f, f.now).status
	f.token.Spec.Credential = &v1alpha1.Credential{ID: first.ID, Digest: first.Digest, IssuedAt: metav1.NewTime(issueTime.Add(2 * time.Minute))}
	f.now = issueTime.Add(2 * time.Minute)
	p := at(t, f, f.now)
	if p.record.Current.ID != second.ID {
		t.Errorf("current is %s, want %s still", p.record.Current.ID, second.ID)
	}
	if stalled := meta.FindStatusCondition(p.status.Conditions, v1alpha1.ConditionStalled); stalled == nil || stalled.Reason != v1alpha1.ReasonCredentialConflict {
		t.Errorf("Stalled is %+v", stalled)
	}
}

// What is refused beside a credential that works is told, whatever the reason.
func TestPlanTellsOfARefusedRotation(t *testing.T) {
	f := someFacts(t)
	f.token.Status = at(t, f, issueTime).status
	f.token.Spec.Credential = credential(t, issueTime.Add(time.Hour))
	p := at(t, f, issueTime)
	if stalled := meta.FindStatusCondition(p.status.Conditions, v1alpha1.ConditionStalled); stalled == nil || stalled.Reason != v1alpha1.ReasonIssuedInFuture {
		t.Errorf("Stalled is %+v", stalled)
	}
	if !meta.IsStatusConditionTrue(p.status.Conditions, v1alpha1.ConditionActive) {
		t.Error("the credential that works was stopped")
	}
}

func TestPlanWithoutAPublicApiStillEndsOnTime(t *testing.T) {
	f := someFacts(t)
	f.token.Status = at(t, f, issueTime).status
	f.policy = nil
	if p := at(t, f, issueTime); !p.next.Equal(issueTime.Add(2400 * time.Hour)) {
		t.Errorf("next is %s, want the expiry", p.next)
	}
	if p := at(t, f, issueTime.Add(2400*time.Hour)); meta.IsStatusConditionTrue(p.status.Conditions, v1alpha1.ConditionActive) {
		t.Error("active beyond its expiry")
	}
}
