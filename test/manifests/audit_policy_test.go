package manifests

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/testing/check"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

var must = check.Must

// deleteAfter removes what other tests must not meet.
func deleteAfter(t *testing.T, object client.Object) {
	ctx := context.WithoutCancel(t.Context())
	t.Cleanup(func() {
		if err := env().Client.Delete(ctx, object); err != nil {
			t.Error(err)
		}
	})
}

const auditNamespace = "tenant-audit-policy"

// auditPolicy installs the component until the test ends, and waits until it is
// in force.
func auditPolicy(t *testing.T) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "policy.yaml")
	objects := build(t, "components/audit-policy")
	if err := os.WriteFile(file, render(t, "components/audit-policy"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := env().ApplyFile(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	for _, object := range objects {
		deleteAfter(t, object)
	}
	ensure(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: auditNamespace}})
	testenv.Eventually(t, func() error {
		err := env().Client.Create(t.Context(), apiToken("probe", annotations("nobody")), client.DryRunAll)
		if err == nil {
			return errors.New("the policy is not in force")
		}
		if !strings.Contains(err.Error(), "created-by") {
			return err
		}
		return nil
	})
}

func apiToken(name string, annotations map[string]string) *v1alpha1.ApiToken {
	return &v1alpha1.ApiToken{ObjectMeta: metav1.ObjectMeta{Namespace: auditNamespace, Name: name, Annotations: annotations}}
}

// as is a client of somebody who may write ApiTokens.
func as(t *testing.T, config *rest.Config, subject rbacv1.Subject) client.Client {
	t.Helper()
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: auditNamespace, GenerateName: "audit-"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: v1alpha1.TenantAdminClusterRole},
		Subjects:   []rbacv1.Subject{subject},
	}
	must(t, env().Client.Create(t.Context(), binding))
	deleteAfter(t, binding)
	c, err := client.New(config, client.Options{Scheme: testenv.Scheme})
	must(t, err)
	testenv.Eventually(t, func() error {
		return c.List(t.Context(), &v1alpha1.ApiTokenList{}, client.InNamespace(auditNamespace))
	})
	return c
}

func user(t *testing.T, name string) client.Client {
	t.Helper()
	config, _, err := env().UserConfig(name)
	must(t, err)
	return as(t, config, rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: name})
}

// annotations are created-by, issued-by, revoked-by and created-via, as far as
// given; "" leaves one out.
func annotations(values ...string) map[string]string {
	names := []string{v1alpha1.AnnotationCreatedBy, v1alpha1.AnnotationIssuedBy, v1alpha1.AnnotationRevokedBy, v1alpha1.AnnotationCreatedVia}
	all := map[string]string{}
	for i, value := range values {
		if value != "" {
			all[names[i]] = value
		}
	}
	return all
}

func credentialOf(n int) *v1alpha1.Credential {
	return &v1alpha1.Credential{
		ID: fmt.Sprintf("%010d", n), Digest: fmt.Sprintf("sha256:%064d", n),
		IssuedAt: metav1.NewTime(time.Date(2026, 1, 1, 0, 0, n, 0, time.UTC)),
	}
}

func TestAuditPolicy(t *testing.T) {
	auditPolicy(t)
	jo, portal := user(t, "jo@example.com"), portal(t)
	type token = *v1alpha1.ApiToken
	for i, c := range []struct {
		name string
		// before is how an administrator left it; nil creates it.
		before *v1alpha1.ApiToken
		change func(token)
		want   string
	}{
		{name: "creates and says nothing, as GitOps tools do", change: func(token) {}},
		{name: "creates and names himself", change: func(o token) { o.Annotations = annotations("jo@example.com") }},
		{name: "creates and names another", change: func(o token) { o.Annotations = annotations("ann") }, want: "created-by"},
		{name: "creates with a credential", change: func(o token) {
			o.Spec.Credential, o.Annotations = credentialOf(1), annotations("jo@example.com", "jo@example.com")
		}},
		{name: "creates with a credential of another's", change: func(o token) { o.Spec.Credential, o.Annotations = credentialOf(1), annotations("", "ann") }, want: "issued-by"},
		{name: "creates as issued without a credential", change: func(o token) { o.Annotations = annotations("", "jo@example.com") }, want: "issued-by"},
		{name: "creates one that signs in", change: func(o token) {
			o.Annotations, o.Spec.Scopes = annotations("jo@example.com", "", "", "settings"), []string{"settings"}
		}},
		{name: "creates one that signs in as another", change: func(o token) {
			o.Annotations, o.Spec.Scopes = annotations("ada@example.com", "", "", "settings"), []string{"settings"}
		}, want: "created-by"},
		{name: "creates as if on the Settings page", change: func(o token) { o.Annotations = annotations("", "", "", "settings") }, want: "created-via"},
		{name: "creates as if by the API", change: func(o token) { o.Annotations = annotations("", "", "", "api") }, want: "created-via"},
		{name: "edits", before: apiToken("", annotations("admin")), change: func(o token) { o.Spec.Description = "changed" }},
		{name: "takes the credit later", before: apiToken("", nil), change: func(o token) { o.Annotations = annotations("jo@example.com") }, want: "created-by"},
		{name: "removes who created it", before: apiToken("", annotations("admin")), change: func(o token) { o.Annotations = nil }, want: "created-by"},
		{name: "issues", before: apiToken("", nil), change: func(o token) { o.Spec.Credential, o.Annotations = credentialOf(1), annotations("", "jo@example.com") }},
		{name: "issues and says nothing", before: apiToken("", nil), change: func(o token) { o.Spec.Credential = credentialOf(1) }},
		{name: "issues in another's name", before: apiToken("", nil), change: func(o token) { o.Spec.Credential, o.Annotations = credentialOf(1), annotations("", "ann") }, want: "issued-by"},
		{name: "rotates", before: with(1, "admin"), change: func(o token) { o.Spec.Credential, o.Annotations = credentialOf(2), annotations("", "jo@example.com") }},
		{name: "rotates and leaves another's name", before: with(1, "admin"), change: func(o token) { o.Spec.Credential = credentialOf(2) }, want: "issued-by"},
		{name: "rotates and says nothing", before: with(1, "admin"), change: func(o token) { o.Spec.Credential, o.Annotations = credentialOf(2), nil }},
		{name: "takes the blame without rotating", before: with(1, "admin"), change: func(o token) { o.Annotations = annotations("", "jo@example.com") }, want: "issued-by"},
		{name: "revokes", before: apiToken("", nil), change: func(o token) { o.Spec.Revoked, o.Annotations = true, annotations("", "", "jo@example.com") }},
		{name: "revokes and says nothing", before: apiToken("", nil), change: func(o token) { o.Spec.Revoked = true }},
		{name: "revokes in another's name", before: apiToken("", nil), change: func(o token) { o.Spec.Revoked, o.Annotations = true, annotations("", "", "ann") }, want: "revoked-by"},
		{name: "is named as the one who revoked", before: apiToken("", nil), change: func(o token) { o.Annotations = annotations("", "", "jo@example.com") }, want: "revoked-by"},
	} {
		t.Run(c.name, func(t *testing.T) {
			object := apiToken(fmt.Sprintf("case-%d", i), nil)
			write := func() error { return jo.Create(t.Context(), object) }
			if c.before != nil {
				before := c.before.DeepCopy()
				before.Name = object.Name
				must(t, portal.Create(t.Context(), before)) // in the name of whomever it likes
				object = before
				write = func() error { return jo.Update(t.Context(), object) }
			}
			c.change(object)
			switch err := write(); {
			case c.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), "annotation latchkey.dev/"+c.want)):
				t.Errorf("error = %v, want one about %s", err, c.want)
			}
		})
	}
}

func with(n int, by string) *v1alpha1.ApiToken {
	object := apiToken("", annotations("", by))
	object.Spec.Credential = credentialOf(n)
	return object
}

// portal names those whom it verified.
func portal(t *testing.T) client.Client {
	t.Helper()
	config, err := env().ServiceAccountConfig(t.Context(), v1alpha1.SystemNamespace, "latchkey-portal", time.Hour)
	must(t, err)
	return as(t, config, rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: v1alpha1.SystemNamespace, Name: "latchkey-portal"})
}

// GitOps tools apply the same YAML again and again, which names no annotation.
func TestAuditPolicyLetsGitOpsToolsApply(t *testing.T) {
	auditPolicy(t)
	flux := user(t, "system:serviceaccount:flux-system:kustomize-controller")
	jo := user(t, "jo@example.com")
	apply := func() error {
		object := apiToken("committed", nil)
		object.SetGroupVersionKind(v1alpha1.SchemeGroupVersion.WithKind("ApiToken"))
		object.Spec.Owner = "team@example.com"
		return flux.Patch(t.Context(), object, client.Apply, client.FieldOwner("flux"), client.ForceOwnership) //nolint:staticcheck // as these tools do
	}
	must(t, apply())
	patch := `{"metadata":{"annotations":{"` + v1alpha1.AnnotationIssuedBy + `":"jo@example.com"}},"spec":{"credential":{"id":"0000000001","digest":"sha256:` +
		strings.Repeat("1", 64) + `","issuedAt":"2026-01-01T00:00:00Z"}}}`
	must(t, jo.Patch(t.Context(), apiToken("committed", nil), client.RawPatch(types.MergePatchType, []byte(patch))))
	must(t, apply())
	object := apiToken("committed", nil)
	must(t, env().Client.Get(t.Context(), client.ObjectKeyFromObject(object), object))
	if object.Annotations[v1alpha1.AnnotationIssuedBy] != "jo@example.com" || object.Spec.Credential == nil {
		t.Errorf("applying again left %v, %v", object.Annotations, object.Spec.Credential)
	}
}
