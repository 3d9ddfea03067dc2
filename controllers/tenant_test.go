package controllers_test

import (
	"context"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/controllers"
	"github.com/latchkey-dev/latchkey/internal/record"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

func ingressOf(owner *v1alpha1.Tenant) *networkingv1.Ingress {
	return &networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: "tenant-" + owner.Name}}
}

func namespaceOf(owner *v1alpha1.Tenant) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: owner.NamespaceName()}}
}

func TestTenantIsProvisioned(t *testing.T) {
	startManager(t)
	owner := readyTenant(t, func(a *v1alpha1.PublicApi) { a.Spec.BasePath = "/v2/api" })
	if owner.Status.Host != owner.Name+".example.com" || owner.Status.Namespace != "tenant-"+owner.Name {
		t.Errorf("status is %+v", owner.Status)
	}

	namespace := namespaceOf(owner)
	if err := get(t, namespace); err != nil {
		t.Fatal(err)
	}
	if namespace.Labels["pod-security.kubernetes.io/enforce"] != "restricted" {
		t.Errorf("namespace labels are %v", namespace.Labels)
	}
	want := map[string]string{
		v1alpha1.AnnotationTenant: owner.Name, v1alpha1.AnnotationHost: owner.Status.Host, v1alpha1.AnnotationTokenPrefix: "lk",
		v1alpha1.AnnotationOrigin:   "https://" + owner.Status.Host,
		v1alpha1.AnnotationBasePath: "/v2/api", v1alpha1.AnnotationMaxLifetime: "8760h0m0s", v1alpha1.AnnotationDefaultLifetime: "2160h0m0s",
		v1alpha1.AnnotationMaxOverlap: "168h0m0s", v1alpha1.AnnotationSettingsPath: "/settings",
		v1alpha1.AnnotationScopes: `[{"name":"tokens:read","description":"See the tenant's API tokens."},` +
			`{"name":"tokens:write","description":"Create, change, rotate and revoke the tenant's API tokens."},{"name":"orders:read"},{"name":"orders:write"}]`,
	}
	if diff := cmp.Diff(want, namespace.Annotations); diff != "" {
		t.Errorf("namespace annotations:\n%s", diff)
	}

	ingress := ingressOf(owner)
	if err := get(t, ingress); err != nil {
		t.Fatal(err)
	}
	wantSpec := networkingv1.IngressSpec{
		IngressClassName: new("nginx"),
		TLS:              []networkingv1.IngressTLS{{Hosts: []string{owner.Status.Host}, SecretName: "wildcard"}},
		Rules:            []networkingv1.IngressRule{ingressRule(owner.Status.Host, "/v2/api")},
	}
	if diff := cmp.Diff(wantSpec, ingress.Spec); diff != "" {
		t.Errorf("ingress:\n%s", diff)
	}
	if len(ingress.Annotations) != 0 {
		t.Errorf("ingress annotations are %v, want none", ingress.Annotations)
	}
}

// What somebody changed or deleted is put right.
func TestTenantDriftIsPutRight(t *testing.T) {
	startManager(t)
	owner := readyTenant(t)
	change(t, namespaceOf(owner), func(n *corev1.Namespace) {
		n.Labels["pod-security.kubernetes.io/enforce"] = "privileged"
		n.Annotations[v1alpha1.AnnotationTenant] = "other"
	})
	if err := env().Client.Delete(t.Context(), ingressOf(owner)); err != nil {
		t.Fatal(err)
	}
	namespace := namespaceOf(owner)
	testenv.Eventually(t, func() error {
		if err := get(t, namespace); err != nil {
			return err
		}
		if namespace.Labels["pod-security.kubernetes.io/enforce"] != "restricted" || namespace.Annotations[v1alpha1.AnnotationTenant] != owner.Name {
			return &drift{namespace}
		}
		return get(t, ingressOf(owner))
	})
}

type drift struct{ object client.Object }

func (d *drift) Error() string { return "still changed: " + d.object.GetName() }

func TestTenantDeletionTakesAllWithIt(t *testing.T) {
	startManager(t)
	owner := readyTenant(t)
	object := issued(t, owner, "ci", v1alpha1.ApiTokenSpec{})
	if err := env().Client.Delete(t.Context(), owner); err != nil {
		t.Fatal(err)
	}
	gone(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.RecordsNamespace, Name: record.Name(object.UID)}})
	gone(t, ingressOf(owner))
	gone(t, namespaceOf(owner))
}

func TestTenantMembers(t *testing.T) {
	startManager(t)
	api := publicApi(t)
	owner := create(t, &v1alpha1.Tenant{ObjectMeta: metav1.ObjectMeta{Name: name(t)}, Spec: v1alpha1.TenantSpec{
		PublicApi: api.Name,
		Members: []v1alpha1.Member{
			{Kind: v1alpha1.MemberUser, Name: "ann"},
			{Kind: v1alpha1.MemberGroup, Name: "support", Role: v1alpha1.MemberViewer},
		},
	}})
	waitFor(t, owner, v1alpha1.ConditionReady, isTrue, v1alpha1.ReasonProvisioned)
	ann := authorizationv1.SubjectAccessReviewSpec{User: "ann"}
	support := authorizationv1.SubjectAccessReviewSpec{User: "bob", Groups: []string{"support"}}
	for _, c := range []struct {
		who           authorizationv1.SubjectAccessReviewSpec
		verb, what    string
		sub           string
		here, outside bool
	}{
		{ann, "create", "apitokens", "", true, false},
		{ann, "patch", "apitokens", "", true, false},
		{ann, "delete", "apitokens", "", true, false},
		{ann, "patch", "apitokens", "status", false, false},
		{ann, "update", "apitokens", "status", false, false},
		{ann, "get", "namespaces", "", true, false},
		{ann, "list", "namespaces", "", false, false},
		{ann, "get", "secrets", "", false, false},
		{support, "list", "apitokens", "", true, false},
		{support, "create", "apitokens", "", false, false},
	} {
		if got := allowed(t, c.who, owner.NamespaceName(), c.verb, c.what, c.sub); got != c.here {
			t.Errorf("%s may %s %s/%s in the tenant's namespace: %t", c.who.User, c.verb, c.what, c.sub, got)
		}
		if got := allowed(t, c.who, "default", c.verb, c.what, c.sub); got != c.outside {
			t.Errorf("%s may %s %s/%s elsewhere: %t", c.who.User, c.verb, c.what, c.sub, got)
		}
	}
	change(t, owner, func(o *v1alpha1.Tenant) { o.Spec.Members = o.Spec.Members[:1] })
	gone(t, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: owner.NamespaceName(), Name: "latchkey-viewers"}})
	if !allowed(t, ann, owner.NamespaceName(), "create", "apitokens", "") {
		t.Error("the member that stayed lost her rights")
	}
}

func allowed(t *testing.T, who authorizationv1.SubjectAccessReviewSpec, namespace, verb, resource, subresource string) bool {
	t.Helper()
	who.ResourceAttributes = &authorizationv1.ResourceAttributes{
		Namespace: namespace, Verb: verb, Resource: resource, Subresource: subresource, Name: namespace,
	}
	if resource == "apitokens" {
		who.ResourceAttributes.Group = v1alpha1.SchemeGroupVersion.Group
	}
	review := &authorizationv1.SubjectAccessReview{Spec: who}
	if err := env().Client.Create(t.Context(), review); err != nil {
		t.Fatal(err)
	}
	return review.Status.Allowed
}

// Capsule CVE-2024-39690, CVE-2025-55205: a namespace is not taken over by name.
func TestForeignNamespaceNeedsPermission(t *testing.T) {
	startManager(t)
	api := publicApi(t)
	namespace := create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name(t) + "-theirs", Labels: map[string]string{"theirs": "yes"}}})
	owner := create(t, &v1alpha1.Tenant{ObjectMeta: metav1.ObjectMeta{Name: name(t)}, Spec: v1alpha1.TenantSpec{
		PublicApi: api.Name, Namespace: namespace.Name, Members: []v1alpha1.Member{{Kind: v1alpha1.MemberUser, Name: "ann"}},
	}})
	message := waitFor(t, owner, v1alpha1.ConditionReady, isFalse, v1alpha1.ReasonNamespaceConflict)
	if want := "kubectl label namespace " + namespace.Name + " latchkey.dev/allow-tenant=" + owner.Name; !strings.Contains(message, want) {
		t.Errorf("message %q does not hold the command %q", message, want)
	}
	waitForEvent(t, owner, v1alpha1.ReasonNamespaceConflict)
	minted, _ := credential(t, owner.Name, time.Now())
	object := create(t, &v1alpha1.ApiToken{ObjectMeta: metav1.ObjectMeta{Namespace: namespace.Name, Name: "ci"}, Spec: v1alpha1.ApiTokenSpec{Credential: minted}})
	waitFor(t, object, v1alpha1.ConditionActive, isFalse, v1alpha1.ReasonNoTenant)
	untouched := namespace.DeepCopy()
	if err := get(t, untouched); err != nil || untouched.ResourceVersion != namespace.ResourceVersion {
		t.Errorf("the namespace was changed: %v\n%s", err, cmp.Diff(namespace, untouched))
	}

	change(t, namespace, func(n *corev1.Namespace) { n.Labels[v1alpha1.LabelAllowTenant] = owner.Name })
	labels := maps.Clone(namespace.Labels)
	waitFor(t, owner, v1alpha1.ConditionReady, isTrue, v1alpha1.ReasonProvisioned)
	waitFor(t, object, v1alpha1.ConditionActive, isTrue, v1alpha1.ReasonIssued)
	if err := get(t, namespace); err != nil || !cmp.Equal(labels, namespace.Labels) || len(namespace.OwnerReferences) != 0 {
		t.Errorf("the namespace was relabelled or is owned: %v %v %v", err, namespace.Labels, namespace.OwnerReferences)
	}

	// Without the permission its tokens stop.
	change(t, namespace, func(n *corev1.Namespace) { delete(n.Labels, v1alpha1.LabelAllowTenant) })
	waitFor(t, owner, v1alpha1.ConditionReady, isFalse, v1alpha1.ReasonNamespaceConflict)
	waitFor(t, object, v1alpha1.ConditionActive, isFalse, v1alpha1.ReasonNoTenant)
	change(t, namespace, func(n *corev1.Namespace) { n.Labels[v1alpha1.LabelAllowTenant] = owner.Name })
	waitFor(t, object, v1alpha1.ConditionActive, isTrue, v1alpha1.ReasonIssued)

	if err := env().Client.Delete(t.Context(), owner); err != nil {
		t.Fatal(err)
	}
	waitFor(t, object, v1alpha1.ConditionActive, isFalse, v1alpha1.ReasonNoTenant)
	gone(t, ingressOf(owner))
	gone(t, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: namespace.Name, Name: "latchkey-admins"}})
	if err := get(t, namespace); err != nil || !namespace.DeletionTimestamp.IsZero() {
		t.Errorf("a namespace that is not ours went with the Tenant: %v", err)
	}
}

// A namespace that another Tenant made is not to be had by naming it.
func TestTenantCantTakeAnothersNamespace(t *testing.T) {
	startManager(t)
	victim := readyTenant(t)
	change(t, namespaceOf(victim), func(n *corev1.Namespace) { n.Labels[v1alpha1.LabelAllowTenant] = name(t) + "-thief" })
	thief := create(t, &v1alpha1.Tenant{ObjectMeta: metav1.ObjectMeta{Name: name(t) + "-thief"}, Spec: v1alpha1.TenantSpec{
		PublicApi: victim.Spec.PublicApi, Namespace: victim.NamespaceName(),
	}})
	waitFor(t, thief, v1alpha1.ConditionReady, isFalse, v1alpha1.ReasonNamespaceConflict)
	waitFor(t, victim, v1alpha1.ConditionReady, isTrue, v1alpha1.ReasonProvisioned)
}

func TestReservedName(t *testing.T) {
	startManager(t)
	api := publicApi(t)
	owner := create(t, &v1alpha1.Tenant{ObjectMeta: metav1.ObjectMeta{Name: "www"}, Spec: v1alpha1.TenantSpec{PublicApi: api.Name}})
	waitFor(t, owner, v1alpha1.ConditionStalled, isTrue, v1alpha1.ReasonNameReserved)
	waitForEvent(t, owner, v1alpha1.ReasonNameReserved)
	if err := get(t, namespaceOf(owner)); client.IgnoreNotFound(err) != nil || err == nil {
		t.Errorf("a namespace for a reserved name: %v", err)
	}
}

func TestTenantWaitsForItsPublicApi(t *testing.T) {
	startManager(t)
	owner := create(t, &v1alpha1.Tenant{ObjectMeta: metav1.ObjectMeta{Name: name(t)}, Spec: v1alpha1.TenantSpec{PublicApi: name(t)}})
	waitFor(t, owner, v1alpha1.ConditionReady, isFalse, v1alpha1.ReasonPublicApiNotFound)
	minted, _ := credential(t, owner.Name, time.Now())
	object := create(t, apiToken(owner, "ci", v1alpha1.ApiTokenSpec{Credential: minted}))
	waitFor(t, object, v1alpha1.ConditionActive, isFalse, v1alpha1.ReasonPublicApiNotFound)
	publicApi(t)
	waitFor(t, owner, v1alpha1.ConditionReady, isTrue, v1alpha1.ReasonProvisioned)
	waitFor(t, object, v1alpha1.ConditionActive, isTrue, v1alpha1.ReasonIssued)
}

func TestForeignIngressIsLeftUntouched(t *testing.T) {
	startManager(t)
	api := publicApi(t)
	owner := &v1alpha1.Tenant{ObjectMeta: metav1.ObjectMeta{Name: name(t)}, Spec: v1alpha1.TenantSpec{PublicApi: api.Name}}
	foreign := ingressOf(owner)
	foreign.Spec.DefaultBackend = &networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{
		Name: "theirs", Port: networkingv1.ServiceBackendPort{Number: 80}}}
	create(t, foreign)
	create(t, owner)
	waitFor(t, owner, v1alpha1.ConditionReady, isFalse, v1alpha1.ReasonIngressConflict)
	after := foreign.DeepCopy()
	if err := get(t, after); err != nil || after.ResourceVersion != foreign.ResourceVersion {
		t.Errorf("the Ingress was changed: %v\n%s", err, cmp.Diff(foreign, after))
	}
}

// What an admission webhook or a quota refuses is told to who looks at the Tenant.
func TestProvisioningFailureIsTold(t *testing.T) {
	startManager(t, func(o *controllers.Options) { o.Tenant.BaseDomain = "not_a_domain" })
	api := publicApi(t)
	owner := create(t, &v1alpha1.Tenant{ObjectMeta: metav1.ObjectMeta{Name: name(t)}, Spec: v1alpha1.TenantSpec{PublicApi: api.Name}})
	message := waitFor(t, owner, v1alpha1.ConditionReady, isFalse, v1alpha1.ReasonProvisioningFailed)
	if !strings.Contains(message, "not_a_domain") {
		t.Errorf("message %q does not quote the API server", message)
	}
	if owner.Status.Namespace != owner.NamespaceName() {
		t.Errorf("status is %+v: the namespace was accepted all the same", owner.Status)
	}
	waitForEvent(t, owner, v1alpha1.ReasonProvisioningFailed)
}

func TestPublicApiChecksItsBackend(t *testing.T) {
	startManager(t)
	api := publicApi(t, func(a *v1alpha1.PublicApi) {
		a.Spec.Backend = v1alpha1.Backend{Service: &v1alpha1.ServiceReference{Name: "shop", Namespace: "default", Port: 80}}
	})
	waitFor(t, api, v1alpha1.ConditionReady, isFalse, v1alpha1.ReasonBackendNotFound)
	create(t, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "shop"},
		Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}}})
	waitFor(t, api, v1alpha1.ConditionReady, isTrue, v1alpha1.ReasonAccepted)
}

// The manager's rights end where the design says.
func TestManagerRights(t *testing.T) {
	who := authorizationv1.SubjectAccessReviewSpec{
		User: "system:serviceaccount:" + v1alpha1.SystemNamespace + ":latchkey-manager", Groups: []string{"system:serviceaccounts", "system:authenticated"},
	}
	for _, c := range []struct {
		namespace, verb, resource string
		want                      bool
	}{
		{v1alpha1.RecordsNamespace, "create", "secrets", true},
		{v1alpha1.RecordsNamespace, "list", "secrets", true},
		{v1alpha1.SystemNamespace, "get", "secrets", false},
		{"default", "list", "secrets", false},
		{"default", "delete", "namespaces", false},
		{"default", "create", "apitokens", false},
		{"default", "patch", "apitokens", false},
	} {
		if got := allowed(t, who, c.namespace, c.verb, c.resource, ""); got != c.want {
			t.Errorf("the manager may %s %s in %s: %t", c.verb, c.resource, c.namespace, got)
		}
	}
	config, err := env().ServiceAccountConfig(context.Background(), v1alpha1.SystemNamespace, "latchkey-manager", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	manager, err := client.New(config, client.Options{Scheme: testenv.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	escalation := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "escalation"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
	}
	if err := manager.Create(t.Context(), escalation); err == nil {
		t.Error("the manager may bind cluster-admin")
	}
}
