package portal_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/openapi/tree"
	"github.com/latchkey-dev/latchkey/internal/portal/reference"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

const (
	specJSON = "/api/v1/openapi.json"
	specYAML = "/api/v1/openapi.yaml"
)

// documentOf is the document as a tenant's host serves it; headers are pairs.
func (i *installation) documentOf(tenant, path string, headers ...string) *tree.Node {
	i.t.Helper()
	a := i.call(tenant, http.MethodGet, path, "", append([]string{""}, headers...)...)
	a.decode(http.StatusOK, nil)
	n, err := tree.Parse([]byte(a.body))
	must(i.t, err)
	return n
}

// anAsset is a file of the page.
func anAsset(t *testing.T) string {
	t.Helper()
	paths, err := reference.Paths("/docs")
	must(t, err)
	return paths[1]
}

func TestDocumentation(t *testing.T) {
	i := installAt(t, site{"example.com", "http"}, publish(t, openDocument))
	i.awaitDocument()
	t.Run("names the host as its client does", func(t *testing.T) { theHostIsTheClients(t, i) })
	t.Run("has the endpoints for tokens", func(t *testing.T) { tokenEndpointsAreMerged(t, i) })
	t.Run("is revalidated", func(t *testing.T) { documentationIsRevalidated(t, i) })
	t.Run("follows its sources", func(t *testing.T) { documentationFollowsItsSources(t, i) })
}

func theHostIsTheClients(t *testing.T, i *installation) {
	for _, c := range []struct {
		headers []string
		want    string
	}{
		{nil, "http://acme.example.com"},
		{[]string{"X-Forwarded-Proto", "https"}, "https://acme.example.com"},
		{[]string{"X-Forwarded-Proto", "https", "Host", "acme.example.com:8443"}, "https://acme.example.com:8443"},
		{[]string{"Host", "ACME.Example.com.:8080"}, "http://acme.example.com:8080"},
	} {
		for _, path := range []string{specJSON, specYAML} {
			if got := i.documentOf("acme", path, c.headers...).Get("servers"); string(got.JSON().Prefix) != `[{"url":"`+c.want+`/api/v1"}]`+"\n" {
				t.Errorf("%s of %q: the servers are %s, want %s", path, c.headers, got.JSON().Prefix, c.want)
			}
		}
		page := i.call("acme", http.MethodGet, "/docs", "", append([]string{""}, c.headers...)...)
		if page.status != http.StatusOK || !strings.Contains(page.body, "<code>"+c.want+"/api/v1</code>") {
			t.Errorf("%q: the page has not the base URL %s/api/v1", c.headers, c.want)
		}
	}
}

func tokenEndpointsAreMerged(t *testing.T, i *installation) {
	n := i.documentOf("acme", specJSON)
	for _, pointer := range []string{"/paths/~1orders/get", "/paths/~1token/get", "/paths/~1tokens/post", "/components/securitySchemes/latchkeyToken"} {
		if n.Resolve(pointer) == nil {
			t.Errorf("the document has no %s", pointer)
		}
	}
	if got := n.Resolve("/paths/~1status/get/security"); string(got.JSON().Prefix) != "[]\n" {
		t.Errorf("the public operation needs %s", got.JSON().Prefix)
	}
}

func documentationIsRevalidated(t *testing.T, i *installation) {
	for path, cacheControl := range map[string]string{
		specJSON: "no-cache", specYAML: "no-cache", "/docs": "no-cache", anAsset(t): "public, max-age=31536000, immutable",
	} {
		plain := i.call("acme", http.MethodGet, path, "", "", "Accept-Encoding", "identity")
		packed := i.call("acme", http.MethodGet, path, "", "", "Accept-Encoding", "gzip")
		reader, err := gzip.NewReader(bytes.NewReader([]byte(packed.body)))
		must(t, err)
		unpacked, err := io.ReadAll(reader)
		must(t, err)
		if string(unpacked) != plain.body || packed.header.Get("Content-Encoding") != "gzip" || plain.header.Get("Content-Encoding") != "" {
			t.Errorf("%s is not the same compressed: %v", path, packed.header)
		}
		for encoding, a := range map[string]answer{"identity": plain, "gzip": packed} {
			if a.header.Get("Cache-Control") != cacheControl || a.header.Get("Vary") != "Accept-Encoding" {
				t.Errorf("%s as %s: %v", path, encoding, a.header)
			}
			tag := a.header.Get("ETag")
			if again := i.call("acme", http.MethodGet, path, "", "", "Accept-Encoding", encoding, "If-None-Match", tag); again.status != http.StatusNotModified || again.body != "" {
				t.Errorf("%s as %s with its tag: %d", path, encoding, again.status)
			}
			headed := i.call("acme", http.MethodHead, path, "", "", "Accept-Encoding", encoding)
			if headed.status != http.StatusOK || headed.body != "" || headed.header.Get("Content-Length") != fmt.Sprint(len(a.body)) {
				t.Errorf("HEAD %s as %s: %d, Content-Length %s", path, encoding, headed.status, headed.header.Get("Content-Length"))
			}
		}
		if path != anAsset(t) && i.call("globex", http.MethodGet, path, "").header.Get("ETag") == plain.header.Get("ETag") {
			t.Errorf("%s has one tag on two hosts", path)
		}
	}
}

func documentationFollowsItsSources(t *testing.T, i *installation) {
	source := &corev1.ConfigMap{}
	key := client.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: i.api.Spec.OpenAPI.ConfigMap.Name}
	must(t, env().Client.Get(t.Context(), key, source))
	source.Data["openapi.yaml"] = strings.ReplaceAll(openDocument, "/orders", "/parcels")
	must(t, env().Client.Update(t.Context(), source))
	testenv.Eventually(t, func() error {
		n, page := i.documentOf("acme", specYAML), i.call("acme", http.MethodGet, "/docs", "").body
		if n.Get("paths").Get("/parcels") == nil || n.Get("paths").Get("/orders") != nil || !strings.Contains(page, "/api/v1/parcels") {
			return errors.New("the document is the old one")
		}
		return nil
	})
	testenv.Eventually(t, func() error {
		must(t, env().Client.Get(t.Context(), client.ObjectKeyFromObject(i.api), i.api))
		i.api.Spec.OpenAPI.AllowAnonymousOperations = false
		return env().Client.Update(t.Context(), i.api)
	})
	testenv.Eventually(t, func() error {
		if got := i.documentOf("acme", specJSON).Resolve("/paths/~1status/get/security"); string(got.JSON().Prefix) != `[{"latchkeyToken":[]}]`+"\n" {
			return fmt.Errorf("the operation still needs %s", got.JSON().Prefix)
		}
		return nil
	})
}

// Each host has the documentation of its own API.
func TestDocumentationOfTwoAPIs(t *testing.T) {
	i := install(t, publish(t, openDocument))
	source := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: "document-of-partners"},
		Data:       map[string]string{"openapi.yaml": strings.NewReplacer("Shop", "Partners", "/api/v1", "/partners").Replace(openDocument)},
	}
	create(t, source)
	create(t, &v1alpha1.PublicApi{
		ObjectMeta: metav1.ObjectMeta{Name: "partners"},
		Spec: v1alpha1.PublicApiSpec{
			Backend: i.api.Spec.Backend, BasePath: "/partners", Docs: v1alpha1.Docs{Path: "/reference"},
			OpenAPI: &v1alpha1.OpenAPI{ConfigMap: &v1alpha1.ConfigMapKey{Name: source.Name}},
		},
	})
	create(t, &v1alpha1.Tenant{ObjectMeta: metav1.ObjectMeta{Name: "initech"}, Spec: v1alpha1.TenantSpec{
		PublicApi: "partners", Namespace: namespaceOf(t, "initech"), Members: []v1alpha1.Member{{Kind: v1alpha1.MemberUser, Name: "grace"}},
	}})
	must(t, client.IgnoreAlreadyExists(env().Client.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: namespaceOf(t, "initech"), Labels: map[string]string{v1alpha1.LabelAllowTenant: "initech"},
	}})))
	i.awaitDocument()
	testenv.Eventually(t, func() error {
		if a := i.call("initech", http.MethodGet, "/partners/openapi.json", ""); a.status != http.StatusOK {
			return fmt.Errorf("%d %s", a.status, a.body)
		}
		return nil
	})
	for range 2 { // neither takes the other's place
		for tenant, c := range map[string]struct{ spec, page, title, elsewhere string }{
			"acme":    {specJSON, "/docs", "Shop", "/reference"},
			"initech": {"/partners/openapi.json", "/reference", "Partners", "/docs"},
		} {
			if got := i.documentOf(tenant, c.spec).Resolve("/info/title").String(); got != c.title {
				t.Errorf("%s: the document of %q, want %q", tenant, got, c.title)
			}
			if page := i.call(tenant, http.MethodGet, c.page, ""); page.status != http.StatusOK || !strings.Contains(page.body, "<h1>"+c.title+"</h1>") {
				t.Errorf("%s: %d, and not the page of %s", tenant, page.status, c.title)
			}
			if a := i.call(tenant, http.MethodGet, c.elsewhere, ""); !slices.Contains(refusals, a.status) {
				t.Errorf("%s: %s answers %d", tenant, c.elsewhere, a.status)
			}
		}
	}
}

// Documentation for holders of a token is read by tools that send one, and kept by
// no cache.
func TestAuthenticatedDocumentation(t *testing.T) {
	i := install(t, publish(t, openDocument), func(a *v1alpha1.PublicApi) { a.Spec.Docs.Visibility = v1alpha1.DocsAuthenticated })
	reader := i.make("acme", "reader", v1alpha1.ApiTokenSpec{Lifetime: lifetime(time.Hour)})
	stranger := i.make("globex", "reader", v1alpha1.ApiTokenSpec{Lifetime: lifetime(time.Hour)})
	testenv.Eventually(t, func() error {
		if a := i.call("acme", http.MethodGet, specJSON, reader); a.status != http.StatusOK {
			return fmt.Errorf("%d %s", a.status, a.body)
		}
		return nil
	})
	for path, want := range map[string]string{specJSON: `"openapi":"3.1.0"`, specYAML: "openapi: ", "/docs": "<h1>Shop</h1>", anAsset(t): "{"} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			a := i.call("acme", method, path, reader)
			if a.status != http.StatusOK || a.header.Get("Cache-Control") != "private, no-store" || a.header.Get("Latchkey-Token-Expires") == "" {
				t.Errorf("%s %s with a token: %d %v", method, path, a.status, a.header)
			}
			if method == http.MethodGet && !strings.Contains(a.body, want) {
				t.Errorf("%s has no %q: %.500s", path, want, a.body)
			}
			for name, token := range map[string]string{"without a token": "", "with another tenant's": stranger} {
				if a := i.call("acme", method, path, token); a.status != http.StatusUnauthorized || a.header.Get("Cache-Control") != "no-store" {
					t.Errorf("%s %s %s: %d %v", method, path, name, a.status, a.header)
				}
			}
		}
	}
}
