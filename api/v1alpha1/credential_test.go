package v1alpha1_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

const (
	notRemoved = "credential can't be removed: delete the ApiToken, or set revoked"
	notForward = "credential only moves forward: a replacement needs another id, another digest and a later issuedAt than the present one"

	noon       = "2026-06-01T12:00:00Z"
	beforeNoon = "2026-06-01T11:59:59Z"
	afterNoon  = "2026-06-01T12:00:01Z"
)

// credential is the YAML of a credential whose id and digest are a letter repeated.
func credential(letter, issuedAt string) string {
	return fmt.Sprintf("credential: {id: %q, digest: %q, issuedAt: %q}",
		strings.Repeat(letter, 10), "sha256:"+strings.Repeat(letter, 64), issuedAt)
}

func TestCredentialOnlyMovesForward(t *testing.T) {
	a := credential("a", noon)
	with := func(id, digest, issuedAt string) string {
		return fmt.Sprintf("credential: {id: %q, digest: %q, issuedAt: %q}",
			strings.Repeat(id, 10), "sha256:"+strings.Repeat(digest, 64), issuedAt)
	}
	checkTransitions(t, apiTokens, []transition{
		{"first", `description: a`, a, accepted},
		{"first where there was no spec", ``, a, accepted},
		{"kept", a, a + "\ndescription: changed", accepted},
		{"later", a, credential("b", afterNoon), accepted},
		{"much later", a, credential("b", "2999-12-31T23:59:59Z"), accepted},
		{"later beside other changes", "lifetime: 1h\n" + a, "lifetime: 2h\n" + credential("b", afterNoon), accepted},
		{"later while revoked", "revoked: true\n" + a, "revoked: true\n" + credential("b", afterNoon), accepted},
		{"removed", a, `description: a`, notRemoved},
		{"removed with the whole spec emptied", a, `{}`, notRemoved},
		{"removed with the whole spec", a, ``, notRemoved},
		{"removed while revoking", a, `revoked: true`, notRemoved},
		{"same instant, other id", a, with("b", "a", noon), notForward},
		{"same instant, other digest", a, with("a", "b", noon), notForward},
		{"same instant, both other", a, credential("b", noon), notForward},
		{"earlier", a, credential("b", beforeNoon), notForward},
		{"earlier, the same otherwise", a, credential("a", beforeNoon), notForward},
		{"much earlier", a, credential("b", "2000-01-01T00:00:00Z"), notForward},
		{"earlier while revoking", a, "revoked: true\n" + credential("b", beforeNoon), notForward},
	})
}

// The tool that applied the first credential applies it again after a rotation:
// the old one, perhaps leaked, must not come back.
func TestRotatedCredentialDoesNotComeBack(t *testing.T) {
	s := newSubject(t, apiTokens, "subject")
	old := "description: nightly report\n" + credential("a", noon)
	s.mustApply(t, old)
	rotation := mergePatch(t, "", credential("b", afterNoon))
	expect(t, s.patch(t, types.MergePatchType, `{"spec":`+rotation+`}`), accepted)
	expect(t, s.apply(t, old), notForward)
	if got := s.get(t).(*v1alpha1.ApiToken).Spec.Credential.ID; got != "bbbbbbbbbb" {
		t.Errorf("the present credential is %s", got)
	}
}

// A part of one credential never mixes with a part of another.
func TestCredentialChangesAsAWhole(t *testing.T) {
	s := newSubject(t, apiTokens, "subject")
	s.mustApply(t, credential("a", noon))
	for _, owner := range []string{"gitops", v1alpha1.FieldOwnerPlugin} {
		expect(t, s.applyAs(t, owner, `credential: {issuedAt: "`+afterNoon+`"}`), "spec.credential.id: "+required)
		expect(t, s.applyAs(t, owner, `credential: {id: bbbbbbbbbb, issuedAt: "`+afterNoon+`"}`), "spec.credential.digest: "+required)
	}
	expect(t, s.patch(t, types.MergePatchType, `{"spec":{"credential":null}}`), notRemoved)
	expect(t, s.patch(t, types.JSONPatchType, `[{"op":"replace","path":"/spec/credential","value":null}]`), notRemoved)
	expect(t, s.patch(t, types.JSONPatchType, `[{"op":"remove","path":"/spec/credential"}]`), notRemoved)
	expect(t, s.patch(t, types.JSONPatchType, `[{"op":"replace","path":"/spec/credential","value":{}}]`), required)
	expect(t, s.patch(t, types.JSONPatchType, `[{"op":"remove","path":"/spec/credential/digest"}]`), "spec.credential.digest: "+required)
	expect(t, s.patch(t, types.JSONPatchType, `[{"op":"replace","path":"/spec/credential/id","value":"bbbbbbbbbb"}]`), notForward)
}

// A GitOps tool whose manifest has no credential, as the guides say, neither owns
// nor removes the one that the plugin wrote.
func TestApplyWithoutCredentialKeepsIt(t *testing.T) {
	s := newSubject(t, apiTokens, "subject")
	s.mustApply(t, `description: first`)
	expect(t, s.patch(t, types.MergePatchType, `{"spec":`+mergePatch(t, "", credential("a", noon))+`}`), accepted)
	s.mustApply(t, `description: second`)
	spec := s.get(t).(*v1alpha1.ApiToken).Spec
	if spec.Description != "second" || spec.Credential == nil {
		t.Errorf("spec = %+v, want the credential beside the new description", spec)
	}
}

// The same with the client-side apply and the replace of kubectl itself.
func TestCredentialWithKubectl(t *testing.T) {
	kubectl := newKubectl(t)
	s := newSubject(t, apiTokens, "subject")
	run := func(manifest, advice string, args ...string) {
		t.Helper()
		out, err := kubectl(manifest, args...)
		switch {
		case advice == accepted && err != nil:
			t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
		case advice != accepted && (err == nil || !strings.Contains(out, advice)):
			t.Fatalf("kubectl %s: %v\n%s\nwithout the advice:\n%s", strings.Join(args, " "), err, out, advice)
		}
	}
	bare, old, rotated := s.manifest(`description: a`), s.manifest(credential("a", noon)), s.manifest(credential("b", afterNoon))
	run(bare, accepted, "apply", "-f", "-")
	run(old, accepted, "apply", "-f", "-")
	run(bare, notRemoved, "apply", "-f", "-")
	run(bare, notRemoved, "replace", "-f", "-")
	run(bare, accepted, "apply", "-f", "-", "--server-side", "--force-conflicts") // keeps what it does not own
	run(rotated, accepted, "apply", "-f", "-")
	run(old, notForward, "apply", "-f", "-")
	run(old, notForward, "replace", "-f", "-")
	run(old, notForward, "apply", "-f", "-", "--server-side", "--force-conflicts")
	if got := s.get(t).(*v1alpha1.ApiToken).Spec.Credential.ID; got != "bbbbbbbbbb" {
		t.Errorf("the present credential is %s", got)
	}
}

// newKubectl returns a function that runs kubectl with a manifest as its input.
func newKubectl(t testing.TB) func(manifest string, args ...string) (string, error) {
	t.Helper()
	dir := t.TempDir()
	kubeconfig := filepath.Join(dir, "kubeconfig")
	if err := env().WriteKubeconfig(kubeconfig); err != nil {
		t.Fatal(err)
	}
	return func(manifest string, args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), filepath.Join(env().Binaries, "kubectl"), args...)
		cmd.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig, "KUBECACHEDIR="+dir)
		cmd.Stdin = bytes.NewBufferString(manifest)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
}
