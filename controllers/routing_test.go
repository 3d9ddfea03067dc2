package controllers_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/controllers"
	"github.com/latchkey-dev/latchkey/controllers/tenant"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

// ingressRule is what an Ingress for the host has for each base path.
func ingressRule(host string, basePaths ...string) networkingv1.IngressRule {
	path := func(path string, pathType networkingv1.PathType, service string) networkingv1.HTTPIngressPath {
		return networkingv1.HTTPIngressPath{Path: path, PathType: &pathType, Backend: networkingv1.IngressBackend{
			Service: &networkingv1.IngressServiceBackend{Name: service, Port: networkingv1.ServiceBackendPort{Number: 80}},
		}}
	}
	var paths []networkingv1.HTTPIngressPath
	for n, base := range basePaths {
		paths = append(paths,
			path(base+"/token", networkingv1.PathTypePrefix, "latchkey-portal"),
			path(base+"/tokens", networkingv1.PathTypePrefix, "latchkey-portal"))
		if n == 0 { // is the same for all
			paths = append(paths, path("/settings", networkingv1.PathTypePrefix, "latchkey-portal"))
		}
		paths = append(paths, path(base, networkingv1.PathTypePrefix, "latchkey-apiserver"))
	}
	return networkingv1.IngressRule{Host: host, IngressRuleValue: networkingv1.IngressRuleValue{
		HTTP: &networkingv1.HTTPIngressRuleValue{Paths: paths},
	}}
}

func wildcardIngress() *networkingv1.Ingress {
	return &networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: "latchkey-wildcard"}}
}

func routing(mode tenant.Routing) func(*controllers.Options) {
	return func(o *controllers.Options) { o.Tenant.Ingress.Routing = mode }
}

// The other Ingresses of the namespace and of the same host, whatever they carry.
func foreignIngresses(t *testing.T, host string) (unchanged func()) {
	t.Helper()
	var all []*networkingv1.Ingress
	for n, labels := range []map[string]string{nil, {v1alpha1.LabelManagedBy: v1alpha1.ManagedBy, v1alpha1.LabelTenant: name(t)}} {
		for _, namespace := range []string{v1alpha1.SystemNamespace, "default"} {
			all = append(all, create(t, &networkingv1.Ingress{
				ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("theirs-%d", n), Labels: labels},
				Spec:       networkingv1.IngressSpec{Rules: []networkingv1.IngressRule{ingressRule(host, "/shop")}},
			}))
		}
	}
	return func() {
		t.Helper()
		for _, before := range all {
			after := before.DeepCopy()
			if err := get(t, after); err != nil || after.ResourceVersion != before.ResourceVersion {
				t.Errorf("the Ingress %s/%s was touched: %v\n%s", before.Namespace, before.Name, err, cmp.Diff(before, after))
			}
		}
	}
}

// Each routing makes what it should and removes what another made, and nothing of
// anybody else's.
func TestRoutingModes(t *testing.T) {
	stop := startManager(t)
	owner := readyTenant(t, func(a *v1alpha1.PublicApi) { a.Spec.BasePath = "/v2/api" })
	unchanged := foreignIngresses(t, owner.Status.Host)
	if err := get(t, ingressOf(owner)); err != nil {
		t.Fatal(err)
	}
	gone(t, wildcardIngress())
	stop()

	stop = startManager(t, routing(tenant.RoutingWildcardIngress))
	gone(t, ingressOf(owner))
	shared := wildcardIngress()
	testenv.Eventually(t, func() error { return get(t, shared) })
	if want := []networkingv1.IngressRule{ingressRule("*.example.com", "/v2/api")}; !cmp.Equal(want, shared.Spec.Rules) {
		t.Errorf("rules:\n%s", cmp.Diff(want, shared.Spec.Rules))
	}
	if want := []networkingv1.IngressTLS{{Hosts: []string{"*.example.com"}, SecretName: "wildcard"}}; !cmp.Equal(want, shared.Spec.TLS) {
		t.Errorf("TLS:\n%s", cmp.Diff(want, shared.Spec.TLS))
	}
	unchanged()
	stop()

	stop = startManager(t, routing(tenant.RoutingNone))
	gone(t, wildcardIngress())
	unchanged()
	stop()

	startManager(t, routing(tenant.RoutingIngress))
	testenv.Eventually(t, func() error { return get(t, ingressOf(owner)) })
	unchanged()
}

// The one Ingress has the base path of every PublicApi once, follows them, and is
// put right.
func TestWildcardIngressFollowsPublicApis(t *testing.T) {
	t.Cleanup(func() { // the manager is stopped by then
		if err := client.IgnoreNotFound(env().Client.Delete(context.Background(), wildcardIngress())); err != nil {
			t.Error(err)
		}
	})
	startManager(t, routing(tenant.RoutingWildcardIngress))
	want := func(basePaths ...string) {
		t.Helper()
		rules := []networkingv1.IngressRule{ingressRule("*.example.com", basePaths...)}
		testenv.Eventually(t, func() error {
			shared := wildcardIngress()
			if err := get(t, shared); err != nil {
				return err
			}
			if diff := cmp.Diff(rules, shared.Spec.Rules); diff != "" {
				return fmt.Errorf("rules:\n%s", diff)
			}
			return nil
		})
	}
	base := func(path string) func(*v1alpha1.PublicApi) {
		return func(a *v1alpha1.PublicApi) { a.Name += path[len(path)-1:]; a.Spec.BasePath = path }
	}
	b := publicApi(t, base("/b"))
	want("/b")
	publicApi(t, base("/a"))
	publicApi(t, func(a *v1alpha1.PublicApi) { a.Name += "-again"; a.Spec.BasePath = "/a" })
	want("/a", "/b")
	if err := env().Client.Delete(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	want("/a")
	if err := env().Client.Delete(t.Context(), wildcardIngress()); err != nil {
		t.Fatal(err)
	}
	want("/a")
}

func TestForeignWildcardIngressIsLeftUntouched(t *testing.T) {
	foreign := wildcardIngress()
	foreign.Spec.Rules = []networkingv1.IngressRule{ingressRule("*.example.com", "/shop")}
	create(t, foreign)
	stop := startManager(t, routing(tenant.RoutingWildcardIngress))
	api := publicApi(t)
	owner := create(t, &v1alpha1.Tenant{ObjectMeta: metav1.ObjectMeta{Name: name(t)}, Spec: v1alpha1.TenantSpec{PublicApi: api.Name}})
	waitFor(t, owner, v1alpha1.ConditionReady, isFalse, v1alpha1.ReasonIngressConflict)
	stop()
	startManager(t, routing(tenant.RoutingNone))
	waitFor(t, owner, v1alpha1.ConditionReady, isTrue, v1alpha1.ReasonProvisioned)
	after := foreign.DeepCopy()
	if err := get(t, after); err != nil || after.ResourceVersion != foreign.ResourceVersion {
		t.Errorf("the Ingress was changed: %v\n%s", err, cmp.Diff(foreign, after))
	}
}
