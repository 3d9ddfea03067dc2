package server_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/server"
	"github.com/latchkey-dev/latchkey/internal/testing/directorytest"
)

// contract has an operation of each kind.
const contract = `openapi: 3.1.0
info: {title: Shop, version: "1"}
servers: [{url: /api/v1}]
security: [{oauth: ["orders:read"]}]
components: {securitySchemes: {oauth: {type: http, scheme: bearer}}}
paths:
  /orders:
    get: {responses: {"200": {description: Orders.}}}
    post: {security: [{oauth: ["orders:write", "orders:read"]}], responses: {"201": {description: The order.}}}
  /orders/{id}:
    delete: {x-latchkey-scopes: ["orders:delete"], responses: {"204": {description: Gone.}}}
  /orders/export:
    get: {security: [{oauth: ["orders:export", "orders:read"]}, {oauth: ["admin"]}], responses: {"200": {description: All.}}}
  /me:
    get: {security: [{oauth: []}], responses: {"200": {description: Me.}}}
  /status:
    get: {security: [], responses: {"200": {description: Up.}}}
`

// withContract holds requests to the document.
func withContract(change func(*v1alpha1.OpenAPI)) func(*setup) {
	return withAPI(func(s *v1alpha1.PublicApiSpec) {
		s.OpenAPI = &v1alpha1.OpenAPI{Path: "/openapi.yaml"}
		s.Docs = v1alpha1.Docs{Path: "/docs", Visibility: v1alpha1.DocsPublic}
		if change != nil {
			change(s.OpenAPI)
		}
	})
}

// publish delivers a document.
func (h *harness) publish(text string) {
	h.t.Helper()
	directorytest.Must(h.t, h.stores.Documents.Add(directorytest.Document(h.t, directorytest.PublicApi(""), text)))
}

func answering(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }

func withScopes(scopes ...string) func(*directorytest.Issued) {
	return func(i *directorytest.Issued) { i.Record.Scopes = scopes }
}

// What a token may do is what the document says of the operation.
func TestScopesOfOperations(t *testing.T) {
	h := newHarness(t, withContract(nil), withBackend(answering))
	h.publish(contract)
	for _, c := range []struct {
		scopes, method, path string
		status               int
		lacks                string
	}{
		{"orders:read", "GET", "/orders", 200, ""},
		{"orders:read", "HEAD", "/orders", 200, ""},
		{"orders:read", "GET", "/orders?limit=1", 200, ""},
		{"", "GET", "/orders", 403, "orders:read"},
		{"orders:reader", "GET", "/orders", 403, "orders:read"},
		{"orders:read", "POST", "/orders", 403, "orders:write"},
		{"", "POST", "/orders", 403, "orders:write orders:read"},
		{"orders:read orders:write", "POST", "/orders", 200, ""},
		{"orders:read", "DELETE", "/orders/7", 403, "orders:delete"},
		{"orders:delete", "DELETE", "/orders/7", 200, ""},
		{"orders:delete", "DELETE", "/orders/export", 405, ""}, // concrete paths go before templates
		{"orders:read", "GET", "/orders/export", 403, "orders:export"},
		{"orders:read orders:export", "GET", "/orders/export", 200, ""},
		{"admin", "GET", "/orders/export", 200, ""},
		{"", "GET", "/me", 200, ""},
		{"", "GET", "/status", 200, ""},
		{"orders:read", "GET", "/orders/", 404, ""},
		{"orders:read", "GET", "/Orders", 404, ""},
		{"orders:read", "GET", "/missing", 404, ""},
		{"orders:read", "GET", "", 404, ""},
		{"orders:read", "PUT", "/orders", 405, ""},
		{"orders:read", "OPTIONS", "/orders", 405, ""},
		{"orders:read", "GET", "/orders/7", 405, ""},
	} {
		plaintext := h.issue("acme", withScopes(strings.Fields(c.scopes)...)).Token.Reveal()
		before := len(h.backend.all())
		got := h.do(h.request(c.method, "/api/v1"+c.path, plaintext))
		if got.StatusCode != c.status {
			t.Errorf("%s %s with %q: %d, want %d: %s", c.method, c.path, c.scopes, got.StatusCode, c.status, got.body)
			continue
		}
		if reached := len(h.backend.all()) > before; reached != (c.status == 200) {
			t.Errorf("%s %s with %q: reached the backend: %t", c.method, c.path, c.scopes, reached)
		}
		switch c.status {
		case 403:
			p := got.wantProblem(t, 403, "insufficient-scope")
			var body struct{ Scopes []string }
			if err := json.Unmarshal([]byte(got.body), &body); err != nil || strings.Join(body.Scopes, " ") != c.lacks || !strings.Contains(p.Detail, body.Scopes[0]) {
				t.Errorf("%s %s with %q lacks %q, want %q: %s", c.method, c.path, c.scopes, body.Scopes, c.lacks, p.Detail)
			}
		case 404:
			got.wantProblem(t, 404, "not-found")
		case 405:
			got.wantProblem(t, 405, "method-not-allowed")
		}
	}
	got := h.do(h.request("PUT", "/api/v1/orders", h.issue("acme").Token.Reveal()))
	if allow := strings.Split(got.Header.Get("Allow"), ", "); !slices.Contains(allow, "GET") || !slices.Contains(allow, "POST") || slices.Contains(allow, "PUT") {
		t.Errorf("Allow: %s", allow)
	}
}

// Who has no token learns nothing of what there is.
func TestWithoutATokenEveryOperationIsAlike(t *testing.T) {
	h := newHarness(t, withContract(nil), withBackend(answering))
	h.publish(contract)
	want := h.get("/api/v1/orders", "").body
	for _, path := range []string{"/me", "/status", "/missing", "/orders/7"} {
		got := h.get("/api/v1"+path, "")
		got.wantProblem(t, http.StatusUnauthorized, "authorization-missing")
		if got.body != want {
			t.Errorf("%s: %s", path, got.body)
		}
	}
}

func TestUnknownOperationsAllowed(t *testing.T) {
	h := newHarness(t, withBackend(answering), withContract(func(o *v1alpha1.OpenAPI) { o.UnknownOperations = v1alpha1.UnknownOperationsAllow }))
	h.publish(contract)
	plaintext := h.issue("acme", withScopes()).Token.Reveal()
	h.get("/api/v1/missing", plaintext).wantStatus(t, 200)
	h.do(h.request("PUT", "/api/v1/orders", plaintext)).wantStatus(t, 200)
	h.get("/api/v1/orders", plaintext).wantProblem(t, 403, "insufficient-scope")
	h.get("/api/v1/missing", "").wantProblem(t, 401, "authorization-missing")
	// What a backend could take for an operation with scopes is not let past them.
	for _, path := range []string{"/orders/", "/Orders", "/ORDERS/export", "/orders/Export", "/orders/7/", "/%4Frders/7/"} {
		h.get("/api/v1"+path, plaintext).wantProblem(t, 404, "not-found")
	}
}

// A document that was never read closes everything, and its end does too.
func TestWithoutItsDocumentNothingIsOpen(t *testing.T) {
	h := newHarness(t, withBackend(answering), withContract(func(o *v1alpha1.OpenAPI) {
		o.UnknownOperations, o.AllowAnonymousOperations = v1alpha1.UnknownOperationsAllow, true
	}))
	plaintext := h.issue("acme").Token.Reveal()
	closed := func() {
		t.Helper()
		h.get("/api/v1/status", "").wantProblem(t, 401, "authorization-missing")
		got := h.get("/api/v1/orders", plaintext)
		got.wantProblem(t, 503, "document-unavailable")
		if got.Header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	}
	closed()
	h.publish("openapi: 2.0")
	closed()
	h.publish(contract)
	h.get("/api/v1/orders", plaintext).wantStatus(t, 200)
	h.get("/api/v1/status", "").wantStatus(t, 200)
	document := directorytest.Document(t, directorytest.PublicApi(""), contract)
	directorytest.Must(t, h.stores.Documents.Delete(document))
	closed()
	directorytest.Must(t, h.stores.Documents.Replace([]any{document}, "1"))
	h.get("/api/v1/orders", plaintext).wantStatus(t, 200)
	directorytest.Must(t, h.stores.Documents.Replace(nil, "2"))
	closed()
}

// Public operations are open where the PublicApi says so, and nowhere else.
func TestAnonymousOperations(t *testing.T) {
	h := newHarness(t, withBackend(answering), withContract(func(o *v1alpha1.OpenAPI) { o.AllowAnonymousOperations = true }))
	h.publish(contract)
	h.get("/api/v1/status", "").wantStatus(t, 200)
	sent := h.backend.last(t)
	if sent.Header.Get("Latchkey-Tenant") != "acme" {
		t.Errorf("the backend was told %v", sent.Header)
	}
	for name := range sent.Header {
		if strings.HasPrefix(name, "Latchkey-Token-") {
			t.Errorf("the backend was told %s of a request without a token", name)
		}
	}
	h.get("/api/v1/me", "").wantProblem(t, 401, "authorization-missing")
	h.get("/api/v1/status/", "").wantProblem(t, 401, "authorization-missing")
	h.do(h.request("POST", "/api/v1/status", "")).wantProblem(t, 401, "authorization-missing")

	// A token that is sent is looked at.
	h.get("/api/v1/status", h.issue("acme").Token.Reveal()).wantStatus(t, 200)
	h.get("/api/v1/status", h.issue("globex").Token.Reveal()).wantProblem(t, 401, "token-invalid")

	suspended := directorytest.Tenant("acme")
	suspended.Spec.Suspended = true
	directorytest.Must(t, h.stores.Tenants.Update(suspended))
	h.get("/api/v1/status", "").wantProblem(t, 403, "tenant-suspended")
}

// Anonymous requests have a bound of their own.
func TestAnonymousRequestsAreBounded(t *testing.T) {
	reached, release := make(chan struct{}), make(chan struct{})
	h := newHarness(t, withContract(func(o *v1alpha1.OpenAPI) { o.AllowAnonymousOperations = true }),
		withConfig(func(c *server.Config) { c.Limits.RequestsPerTenant = 1 }),
		withBackend(func(_ http.ResponseWriter, _ *http.Request) { reached <- struct{}{}; <-release }))
	h.publish(contract)
	done := make(chan answer)
	request := h.request("GET", "/api/v1/status", "")
	go func() { done <- h.do(request) }()
	<-reached
	h.get("/api/v1/status", "").wantProblem(t, 429, "rate-limited")
	withToken := h.request("GET", "/api/v1/me", h.issue("acme").Token.Reveal())
	go func() { done <- h.do(withToken) }() // has room of its own
	<-reached
	close(release)
	(<-done).wantStatus(t, 200)
	(<-done).wantStatus(t, 200)
}

// The PublicApi and its document may come in any order, and change.
func TestDocumentsAndPublicApisInAnyOrder(t *testing.T) {
	h := newHarness(t, withBackend(answering))
	plaintext := h.issue("acme", withScopes()).Token.Reveal()
	h.publish(contract)
	h.get("/api/v1/orders", plaintext).wantStatus(t, 200) // the PublicApi does not name it yet
	api := h.api.DeepCopy()
	api.Spec.OpenAPI = &v1alpha1.OpenAPI{Path: "/openapi.yaml"}
	directorytest.Must(t, h.stores.PublicApis.Update(api))
	h.get("/api/v1/orders", plaintext).wantProblem(t, 403, "insufficient-scope")
	h.publish(strings.ReplaceAll(contract, `security: [{oauth: ["orders:read"]}]`, ""))
	h.get("/api/v1/orders", plaintext).wantStatus(t, 200)
	api.Spec.OpenAPI = nil
	directorytest.Must(t, h.stores.PublicApis.Replace([]any{api}, "2"))
	h.get("/api/v1/missing", plaintext).wantStatus(t, 200)
}

// A copy of the stored document, as somebody makes a backup, is none, and neither it
// nor its end takes the document away.
func TestCopiesOfADocument(t *testing.T) {
	h := newHarness(t, withBackend(answering), withContract(nil))
	h.publish(contract)
	plaintext := h.issue("acme").Token.Reveal()
	for _, name := range []string{"openapi-default-backup", "backup", "openapi-"} {
		backup := directorytest.Document(t, directorytest.PublicApi(""), contract)
		backup.Name = name
		directorytest.Must(t, h.stores.Documents.Add(backup))
		h.get("/api/v1/orders", plaintext).wantStatus(t, 200)
		directorytest.Must(t, h.stores.Documents.Delete(backup))
		h.get("/api/v1/orders", plaintext).wantStatus(t, 200)
	}
}

// Gateways are told by the same contract, and who calls without a token has no
// identity but the tenant, whatever the client sent (Traefik CVE-2026-41181).
func TestGatewaysAndTheContract(t *testing.T) {
	h := newHarness(t, withContract(func(o *v1alpha1.OpenAPI) { o.AllowAnonymousOperations = true }))
	gateway := httptest.NewServer(h.handler.GatewayHandler())
	defer gateway.Close()
	ask := func(method, path, plaintext string) *http.Response {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, gateway.URL+"/auth/envoy"+path, nil)
		directorytest.Must(t, err)
		r.Host = acmeHost
		r.Header.Set("Latchkey-Token-Scopes", "admin")
		if plaintext != "" {
			r.Header.Set("Authorization", "token "+plaintext)
		}
		response, err := gateway.Client().Do(r)
		directorytest.Must(t, err)
		directorytest.Must(t, response.Body.Close())
		return response
	}
	reader := h.issue("acme", withScopes("orders:read")).Token.Reveal()
	if got := ask("GET", "/api/v1/orders", reader).Header.Get(server.HeaderProblem); got != "document-unavailable" {
		t.Errorf("without a document: %q", got)
	}
	h.publish(contract)
	for _, c := range []struct{ method, path, plaintext, problem string }{
		{"GET", "/api/v1/orders", reader, ""},
		{"POST", "/api/v1/orders", reader, "insufficient-scope"},
		{"GET", "/api/v1/missing", reader, "not-found"},
		{"PUT", "/api/v1/orders", reader, "method-not-allowed"},
		{"GET", "/api/v1/orders", "", "authorization-missing"},
		{"GET", "/api/v1/status", "", ""},
		{"GET", "/docs", "", "not-found"},
		{"GET", "/api/v1/openapi.json", "", "not-found"},
	} {
		if got := ask(c.method, c.path, c.plaintext).Header.Get(server.HeaderProblem); got != c.problem {
			t.Errorf("%s %s: %q, want %q", c.method, c.path, got, c.problem)
		}
	}
	answer := ask("GET", "/api/v1/status", "")
	for _, name := range []string{"Latchkey-Token-Id", "Latchkey-Token-Name", "Latchkey-Token-Owner", "Latchkey-Token-Scopes"} {
		if values, named := answer.Header[name]; !named || strings.Join(values, "") != "" {
			t.Errorf("%s: %q, want it named and empty", name, values)
		}
	}
	suspended := directorytest.Tenant("acme")
	suspended.Spec.Suspended = true
	directorytest.Must(t, h.stores.Tenants.Update(suspended))
	if got := ask("GET", "/api/v1/status", "").Header.Get(server.HeaderProblem); got != "tenant-suspended" {
		t.Errorf("suspended: %q", got)
	}
}
