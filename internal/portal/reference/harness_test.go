package reference_test

import (
	_ "embed"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/internal/portal/reference"
	"github.com/latchkey-dev/latchkey/internal/problem"
	"github.com/latchkey-dev/latchkey/internal/testing/browsertest"
)

func TestMain(m *testing.M) { os.Exit(browsertest.Main(m)) }

//go:embed testdata/openapi.json
var spec string

var host = reference.Host{Name: "acme.example.com", Origin: "https://acme.example.com"}

// goodToken is the one that the API of the tests accepts.
const goodToken = "lk_0123456789_notASecretButInTheTests"

// document describes testdata/openapi.json; change changes it.
func document(change ...func(*reference.Document)) reference.Document {
	read, write := [][]string{{"orders:read"}}, [][]string{{"orders:write"}}
	d := reference.Document{
		Title: "Orders API", Version: "1.4.0",
		Description: "See, make and follow the orders of your account.",
		Contact:     reference.Contact{Name: "API support", Email: "api@example.com", URL: "https://example.com/support"},
		DocsPath:    "/docs", BasePath: "/api/v1",
		SpecPath: "/api/v1/openapi.json", SpecYAMLPath: "/api/v1/openapi.yaml", SettingsPath: "/settings",
		DefaultLifetime: 90 * 24 * time.Hour, MaxLifetime: 365 * 24 * time.Hour, NoticeDays: 14,
		Scopes: []reference.Scope{
			{Name: "orders:read", Description: "See orders."},
			{Name: "orders:write", Description: "Make, change and delete orders."},
		},
		Operations: []reference.Operation{
			{Tag: "Service", Method: "GET", Path: "/api/v1/status", Summary: "Tell whether the API works", Public: true},
			{Tag: "Orders", Method: "GET", Path: "/api/v1/orders/{id}", Summary: "Show an order", Scopes: read},
			{Tag: "Start here", Method: "GET", Path: "/api/v1/example_endpoint", Summary: "Try a token", Description: "Answers any token that works, with what is known of the caller."},
			{Tag: "Orders", Method: "GET", Path: "/api/v1/orders", Summary: "List orders", Description: "The oldest first, page by page.\n\n**Filters** can be combined.", Scopes: read},
			{Tag: "Orders", Method: "POST", Path: "/api/v1/orders", Summary: "Make an order", Scopes: write},
			{Tag: "Orders", Method: "PATCH", Path: "/api/v1/orders/{id}", Summary: "Change an order", Scopes: write},
			{Tag: "Orders", Method: "PUT", Path: "/api/v1/orders/{id}", Summary: "Replace an order", Scopes: write, Deprecated: true},
			{Tag: "Orders", Method: "DELETE", Path: "/api/v1/orders/{id}", Summary: "Delete an order", Scopes: write},
		},
	}
	for _, c := range change {
		c(&d)
	}
	return d
}

func newReference(t *testing.T, change ...func(*reference.Document)) *reference.Reference {
	t.Helper()
	r, err := reference.New(document(change...))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// site is a tenant's host: the page, and an API that accepts goodToken.
type site struct {
	*httptest.Server
	// docs is the page's address, on a host name of the tenant's.
	docs string
	// spec is the document; without one the answer is 503.
	spec string

	mu    sync.Mutex
	calls []*http.Request
}

func newSite(t *testing.T, change ...func(*reference.Document)) *site {
	t.Helper()
	page := newReference(t, change...)
	s := &site{spec: spec}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if refused := page.Serve(w, r, host); refused != nil {
			refused.Write(w, problem.DefaultBase, host.Name)
		}
	})
	mux.HandleFunc("/api/v1/openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		if s.spec == "" {
			problem.Stale.Write(w, problem.DefaultBase, host.Name)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, s.spec)
	})
	mux.HandleFunc("/api/v1/", s.answer)
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	s.docs = strings.Replace(s.URL, "127.0.0.1", "acme.localhost", 1) + "/docs"
	return s
}

func (s *site) answer(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.calls = append(s.calls, r)
	s.mu.Unlock()
	switch authorization := r.Header.Get("Authorization"); {
	case r.URL.Path == "/api/v1/status" || authorization == "token "+goodToken:
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Latchkey-Token-Expires", "2027-02-21T12:00:00Z")
		_, _ = io.WriteString(w, `{"tenant":"acme","scopes":["orders:read","orders:write"]}`)
	case authorization == "":
		problem.AuthorizationMissing.Write(w, problem.DefaultBase, host.Name)
	default:
		problem.TokenInvalid.Write(w, problem.DefaultBase, host.Name)
	}
}

// count is how often the API was called.
func (s *site) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.calls)
}

// lastCall is the API's latest request.
func (s *site) lastCall(t *testing.T) *http.Request {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.calls) == 0 {
		t.Fatal("the API was not called")
	}
	return s.calls[len(s.calls)-1]
}
