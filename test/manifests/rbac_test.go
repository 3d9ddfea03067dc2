package manifests

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/session/ended"
	"github.com/latchkey-dev/latchkey/internal/session/keyring"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

// tenantNamespace is where the members of the tests have their roles.
const tenantNamespace = "tenant-rights"

const (
	read = "get list watch"
)

// rights are all that each account may do: by resource and place, the verbs.
// Nothing else that the API server serves may be allowed.
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

var (
	verbs  = []string{"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"}
	places = []string{"", v1alpha1.SystemNamespace, v1alpha1.RecordsNamespace, tenantNamespace, "kube-system"}
	// special are the verbs that are no requests, on resources of which some
	// exist only for these verbs.
	special = map[authorizationv1.ResourceAttributes][]string{
		{Group: "rbac.authorization.k8s.io", Resource: "clusterroles"}:                                         {"bind", "escalate"},
		{Group: "rbac.authorization.k8s.io", Resource: "clusterroles", Name: "cluster-admin"}:                  {"bind", "escalate"},
		{Group: "rbac.authorization.k8s.io", Resource: "clusterroles", Name: "latchkey-manager"}:               {"bind", "escalate"},
		{Group: "rbac.authorization.k8s.io", Resource: "clusterroles", Name: v1alpha1.TenantAdminClusterRole}:  {"bind", "escalate"},
		{Group: "rbac.authorization.k8s.io", Resource: "clusterroles", Name: v1alpha1.TenantViewerClusterRole}: {"bind", "escalate"},
		{Group: "rbac.authorization.k8s.io", Resource: "roles"}:                                                {"bind", "escalate"},
		{Resource: "users"}:                                                          {"impersonate"},
		{Resource: "groups"}:                                                         {"impersonate"},
		{Resource: "serviceaccounts"}:                                                {"impersonate"},
		{Group: "authentication.k8s.io", Resource: "uids"}:                           {"impersonate"},
		{Group: "certificates.k8s.io", Resource: "signers"}:                          {"approve", "sign", "attest"},
		{Group: "coordination.k8s.io", Resource: "leases", Name: "latchkey-manager"}: verbs,
		{Resource: "secrets", Name: keyring.SecretName}:                              verbs,
		{Resource: "configmaps", Name: ended.ConfigMapName}:                          verbs,
		{Resource: "secrets", Name: "ingress-tls"}:                                   verbs,
	}
)

// account is who asks.
type account struct {
	name string
	spec authorizationv1.SubjectAccessReviewSpec
	// config is for real requests.
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
		list = append(list, account{name, authorizationv1.SubjectAccessReviewSpec{
			User:   "system:serviceaccount:" + v1alpha1.SystemNamespace + ":" + name,
			Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + v1alpha1.SystemNamespace, "system:authenticated"},
		}, config, false})
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
		list = append(list, account{name, authorizationv1.SubjectAccessReviewSpec{User: name, Groups: []string{"system:authenticated"}}, config, true})
	}
	return list
}

func ensure(t *testing.T, object client.Object) {
	t.Helper()
	if err := env().Client.Create(t.Context(), object); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
}

// Every account may do what the table says, and nothing else of all that the API
// server serves.
func TestRights(t *testing.T) {
	questions := append(served(t), named()...)
	for _, who := range accounts(t) {
		t.Run(who.name, func(t *testing.T) {
			want := maps.Clone(everybodysRights)
			maps.Copy(want, rights[who.name])
			if !who.member {
				maps.Copy(want, serviceAccountsRights)
			}
			if diff := cmp.Diff(want, ask(t, who, questions)); diff != "" {
				t.Errorf("rights of %s (-want +got):\n%s", who.name, diff)
			}
		})
	}
}

// question is a resource, and the verbs to ask for.
type question struct {
	authorizationv1.ResourceAttributes
	verbs      []string
	namespaced bool
}

// served are all resources that the API server has, with their subresources.
func served(t *testing.T) []question {
	t.Helper()
	_, lists, err := discovery.NewDiscoveryClientForConfigOrDie(env().Config).ServerGroupsAndResources()
	if err != nil {
		t.Fatal(err)
	}
	var all []question
	seen := map[authorizationv1.ResourceAttributes]bool{}
	for _, list := range lists {
		group, _, grouped := strings.Cut(list.GroupVersion, "/")
		if !grouped {
			group = "" // the core group's is "v1"
		}
		for _, r := range list.APIResources {
			resource, subresource, _ := strings.Cut(r.Name, "/")
			attributes := authorizationv1.ResourceAttributes{Group: group, Resource: resource, Subresource: subresource}
			if !seen[attributes] {
				seen[attributes] = true
				all = append(all, question{attributes, verbs, r.Namespaced})
			}
		}
	}
	if len(all) < 80 {
		t.Fatalf("only %d resources were found", len(all))
	}
	return all
}

func named() []question {
	var all []question
	for attributes, verbs := range special {
		all = append(all, question{attributes, verbs, attributes.Resource != "clusterroles"})
	}
	return all
}

// ask returns by resource and place the verbs that are allowed.
func ask(t *testing.T, who account, questions []question) map[string]string {
	t.Helper()
	var mu sync.Mutex
	allowed := map[string]string{}
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(8)
	for _, q := range questions {
		group.Go(func() error {
			for _, verb := range q.verbs {
				where, err := allowedIn(ctx, who, q, verb)
				if err != nil {
					return err
				}
				mu.Lock()
				for _, place := range where {
					what := q.String() + " " + place
					allowed[what] = strings.TrimSpace(allowed[what] + " " + verb)
				}
				mu.Unlock()
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	for what := range allowed {
		if unnamed, place, isNamed := cutName(what); isNamed && allowed[unnamed+" "+place] == allowed[what] {
			delete(allowed, what) // the name adds nothing to what is allowed for all names
		}
	}
	return allowed
}

// cutName takes the name out of "leases.coordination.k8s.io latchkey-manager in x".
func cutName(what string) (resource, place string, isNamed bool) {
	fields := strings.Fields(what)
	at := slices.IndexFunc(fields, func(f string) bool { return f == "in" || f == "everywhere" })
	return fields[0], strings.Join(fields[at:], " "), at == 2
}

func (q question) String() string {
	name := q.Resource
	if q.Group != "" {
		name += "." + q.Group
	}
	if q.Subresource != "" {
		name += "/" + q.Subresource
	}
	if q.Name != "" {
		name += " " + q.Name
	}
	return name
}

// allowedIn is where the verb is allowed: everywhere, or in some namespaces.
func allowedIn(ctx context.Context, who account, q question, verb string) ([]string, error) {
	var where []string
	for _, namespace := range places {
		if namespace != "" && !q.namespaced && q.Resource != "namespaces" {
			continue
		}
		attributes := q.ResourceAttributes
		attributes.Namespace, attributes.Verb = namespace, verb
		review := &authorizationv1.SubjectAccessReview{Spec: who.spec}
		review.Spec.ResourceAttributes = &attributes
		if err := env().Client.Create(ctx, review); err != nil {
			return nil, err
		}
		switch {
		case review.Status.Allowed && namespace == "":
			return []string{"everywhere"}, nil
		case review.Status.Allowed:
			where = append(where, "in "+namespace)
		}
	}
	return where, nil
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
