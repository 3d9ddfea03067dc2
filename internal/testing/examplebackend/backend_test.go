package examplebackend

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// identity is what Latchkey would say of a caller. The zero value says nothing.
type identity struct{ tenant, scopes string }

func (i identity) set(h http.Header) {
	if i == (identity{}) {
		return
	}
	h.Set("Latchkey-Tenant", i.tenant)
	h.Set("Latchkey-Token-Id", "0123456789")
	h.Set("Latchkey-Token-Name", "ci")
	h.Set("Latchkey-Token-Owner", "ada@acme.example")
	h.Set("Latchkey-Token-Scopes", i.scopes)
}

var (
	nobody = identity{}
	acme   = identity{"acme", "orders:read orders:write"}
	globex = identity{"globex", "orders:read orders:write"}
)

// start is what the clock of an api gives first. It moves on by a second each
// time it is asked.
var start = time.Date(2026, time.March, 2, 10, 15, 0, 0, time.UTC)

func tickingClock() func() time.Time {
	var mu sync.Mutex
	next := start
	return func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		now := next
		next = next.Add(time.Second)
		return now
	}
}

// api is a backend that is served over HTTP. Whatever it answers is held against
// openapi.json.
type api struct {
	t   *testing.T
	url string
	doc document
}

func newAPI(t *testing.T) api {
	t.Helper()
	server := httptest.NewServer(New(Options{Clock: tickingClock()}))
	t.Cleanup(server.Close)
	return api{t: t, url: server.URL, doc: readDocument(t)}
}

// in returns the same backend for a subtest.
func (a api) in(t *testing.T) api {
	a.t = t
	return a
}

type answer struct {
	status int
	header http.Header
	body   string
}

// call fails the test, but does not end it, where there is no answer: it may run
// in any goroutine.
func (a api) call(as identity, method, path, body string) answer {
	a.t.Helper()
	req, err := http.NewRequestWithContext(a.t.Context(), method, a.url+path, strings.NewReader(body))
	if err != nil {
		a.t.Error(err)
		return answer{}
	}
	as.set(req.Header)
	return a.send(req)
}

func (a api) send(req *http.Request) answer {
	a.t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		a.t.Error(err)
		return answer{}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		a.t.Error(err)
	}
	got := answer{status: resp.StatusCode, header: resp.Header, body: string(body)}
	a.doc.check(a.t, req, got)
	return got
}

// get returns the body of a 200.
func get[T any](a api, as identity, path string) T {
	a.t.Helper()
	got := a.call(as, http.MethodGet, path, "")
	a.want(got, http.StatusOK)
	return decode[T](a.t, got.body)
}

func (a api) want(got answer, status int) {
	a.t.Helper()
	if got.status != status {
		a.t.Fatalf("status = %d, want %d; body: %s", got.status, status, got.body)
	}
}

// wantProblem checks that the answer is a problem whose detail has the words.
func (a api) wantProblem(got answer, status int, words string) problem {
	a.t.Helper()
	a.want(got, status)
	if contentType := got.header.Get("Content-Type"); contentType != "application/problem+json" {
		a.t.Errorf("Content-Type = %q, want a problem's", contentType)
	}
	p := decode[problem](a.t, got.body)
	if p.Type != "about:blank" || p.Status != status || p.Title != http.StatusText(status) || !strings.Contains(p.Detail, words) {
		a.t.Errorf("problem = %s, want status %d and a detail with %q", got.body, status, words)
	}
	return p
}

func decode[T any](t *testing.T, body string) T {
	t.Helper()
	var v T
	dec := json.NewDecoder(strings.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("can't read the answer %q: %v", body, err)
	}
	return v
}

func TestHealth(t *testing.T) {
	a := newAPI(t)
	if got := a.call(nobody, "GET", "/healthz", ""); got.status != http.StatusOK || got.body != `{"status":"ok"}`+"\n" {
		t.Errorf("healthz = %d %s", got.status, got.body)
	}
}

func TestUnknownPaths(t *testing.T) {
	a := newAPI(t)
	for _, path := range []string{"/", "/api/v1", "/api/v1/", "/api/v1/nothing", "/api/v1/orders/", "/api/v1/orders/x/y", "/api/v2/orders"} {
		a.wantProblem(a.call(acme, "GET", path, ""), http.StatusNotFound, "Nothing is served at "+path+";")
	}
}

func TestWrongMethods(t *testing.T) {
	a := newAPI(t)
	tests := []struct{ method, path, allow string }{
		{"POST", "/healthz", "GET, HEAD"},
		{"DELETE", "/openapi.json", "GET, HEAD"},
		{"POST", "/api/v1/example_endpoint", "GET, HEAD"},
		{"PUT", "/api/v1/headers", "GET, HEAD"},
		{"OPTIONS", "/api/v1/events", "GET, HEAD"},
		{"DELETE", "/api/v1/orders", "GET, POST, HEAD"},
		{"PATCH", "/api/v1/orders/x", "GET, PUT, DELETE, HEAD"},
	}
	for _, tt := range tests {
		got := a.call(acme, tt.method, tt.path, "")
		a.wantProblem(got, http.StatusMethodNotAllowed, "does not take the method "+tt.method)
		if allow := got.header.Get("Allow"); allow != tt.allow {
			t.Errorf("%s %s: Allow = %q, want %q", tt.method, tt.path, allow, tt.allow)
		}
	}
}

func TestIdentityIsRequired(t *testing.T) {
	a := newAPI(t)
	tests := []struct {
		name    string
		tenants []string
	}{
		{"none", nil},
		{"empty", []string{""}},
		{"two", []string{"acme", "globex"}},
		{"too long", []string{strings.Repeat("a", maxTenantLength+1)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := a.in(t)
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, a.url+"/api/v1/example_endpoint", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header["Latchkey-Tenant"] = tt.tenants
			got := a.send(req)
			a.wantProblem(got, http.StatusUnauthorized, "meant to be reached through Latchkey")
			if challenge := got.header.Get("WWW-Authenticate"); challenge != "token" {
				t.Errorf("WWW-Authenticate = %q", challenge)
			}
		})
	}
}

func TestExampleEndpoint(t *testing.T) {
	a := newAPI(t)
	got := a.call(acme, "GET", "/api/v1/example_endpoint", "")
	a.want(got, http.StatusOK)
	want := `{"tenant":"acme",` +
		`"message":"Hello, acme! Latchkey let your API token through to the example backend.",` +
		`"time":"2026-03-02T10:15:00Z",` +
		`"caller":{"tokenId":"0123456789","tokenName":"ci","owner":"ada@acme.example","scopes":["orders:read","orders:write"]},` +
		`"orders":5}` + "\n"
	if got.body != want {
		t.Errorf("got  %swant %s", got.body, want)
	}
	if cache := got.header.Get("Cache-Control"); cache != "no-store" {
		t.Errorf("Cache-Control = %q", cache)
	}
}

func TestNoScopesAreAnEmptyList(t *testing.T) {
	a := newAPI(t)
	if got := a.call(identity{tenant: "acme"}, "GET", "/api/v1/example_endpoint", ""); !strings.Contains(got.body, `"scopes":[]`) {
		t.Errorf("got %s", got.body)
	}
}

func TestClockIsOptional(t *testing.T) {
	server := httptest.NewServer(New(Options{}))
	defer server.Close()
	before := time.Now()
	got := get[exampleAnswer](api{t: t, url: server.URL, doc: readDocument(t)}, acme, "/api/v1/example_endpoint")
	if got.Time.Before(before) || got.Time.After(time.Now()) {
		t.Errorf("time = %s, want the present", got.Time)
	}
}

func TestHeaders(t *testing.T) {
	a := newAPI(t)
	uri := "/api/v1/headers?a=%20b&c=d%2Fe&&x"
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, a.url+uri, nil)
	if err != nil {
		t.Fatal(err)
	}
	acme.set(req.Header)
	req.Host = "acme.example.com"
	req.Header["X-Twice"] = []string{"1", "<2>"}
	got := a.send(req)
	a.want(got, http.StatusOK)

	seen := decode[echo](t, got.body)
	if seen.Method != http.MethodGet || seen.Host != "acme.example.com" || seen.RequestURI != uri {
		t.Errorf("seen = %+v", seen)
	}
	if twice := fmt.Sprint(seen.Headers["X-Twice"]); twice != "[1 <2>]" {
		t.Errorf("X-Twice = %s", twice)
	}
	if tenant := seen.Headers.Get("Latchkey-Tenant"); tenant != "acme" {
		t.Errorf("Latchkey-Tenant = %q", tenant)
	}
}

func TestTenantsAreBounded(t *testing.T) {
	a := newAPI(t)
	for i := range maxTenants {
		a.want(a.call(identity{tenant: fmt.Sprintf("tenant-%d", i)}, "GET", "/api/v1/example_endpoint", ""), http.StatusOK)
	}
	a.wantProblem(a.call(acme, "GET", "/api/v1/orders", ""), http.StatusServiceUnavailable, "1000 tenants")
	a.wantProblem(a.call(acme, "GET", "/api/v1/events", ""), http.StatusServiceUnavailable, "1000 tenants")
	a.want(a.call(acme, "GET", "/api/v1/headers", ""), http.StatusOK)
	a.want(a.call(identity{tenant: "tenant-7"}, "GET", "/api/v1/example_endpoint", ""), http.StatusOK)
}
