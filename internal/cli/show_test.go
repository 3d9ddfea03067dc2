package cli_test

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

func TestShow(t *testing.T) {
	t.Parallel()
	_, namespace := newTenant(t)
	viewer := member(t, "vi@example.com", namespace, v1alpha1.TenantViewerClusterRole)
	applyToken(t, namespace, "awaiting")
	issued(t, namespace, "unrecorded", func(o *v1alpha1.ApiToken) {
		o.Spec.Owner, o.Spec.Scopes, o.Spec.AllowedCIDRs = "jo", []string{"a", "b"}, []string{"192.0.2.0/24"}
		o.Annotations = map[string]string{v1alpha1.AnnotationCreatedBy: "ann", v1alpha1.AnnotationIssuedBy: "e\x1b[31m"}
	})
	idle := within(t, namespace, "idle", func(o *v1alpha1.ApiToken) {
		o.Status.Credential.LastUsedAt = new(metav1.NewTime(o.Spec.Credential.IssuedAt.Add(time.Minute)))
	})
	within(t, namespace, "busy", usedLately)
	within(t, namespace, "moved", func(o *v1alpha1.ApiToken) {
		setUse(o, 23*time.Hour)
	})
	issuedAt := idle.Spec.Credential.IssuedAt.UTC().Format(time.RFC3339)
	for name, wants := range map[string][]string{
		"awaiting":   {"Current token: none", "Owner: none", "Addresses: from anywhere"},
		"unrecorded": {"Owner: jo", "Scopes: a, b", "Addresses: 192.0.2.0/24", "29 days left", "Last used: unknown: uses are not recorded", "Created by: ann (claimed)", "Issued by: e\uFFFD[31m (claimed)", "Active: True (Issued)"},
		"idle":       {"Current token: id " + idle.Spec.Credential.ID, "Issued: " + issuedAt, "Previous token: id " + idle.Status.PreviousCredential.ID, "Last used: never used since ", "it is safe to drop"},
		"busy":       {"Since the rotation: used since the rotation, last ", " ago: do not drop it yet"},
		"moved":      {"used since the rotation, last 23h ago: it is safe to drop"},
	} {
		r := latchkey(t, viewer, "show", name, "-n", namespace).mustSucceed(t)
		lines := strings.Join(strings.Fields(r.stdout), " ")
		for _, want := range wants {
			if !strings.Contains(lines, want) {
				t.Errorf("%s lacks %q:\n%s", name, want, r.stdout)
			}
		}
		if strings.Contains(r.stdout, "sha256") {
			t.Errorf("%s shows a digest", name)
		}
	}
	latchkey(t, viewer, "show", "absent", "-n", namespace).mustFail(t, "does not exist")
}

// setUse has the previous token used so long ago, after a rotation a day before that.
func setUse(o *v1alpha1.ApiToken, ago time.Duration) {
	used := time.Now().Add(-ago)
	o.Status.Credential.IssuedAt = new(metav1.NewTime(used.Add(-24 * time.Hour)))
	o.Status.PreviousCredential.LastUsedAt = new(metav1.NewTime(used))
}
