package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// issued is an ApiToken whose token works.
func issued(t testing.TB, namespace, name string, change ...func(*v1alpha1.ApiToken)) *v1alpha1.ApiToken {
	t.Helper()
	object := applyToken(t, namespace, name, append(change, func(o *v1alpha1.ApiToken) {
		o.Spec.Credential = credential(t)
		o.Spec.Credential.IssuedAt = metav1.NewTime(o.Spec.Credential.IssuedAt.Add(-time.Hour))
	})...)
	setStatus(t, object, activated(month))
	return object
}

// rotated is the status once the manager has accepted a successor, with the
// overlap that spec says.
func rotated(object *v1alpha1.ApiToken) {
	previous := *object.Status.Credential
	end := object.Spec.Credential.IssuedAt
	if r := object.Spec.Rotation; r != nil && r.Overlap != nil {
		end = metav1.NewTime(end.Add(r.Overlap.Duration))
	}
	previous.ExpiresAt = end
	activated(month)(object)
	object.Status.PreviousCredential = &previous
}

// within is an ApiToken that was rotated an hour ago, and whose previous token
// works still, with uses that are recorded.
func within(t testing.TB, namespace, name string, change ...func(*v1alpha1.ApiToken)) *v1alpha1.ApiToken {
	t.Helper()
	object := issued(t, namespace, name)
	previous := credential(t)
	object.Status.PreviousCredential = &v1alpha1.IssuedCredential{
		ID: previous.ID, Digest: previous.Digest, ExpiresAt: metav1.NewTime(previous.IssuedAt.Add(24 * time.Hour)),
	}
	setStatus(t, object, func(o *v1alpha1.ApiToken) {
		o.Status.UseRecordedSince = new(metav1.NewTime(previous.IssuedAt.Add(-30 * 24 * time.Hour)))
		for _, f := range change {
			f(o)
		}
	})
	return object
}

func usedLately(o *v1alpha1.ApiToken) {
	o.Status.PreviousCredential.LastUsedAt = new(metav1.NewTime(o.Spec.Credential.IssuedAt.Add(time.Minute)))
}

func TestRotateAsMember(t *testing.T) {
	t.Parallel()
	tenant, namespace, kubeconfig := tenantAdmin(t)
	before := issued(t, namespace, "ci", func(o *v1alpha1.ApiToken) { o.Spec.Owner = "kept" })
	old := before.Spec.Credential
	manageOther(t, namespace, "ci", old.ID, rotated)

	r := latchkey(t, kubeconfig, "rotate", "ci", "-n", namespace, "--overlap", "1d", "--wait", "30s").mustSucceed(t)
	plaintext := r.mustPrintToken(t, "lk")
	object := getToken(t, namespace, "ci")
	mustMatch(t, object, tenant, plaintext)
	if !object.Spec.Credential.IssuedAt.After(old.IssuedAt.Time) || object.Spec.Rotation.Overlap.Duration != 24*time.Hour || object.Spec.Owner != "kept" {
		t.Errorf("spec = %s", asJSON(t, object.Spec))
	}
	if got := object.Annotations[v1alpha1.AnnotationIssuedBy]; got != "jo@example.com" {
		t.Errorf("issued by %q", got)
	}
	end := object.Status.PreviousCredential.ExpiresAt.UTC().Format(time.RFC3339)
	for _, want := range []string{"The previous token, id " + old.ID + ", works until " + end, "--drop-previous' ends it", "It expires at"} {
		if !strings.Contains(r.stderr, want) {
			t.Errorf("standard error lacks %q:\n%s", want, r.stderr)
		}
	}
}

func TestRotateWithoutOverlap(t *testing.T) {
	t.Parallel()
	_, namespace, kubeconfig := tenantAdmin(t)
	old := issued(t, namespace, "ci").Spec.Credential.ID
	manageOther(t, namespace, "ci", old, rotated)
	r := latchkey(t, kubeconfig, "rotate", "ci", "-n", namespace, "--wait", "30s").mustSucceed(t)
	if want := "The previous token, id " + old + ", works no more."; !strings.Contains(r.stderr, want) {
		t.Errorf("standard error lacks %q:\n%s", want, r.stderr)
	}
}

// Until the manager has seen the successor stored, status says a minute.
func TestRotateWithoutOverlapDuringTheHandover(t *testing.T) {
	t.Parallel()
	_, namespace, kubeconfig := tenantAdmin(t)
	old := issued(t, namespace, "ci").Spec.Credential.ID
	manageOther(t, namespace, "ci", old, func(o *v1alpha1.ApiToken) {
		rotated(o)
		o.Status.PreviousCredential.ExpiresAt = metav1.NewTime(time.Now().Add(time.Minute).UTC().Truncate(time.Second))
	})
	r := latchkey(t, kubeconfig, "rotate", "ci", "-n", namespace, "--wait", "30s").mustSucceed(t)
	if want := "The previous token, id " + old + ", is to end at "; !strings.Contains(r.stderr, want) || !strings.Contains(r.stderr, "or seconds after the new one works") {
		t.Errorf("standard error lacks %q:\n%s", want, r.stderr)
	}
}

// Beside a token that works, a refused successor shows in Stalled only. What becomes of
// the one before depends on whether the refusal is for good.
func TestRotateThatTheManagerRefuses(t *testing.T) {
	t.Parallel()
	_, namespace, kubeconfig := tenantAdmin(t)
	for name, c := range map[string]struct {
		isForGood    bool
		reason, want string
	}{
		"for-good": {true, v1alpha1.ReasonPolicyViolation, "was not replaced: until you rotate again, or its time is over, it works as before"},
		"for-now":  {false, v1alpha1.ReasonPublicApiNotFound, "is not replaced yet"},
	} {
		t.Run(name, func(t *testing.T) {
			old := issued(t, namespace, name).Spec.Credential.ID
			manageOther(t, namespace, name, old, func(o *v1alpha1.ApiToken) {
				setActive(o, metav1.ConditionTrue, v1alpha1.ReasonIssued, "Works until then.")
				o.Status.Conditions = append(o.Status.Conditions, metav1.Condition{
					Type: v1alpha1.ConditionStalled, Status: metav1.ConditionTrue, Reason: c.reason,
					Message: "this is why", ObservedGeneration: o.Generation, LastTransitionTime: metav1.Now(),
				})
				if c.isForGood {
					o.Status.RefusedCredentialID = o.Spec.Credential.ID
				}
			})
			r := latchkey(t, kubeconfig, "rotate", name, "-n", namespace, "--wait", "30s").mustFail(t, "was minted and handed over, but does not work", c.reason+": this is why")
			r.mustPrintToken(t, "lk")
			if !strings.Contains(r.stderr, "The previous token, id "+old+", "+c.want) {
				t.Errorf("stderr = %s", r.stderr)
			}
		})
	}
}

// A successor must be later, in seconds: one that is asked for within the same
// second is dated a second ahead.
func TestRotateWithinASecond(t *testing.T) {
	t.Parallel()
	_, namespace, _ := tenantAdmin(t)
	object := issued(t, namespace, "ci")
	issuedAt := object.Spec.Credential.IssuedAt.Time
	latchkey(t, at(t, issuedAt), "rotate", "ci", "-n", namespace, "--wait", "0").mustSucceed(t)
	if got := getToken(t, namespace, "ci").Spec.Credential.IssuedAt; !got.Time.Equal(issuedAt.Add(time.Second)) {
		t.Errorf("issued at %s, want a second after %s", got, issuedAt)
	}
	latchkey(t, at(t, issuedAt.Add(-time.Hour)), "rotate", "ci", "-n", namespace, "--wait", "0").mustFail(t, "ahead of the API server's clock", `ApiToken "ci"`)
}

func TestRotateRefuses(t *testing.T) {
	t.Parallel()
	_, namespace, kubeconfig := tenantAdmin(t)
	applyToken(t, namespace, "awaiting")
	issued(t, namespace, "revoked", func(o *v1alpha1.ApiToken) { o.Spec.Revoked = true })
	issued(t, namespace, "over", func(o *v1alpha1.ApiToken) { o.Spec.ExpiresAt = new(metav1.NewTime(time.Now().Add(-time.Hour))) })
	issued(t, namespace, "plain")
	within(t, namespace, "overlapping")
	within(t, namespace, "busy", usedLately)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"absent"}, "does not exist"},
		{[]string{"awaiting"}, "run 'kubectl latchkey issue awaiting -n " + namespace + "'"},
		{[]string{"revoked"}, "it is revoked, for good"},
		{[]string{"over"}, "would have expired already"},
		{[]string{"plain", "--drop-previous"}, "no previous token of it works"},
		{[]string{"overlapping"}, "stops with this rotation: at most two live at a time. If you mean it, pass --yes"},
		{[]string{"busy", "--drop-previous"}, "was used since the rotation"},
	} {
		name := c.args[0]
		r := latchkey(t, kubeconfig, append([]string{"rotate", "-n", namespace, "--wait", "0"}, c.args...)...).mustFail(t, c.want, `ApiToken "`+name+`"`)
		if r.stdout != "" {
			t.Errorf("%v printed %q", c.args, r.stdout)
		}
	}
	for _, name := range []string{"overlapping", "busy"} {
		if o := getToken(t, namespace, name); o.Spec.Rotation != nil || o.Generation != 1 {
			t.Errorf("%s was changed: %s", name, asJSON(t, o.Spec))
		}
	}
}

func TestDropPrevious(t *testing.T) {
	t.Parallel()
	_, namespace, kubeconfig := tenantAdmin(t)
	idle, busy := within(t, namespace, "idle"), within(t, namespace, "busy", usedLately)
	latchkey(t, kubeconfig, "rotate", "idle", "-n", namespace, "--drop-previous").mustSucceed(t)
	latchkey(t, kubeconfig, "rotate", "busy", "-n", namespace, "--drop-previous", "--yes").mustSucceed(t)
	for _, before := range []*v1alpha1.ApiToken{idle, busy} {
		after := getToken(t, namespace, before.Name)
		if after.Spec.Rotation == nil || after.Spec.Rotation.DropPrevious != before.Status.PreviousCredential.ID || after.Spec.Credential.ID != before.Spec.Credential.ID {
			t.Errorf("%s: spec = %s", before.Name, asJSON(t, after.Spec))
		}
	}
}

func TestRotateMany(t *testing.T) {
	t.Parallel()
	tenant, namespace, kubeconfig := tenantAdmin(t)
	owned := func(o *v1alpha1.ApiToken) { o.Spec.Owner = "ann"; o.Labels = map[string]string{"team": "ci"} }
	first, second := issued(t, namespace, "first", owned), issued(t, namespace, "second", owned)
	other := issued(t, namespace, "other")
	applyToken(t, namespace, "awaiting", owned)
	dir := filepath.Join(t.TempDir(), "new")
	selected := []string{"rotate", "--field-selector", "spec.owner=ann", "-l", "team=ci", "-n", namespace}

	r := latchkey(t, kubeconfig, append(selected, "--dry-run", "client")...).mustSucceed(t)
	if want := "apitoken.latchkey.dev/first would be rotated (dry run)\napitoken.latchkey.dev/second would be rotated (dry run)\n"; r.stdout != want {
		t.Errorf("printed %q", r.stdout)
	}
	if !strings.Contains(r.stderr, `ApiToken "awaiting" in namespace "`+namespace+`" is left out`) {
		t.Errorf("stderr = %s", r.stderr)
	}
	if got := getToken(t, namespace, "first"); got.ResourceVersion != first.ResourceVersion {
		t.Error("a dry run changed it")
	}

	r = latchkey(t, kubeconfig, append(selected, "--yes", "--wait", "0", "--output-dir", dir)...).mustSucceed(t)
	for _, before := range []*v1alpha1.ApiToken{first, second} {
		file := filepath.Join(dir, before.Name+".token")
		plaintext := strings.TrimSpace(readFile(t, file))
		after := getToken(t, namespace, before.Name)
		mustMatch(t, after, tenant, plaintext)
		if after.Spec.Credential.ID == before.Spec.Credential.ID {
			t.Errorf("%s was not rotated", before.Name)
		}
		if strings.Contains(r.stdout+r.stderr, plaintext) || !strings.Contains(r.stdout, before.Name+" rotated, its token is in "+file) {
			t.Errorf("printed %s\n%s", r.stdout, r.stderr)
		}
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", file, info.Mode(), err)
		}
	}
	if got := getToken(t, namespace, "other"); got.ResourceVersion != other.ResourceVersion {
		t.Error("one that was not selected was changed")
	}

	// The files exist: none is overwritten, and nothing is rotated.
	again := getToken(t, namespace, "first")
	latchkey(t, kubeconfig, append(selected, "--yes", "--wait", "0", "--output-dir", dir)...).mustFail(t, "2 of 2 ApiTokens were not rotated", "none is overwritten")
	if got := getToken(t, namespace, "first"); got.ResourceVersion != again.ResourceVersion {
		t.Error("it was rotated though its token had no place")
	}
}

func TestSelectionUsage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"rotate"}, "NAME of an ApiToken is missing"},
		{[]string{"rotate", "a", "b"}, "one NAME is expected, not 2"},
		{[]string{"rotate", "a", "--all"}, "name ApiTokens or select them, not both"},
		{[]string{"rotate", "--all", "-l", "a=b"}, "leave it out to select some"},
		{[]string{"rotate", "--all", "--yes"}, "name a folder for them with --output-dir"},
		{[]string{"rotate", "--all", "--output-dir", "x"}, "pass --yes"},
		{[]string{"rotate", "--all", "--yes", "-o", "json"}, "use --output-dir"},
		{[]string{"rotate", "a", "--output-dir", "x"}, "use --output-file for one"},
		{[]string{"rotate", "a", "--drop-previous", "--overlap", "1h"}, "--drop-previous mints nothing"},
		{[]string{"rotate", "a", "--dry-run", "server"}, "must be none or client"},
		{[]string{"rotate", mint(t)}, "treat that token as leaked"},
		{[]string{"revoke", "-l", "=", "--yes"}, "--selector"},
		{[]string{"revoke", "--field-selector", "x", "--yes"}, "--field-selector"},
		{[]string{"revoke", "--all"}, "pass --yes"},
	} {
		latchkey(t, "/nonexistent", c.args...).mustFail(t, c.want, "See 'kubectl latchkey "+c.args[0]+" --help'")
	}
}

func TestRevokeMany(t *testing.T) {
	t.Parallel()
	_, namespace, kubeconfig := tenantAdmin(t)
	for _, name := range []string{"one", "two"} {
		issued(t, namespace, name, func(o *v1alpha1.ApiToken) { o.Spec.Owner = "gone" })
	}
	issued(t, namespace, "staying")
	args := []string{"revoke", "--field-selector", "spec.owner=gone", "-n", namespace}
	latchkey(t, kubeconfig, append(args, "--dry-run", "client")...).mustSucceed(t)
	if getToken(t, namespace, "one").Spec.Revoked {
		t.Error("a dry run revoked")
	}
	r := latchkey(t, kubeconfig, append(args, "--yes")...).mustSucceed(t)
	if want := "apitoken.latchkey.dev/one revoked\napitoken.latchkey.dev/two revoked\n"; r.stdout != want {
		t.Errorf("printed %q", r.stdout)
	}
	for name, want := range map[string]bool{"one": true, "two": true, "staying": false} {
		object := getToken(t, namespace, name)
		if object.Spec.Revoked != want || (object.Annotations[v1alpha1.AnnotationRevokedBy] == "jo@example.com") != want {
			t.Errorf("%s: revoked %v, annotations %v", name, object.Spec.Revoked, object.Annotations)
		}
	}
	latchkey(t, kubeconfig, "revoke", "--field-selector", "spec.owner=nobody", "-n", namespace, "--yes").mustFail(t, "no ApiTokens in namespace", "are selected")
	latchkey(t, kubeconfig, "revoke", "--field-selector", "spec.scopes=a", "-n", namespace, "--yes").mustFail(t, "field label not supported")
}

func TestClaims(t *testing.T) {
	t.Parallel()
	_, namespace, kubeconfig := tenantAdmin(t)
	latchkey(t, kubeconfig, "create", "made", "-n", namespace, "--wait", "0").mustSucceed(t)
	applyToken(t, namespace, "applied")
	latchkey(t, kubeconfig, "issue", "applied", "-n", namespace, "--wait", "0").mustSucceed(t)
	for name, want := range map[string][]string{
		"made":    {"jo@example.com", "jo@example.com"},
		"applied": {"", "jo@example.com"},
	} {
		annotations := getToken(t, namespace, name).Annotations
		if got := []string{annotations[v1alpha1.AnnotationCreatedBy], annotations[v1alpha1.AnnotationIssuedBy]}; got[0] != want[0] || got[1] != want[1] {
			t.Errorf("%s: created and issued by %q, want %q", name, got, want)
		}
	}
}
