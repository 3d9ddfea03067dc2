package directory_test

import (
	"bytes"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/directory"
	"github.com/latchkey-dev/latchkey/internal/testing/directorytest"
)

// transformed is the object as a reflector delivers it while it streams a list.
func transformed(t testing.TB, store cache.ReflectorStore, object any) any {
	t.Helper()
	transforming, ok := store.(cache.TransformingStore)
	if !ok {
		t.Fatalf("%T is no TransformingStore: the first list is in memory as a whole", store)
	}
	shrunk, err := transforming.Transformer()(object)
	directorytest.Must(t, err)
	return shrunk
}

func TestTransformedObjectsAreStoredAlike(t *testing.T) {
	d, stores := newDirectory()
	i := directorytest.Issue(t, "acme", expiry)
	tenant, api := directorytest.Tenant("acme"), directorytest.PublicApi("http://127.0.0.1:1")
	directorytest.Must(t, stores.Records.Replace([]any{transformed(t, stores.Records, i.Secret())}, "1"))
	directorytest.Must(t, stores.ApiTokens.Add(transformed(t, stores.ApiTokens, i.ApiToken)))
	directorytest.Must(t, stores.Tenants.Update(transformed(t, stores.Tenants, tenant)))
	directorytest.Must(t, stores.PublicApis.Add(transformed(t, stores.PublicApis, api)))
	if got := d.Count(); got != (directory.Counts{Tokens: 1, Tenants: 1, APIs: 1}) {
		t.Errorf("the directory holds %+v", got)
	}
	wantWorksFor(t, d, i.Digest(), time.Hour)
}

// Shrunk objects are memory at 100,000 tokens: neither data nor labels may stay.
func TestTransformedObjectsAreSmall(t *testing.T) {
	_, stores := newDirectory()
	i := directorytest.Issue(t, "acme", expiry)
	for _, c := range []struct {
		store  cache.ReflectorStore
		object any
	}{
		{stores.Records, i.Secret()}, {stores.ApiTokens, i.ApiToken},
		{stores.Tenants, directorytest.Tenant("acme")}, {stores.PublicApis, directorytest.PublicApi("http://127.0.0.1:1")},
	} {
		switch got := transformed(t, c.store, c.object).(type) {
		case *corev1.Secret, *v1alpha1.ApiToken, *v1alpha1.Tenant, *v1alpha1.PublicApi:
			t.Errorf("%T is kept whole", got)
		}
	}
}

func TestStoresRefuseOtherObjects(t *testing.T) {
	_, stores := newDirectory()
	for name, store := range map[string]cache.ReflectorStore{
		"records": stores.Records, "apitokens": stores.ApiTokens, "tenants": stores.Tenants, "publicapis": stores.PublicApis, "documents": stores.Documents,
	} {
		pod := &corev1.Pod{}
		if store.Add(pod) == nil || store.Update(pod) == nil || store.Delete(pod) == nil || store.Replace([]any{pod}, "1") == nil {
			t.Errorf("%s takes a Pod", name)
		}
	}
}

func TestSyncedOnlyAfterEveryFirstList(t *testing.T) {
	d, stores := newDirectory()
	i := directorytest.Issue(t, "acme", expiry)
	i.Add(t, stores) // events alone are no complete list
	want := []string{"records", "apitokens", "tenants", "publicapis", "documents"}
	for _, store := range []cache.ReflectorStore{stores.Records, stores.ApiTokens, stores.Tenants, stores.PublicApis, stores.Documents} {
		if got := d.Unsynced(); d.Synced() || !slices.Equal(got, want) {
			t.Errorf("Synced %t, Unsynced %v, want %v", d.Synced(), got, want)
		}
		directorytest.Must(t, store.Replace(nil, "1"))
		want = want[1:]
	}
	if !d.Synced() || len(d.Unsynced()) != 0 {
		t.Errorf("Synced %t, Unsynced %v after every list", d.Synced(), d.Unsynced())
	}
	if d.Stores().Records.Replace([]any{&corev1.Pod{}}, "2") == nil || !d.Synced() {
		t.Error("a list that was refused changed what is synced")
	}
}

// The log names the Secret and the key, and never quotes a value.
func TestUndecodableRecordIsLoggedWithoutItsContent(t *testing.T) {
	var logs bytes.Buffer
	stores := directory.New(slog.New(slog.NewTextHandler(&logs, nil))).Stores()
	i := directorytest.Issue(t, "acme", expiry)
	damaged := i.Secret()
	damaged.Data["digest"] = []byte("sha256:marker-in-the-digest")
	directorytest.Must(t, stores.Records.Add(damaged))
	if got := logs.String(); !strings.Contains(got, damaged.Name) || !strings.Contains(got, "digest") {
		t.Errorf("the log says not which Secret and key: %s", got)
	}
	if strings.Contains(logs.String(), "marker") {
		t.Errorf("the log quotes the value: %s", logs.String())
	}
}

func TestTenants(t *testing.T) {
	d, stores := newDirectory()
	acme := directorytest.Tenant("acme")
	acme.Spec.Members = []v1alpha1.Member{{Kind: v1alpha1.MemberGroup, Name: "staff"}, {Kind: v1alpha1.MemberUser, Name: "ann"}}
	directorytest.Must(t, stores.Tenants.Add(acme))
	if got, ok := d.Tenant("acme"); !ok || !reflect.DeepEqual(*got, directory.Tenant{Name: "acme", Namespace: "tenant-acme", PublicApi: "default", Users: []string{"ann"}}) {
		t.Errorf("got %+v, %t", got, ok)
	}
	acme.Spec.Suspended, acme.Spec.PublicApi = true, "other"
	directorytest.Must(t, stores.Tenants.Update(acme))
	if got, _ := d.Tenant("acme"); !got.Suspended || got.PublicApi != "other" {
		t.Errorf("got %+v after the update", got)
	}
	acme.DeletionTimestamp = at(now)
	directorytest.Must(t, stores.Tenants.Update(acme))
	if got, _ := d.Tenant("acme"); got.Namespace != "" {
		t.Errorf("a Tenant that is being deleted keeps its namespace %q, and so its tokens", got.Namespace)
	}
	directorytest.Must(t, stores.Tenants.Delete(acme))
	if _, ok := d.Tenant("acme"); ok {
		t.Error("found after it was deleted")
	}
	directorytest.Must(t, stores.Tenants.Add(acme))
	directorytest.Must(t, stores.Tenants.Replace([]any{directorytest.Tenant("other")}, "2"))
	if _, ok := d.Tenant("acme"); ok || d.Count().Tenants != 1 {
		t.Errorf("found %t after a relist without it; %d tenants", ok, d.Count().Tenants)
	}
}

// What spec wants is not what was accepted: a tenant's namespace is status's.
func TestTenantNamespaceIsTheAcceptedOne(t *testing.T) {
	d, stores := newDirectory()
	i := directorytest.Issue(t, "acme", expiry)
	i.Add(t, stores)
	tenant := directorytest.Tenant("acme")
	tenant.Spec.Namespace = tenant.Status.Namespace
	tenant.Status.Namespace = ""
	directorytest.Must(t, stores.Tenants.Add(tenant))
	wantWorksFor(t, d, i.Digest(), 0)
	tenant.Status.Namespace = "tenant-rival"
	directorytest.Must(t, stores.Tenants.Update(tenant))
	wantWorksFor(t, d, i.Digest(), 0)
	tenant.Status.Namespace = "tenant-acme"
	directorytest.Must(t, stores.Tenants.Update(tenant))
	wantWorksFor(t, d, i.Digest(), time.Hour)
}

func TestAPIs(t *testing.T) {
	acme := &directory.Tenant{Name: "acme", Namespace: "tenant-acme"}
	service := func(namespace string) v1alpha1.Backend {
		return v1alpha1.Backend{Service: &v1alpha1.ServiceReference{Name: "shop", Namespace: namespace, Port: 8080}}
	}
	for name, c := range map[string]struct {
		backend v1alpha1.Backend
		want    string
	}{
		"URL":                               {v1alpha1.Backend{URL: "https://backend.internal:8443"}, "https://backend.internal:8443"},
		"URL with a slash":                  {v1alpha1.Backend{URL: "http://backend/"}, "http://backend"},
		"Service in the tenant's namespace": {service(""), "http://shop.tenant-acme.svc:8080"},
		"Service in a fixed namespace":      {service("shared"), "http://shop.shared.svc:8080"},
	} {
		t.Run(name, func(t *testing.T) {
			d, stores := newDirectory()
			api := directorytest.PublicApi("")
			api.Spec.Backend = c.backend
			directorytest.Must(t, stores.PublicApis.Add(api))
			got, ok := d.API("default")
			if !ok || got.Backend(acme) != c.want {
				t.Fatalf("found %t, backend %s, want %s", ok, got.Backend(acme), c.want)
			}
			if got.BasePath != "/api/v1" || got.ResponseHeaderTimeout != time.Minute || got.AllowedOrigins != nil {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestAPIUpdates(t *testing.T) {
	d, stores := newDirectory()
	api := directorytest.PublicApi("http://one")
	directorytest.Must(t, stores.PublicApis.Add(api))
	api.Spec.Backend.URL, api.Spec.BasePath = "http://two", "/v2"
	api.Spec.Backend.ResponseHeaderTimeout = &metav1.Duration{Duration: time.Second}
	api.Spec.CORS = &v1alpha1.CORS{AllowedOrigins: []string{"https://app.example.com"}}
	directorytest.Must(t, stores.PublicApis.Update(api))
	got, _ := d.API("default")
	if got.Backend(nil) != "http://two" || got.BasePath != "/v2" || got.ResponseHeaderTimeout != time.Second || len(got.AllowedOrigins) != 1 {
		t.Errorf("got %+v after the update", got)
	}
	directorytest.Must(t, stores.PublicApis.Delete(api))
	if _, ok := d.API("default"); ok {
		t.Error("found after it was deleted")
	}
	directorytest.Must(t, stores.PublicApis.Replace([]any{api}, "2"))
	if _, ok := d.API("default"); !ok {
		t.Error("not found after a relist with it")
	}
}
