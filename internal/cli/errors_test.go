package cli_test

import (
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

func TestNamespaceErrors(t *testing.T) {
	t.Parallel()
	_, namespace, kubeconfig := tenantAdmin(t)
	admin := proxy{}.kubeconfig(t)
	_, badHost := newTenant(t, v1alpha1.AnnotationHost, `acme.example.com"; rm -rf ~ #`)
	_, badPrefix := newTenant(t, v1alpha1.AnnotationTokenPrefix, "No_Prefix")
	cases := map[string]struct {
		kubeconfig, namespace string
		want                  []string
	}{
		"not a tenant's":  {admin, "default", []string{`namespace "default" is not a tenant's namespace`, "-n tenant-<name>", "kubectl get tenants"}},
		"absent":          {admin, "absent", []string{`namespace "absent" does not exist`, "-n tenant-<name>", "kubectl get tenants"}},
		"not a member's":  {kubeconfig, "default", []string{`you may not get namespace "default"`, "-n"}},
		"unusable host":   {admin, badHost, []string{v1alpha1.AnnotationHost, badHost}},
		"unusable prefix": {admin, badPrefix, []string{v1alpha1.AnnotationTokenPrefix, badPrefix}},
		"a member's":      {kubeconfig, namespace, nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := latchkey(t, c.kubeconfig, "create", "ci", "-n", c.namespace, "--wait", "0")
			if c.want == nil {
				r.mustSucceed(t)
				return
			}
			r.mustFail(t, c.want...)
		})
	}
}

func TestNotInstalled(t *testing.T) {
	t.Parallel()
	_, namespace := newTenant(t)
	kubeconfig := proxy{handle: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		r.URL.Path = strings.Replace(r.URL.Path, "/apis/latchkey.dev/", "/apis/absent.example.com/", 1)
		next.ServeHTTP(w, r)
	}}.kubeconfig(t)
	for _, args := range [][]string{{"create", "ci"}, {"issue", "ci"}, {"list"}, {"revoke", "ci", "--yes"}} {
		latchkey(t, kubeconfig, append(args, "-n", namespace)...).mustFail(t, "Latchkey isn't installed")
	}
}

// Without kube-controller-manager the namespace stays as it is: terminating.
func TestNamespaceThatIsBeingDeleted(t *testing.T) {
	t.Parallel()
	_, namespace, kubeconfig := tenantAdmin(t)
	must(t, env().Client.Delete(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}))
	latchkey(t, kubeconfig, "create", "ci", "-n", namespace).mustFail(t, `namespace "`+namespace+`" is being deleted`)
}

func TestUnknownUser(t *testing.T) {
	t.Parallel()
	_, namespace := newTenant(t)
	kubeconfig := proxy{handle: func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.WriteHeader(http.StatusUnauthorized)
	}}.kubeconfig(t)
	latchkey(t, kubeconfig, "list", "-n", namespace).mustFail(t, "sign in to it again")
}
