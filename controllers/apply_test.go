package controllers_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/controllers"
	"github.com/latchkey-dev/latchkey/controllers/tenant"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

// requests are what a manager sent, but for lists and watches.
type requests struct {
	mu   sync.Mutex
	sent []string
}

func (r *requests) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(request *http.Request) (*http.Response, error) {
		r.mu.Lock()
		r.sent = append(r.sent, request.Method+" "+request.URL.Path)
		r.mu.Unlock()
		return next.RoundTrip(request)
	})
}

// about are the requests that name one of the objects and, of the reads, those of
// a single object.
func (r *requests) about(objects ...client.Object) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.sent), func(sent string) bool {
		return !slices.ContainsFunc(objects, func(o client.Object) bool {
			return strings.HasSuffix(strings.TrimSuffix(sent, "/status"), "/"+o.GetName())
		})
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }

// provisioned is a Tenant with all that is made for one.
func provisioned(t *testing.T) (owner *v1alpha1.Tenant, made []client.Object) {
	t.Helper()
	api := publicApi(t)
	owner = create(t, &v1alpha1.Tenant{ObjectMeta: metav1.ObjectMeta{Name: name(t)}, Spec: v1alpha1.TenantSpec{
		PublicApi: api.Name,
		Members:   []v1alpha1.Member{{Kind: v1alpha1.MemberUser, Name: "ann"}},
	}})
	waitFor(t, owner, v1alpha1.ConditionReady, isTrue, v1alpha1.ReasonProvisioned)
	return owner, []client.Object{namespaceOf(owner), ingressOf(owner), adminsOf(owner)}
}

func adminsOf(owner *v1alpha1.Tenant) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: owner.NamespaceName(), Name: "latchkey-admins"}}
}

// A manager that starts sends no request, not even one that changes nothing, for
// what is as it should be.
func TestRestartSendsNothingForWhatIsAsItShouldBe(t *testing.T) {
	for _, mode := range []tenant.Routing{tenant.RoutingIngress, tenant.RoutingWildcardIngress} {
		t.Run(string(mode), func(t *testing.T) {
			withIssuer := func(o *controllers.Options) {
				o.Tenant.Ingress.Routing = mode
				o.Tenant.Ingress.TLSSecret, o.Tenant.Ingress.ClusterIssuer = "", "letsencrypt"
			}
			stop := startManager(t, withIssuer)
			owner, made := provisioned(t)
			api := &v1alpha1.PublicApi{ObjectMeta: metav1.ObjectMeta{Name: owner.Spec.PublicApi}}
			token := issued(t, owner, "ci", v1alpha1.ApiTokenSpec{})
			_, secret, err := recordOf(t, token)
			if err != nil {
				t.Fatal(err)
			}
			stop()

			var sent requests
			stop = startManagerThrough(t, sent.wrap, withIssuer)
			// A Tenant that is changed is reconciled after those that were found at the
			// start, as one worker takes them in turn.
			sentinel := create(t, &v1alpha1.Tenant{ObjectMeta: metav1.ObjectMeta{Name: name(t) + "-sentinel"}, Spec: v1alpha1.TenantSpec{PublicApi: api.Name}})
			waitFor(t, sentinel, v1alpha1.ConditionReady, isTrue, v1alpha1.ReasonProvisioned)
			if len(sent.about(namespaceOf(sentinel), sentinel)) == 0 {
				t.Error("the requests for a new Tenant were not seen: the test sees none")
			}
			stop()
			if found := sent.about(append(made, owner, api, token, secret)...); len(found) > 0 {
				t.Errorf("the manager sent:\n%s", strings.Join(found, "\n"))
			}
			for _, request := range sent.about(wildcardIngress()) {
				if !strings.HasPrefix(request, http.MethodGet) {
					t.Errorf("the manager sent: %s", request)
				}
			}
		})
	}
	startManager(t, routing(tenant.RoutingNone))
	gone(t, wildcardIngress())
}

// Whatever somebody changes of what was made, is put right.
func TestDriftOfEachKindIsPutRight(t *testing.T) {
	startManager(t)
	owner, _ := provisioned(t)
	for _, c := range []struct {
		name   string
		object client.Object
		drift  func(client.Object)
	}{
		{"namespace label removed", namespaceOf(owner), func(o client.Object) { delete(o.GetLabels(), v1alpha1.LabelTenant) }},
		{"namespace label changed", namespaceOf(owner), func(o client.Object) { o.GetLabels()["pod-security.kubernetes.io/enforce"] = "privileged" }},
		{"namespace annotation changed", namespaceOf(owner), func(o client.Object) { o.GetAnnotations()[v1alpha1.AnnotationHost] = "elsewhere" }},
		{"namespace annotations removed", namespaceOf(owner), func(o client.Object) { o.SetAnnotations(nil) }},
		{"Ingress label removed", ingressOf(owner), func(o client.Object) { delete(o.GetLabels(), v1alpha1.LabelManagedBy) }},
		{"Ingress label changed", ingressOf(owner), func(o client.Object) { o.GetLabels()[v1alpha1.LabelTenant] = "other" }},
		{"Ingress owner changed", ingressOf(owner), func(o client.Object) { o.GetOwnerReferences()[0].BlockOwnerDeletion = new(true) }},
		{"Ingress rules changed", ingressOf(owner), func(o client.Object) {
			o.(*networkingv1.Ingress).Spec.Rules[0].HTTP.Paths[0].Backend.Service.Name = "elsewhere"
		}},
		{"Ingress rule added", ingressOf(owner), func(o client.Object) {
			spec := &o.(*networkingv1.Ingress).Spec
			spec.Rules = append(spec.Rules, ingressRule("other.example.com", "/v1"))
		}},
		{"Ingress TLS removed", ingressOf(owner), func(o client.Object) { o.(*networkingv1.Ingress).Spec.TLS = nil }},
		{"Ingress class changed", ingressOf(owner), func(o client.Object) { o.(*networkingv1.Ingress).Spec.IngressClassName = new("other") }},
		{"RoleBinding owner removed", adminsOf(owner), func(o client.Object) { o.SetOwnerReferences(nil) }},
		{"RoleBinding label removed", adminsOf(owner), func(o client.Object) { o.SetLabels(nil) }},
		{"RoleBinding subject added", adminsOf(owner), func(o client.Object) {
			binding := o.(*rbacv1.RoleBinding)
			binding.Subjects = append(binding.Subjects, rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: "User", Name: "mallory"})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := get(t, c.object); err != nil {
				t.Fatal(err)
			}
			want := stable(c.object)
			change(t, c.object, c.drift)
			if cmp.Equal(want, stable(c.object)) {
				t.Fatal("the test changed nothing")
			}
			testenv.Eventually(t, func() error {
				if err := get(t, c.object); err != nil {
					return err
				}
				if diff := cmp.Diff(want, stable(c.object)); diff != "" {
					return fmt.Errorf("not put right:\n%s", diff)
				}
				return nil
			})
		})
	}
}

// stable is an object without what the API server changes at each write.
func stable(object client.Object) client.Object {
	o := object.DeepCopyObject().(client.Object)
	o.SetManagedFields(nil)
	o.SetResourceVersion("")
	o.SetGeneration(0)
	return o
}

// What was made once and is not wanted any more goes; what others put there stays.
func TestWhatIsNoLongerWantedIsRemoved(t *testing.T) {
	stop := startManager(t, func(o *controllers.Options) {
		o.Tenant.Ingress.TLSSecret, o.Tenant.Ingress.ClusterIssuer = "", "letsencrypt"
	})
	owner, _ := provisioned(t)
	ingress, namespace := ingressOf(owner), namespaceOf(owner)
	theirs := map[string]string{"example.com/theirs": "yes"}
	change(t, ingress, func(i *networkingv1.Ingress) { i.Annotations["example.com/theirs"] = "yes" })
	change(t, namespace, func(n *corev1.Namespace) { n.Annotations["example.com/theirs"] = "yes" })
	if ingress.Annotations["cert-manager.io/cluster-issuer"] != "letsencrypt" || namespace.Annotations[v1alpha1.AnnotationBasePath] == "" {
		t.Fatalf("annotations are %v and %v", ingress.Annotations, namespace.Annotations)
	}
	stop()

	startManager(t, func(o *controllers.Options) { o.Tenant.Ingress.TLSSecret, o.Tenant.Ingress.Class = "", "" })
	testenv.Eventually(t, func() error {
		if err := get(t, ingress); err != nil {
			return err
		}
		if !cmp.Equal(theirs, ingress.Annotations) || ingress.Spec.TLS != nil || ingress.Spec.IngressClassName != nil {
			return fmt.Errorf("annotations %v, spec %+v", ingress.Annotations, ingress.Spec)
		}
		return nil
	})
	if err := env().Client.Delete(t.Context(), &v1alpha1.PublicApi{ObjectMeta: metav1.ObjectMeta{Name: owner.Spec.PublicApi}}); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, func() error {
		if err := get(t, namespace); err != nil {
			return err
		}
		if _, stale := namespace.Annotations[v1alpha1.AnnotationBasePath]; stale || namespace.Annotations["example.com/theirs"] != "yes" {
			return fmt.Errorf("annotations %v", namespace.Annotations)
		}
		return nil
	})
}
