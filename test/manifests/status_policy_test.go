package manifests

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

const statusNamespace = "tenant-status-policy"

// accountClient is a client with the rights that config/rbac gives a ServiceAccount.
func accountClient(t *testing.T, name string) client.Client {
	t.Helper()
	config, err := env().ServiceAccountConfig(t.Context(), v1alpha1.SystemNamespace, name, time.Hour)
	must(t, err)
	c, err := client.New(config, client.Options{Scheme: testenv.Scheme})
	must(t, err)
	return c
}

// withStatus stores an ApiToken, with or without a previous credential.
func withStatus(t *testing.T, name string, hasPrevious bool) *v1alpha1.ApiToken {
	t.Helper()
	object := &v1alpha1.ApiToken{ObjectMeta: metav1.ObjectMeta{Namespace: statusNamespace, Name: name}}
	must(t, env().Client.Create(t.Context(), object))
	deleteAfter(t, object)
	issued := func(n int) *v1alpha1.IssuedCredential {
		c := credentialOf(n)
		return &v1alpha1.IssuedCredential{ID: c.ID, Digest: c.Digest, IssuedAt: &c.IssuedAt,
			ExpiresAt: metav1.NewTime(c.IssuedAt.AddDate(10, 0, 0)), Scopes: []string{"orders:read"}}
	}
	object.Status.Credential = issued(2)
	if hasPrevious {
		object.Status.PreviousCredential = issued(1)
	}
	object.Status.UseRecordedSince = &object.Status.Credential.ExpiresAt
	object.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionActive, Status: metav1.ConditionTrue,
		Reason: v1alpha1.ReasonIssued, LastTransitionTime: metav1.Now()}}
	must(t, env().Client.Status().Update(t.Context(), object))
	return object
}

// What faces the internet can note a use and nothing else; the manager is not affected.
func TestStatusPolicy(t *testing.T) {
	file := filepath.Join(t.TempDir(), "policy.yaml")
	must(t, os.WriteFile(file, render(t, "components/status-policy"), 0o600))
	must(t, env().ApplyFile(t.Context(), file))
	for _, object := range build(t, "components/status-policy") {
		deleteAfter(t, object)
	}
	ensure(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: statusNamespace}})
	patch := func(c client.Client, object *v1alpha1.ApiToken, status string) error {
		return c.Status().Patch(t.Context(), object.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(`{"status":`+status+`}`)))
	}
	manager := accountClient(t, "latchkey-manager")
	probe, prober := withStatus(t, "probe", false), accountClient(t, "latchkey-apiserver")
	generation := 0
	testenv.Eventually(t, func() error {
		// Another value each time: once stored, the same one is no change, which the policy allows.
		generation++
		err := patch(prober, probe, fmt.Sprintf(`{"observedGeneration":%d}`, generation))
		if err == nil {
			return errors.New("the policy is not in force")
		}
		if !strings.Contains(err.Error(), "this account may change") {
			return err
		}
		return nil
	})
	const used, later = `{"lastUsedAt":"2026-02-01T00:00:00Z"}`, `{"lastUsedAt":"2026-02-02T00:00:00Z"}`
	forged := fmt.Sprintf(`{"id":"0000000009","digest":"sha256:%064d","expiresAt":"2099-01-01T00:00:00Z"}`, 9)
	for _, account := range []string{"latchkey-apiserver", "latchkey-portal"} {
		c := accountClient(t, account)
		for i, use := range []string{
			`{"credential":` + used + `}`, `{"credential":` + later + `}`, `{"previousCredential":` + used + `}`,
			`{"credential":` + later + `,"previousCredential":` + later + `}`, `{}`,
		} {
			t.Run(fmt.Sprint(account, " notes ", use), func(t *testing.T) {
				object := withStatus(t, fmt.Sprintf("uses-%d", i), true)
				must(t, patch(c, object, `{"credential":`+used+`}`))
				must(t, patch(c, object, use))
			})
		}
		for i, change := range []string{
			`{"credential":` + forged + `}`, `{"previousCredential":` + forged + `}`, `{"credential":null}`, `{"previousCredential":null}`,
			`{"credential":{"id":"0000000009"}}`, `{"credential":{"scopes":["orders:write"]}}`, `{"credential":{"scopes":null}}`,
			fmt.Sprintf(`{"credential":{"digest":"sha256:%064d"}}`, 9), fmt.Sprintf(`{"previousCredential":{"digest":"sha256:%064d"}}`, 9),
			`{"credential":{"expiresAt":"2099-01-01T00:00:00Z"}}`, `{"previousCredential":{"expiresAt":"2099-01-01T00:00:00Z"}}`,
			`{"credential":{"issuedAt":"2025-01-01T00:00:00Z"}}`, `{"credential":{"lastUsedAt":null}}`,
			`{"credential":{"lastUsedAt":"2026-02-02T00:00:00Z","expiresAt":"2099-01-01T00:00:00Z"}}`,
			`{"conditions":[]}`, `{"conditions":null}`, `{"observedGeneration":7}`, `{"revokedAt":"2026-02-01T00:00:00Z"}`,
			`{"useRecordedSince":"2025-01-01T00:00:00Z"}`, `{"refusedCredentialID":"0000000001"}`, `{"notice":{"credentialID":"0000000002","days":7}}`,
		} {
			t.Run(fmt.Sprint(account, " tries ", change), func(t *testing.T) {
				object := withStatus(t, fmt.Sprintf("changes-%d", i), true)
				must(t, patch(c, object, `{"credential":`+used+`}`))
				err := patch(c, object, change)
				if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "this account may change") {
					t.Errorf("error = %v, want one of the policy", err)
				}
				must(t, patch(manager, object, change))
			})
		}
		t.Run(account+" has a credential of its own issued", func(t *testing.T) {
			object := withStatus(t, "plain", false)
			if err := patch(c, object, `{"previousCredential":`+forged+`}`); !apierrors.IsForbidden(err) {
				t.Errorf("error = %v, want one of the policy", err)
			}
			bare := &v1alpha1.ApiToken{ObjectMeta: metav1.ObjectMeta{Namespace: statusNamespace, Name: "bare"}}
			must(t, env().Client.Create(t.Context(), bare))
			deleteAfter(t, bare)
			if err := patch(c, bare, `{"credential":`+forged+`}`); !apierrors.IsForbidden(err) {
				t.Errorf("error = %v, want one of the policy", err)
			}
		})
	}
}
