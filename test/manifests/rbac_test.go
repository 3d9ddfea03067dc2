package manifests

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

// tenantNamespace is where the members of the tests have their roles.
const tenantNamespace = "tenant-rights"

const (
	read = "get list watch"
)

// rights are all that each account may do: by resource and place, the verbs.
var rights = map[string]map[string]string{
	"latchkey-manager": {
		"apitokens.latchkey.dev everywhere":                                        read + " delete",
		"apitokens.latchkey.dev/status everywhere":                                 "patch",
		"clusterroles.rbac.authorization.k8s.io latchkey-tenant-admin everywhere":  "bind",
		"clusterroles.rbac.authorization.k8s.io latchkey-tenant-viewer everywhere": "bind",
		"configmaps in latchkey-system":                                            "get list watch create update delete",
		"events in latchkey-system":                                                "create patch",
		"events.events.k8s.io everywhere":                                          "create patch",
		"ingresses.networking.k8s.io in latchkey-system":                           "get list watch create patch delete",
		"leases.coordination.k8s.io in latchkey-system":                            "create",
		"leases.coordination.k8s.io latchkey-manager in latchkey-system":           "get create update",
		"namespaces everywhere":                                                    "get list watch create patch",
		"publicapis.latchkey.dev everywhere":                                       read,
		"publicapis.latchkey.dev/status everywhere":                                "patch",
		"rolebindings.rbac.authorization.k8s.io everywhere":                        "get list watch create patch delete",
		"secrets in latchkey-records":                                              "get list watch create update delete",
		"secrets in latchkey-system":                                               "create",
		"secrets latchkey-session-keys in latchkey-system":                         "get list watch create update",
		"services everywhere":                                                      read,
		"tenants.latchkey.dev everywhere":                                          read,
		"tenants.latchkey.dev/status everywhere":                                   "patch",
	},
	"latchkey-apiserver": serverRights,
	"latchkey-portal": {
		"apitokens.latchkey.dev everywhere":                     "get list watch create update delete",
		"apitokens.latchkey.dev/status everywhere":              "patch",
		"configmaps in latchkey-system":                         "list watch",
		"configmaps latchkey-ended-sessions in latchkey-system": "get list watch update",
		"endpointslices.discovery.k8s.io in latchkey-system":    "list watch",
		"publicapis.latchkey.dev everywhere":                    "list watch",
		"secrets in latchkey-records":                           "list watch",
		"secrets latchkey-session-keys in latchkey-system":      "list watch",
		"subjectaccessreviews.authorization.k8s.io everywhere":  "create",
		"tenants.latchkey.dev everywhere":                       "list watch",
		"tokenreviews.authentication.k8s.io everywhere":         "create",
	},
	// Pods of the namespace that name no account get this one.
	"default": {},
	"admin": {
		"apitokens.latchkey.dev in tenant-rights": "get list watch create update patch delete",
		"events in tenant-rights":                 read,
		"events.events.k8s.io in tenant-rights":   read,
		"namespaces in tenant-rights":             "get",
	},
	"viewer": {
		"apitokens.latchkey.dev in tenant-rights": read,
		"events in tenant-rights":                 read,
		"events.events.k8s.io in tenant-rights":   read,
		"namespaces in tenant-rights":             "get",
	},
}

var serverRights = map[string]string{
	"apitokens.latchkey.dev everywhere":                  "get list watch",
	"apitokens.latchkey.dev/status everywhere":           "patch",
	"configmaps in latchkey-system":                      "list watch",
	"endpointslices.discovery.k8s.io in latchkey-system": "list watch",
	"publicapis.latchkey.dev everywhere":                 "list watch",
	"secrets in latchkey-records":                        "list watch",
	"tenants.latchkey.dev everywhere":                    "list watch",
}

// serviceAccountsRights are what Kubernetes gives to all ServiceAccounts.
var serviceAccountsRights = map[string]string{
	"clustertrustbundles.certificates.k8s.io everywhere": read,
}

// everybodysRights are what Kubernetes gives to whoever is authenticated.
var everybodysRights = map[string]string{
	"selfsubjectaccessreviews.authorization.k8s.io everywhere": "create",
	"selfsubjectrulesreviews.authorization.k8s.io everywhere":  "create",
	"selfsubjectreviews.authentication.k8s.io everywhere":      "create",
}

// account is who asks.
type account struct {
	name   string
	config *rest.Config
	// member says that it is a user with a role in a tenant, no ServiceAccount.
	member bool
}

func accounts(t *testing.T) []account {
	t.Helper()
	var list []account
	for _, name := range []string{"latchkey-manager", "latchkey-apiserver", "latchkey-portal", "default"} {
		ensure(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: name}})
		config, err := env().ServiceAccountConfig(t.Context(), v1alpha1.SystemNamespace, name, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, account{name, config, false})
	}
	ensure(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: tenantNamespace}})
	for _, name := range []string{"admin", "viewer"} {
		// As the Tenant controller binds them.
		ensure(t, &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: tenantNamespace, Name: name},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "latchkey-tenant-" + name},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: name}},
		})
		config := rest.CopyConfig(env().Config)
		config.Impersonate = rest.ImpersonationConfig{UserName: name}
		c, err := client.New(config, client.Options{Scheme: testenv.Scheme})
		if err != nil {
			t.Fatal(err)
		}
		testenv.Eventually(t, func() error { // the authorizer learns of the binding by a watch
			return c.List(t.Context(), &v1alpha1.ApiTokenList{}, client.InNamespace(tenantNamespace))
		})
		list = append(list, account{name, config, true})
	}
	return list
}

func ensure(t *testing.T, object client.Object) {
	t.Helper()
	if err := env().Client.Create(t.Context(), object); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
}

// Every account may do what the table says, and nothing else. The API server lists all
// rules that are in force for it.
func TestRights(t *testing.T) {
	for _, who := range accounts(t) {
		t.Run(who.name, func(t *testing.T) {
			want := maps.Clone(everybodysRights)
			maps.Copy(want, rights[who.name])
			if !who.member {
				maps.Copy(want, serviceAccountsRights)
			}
			got := map[string]string{}
			// Nobody has a role in this namespace, which need not exist.
			everywhere := rulesFor(t, who, "without-roles")
			everywhere.write(got, "everywhere")
			for _, namespace := range []string{v1alpha1.SystemNamespace, v1alpha1.RecordsNamespace, tenantNamespace, "kube-system", "kube-public", "default"} {
				inside := rulesFor(t, who, namespace)
				inside.subtract(everywhere)
				inside.write(got, "in "+namespace)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("rights of %s (-want +got):\n%s", who.name, diff)
			}
		})
	}
}

// allowed are verbs, by the resource as in rights but without the place. A rule with a
// wildcard is here with its asterisk, which rights has nowhere.
type allowed map[string]map[string]bool

// rulesFor asks which rules are in force for an account in a namespace.
func rulesFor(t *testing.T, who account, namespace string) allowed {
	t.Helper()
	c, err := client.New(who.config, client.Options{Scheme: testenv.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	review := &authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: namespace}}
	if err := c.Create(t.Context(), review); err != nil {
		t.Fatal(err)
	}
	if review.Status.Incomplete || review.Status.EvaluationError != "" {
		t.Fatalf("the rules of %s in %s are not complete: %s", who.name, namespace, review.Status.EvaluationError)
	}
	found := allowed{}
	for _, rule := range review.Status.ResourceRules {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				found.add(group, resource, rule.ResourceNames, rule.Verbs)
			}
		}
	}
	return found
}

func (a allowed) add(group, resource string, names, verbs []string) {
	resource, subresource, isSubresource := strings.Cut(resource, "/")
	if group != "" {
		resource += "." + group
	}
	if isSubresource {
		resource += "/" + subresource
	}
	if len(names) == 0 {
		names = []string{""}
	}
	for _, name := range names {
		what := strings.TrimSpace(resource + " " + name)
		for _, verb := range verbs {
			if a[what] == nil {
				a[what] = map[string]bool{}
			}
			a[what][verb] = true
		}
	}
}

// subtract removes what others allow too, for the same name or for every name.
func (a allowed) subtract(others allowed) {
	for what, verbs := range a {
		unnamed, _, _ := strings.Cut(what, " ")
		maps.DeleteFunc(verbs, func(verb string, _ bool) bool { return others[what][verb] || others[unnamed][verb] })
	}
}

// write adds the rights at a place to a table. Whoever may do something to every object
// may do it to one with a name.
func (a allowed) write(table map[string]string, place string) {
	for what, verbs := range a {
		unnamed, _, isNamed := strings.Cut(what, " ")
		all := maps.Clone(verbs)
		if isNamed {
			maps.Copy(all, a[unnamed])
		}
		if len(verbs) == 0 || isNamed && maps.Equal(all, a[unnamed]) {
			continue
		}
		table[what+" "+place] = strings.Join(slices.SortedFunc(maps.Keys(all), byCustom), " ")
	}
}

// byCustom compares verbs by their usual order, and others by their names.
func byCustom(a, b string) int {
	usual := []string{"get", "list", "watch", "bind", "create", "update", "patch", "delete"}
	if order := slices.Index(usual, a) - slices.Index(usual, b); order != 0 {
		return order
	}
	return strings.Compare(a, b)
}

// attempt is something dangerous.
type attempt struct {
	what string
	// may are the accounts that are allowed to.
	may []string
	try func(ctx context.Context, c client.Client) error
}

// The most dangerous of what is not allowed, tried.
func TestForbidden(t *testing.T) {
	list := accounts(t)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: "ingress-tls"}}
	record := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.RecordsNamespace, Name: "record"}}
	object := &v1alpha1.ApiToken{ObjectMeta: metav1.ObjectMeta{Namespace: tenantNamespace, Name: "ci"}}
	for _, o := range []client.Object{secret, record, object} {
		ensure(t, o)
	}
	merge := func(patch string) client.Patch {
		return client.RawPatch("application/merge-patch+json", []byte(patch))
	}
	attempts := []attempt{
		{"read a Secret of the installation", nil, func(ctx context.Context, c client.Client) error {
			return c.Get(ctx, client.ObjectKeyFromObject(secret), &corev1.Secret{})
		}},
		{"list all Secrets", nil, func(ctx context.Context, c client.Client) error {
			return c.List(ctx, &corev1.SecretList{})
		}},
		{"list the Secrets of kube-system", nil, func(ctx context.Context, c client.Client) error {
			return c.List(ctx, &corev1.SecretList{}, client.InNamespace("kube-system"))
		}},
		{"read one record by name", []string{"latchkey-manager"}, func(ctx context.Context, c client.Client) error {
			return c.Get(ctx, client.ObjectKeyFromObject(record), &corev1.Secret{})
		}},
		{"change a record", []string{"latchkey-manager"}, func(ctx context.Context, c client.Client) error {
			return c.Update(ctx, record.DeepCopy())
		}},
		{"get a token of the manager", nil, func(ctx context.Context, c client.Client) error {
			manager := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: "latchkey-manager"}}
			return c.SubResource("token").Create(ctx, manager, &authenticationv1.TokenRequest{})
		}},
		{"bind cluster-admin", nil, func(ctx context.Context, c client.Client) error {
			return c.Create(ctx, &rbacv1.RoleBinding{
				ObjectMeta: metav1.ObjectMeta{Namespace: tenantNamespace, Name: "escalation"},
				RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
			})
		}},
		{"run a pod beside the records", nil, func(ctx context.Context, c client.Client) error {
			return c.Create(ctx, &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.RecordsNamespace, Name: "thief"},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}},
			})
		}},
		{"patch the spec of an ApiToken", []string{"admin"}, func(ctx context.Context, c client.Client) error {
			return c.Patch(ctx, object.DeepCopy(), merge(`{"spec":{"description":"x"}}`))
		}},
		{"update the spec of an ApiToken", []string{"latchkey-portal", "admin"}, func(ctx context.Context, c client.Client) error {
			changed := &v1alpha1.ApiToken{}
			if err := env().Client.Get(ctx, client.ObjectKeyFromObject(object), changed); err != nil {
				return err
			}
			changed.Spec.Description += "x"
			return c.Update(ctx, changed)
		}},
		{"write the status of an ApiToken", []string{"latchkey-manager", "latchkey-apiserver", "latchkey-portal"}, func(ctx context.Context, c client.Client) error {
			return c.Status().Patch(ctx, object.DeepCopy(), merge(`{"status":{"observedGeneration":7}}`))
		}},
	}
	for _, who := range list {
		c, err := client.New(who.config, client.Options{Scheme: testenv.Scheme})
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range attempts {
			switch err := a.try(t.Context(), c); {
			case slices.Contains(a.may, who.name) && err != nil:
				t.Errorf("%s could not %s: %v", who.name, a.what, err)
			case !slices.Contains(a.may, who.name) && !apierrors.IsForbidden(err):
				t.Errorf("%s could %s: %v", who.name, a.what, err)
			}
		}
	}
}

// No ServiceAccount becomes somebody else.
func TestImpersonationIsForbidden(t *testing.T) {
	for _, who := range accounts(t) {
		if who.member {
			continue // the test itself impersonates members
		}
		config := rest.CopyConfig(who.config)
		config.Impersonate = rest.ImpersonationConfig{UserName: "admin", Groups: []string{"system:masters"}}
		master, err := client.New(config, client.Options{Scheme: testenv.Scheme})
		if err != nil {
			t.Fatal(err)
		}
		if err := master.List(t.Context(), &corev1.NodeList{}); !apierrors.IsForbidden(err) {
			t.Errorf("%s could impersonate an administrator: %v", who.name, err)
		}
	}
}

// A member's status is dropped from what he applies, too: it is no way around the
// right that he lacks.
func TestMembersCantWriteStatusWithTheSpec(t *testing.T) {
	for _, who := range accounts(t) {
		if who.name != "admin" {
			continue
		}
		c, err := client.New(who.config, client.Options{Scheme: testenv.Scheme})
		if err != nil {
			t.Fatal(err)
		}
		object := &v1alpha1.ApiToken{
			ObjectMeta: metav1.ObjectMeta{Namespace: tenantNamespace, Name: "with-status"},
			Status:     v1alpha1.ApiTokenStatus{ObservedGeneration: 7},
		}
		if err := c.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
		patch := client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"description":"x"},"status":{"observedGeneration":7}}`))
		if err := c.Patch(t.Context(), object, patch); err != nil {
			t.Fatal(err)
		}
		if object.Spec.Description != "x" || object.Status.ObservedGeneration != 0 {
			t.Errorf("got %+v, want the description and no status", object)
		}
	}
}
