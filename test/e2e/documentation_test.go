//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// documentation is what anybody reads through the Ingress, and what the document
// decides about tokens.
func documentation(t *testing.T, w *world) {
	w.kubectl(t, "wait", "--for=condition=DocumentCurrent", "--timeout=1m", "publicapis/default")
	for _, tenant := range []string{"acme", "globex"} {
		t.Run("on the host of "+tenant, func(t *testing.T) { w.reads(t, tenant) })
	}
	t.Run("scopes", func(t *testing.T) {
		reader := w.create(t, "reads-only")
		eventually(t, within, func() error { return w.curl(t, "acme", "/api/v1/orders", reader).is(200, "") })
		post := []string{"--request", "POST", "--header", "Content-Type: application/json", "--data", "{}"}
		for _, c := range []struct {
			path, problem string
			status        int
			args          []string
		}{
			{"/api/v1/orders", "insufficient-scope", 403, post},
			{"/api/v1/unheard-of", "not-found", 404, nil},
			{"/api/v1/orders", "method-not-allowed", 405, []string{"--request", "PATCH"}},
			{"/healthz", "", 200, nil}, // the product's own, which the document has too
		} {
			if err := w.curl(t, "acme", c.path, reader, c.args...).is(c.status, c.problem); err != nil {
				t.Errorf("%s: %v", c.path, err)
			}
		}
		if got := w.kubectl(t, "get", "apitoken", "reads-only", "-n", "tenant-acme", "-o", "jsonpath={.status.operations}"); got == "" || got == "0" {
			t.Errorf("status.operations is %q", got)
		}
		if scopes := w.kubectl(t, "latchkey", "scopes", "-n", "tenant-acme", "--as", "acme-admin", "-o", "name"); !strings.Contains(scopes, "orders:write") {
			t.Errorf("scopes are %s", scopes)
		}
	})
	t.Run("not for everyone", func(t *testing.T) { w.closed(t) })
}

// reads opens the page, its files and the document, without a token.
func (w *world) reads(t *testing.T, tenant string) {
	origin := "https://" + w.host(tenant)
	page := w.curl(t, tenant, "/docs", "")
	if page.status != 200 || !strings.Contains(page.body, `curl -X GET`) || !strings.Contains(page.body, origin+"/api/v1/") {
		t.Fatalf("the page is %d %.500s", page.status, page.body)
	}
	if !regexp.MustCompile(`(?im)^content-security-policy: default-src 'none'; script-src 'self'`).MatchString(page.header) {
		t.Errorf("the page's headers are\n%s", page.header)
	}
	files := regexp.MustCompile(`"(/docs/assets/[^"]+)"`).FindAllStringSubmatch(page.body, -1)
	if len(files) == 0 {
		t.Error("the page has no files")
	}
	for _, file := range files {
		if a := w.curl(t, tenant, file[1], "", "--output", "/dev/null"); a.status != 200 {
			t.Errorf("%s: %d", file[1], a.status)
		}
	}
	var document struct {
		Servers []struct{ URL string }
		Paths   map[string]any
	}
	a := w.curl(t, tenant, "/api/v1/openapi.json", "", "--compressed")
	if err := json.Unmarshal([]byte(a.body), &document); err != nil || a.status != 200 {
		t.Fatalf("the document is %d %.300s", a.status, a.body)
	}
	if len(document.Servers) != 1 || document.Servers[0].URL != origin {
		t.Errorf("its servers are %+v, want %s", document.Servers, origin)
	}
	for _, path := range []string{"/api/v1/orders", "/api/v1/token"} {
		if document.Paths[path] == nil {
			t.Errorf("it has no %s", path)
		}
	}
	if a := w.curl(t, tenant, "/api/v1/openapi.yaml", ""); a.status != 200 || !strings.Contains(a.body, "openapi: ") {
		t.Errorf("as YAML it is %d %.300s", a.status, a.body)
	}
}

// closed has the documentation disabled, when its path is the product's again.
func (w *world) closed(t *testing.T) {
	set := func(visibility string) {
		t.Helper()
		w.kubectl(t, "patch", "publicapi", "default", "--type=merge", "-p", fmt.Sprintf(`{"spec": {"docs": {"visibility": %q}}}`, visibility))
	}
	set("Authenticated")
	eventually(t, within, func() error { return w.curl(t, "acme", "/api/v1/openapi.json", "").is(401, "authorization-missing") })
	if a := w.curl(t, "acme", "/api/v1/openapi.json", w.token); a.status != 200 {
		t.Errorf("with a token: %d %s", a.status, a.body)
	}
	set("Disabled")
	eventually(t, within, func() error {
		if a := w.curl(t, "acme", "/docs", ""); a.status != 404 || !strings.Contains(a.body, "Nothing is served at /docs") {
			return fmt.Errorf("the product's own path is answered %d %.300s", a.status, a.body)
		}
		return nil
	})
	set("Public")
	eventually(t, within, func() error {
		if a := w.curl(t, "acme", "/docs", ""); a.status != 200 {
			return fmt.Errorf("the page is %d", a.status)
		}
		return nil
	})
}
