package controllers_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/record"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

const (
	isTrue  = metav1.ConditionTrue
	isFalse = metav1.ConditionFalse
)

func lifetime(d time.Duration) *metav1.Duration { return &metav1.Duration{Duration: d} }

// issued makes an ApiToken with a credential and waits until it works.
func issued(t *testing.T, owner *v1alpha1.Tenant, name string, spec v1alpha1.ApiTokenSpec) *v1alpha1.ApiToken {
	t.Helper()
	if spec.Credential == nil {
		spec.Credential, _ = credential(t, owner.Name, time.Now())
	}
	object := create(t, apiToken(owner, name, spec))
	waitFor(t, object, v1alpha1.ConditionActive, isTrue, v1alpha1.ReasonIssued)
	awaitRecord(t, object)
	return object
}

func TestApiTokenIsIssued(t *testing.T) {
	startManager(t)
	owner := readyTenant(t)
	object := create(t, apiToken(owner, "ci", v1alpha1.ApiTokenSpec{
		Owner: "ann@acme.example", Scopes: []string{"orders:read"}, Lifetime: lifetime(time.Hour), AllowedCIDRs: []string{"192.0.2.7/24"},
	}))
	message := waitFor(t, object, v1alpha1.ConditionActive, isFalse, v1alpha1.ReasonAwaitingCredential)
	if want := "kubectl latchkey issue ci -n " + owner.NamespaceName(); !strings.Contains(message, want) {
		t.Errorf("message %q does not hold the command %q", message, want)
	}
	if _, _, err := recordOf(t, object); !apierrors.IsNotFound(err) {
		t.Errorf("a record before there is a credential: %v", err)
	}

	minted, plaintext := credential(t, owner.Name, time.Now())
	change(t, object, func(o *v1alpha1.ApiToken) { o.Spec.Credential = minted })
	waitFor(t, object, v1alpha1.ConditionActive, isTrue, v1alpha1.ReasonIssued)
	stored, secret := awaitRecord(t, object)
	expiry := minted.IssuedAt.Add(time.Hour)
	if stored.Tenant != owner.Name || stored.Name != "ci" || stored.Owner != "ann@acme.example" ||
		stored.Current.ID != minted.ID || stored.Current.Digest.String() != minted.Digest || !stored.Current.NotAfter.Equal(expiry) ||
		!cmp.Equal(stored.Scopes, []string{"orders:read"}) || fmt.Sprint(stored.AllowedCIDRs) != "[192.0.2.0/24]" || stored.Previous != nil {
		t.Errorf("record is %+v", stored)
	}
	if got := object.Status.Credential; got == nil || got.ID != minted.ID || !got.ExpiresAt.Time.Equal(expiry) {
		t.Errorf("status.credential is %+v, want id %s and expiry %s", got, minted.ID, expiry)
	}
	for _, o := range []any{object, secret} {
		encoded, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(encoded), plaintext.Reveal()) {
			t.Errorf("%T holds the plaintext", o)
		}
	}
}

func TestApiTokenPolicy(t *testing.T) {
	startManager(t)
	owner := readyTenant(t, func(a *v1alpha1.PublicApi) {
		a.Spec.TokenPolicy = v1alpha1.TokenPolicy{
			DefaultLifetime: lifetime(time.Hour), MaxLifetime: lifetime(24 * time.Hour), MaxOverlap: lifetime(time.Hour), MaxPerTenant: 2,
		}
	})
	far := metav1.NewTime(time.Now().Add(48 * time.Hour).Truncate(time.Second))
	for name, c := range map[string]struct {
		spec v1alpha1.ApiTokenSpec
		want string
	}{
		"long-lifetime": {v1alpha1.ApiTokenSpec{Lifetime: lifetime(25 * time.Hour)}, "at most 24h0m0s"},
		"late-expiry":   {v1alpha1.ApiTokenSpec{ExpiresAt: &far}, "at most 24h0m0s"},
		"unknown-scope": {v1alpha1.ApiTokenSpec{Scopes: []string{"orders:read", "root"}}, "unknown scopes: root; the PublicApi knows: tokens:read, tokens:write, orders:read, orders:write"},
		"long-overlap":  {v1alpha1.ApiTokenSpec{Rotation: &v1alpha1.Rotation{Overlap: lifetime(2 * time.Hour)}}, "at most 1h0m0s"},
	} {
		t.Run(name, func(t *testing.T) {
			c.spec.Credential, _ = credential(t, owner.Name, time.Now())
			object := create(t, apiToken(owner, name, c.spec))
			message := waitFor(t, object, v1alpha1.ConditionStalled, isTrue, v1alpha1.ReasonPolicyViolation)
			if !strings.Contains(message, c.want) {
				t.Errorf("message %q does not say %q", message, c.want)
			}
			waitFor(t, object, v1alpha1.ConditionActive, isFalse, v1alpha1.ReasonPolicyViolation)
			if event := waitForEvent(t, object, v1alpha1.ReasonPolicyViolation); event.Type != corev1.EventTypeWarning || !strings.Contains(event.Note, c.want) {
				t.Errorf("event is %s %q", event.Type, event.Note)
			}
			if _, _, err := recordOf(t, object); !apierrors.IsNotFound(err) {
				t.Errorf("a record in spite of the policy: %v", err)
			}
		})
	}
	t.Run("too many", func(t *testing.T) {
		issued(t, owner, "one", v1alpha1.ApiTokenSpec{})
		issued(t, owner, "two", v1alpha1.ApiTokenSpec{})
		minted, _ := credential(t, owner.Name, time.Now())
		third := create(t, apiToken(owner, "three", v1alpha1.ApiTokenSpec{Credential: minted}))
		if message := waitFor(t, third, v1alpha1.ConditionStalled, isTrue, v1alpha1.ReasonPolicyViolation); !strings.Contains(message, "permits 2") {
			t.Errorf("message %q does not name the limit", message)
		}
	})
	t.Run("tightening breaks no live token", func(t *testing.T) {
		live := &v1alpha1.ApiToken{ObjectMeta: metav1.ObjectMeta{Namespace: owner.NamespaceName(), Name: "one-live"}}
		change(t, &v1alpha1.PublicApi{ObjectMeta: metav1.ObjectMeta{Name: owner.Spec.PublicApi}}, func(a *v1alpha1.PublicApi) { a.Spec.TokenPolicy.MaxPerTenant = 100 })
		live = issued(t, owner, live.Name, v1alpha1.ApiTokenSpec{Scopes: []string{"orders:read"}, Lifetime: lifetime(20 * time.Hour)})
		change(t, &v1alpha1.PublicApi{ObjectMeta: metav1.ObjectMeta{Name: owner.Spec.PublicApi}}, func(a *v1alpha1.PublicApi) {
			a.Spec.Scopes = nil
			a.Spec.TokenPolicy.MaxLifetime = lifetime(2 * time.Hour)
		})
		change(t, live, func(o *v1alpha1.ApiToken) { o.Spec.Description = "forces a reconciliation under the new policy" })
		waitFor(t, live, v1alpha1.ConditionActive, isTrue, v1alpha1.ReasonIssued)
		stored, _, err := recordOf(t, live)
		if err != nil || !cmp.Equal(stored.Scopes, []string{"orders:read"}) || time.Until(stored.Current.NotAfter) < 19*time.Hour {
			t.Errorf("record is %+v, %v", stored, err)
		}
	})
}

func TestApiTokenExpiresAtItsInstant(t *testing.T) {
	startManager(t)
	owner := readyTenant(t, func(a *v1alpha1.PublicApi) { a.Spec.TokenPolicy.Retention = lifetime(2 * time.Second) })
	object := issued(t, owner, "brief", v1alpha1.ApiTokenSpec{Lifetime: lifetime(3 * time.Second)})
	if soon := meta.FindStatusCondition(object.Status.Conditions, v1alpha1.ConditionExpiringSoon); soon == nil || soon.Status != isTrue {
		t.Errorf("ExpiringSoon is %+v", soon)
	}
	waitFor(t, object, v1alpha1.ConditionActive, isFalse, v1alpha1.ReasonExpired)
	expiry := object.Status.Credential.ExpiresAt.Time
	active := meta.FindStatusCondition(object.Status.Conditions, v1alpha1.ConditionActive)
	if late := active.LastTransitionTime.Sub(expiry); late < 0 || late > 2*time.Second {
		t.Errorf("turned inactive %s after the expiry", late)
	}
	waitForEvent(t, object, v1alpha1.ReasonExpired)
	gone(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.RecordsNamespace, Name: record.Name(object.UID)}})
	if time.Now().Before(expiry.Add(2 * time.Second)) {
		t.Error("the record went before the retention was over")
	}
}

func TestApiTokenExpiryOnlyMovesForward(t *testing.T) {
	startManager(t)
	owner := readyTenant(t)
	object := issued(t, owner, "ci", v1alpha1.ApiTokenSpec{Lifetime: lifetime(10 * time.Hour)})
	issuedAt := object.Spec.Credential.IssuedAt.Time
	for _, step := range []struct{ lifetime, want time.Duration }{{5 * time.Hour, 5 * time.Hour}, {20 * time.Hour, 5 * time.Hour}} {
		change(t, object, func(o *v1alpha1.ApiToken) { o.Spec.Lifetime = lifetime(step.lifetime) })
		waitFor(t, object, v1alpha1.ConditionActive, isTrue, v1alpha1.ReasonIssued)
		stored, _ := awaitRecord(t, object)
		if !stored.Current.NotAfter.Equal(issuedAt.Add(step.want)) {
			t.Errorf("with lifetime %s the record is %+v; want expiry after %s", step.lifetime, stored, step.want)
		}
	}
}

func TestApiTokenRotation(t *testing.T) {
	startManager(t)
	owner := readyTenant(t)
	start := time.Now().Add(-time.Minute)
	first, _ := credential(t, owner.Name, start)
	object := issued(t, owner, "ci", v1alpha1.ApiTokenSpec{
		Lifetime: lifetime(time.Hour), Rotation: &v1alpha1.Rotation{Overlap: lifetime(10 * time.Minute)}, Credential: first,
	})
	second, _ := credential(t, owner.Name, start.Add(10*time.Second))
	change(t, object, func(o *v1alpha1.ApiToken) { o.Spec.Credential = second })
	waitFor(t, object, v1alpha1.ConditionActive, isTrue, v1alpha1.ReasonIssued)
	stored, _ := awaitRecord(t, object)
	if stored.Previous == nil {
		t.Fatalf("record is %+v", stored)
	}
	if stored.Current.ID != second.ID || !stored.Current.NotAfter.Equal(second.IssuedAt.Add(time.Hour)) {
		t.Errorf("current is %+v", stored.Current)
	}
	if stored.Previous.ID != first.ID || !stored.Previous.NotAfter.Equal(second.IssuedAt.Add(10*time.Minute)) {
		t.Errorf("previous is %+v, want the end of the overlap", stored.Previous)
	}
}

func TestApiTokenRevokedAndDeleted(t *testing.T) {
	startManager(t)
	owner := readyTenant(t)
	object := issued(t, owner, "ci", v1alpha1.ApiTokenSpec{})
	change(t, object, func(o *v1alpha1.ApiToken) { o.Spec.Revoked = true })
	waitFor(t, object, v1alpha1.ConditionActive, isFalse, v1alpha1.ReasonRevoked)
	waitForEvent(t, object, v1alpha1.ReasonRevoked)
	if _, _, err := recordOf(t, object); err != nil {
		t.Errorf("the record of a revoked token must stay for the retention: %v", err)
	}
	_, secret, err := recordOf(t, object)
	if err != nil {
		t.Fatal(err)
	}
	if err := env().Client.Delete(t.Context(), object); err != nil {
		t.Fatal(err)
	}
	gone(t, secret)
}

// What was deleted while no manager ran is cleaned up when one starts.
func TestRecordsFollowAfterManagerWasDown(t *testing.T) {
	stop := startManager(t)
	owner := readyTenant(t)
	kept, deleted := issued(t, owner, "kept", v1alpha1.ApiTokenSpec{}), issued(t, owner, "deleted", v1alpha1.ApiTokenSpec{})
	_, secret, err := recordOf(t, deleted)
	if err != nil {
		t.Fatal(err)
	}
	stop()
	if err := env().Client.Delete(t.Context(), deleted); err != nil {
		t.Fatal(err)
	}
	startManager(t)
	gone(t, secret)
	if _, _, err := recordOf(t, kept); err != nil {
		t.Errorf("the record of a token that was not deleted: %v", err)
	}
}

func TestSuspendedTenant(t *testing.T) {
	startManager(t)
	owner := readyTenant(t)
	object := issued(t, owner, "ci", v1alpha1.ApiTokenSpec{})
	change(t, owner, func(o *v1alpha1.Tenant) { o.Spec.Suspended = true })
	waitFor(t, owner, v1alpha1.ConditionReady, isTrue, v1alpha1.ReasonSuspended)
	waitFor(t, object, v1alpha1.ConditionActive, isFalse, v1alpha1.ReasonTenantSuspended)
	change(t, owner, func(o *v1alpha1.Tenant) { o.Spec.Suspended = false })
	waitFor(t, object, v1alpha1.ConditionActive, isTrue, v1alpha1.ReasonIssued)
}

func TestApiTokenOutsideATenant(t *testing.T) {
	startManager(t)
	namespace := create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name(t)}})
	minted, _ := credential(t, "nobody", time.Now())
	object := create(t, &v1alpha1.ApiToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace.Name, Name: "ci"}, Spec: v1alpha1.ApiTokenSpec{Credential: minted},
	})
	waitFor(t, object, v1alpha1.ConditionActive, isFalse, v1alpha1.ReasonNoTenant)
	if _, _, err := recordOf(t, object); !apierrors.IsNotFound(err) {
		t.Errorf("a record without a tenant: %v", err)
	}
}

// CVE-2026-42876, External Secrets #2346: a Secret that was there first is not
// adopted.
func TestForeignRecordIsLeftUntouched(t *testing.T) {
	startManager(t)
	owner := readyTenant(t)
	object := create(t, apiToken(owner, "ci", v1alpha1.ApiTokenSpec{}))
	waitFor(t, object, v1alpha1.ConditionActive, isFalse, v1alpha1.ReasonAwaitingCredential)
	foreign := create(t, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.RecordsNamespace, Name: record.Name(object.UID)},
		StringData: map[string]string{"mine": "precious"},
	})
	minted, _ := credential(t, owner.Name, time.Now())
	change(t, object, func(o *v1alpha1.ApiToken) { o.Spec.Credential = minted })
	waitFor(t, object, v1alpha1.ConditionActive, isFalse, v1alpha1.ReasonRecordConflict)
	waitForEvent(t, object, v1alpha1.ReasonRecordConflict)
	after := foreign.DeepCopy()
	if err := get(t, after); err != nil || after.ResourceVersion != foreign.ResourceVersion {
		t.Errorf("the foreign Secret was changed: %v\n%s", err, cmp.Diff(foreign, after))
	}
	if err := env().Client.Delete(t.Context(), foreign); err != nil {
		t.Fatal(err)
	}
	waitFor(t, object, v1alpha1.ConditionActive, isTrue, v1alpha1.ReasonIssued)
}

func TestTamperedRecordIsPutRight(t *testing.T) {
	startManager(t)
	owner := readyTenant(t)
	object := issued(t, owner, "ci", v1alpha1.ApiTokenSpec{Lifetime: lifetime(time.Hour)})
	before, secret, err := recordOf(t, object)
	if err != nil {
		t.Fatal(err)
	}
	restored := func() error {
		after, _, err := recordOf(t, object)
		if err == nil && !cmp.Equal(before.Current, after.Current) {
			err = fmt.Errorf("record is %+v", after)
		}
		return err
	}
	forged, _ := credential(t, owner.Name, time.Now())
	secret.Data["digest"], secret.Data["expires-at"] = []byte(forged.Digest), []byte("2099-01-01T00:00:00Z")
	if err := env().Client.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, restored)
	if err := env().Client.Delete(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, restored)
}

func TestOneCredentialBelongsToOneApiToken(t *testing.T) {
	startManager(t)
	owner := readyTenant(t)
	older := issued(t, owner, "older", v1alpha1.ApiTokenSpec{})
	held := older.Spec.Credential
	other, _ := credential(t, owner.Name, time.Now())
	sameID := create(t, apiToken(owner, "same-id", v1alpha1.ApiTokenSpec{
		Credential: &v1alpha1.Credential{ID: held.ID, Digest: other.Digest, IssuedAt: held.IssuedAt}}))
	sameDigest := create(t, apiToken(owner, "same-digest", v1alpha1.ApiTokenSpec{
		Credential: &v1alpha1.Credential{ID: other.ID, Digest: held.Digest, IssuedAt: held.IssuedAt}}))
	for _, younger := range []*v1alpha1.ApiToken{sameID, sameDigest} {
		message := waitFor(t, younger, v1alpha1.ConditionStalled, isTrue, v1alpha1.ReasonCredentialConflict)
		if !strings.Contains(message, "ApiToken older") {
			t.Errorf("message %q does not name the holder", message)
		}
	}
	waitFor(t, older, v1alpha1.ConditionActive, isTrue, v1alpha1.ReasonIssued)

	// Revoked and deleted, it does not come back under another name.
	change(t, older, func(o *v1alpha1.ApiToken) { o.Spec.Revoked = true })
	_, secret, err := recordOf(t, older)
	if err != nil {
		t.Fatal(err)
	}
	if err := env().Client.Delete(t.Context(), older); err != nil {
		t.Fatal(err)
	}
	gone(t, secret)
	for _, younger := range []*v1alpha1.ApiToken{sameID, sameDigest} {
		change(t, younger, func(o *v1alpha1.ApiToken) { o.Spec.Description = "looked at again" })
		waitFor(t, younger, v1alpha1.ConditionActive, isFalse, v1alpha1.ReasonCredentialConflict)
	}
	fresh, _ := credential(t, owner.Name, time.Now().Add(time.Second))
	change(t, sameID, func(o *v1alpha1.ApiToken) { o.Spec.Credential = fresh })
	waitFor(t, sameID, v1alpha1.ConditionActive, isTrue, v1alpha1.ReasonIssued)
}

// The same when the younger was applied, and the older deleted, while no manager
// ran to notice.
func TestCredentialIsNotRevivedWhileManagerWasDown(t *testing.T) {
	stop := startManager(t)
	owner := readyTenant(t)
	older := issued(t, owner, "older", v1alpha1.ApiTokenSpec{})
	change(t, older, func(o *v1alpha1.ApiToken) { o.Spec.Revoked = true })
	waitFor(t, older, v1alpha1.ConditionActive, isFalse, v1alpha1.ReasonRevoked)
	_, secret, err := recordOf(t, older)
	if err != nil {
		t.Fatal(err)
	}
	stop()
	held := older.Spec.Credential
	younger := create(t, apiToken(owner, "younger", v1alpha1.ApiTokenSpec{Credential: held}))
	other, _ := credential(t, owner.Name, time.Now())
	sameDigest := create(t, apiToken(owner, "same-digest", v1alpha1.ApiTokenSpec{
		Credential: &v1alpha1.Credential{ID: other.ID, Digest: held.Digest, IssuedAt: held.IssuedAt}}))
	if err := env().Client.Delete(t.Context(), older); err != nil {
		t.Fatal(err)
	}
	startManager(t)
	gone(t, secret)
	waitFor(t, younger, v1alpha1.ConditionActive, isFalse, v1alpha1.ReasonCredentialConflict)
	waitFor(t, sameDigest, v1alpha1.ConditionActive, isFalse, v1alpha1.ReasonCredentialConflict)
}

func TestCredentialFromTheFuture(t *testing.T) {
	startManager(t)
	owner := readyTenant(t)
	minted, _ := credential(t, owner.Name, time.Now().Add(time.Hour))
	object := create(t, apiToken(owner, "ci", v1alpha1.ApiTokenSpec{Credential: minted}))
	waitFor(t, object, v1alpha1.ConditionActive, isFalse, v1alpha1.ReasonIssuedInFuture)
}

// A manager that starts anew, and one that runs, write nothing that is not needed.
func TestSteadyStateWritesNothing(t *testing.T) {
	stop := startManager(t)
	owner := readyTenant(t)
	object := issued(t, owner, "ci", v1alpha1.ApiTokenSpec{})
	_, secret, err := recordOf(t, object)
	if err != nil {
		t.Fatal(err)
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: owner.NamespaceName()}}
	if err := get(t, namespace); err != nil {
		t.Fatal(err)
	}
	settled := []client.Object{owner, object, secret, namespace}
	before := versions(t, settled)
	stop()
	startManager(t)
	// The sentinel is reconciled after what the new manager found at its start.
	issued(t, owner, "sentinel", v1alpha1.ApiTokenSpec{})
	if diff := cmp.Diff(before, versions(t, settled)); diff != "" {
		t.Errorf("resourceVersions changed:\n%s", diff)
	}
	if generation := object.Generation; generation != 1 {
		t.Errorf("generation is %d", generation)
	}
}

func versions(t *testing.T, objects []client.Object) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, o := range objects {
		if err := env().Client.Get(context.Background(), client.ObjectKeyFromObject(o), o); err != nil {
			t.Fatal(err)
		}
		found[fmt.Sprintf("%T %s", o, o.GetName())] = o.GetResourceVersion()
	}
	return found
}
