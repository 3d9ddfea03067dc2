package cli_test

import (
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

func TestRevokeAsMember(t *testing.T) {
	t.Parallel()
	_, namespace, kubeconfig := tenantAdmin(t)
	before := applyToken(t, namespace, "ci", func(o *v1alpha1.ApiToken) { o.Spec.Description = "kept"; o.Spec.Credential = credential(t) })
	for _, want := range []string{"apitoken.latchkey.dev/ci revoked\n", "apitoken.latchkey.dev/ci was revoked already\n"} {
		if r := latchkey(t, kubeconfig, "revoke", "ci", "-n", namespace, "--yes").mustSucceed(t); r.stdout != want {
			t.Errorf("stdout = %q, want %q", r.stdout, want)
		}
	}
	want := before.Spec.DeepCopy()
	want.Revoked = true
	if got := getToken(t, namespace, "ci").Spec; asJSON(t, got) != asJSON(t, want) {
		t.Errorf("spec = %s, want %s", asJSON(t, got), asJSON(t, want))
	}
}

func TestRevokeGoesOnAfterAFailure(t *testing.T) {
	t.Parallel()
	_, namespace, kubeconfig := tenantAdmin(t)
	applyToken(t, namespace, "first")
	applyToken(t, namespace, "last")
	r := latchkey(t, kubeconfig, "revoke", "absent", "first", "missing", "last", "-n", namespace, "-y").mustFail(t,
		"2 of 4 ApiTokens were not revoked", `ApiToken "absent"`, `ApiToken "missing"`, "kubectl latchkey list -n "+namespace)
	if strings.Contains(r.err.Error(), `"first"`) {
		t.Errorf("the error names one that was revoked: %v", r.err)
	}
	for _, name := range []string{"first", "last"} {
		if !getToken(t, namespace, name).Spec.Revoked {
			t.Errorf("%s was not revoked", name)
		}
	}
}

func TestRevokeAsViewerIsRefused(t *testing.T) {
	t.Parallel()
	_, namespace := newTenant(t)
	viewer := member(t, "vi@example.com", namespace, v1alpha1.TenantViewerClusterRole)
	applyToken(t, namespace, "ci")
	latchkey(t, viewer, "revoke", "ci", "-n", namespace, "--yes").mustFail(t, "you may not patch apitokens", "role Admin")
}

func TestRevokeUsage(t *testing.T) {
	t.Parallel()
	_, namespace, kubeconfig := tenantAdmin(t)
	applyToken(t, namespace, "ci")
	plaintext := mint(t)
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "NAME of an ApiToken is missing"},
		{[]string{"ci"}, "pass --yes"},
		{[]string{"ci", "Bad Name", "--yes"}, `NAME "Bad Name": must be`},
		{[]string{"ci", plaintext, "--yes"}, "treat that token as leaked"},
	} {
		r := latchkeyWithInput(t, "ci\n", kubeconfig, append([]string{"revoke", "-n", namespace}, c.args...)...)
		r.mustFail(t, c.want, "See 'kubectl latchkey revoke --help'")
		if strings.Contains(r.err.Error(), plaintext) {
			t.Error("repeats the token")
		}
	}
	if getToken(t, namespace, "ci").Spec.Revoked {
		t.Error("was revoked all the same")
	}
}
