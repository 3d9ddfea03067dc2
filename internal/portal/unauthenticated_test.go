package portal_test

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/portal/reference"
	"github.com/latchkey-dev/latchkey/internal/portal/settings"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

var update = flag.Bool("update", false, "write the golden file anew")

// openDocument has one public operation, and one that is not.
const openDocument = `openapi: 3.1.0
info: {title: Shop, version: "1"}
servers: [{url: /api/v1}]
components: {securitySchemes: {oauth: {type: http, scheme: bearer}}}
paths:
  /status: {get: {security: [], responses: {"200": {description: Up.}}}}
  /orders: {get: {security: [{oauth: ["orders:read"]}], responses: {"200": {description: Orders.}}}}
`

// publish gives the PublicApi a document by a ConfigMap.
func publish(t *testing.T, text string) func(*v1alpha1.PublicApi) {
	t.Helper()
	source := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: "document-" + strings.ToLower(t.Name())},
		Data:       map[string]string{"openapi.yaml": text},
	}
	create(t, source)
	return func(a *v1alpha1.PublicApi) {
		a.Spec.OpenAPI = &v1alpha1.OpenAPI{ConfigMap: &v1alpha1.ConfigMapKey{Name: source.Name}, AllowAnonymousOperations: true}
	}
}

// awaitDocument waits until the server has the document.
func (i *installation) awaitDocument() {
	i.t.Helper()
	testenv.Eventually(i.t, func() error {
		a := i.call("acme", http.MethodGet, "/api/v1/openapi.json", "")
		if a.status != http.StatusOK {
			must(i.t, env().Client.Get(i.t.Context(), client.ObjectKeyFromObject(i.api), i.api))
			return fmt.Errorf("%d %s %+v", a.status, a.body, i.api.Status.Conditions)
		}
		return nil
	})
}

// refusals are what everything else than the golden file's paths is answered.
var refusals = []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusNotFound, http.StatusMethodNotAllowed}

// TestUnauthenticatedSurface walks all paths that Latchkey knows, and mutated forms
// of each. Without a token nothing but what the golden file lists is answered, which
// is why that file is where a reviewer looks (oauth2-proxy CVE-2026-34457 and
// CVE-2026-40575, Traefik CVE-2026-48020).
func TestUnauthenticatedSurface(t *testing.T) {
	i := install(t, publish(t, openDocument))
	i.awaitDocument()
	answered := i.walk(t)
	golden := filepath.Join("testdata", "unauthenticated.txt")
	if *update {
		must(t, os.WriteFile(golden, []byte(strings.Join(answered, "\n")+"\n"), 0o600))
	}
	want, err := os.ReadFile(golden)
	must(t, err)
	if got := strings.Join(answered, "\n") + "\n"; got != string(want) {
		t.Errorf("without a token these are answered:\n%s\nwant those of %s:\n%s", got, golden, want)
	}

	// For holders of a token only, and for nobody.
	change := func(visibility v1alpha1.DocsVisibility, status int) {
		t.Helper()
		testenv.Eventually(t, func() error {
			must(t, client.IgnoreNotFound(env().Client.Get(t.Context(), client.ObjectKeyFromObject(i.api), i.api)))
			i.api.Spec.Docs.Visibility, i.api.Spec.OpenAPI.AllowAnonymousOperations = visibility, false
			return env().Client.Update(t.Context(), i.api)
		})
		testenv.Eventually(t, func() error {
			if a := i.call("acme", http.MethodGet, "/docs", ""); a.status != status {
				return fmt.Errorf("%d %s", a.status, a.body)
			}
			return nil
		})
		// The sign-in stays, or nobody could.
		if open := slices.DeleteFunc(i.walk(t), isOfSettings); len(open) > 0 {
			t.Errorf("%s documentation: without a token these are answered: %q", visibility, open)
		}
	}
	change(v1alpha1.DocsAuthenticated, http.StatusUnauthorized)
	change(v1alpha1.DocsDisabled, http.StatusNotFound)

	// With CORS, preflights are answered before anything is known of who calls, as
	// browsers want it (Fetch standard, section 3.3.2), and with nothing but CORS' headers.
	testenv.Eventually(t, func() error {
		must(t, env().Client.Get(t.Context(), client.ObjectKeyFromObject(i.api), i.api))
		i.api.Spec.CORS = &v1alpha1.CORS{AllowedOrigins: []string{"https://evil.example"}}
		return env().Client.Update(t.Context(), i.api)
	})
	testenv.Eventually(t, func() error {
		if status := i.bare(http.MethodOptions, "/api/v1/orders"); status != http.StatusNoContent {
			return fmt.Errorf("a preflight is answered %d", status)
		}
		return nil
	})
	for _, line := range slices.DeleteFunc(i.answered(t), isOfSettings) {
		if !strings.HasPrefix(line, "OPTIONS /api/v1") || !strings.HasSuffix(line, " 204") {
			t.Errorf("with CORS this is answered without a token: %s", line)
		}
	}
}

// isOfSettings says whether a line of what is answered is about Settings.
func isOfSettings(line string) bool { return strings.Contains(line, " /settings") }

// contentHash is what in an asset's name changes with its content.
var contentHash = regexp.MustCompile(`-[0-9a-f]{16}\.`)

// anotherToken is the page of a token, whether there is one or not: all lead to the
// sign-in.
var anotherToken = regexp.MustCompile("^/settings/tokens/[a-z0-9-]+$")

var walkedMethods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND"}

// walkedPaths are all that Latchkey knows, and some that others do.
func walkedPaths(t *testing.T) []string {
	t.Helper()
	paths, err := reference.Paths("/docs")
	must(t, err)
	pages, err := settings.New()
	must(t, err)
	paths = append(paths, pages.AssetPaths("/settings")...)
	for _, below := range []string{
		"", "/sign-in", "/sign-in/oidc", "/sign-in/token", "/callback", "/sign-out", "/sign-out-everywhere", "/signed-in",
		"/tokens", "/tokens/new", "/tokens/ci", "/tokens/ci/rotate", "/tokens/ci/revoke", "/tokens/ci/drop-previous",
	} {
		paths = append(paths, "/settings"+below)
	}
	return append(paths, "/", "/api", "/api/v1", "/healthz", "/readyz", "/metrics", "/debug/pprof/", "/auth/nginx",
		"/api/v1/openapi.json", "/api/v1/openapi.yaml", "/api/v1/status", "/api/v1/orders", "/api/v1/missing",
		"/api/v1/token", "/api/v1/token/rotate", "/api/v1/tokens", "/api/v1/tokens/ci", "/api/v1/tokens/ci/rotate")
}

// answered are the paths that are answered without a token, with the methods.
func (i *installation) answered(t *testing.T) (answered []string) {
	t.Helper()
	for _, path := range walkedPaths(t) {
		for _, method := range walkedMethods {
			if status := i.bare(method, path); !slices.Contains(refusals, status) {
				answered = append(answered, fmt.Sprintf("%s %s %d", method, contentHash.ReplaceAllString(path, "-HASH."), status))
			}
		}
	}
	slices.Sort(answered)
	return answered
}

// walk is answered, and finds that no other form of a path is.
func (i *installation) walk(t *testing.T) []string {
	t.Helper()
	paths := walkedPaths(t)
	for _, path := range paths {
		for _, form := range forms(path) {
			if slices.Contains(paths, form) || anotherToken.MatchString(form) {
				continue
			}
			for _, method := range []string{"GET", "HEAD", "POST", "OPTIONS"} {
				if status := i.bare(method, form); !slices.Contains(refusals, status) {
					t.Errorf("%s %s, a form of %s, is answered with %d", method, form, path, status)
				}
			}
		}
	}
	return i.answered(t)
}

// bare sends exactly the target, which net/http's client would tidy, and returns the
// status.
func (i *installation) bare(method, target string) int {
	i.t.Helper()
	r, err := http.NewRequestWithContext(i.t.Context(), method, i.front.URL, nil)
	must(i.t, err)
	r.URL.Opaque, r.Host = target, "acme.example.com"
	if method == http.MethodOptions {
		r.Header.Set("Origin", "https://evil.example")
		r.Header.Set("Access-Control-Request-Method", "GET")
	}
	response, err := i.front.Client().Transport.RoundTrip(r)
	if err != nil {
		i.t.Fatalf("%s %s: %v", method, target, err)
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	must(i.t, err)
	return response.StatusCode
}

// forms are other ways to write a path, by which a proxy or a router may be deceived.
func forms(path string) []string {
	last := path[strings.LastIndexByte(path, '/')+1:]
	encoded := fmt.Sprintf("%s%%%02x%s", path[:1], path[1:][:min(1, len(path)-1)], path[min(2, len(path)):])
	all := []string{
		path + "/", path + "//", "/" + path, path + "/.", path + "/..", path + "/../" + last, "/./" + path[1:], "/x/.." + path,
		path + "%2f", path + "%2F..", path + "%00", path + "%20", path + ";", path + ";x=1", path + "/;/", path + ".json", path + ".html", path + "~",
		path + "?x=1;y=2", path + "#x", path + "%23", path + "%3f", path + "%3Fx",
		strings.ToUpper(path), strings.Replace(path, "/", "\\", 1), strings.ReplaceAll(path, "/", "%2f"), strings.ReplaceAll(path, "/", "//"),
		encoded, path + "/api/v1/orders", path + "/../../api/v1/orders", "/api/v1" + path, path + "x", strings.TrimSuffix(path, last),
		path + "/index.html", path + "/assets", path + "/assets/", path + "/assets/..", path + "/assets/%2e%2e/orders",
	}
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(form string) bool { return form == path || !strings.HasPrefix(form, "/") })
}
