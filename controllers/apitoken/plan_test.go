package apitoken

import (
	"strings"
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
		{"notice", expiry.Add(-14 * day), expiry.Add(-13 * day), "True", "Issued", "True", true, false},
		{"last day", expiry.Add(-day), expiry, "True", "Issued", "True", true, false},
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

// rotate plans a rotation at the instant, and leaves its status in the facts.
func rotate(t *testing.T, f *facts, now time.Time) *plan {
	t.Helper()
	f.now, f.token.Spec.Credential = now, credential(t, now)
	p, err := makePlan(*f)
	if err != nil {
		t.Fatal(err)
	}
	f.token.Status = p.status
	return p
}

// However often a credential is replaced within the overlap, two work and no more.
func TestPlanKeepsTwoCredentials(t *testing.T) {
	f := someFacts(t)
	f.token.Spec.Rotation = &v1alpha1.Rotation{Overlap: duration(24 * time.Hour)}
	first := rotate(t, &f, issueTime)
	second := rotate(t, &f, issueTime.Add(time.Hour))
	if got := second.record.Previous; got == nil || got.ID != first.record.Current.ID || !got.NotAfter.Equal(issueTime.Add(25*time.Hour)) {
		t.Errorf("after one rotation the previous one is %+v", got)
	}
	third := rotate(t, &f, issueTime.Add(2*time.Hour))
	if got := third.record.Previous; got == nil || got.ID != second.record.Current.ID || !got.NotAfter.Equal(issueTime.Add(26*time.Hour)) {
		t.Errorf("after two the previous one is %+v, want that of the first rotation, for the overlap", got)
	}
}

// A rotation takes the last use along, and begins the new credential's with none.
func TestPlanMovesUseAlong(t *testing.T) {
	f := someFacts(t)
	first := rotate(t, &f, issueTime)
	if since := first.status.UseRecordedSince; since == nil || !since.Time.Equal(issueTime) {
		t.Errorf("useRecordedSince is %v", since)
	}
	used := metav1.NewTime(issueTime.Add(time.Minute))
	f.token.Status.Credential.LastUsedAt = &used
	second := rotate(t, &f, issueTime.Add(time.Hour))
	current, previous := second.status.Credential, second.status.PreviousCredential
	if current.LastUsedAt != nil || previous.LastUsedAt == nil || !previous.LastUsedAt.Equal(&used) {
		t.Errorf("current was last used at %v, previous at %v", current.LastUsedAt, previous.LastUsedAt)
	}
	if !current.IssuedAt.Time.Equal(issueTime.Add(time.Hour)) || !previous.IssuedAt.Time.Equal(issueTime) {
		t.Errorf("current was issued at %v, previous at %v", current.IssuedAt, previous.IssuedAt)
	}
	if since := second.status.UseRecordedSince; !since.Time.Equal(issueTime) {
		t.Errorf("useRecordedSince moved to %v", since)
	}
}

func TestPlanDropsPrevious(t *testing.T) {
	f := someFacts(t)
	f.token.Spec.Rotation = &v1alpha1.Rotation{Overlap: duration(24 * time.Hour)}
	rotate(t, &f, issueTime)
	rotate(t, &f, issueTime.Add(time.Hour))
	current, previous := *f.token.Status.Credential, *f.token.Status.PreviousCredential
	dropAt := issueTime.Add(2 * time.Hour)
	for _, c := range []struct {
		id   string
		want time.Time
	}{{"", previous.ExpiresAt.Time}, {"0000000000", previous.ExpiresAt.Time}, {current.ID, previous.ExpiresAt.Time}, {previous.ID, dropAt}} {
		f.token.Spec.Rotation.DropPrevious, f.now = c.id, dropAt.Add(time.Millisecond)
		p, err := makePlan(f)
		if err != nil {
			t.Fatal(err)
		}
		if !p.record.Previous.NotAfter.Equal(c.want) || !p.record.Current.NotAfter.Equal(current.ExpiresAt.Time) {
			t.Errorf("dropPrevious %q: record is %+v and %+v", c.id, p.record.Current, p.record.Previous)
		}
		if again := at(t, f, dropAt.Add(time.Hour)); c.id == previous.ID && !again.record.Previous.NotAfter.Equal(dropAt) {
			t.Errorf("an hour later it ended at %s", again.record.Previous.NotAfter)
		}
	}
	// It is remembered all the same: issued again it would be lengthened.
	f.token.Spec.Credential = &v1alpha1.Credential{ID: previous.ID, Digest: previous.Digest, IssuedAt: metav1.NewTime(dropAt.Add(time.Minute))}
	f.now = dropAt.Add(time.Minute)
	p, err := makePlan(f)
	if err != nil {
		t.Fatal(err)
	}
	if c := meta.FindStatusCondition(p.status.Conditions, v1alpha1.ConditionStalled); c == nil || c.Reason != v1alpha1.ReasonCredentialConflict {
		t.Errorf("Stalled is %+v", c)
	}
}

// Each notice is noted once, and a new credential has notices of its own.
func TestPlanNotesEachNoticeOnce(t *testing.T) {
	const day = 24 * time.Hour
	f := someFacts(t)
	rotate(t, &f, issueTime)
	expiry := f.token.Status.Credential.ExpiresAt.Time
	for _, c := range []struct {
		left time.Duration
		want int32
	}{{20 * day, 0}, {14 * day, 14}, {13 * day, 14}, {7 * day, 7}, {3 * day, 7}, {day, 1}, {time.Second, 1}, {0, 1}} {
		f.now = expiry.Add(-c.left)
		p, err := makePlan(f)
		if err != nil {
			t.Fatal(err)
		}
		f.token.Status = p.status
		got := int32(0)
		if n := p.status.Notice; n != nil {
			if got = n.Days; n.CredentialID != f.token.Status.Credential.ID {
				t.Errorf("the notice is about credential %s", n.CredentialID)
			}
		}
		if got != c.want {
			t.Errorf("%s before the end the last notice was of %d days, want %d", c.left, got, c.want)
		}
	}
	f.token.Spec.Lifetime = duration(15 * day)
	rotate(t, &f, expiry)
	f.now = expiry.Add(day)
	p, err := makePlan(f)
	if err != nil {
		t.Fatal(err)
	}
	if n := p.status.Notice; n == nil || n.Days != 14 || n.CredentialID != p.status.Credential.ID {
		t.Errorf("the new credential's notice is %+v", n)
	}
}

func TestPlanTellsTheDaysLeft(t *testing.T) {
	const day = 24 * time.Hour
	f := someFacts(t)
	rotate(t, &f, issueTime)
	expiry := f.token.Status.Credential.ExpiresAt.Time
	for left, want := range map[time.Duration]string{14 * day: "within 14 days", 13*day + 1: "within 14 days", 13 * day: "within 13 days", day: "within a day", 1: "within a day"} {
		f.now = expiry.Add(-left)
		p, err := makePlan(f)
		if err != nil {
			t.Fatal(err)
		}
		if c := meta.FindStatusCondition(p.status.Conditions, v1alpha1.ConditionExpiringSoon); c.Status != metav1.ConditionTrue || !strings.Contains(c.Message, want) {
			t.Errorf("%s before the end ExpiringSoon is %s %q, want %q", left, c.Status, c.Message, want)
		}
	}
}

// Only what our own API made is deleted after its retention.
func TestPlanRetires(t *testing.T) {
	for via, want := range map[string]bool{"": false, "plugin": false, v1alpha1.ViaAPI: true, v1alpha1.ViaSettings: true} {
		f := someFacts(t)
		f.token.Annotations = map[string]string{v1alpha1.AnnotationCreatedVia: via}
		rotate(t, &f, issueTime)
		end := f.token.Status.Credential.ExpiresAt.Add(f.policy.Retention)
		for _, c := range []struct {
			now  time.Time
			want bool
		}{{end.Add(-1), false}, {end, want}} {
			if p := at(t, f, c.now); p.retire != c.want {
				t.Errorf("made via %q, at %s: retire is %t", via, c.now, p.retire)
			}
		}
	}
}

// Beside a credential that works a refusal is for good, whatever becomes of its cause:
// whoever was told that the rotation came to nothing goes on with the old one.
func TestPlanRefusesARotationForGood(t *testing.T) {
	for name, c := range map[string]struct {
		refuse, mend func(*facts)
		reason       string
	}{
		"a scope that is unknown": {
			func(f *facts) { f.token.Spec.Scopes = []string{"orders:read"} },
			func(f *facts) { f.policy.Scopes = append(f.policy.Scopes, "orders:read") }, v1alpha1.ReasonPolicyViolation},
		"too many tokens": {
			func(f *facts) { f.live = f.policy.MaxPerTenant },
			func(f *facts) { f.live = 0 }, v1alpha1.ReasonPolicyViolation},
		"an expiry that is over": {
			func(f *facts) { f.token.Spec.Credential.NotAfter = new(metav1.NewTime(f.now)) },
			func(f *facts) { f.now = f.now.Add(-time.Minute) }, v1alpha1.ReasonExpired},
		"a holder": {
			func(f *facts) { f.holder = "other" },
			func(f *facts) { f.holder = "" }, v1alpha1.ReasonCredentialConflict},
	} {
		t.Run(name, func(t *testing.T) {
			f := someFacts(t)
			first := rotate(t, &f, issueTime)
			f.now = issueTime.Add(time.Hour)
			f.token.Spec.Credential = credential(t, f.now)
			c.refuse(&f)
			for _, when := range []string{"at first", "once more", "when the cause is gone"} {
				if when == "when the cause is gone" {
					c.mend(&f)
				}
				p, err := makePlan(f)
				if err != nil {
					t.Fatal(err)
				}
				if p.record.Current.ID != first.record.Current.ID || p.record.Previous != nil || !p.record.Current.NotAfter.Equal(first.record.Current.NotAfter) {
					t.Fatalf("%s: the record is %+v, %+v", when, p.record.Current, p.record.Previous)
				}
				stalled := meta.FindStatusCondition(p.status.Conditions, v1alpha1.ConditionStalled)
				if stalled == nil || stalled.Reason != c.reason || !strings.HasSuffix(stalled.Message, "a refused one stays refused.") {
					t.Errorf("%s: Stalled is %+v", when, stalled)
				}
				if p.status.RefusedCredentialID != f.token.Spec.Credential.ID {
					t.Errorf("%s: refused is %q", when, p.status.RefusedCredentialID)
				}
				f.token.Status = p.status
			}
			f.token.Spec.Scopes, f.live = nil, 0
			if next := rotate(t, &f, f.now.Add(time.Minute)); next.record.Current.ID != f.token.Spec.Credential.ID || next.status.RefusedCredentialID != "" {
				t.Error("a new credential is not issued")
			}
		})
	}
}

// What may yet be mended without anybody's new credential is judged again: a first one,
// and one that waits for the PublicApi or for the clock.
func TestPlanJudgesAgainWhatMayBeMended(t *testing.T) {
	for name, c := range map[string]struct {
		isRotation   bool
		refuse, mend func(*facts)
	}{
		"the first of too many":       {false, func(f *facts) { f.live = f.policy.MaxPerTenant }, func(f *facts) { f.live = 0 }},
		"the first without PublicApi": {false, func(f *facts) { f.policy = nil }, func(f *facts) { f.policy = new(policy.Of(&v1alpha1.PublicApi{})) }},
		"a rotation without one":      {true, func(f *facts) { f.policy = nil }, func(f *facts) { f.policy = new(policy.Of(&v1alpha1.PublicApi{})) }},
		"a rotation from the future":  {true, func(f *facts) { f.now = f.now.Add(-30 * time.Minute) }, func(f *facts) { f.now = f.now.Add(30 * time.Minute) }},
	} {
		f := someFacts(t)
		if c.isRotation {
			rotate(t, &f, issueTime)
		}
		f.now = issueTime.Add(time.Hour)
		f.token.Spec.Credential = credential(t, f.now)
		c.refuse(&f)
		p, err := makePlan(f)
		if err != nil {
			t.Fatal(err)
		}
		if p.status.RefusedCredentialID != "" {
			t.Errorf("%s: refused for good", name)
		}
		f.token.Status = p.status
		c.mend(&f)
		if p, err = makePlan(f); err != nil {
			t.Fatal(err)
		}
		if p.record == nil || p.record.Current.ID != f.token.Spec.Credential.ID {
			t.Errorf("%s: not issued: %+v", name, p.status.Conditions)
		}
	}
}

// A replaced credential outlives its overlap only until its successor's record is
// stored, and then by seconds.
func TestPlanHandsOver(t *testing.T) {
	replaced := issueTime.Add(time.Hour)
	for name, c := range map[string]struct {
		lifetime, overlap time.Duration
		before, after     time.Duration // since the rotation
		lowered           time.Duration
	}{
		"no overlap":                 {lifetime: 10 * time.Hour, before: time.Minute, after: 12 * time.Second},
		"a short one":                {lifetime: 10 * time.Hour, overlap: 30 * time.Second, before: time.Minute, after: 30 * time.Second},
		"a long one":                 {lifetime: 10 * time.Hour, overlap: time.Hour, before: time.Hour, after: time.Hour},
		"a long one, lowered since":  {lifetime: 10 * time.Hour, overlap: time.Hour, lowered: time.Hour, before: time.Hour, after: time.Hour},
		"its own time ends":          {lifetime: time.Hour + 30*time.Second, before: 30 * time.Second, after: 12 * time.Second},
		"its own time ends, overlap": {lifetime: time.Hour + 30*time.Second, overlap: time.Hour, before: 30 * time.Second, after: 30 * time.Second},
	} {
		f := someFacts(t)
		f.token.Spec.Lifetime = duration(c.lifetime)
		f.token.Spec.Rotation = &v1alpha1.Rotation{Overlap: duration(c.overlap)}
		rotate(t, &f, issueTime)
		f.token.Spec.Lifetime, f.handedOver = duration(2400*time.Hour), true
		p := rotate(t, &f, replaced)
		f.handedOver = false
		want := func(when string, p *plan, after time.Duration) {
			t.Helper()
			for _, end := range []time.Time{p.status.PreviousCredential.ExpiresAt.Time, p.record.Previous.NotAfter} {
				if !end.Equal(replaced.Add(after)) {
					t.Errorf("%s, %s: it ends after %s, want %s", name, when, end.Sub(replaced), after)
				}
			}
		}
		want("issued", p, c.before)
		f.token.Spec.Rotation.Overlap = duration(c.overlap - c.lowered)
		f.now = replaced.Add(10 * time.Second)
		want("not stored yet", at(t, f, f.now), c.before)
		f.handedOver = true
		want("stored", at(t, f, f.now), c.after)
		want("stored for longer", at(t, f, f.now.Add(time.Second)), c.after)
	}
}
