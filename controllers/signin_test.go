package controllers_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

// An ApiToken that signs its maker in on the Settings page is issued for minutes, to a
// tenant that is full too, and leaves nothing behind.
func TestSignInWithAToken(t *testing.T) {
	clock := startClockedManager(t)
	owner := readyTenant(t, func(a *v1alpha1.PublicApi) { a.Spec.TokenPolicy.MaxPerTenant = 1 })
	signIn := func(lasts time.Duration) v1alpha1.ApiTokenSpec {
		minted, _ := credential(t, owner.Name, clock.Now())
		return v1alpha1.ApiTokenSpec{Scopes: []string{v1alpha1.ScopeSettings}, Lifetime: lifetime(lasts), Credential: minted}
	}
	kept := issued(t, owner, "kept", signIn(10*time.Minute))
	full, _ := credential(t, owner.Name, clock.Now())
	issued(t, owner, "full", v1alpha1.ApiTokenSpec{Credential: full}) // the first does not count
	if stored, _, err := recordOf(t, kept); err != nil || !cmp.Equal(stored.Scopes, kept.Spec.Scopes) {
		t.Errorf("record is %+v, %v", stored, err)
	}

	brief := apiToken(owner, "brief", signIn(time.Minute))
	brief.Annotations = map[string]string{v1alpha1.AnnotationCreatedVia: v1alpha1.ViaSettings}
	create(t, brief)
	waitFor(t, brief, v1alpha1.ConditionActive, isTrue, v1alpha1.ReasonIssued)
	pass(t, clock, time.Minute, brief)
	gone(t, brief)
	testenv.Eventually(t, func() error {
		if _, _, err := recordOf(t, brief); !apierrors.IsNotFound(err) {
			return fmt.Errorf("its record is still there: %w", err)
		}
		return nil
	})

	for name, c := range map[string]struct {
		spec v1alpha1.ApiTokenSpec
		want string
	}{
		"for-long":    {signIn(10*time.Minute + time.Second), "at most 10m0s"},
		"for-default": {v1alpha1.ApiTokenSpec{Scopes: []string{v1alpha1.ScopeSettings}}, "at most 10m0s"},
		"for-more":    {v1alpha1.ApiTokenSpec{Scopes: []string{v1alpha1.ScopeSettings, "orders:read"}, Lifetime: lifetime(time.Minute)}, "leave out orders:read"},
	} {
		c.spec.Credential, _ = credential(t, owner.Name, clock.Now())
		object := create(t, apiToken(owner, name, c.spec))
		if message := waitFor(t, object, v1alpha1.ConditionStalled, isTrue, v1alpha1.ReasonPolicyViolation); !strings.Contains(message, c.want) {
			t.Errorf("%s: message %q does not say %q", name, message, c.want)
		}
	}
}

func TestSignInWithATokenIsDenied(t *testing.T) {
	startManager(t)
	owner := readyTenant(t, func(a *v1alpha1.PublicApi) {
		a.Spec.Settings.TokenSignIn = v1alpha1.TokenSignInDeny
	})
	spec := v1alpha1.ApiTokenSpec{Scopes: []string{v1alpha1.ScopeSettings}, Lifetime: lifetime(time.Minute)}
	spec.Credential, _ = credential(t, owner.Name, time.Now())
	object := create(t, apiToken(owner, "sign-in", spec))
	if message := waitFor(t, object, v1alpha1.ConditionStalled, isTrue, v1alpha1.ReasonPolicyViolation); !strings.Contains(message, "spec.settings.tokenSignIn") {
		t.Errorf("message %q", message)
	}
	if _, _, err := recordOf(t, object); !apierrors.IsNotFound(err) {
		t.Errorf("a record in spite of the policy: %v", err)
	}
}

// A document may name a scope called settings, and no token ever has it: it is not
// offered, and a condition says so.
func TestDocumentWithTheScopeSettings(t *testing.T) {
	startManager(t)
	o := newOrigin(t, strings.ReplaceAll(fmt.Sprintf(shopDocument, "1"), "orders:write", "settings"))
	owner := readyTenant(t, fromPath(o))
	api := &v1alpha1.PublicApi{}
	api.Name = owner.PublicApiName()
	message := waitFor(t, api, v1alpha1.ConditionDocumentCurrent, isTrue, v1alpha1.ReasonDocumentLoaded)
	if !strings.Contains(message, "No token has the scope settings") {
		t.Errorf("the condition says %q", message)
	}
	testenv.Eventually(t, func() error {
		namespace := namespaceOf(owner)
		if err := get(t, namespace); err != nil {
			return err
		}
		listed := namespace.Annotations[v1alpha1.AnnotationScopes]
		if !strings.Contains(listed, "orders:read") || strings.Contains(listed, `"settings"`) {
			return fmt.Errorf("the namespace lists %s", listed)
		}
		return nil
	})
}
