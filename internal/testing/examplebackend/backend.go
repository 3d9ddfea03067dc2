// Package examplebackend is a product's backend in small: a JSON API that keeps
// orders per tenant and leaves the checking of API tokens to Latchkey. It stands
// behind Latchkey's proxy in make run, in tests, in benchmarks and in the docs.
//
// Latchkey tells it who calls in the headers Latchkey-Tenant, Latchkey-Token-Id,
// Latchkey-Token-Name, Latchkey-Token-Owner and Latchkey-Token-Scopes. The
// backend believes them, and decides by the scopes what the caller may do. So
// nothing but Latchkey may be able to reach it.
//
// Orders are kept in memory and are lost when the process ends. Each tenant
// begins with a few that depend on its name only. openapi.json describes the API.
package examplebackend

import (
	_ "embed" // openapi.json
	"net/http"
	"slices"
	"strings"
	"time"
)

// basePath begins the paths of all that needs an identity.
const basePath = "/api/v1"

// Scopes that operations need. Some need none.
const (
	noScope    = ""
	readScope  = "orders:read"
	writeScope = "orders:write"
)

//go:embed openapi.json
var openAPIDocument []byte

// Options are what New can be told. The zero value is ready for use.
type Options struct {
	// Clock gives the time that answers, events and changed orders bear. Nil
	// means time.Now.
	Clock func() time.Time
}

// New returns a backend with orders of its own, safe for concurrent use.
//
// Event streams run until their request's context ends. A server that is to shut
// down gracefully must end it, as with [http.Server.BaseContext].
func New(opts Options) http.Handler {
	b := &backend{clock: opts.Clock, store: newStore()}
	if b.clock == nil {
		b.clock = time.Now
	}
	mux := http.NewServeMux()
	methods := map[string][]string{}
	for _, rt := range b.routes() {
		mux.Handle(rt.method+" "+rt.path, rt.handler)
		methods[rt.path] = append(methods[rt.path], rt.method)
	}
	// The mux would answer these two cases in plain text.
	for path, allowed := range methods {
		mux.Handle(path, methodNotAllowed(allowed))
	}
	mux.HandleFunc("/", notFound)
	return mux
}

type backend struct {
	clock func() time.Time
	store *store
}

type route struct {
	method, path string
	handler      http.Handler
}

func (b *backend) routes() []route {
	return []route{
		{http.MethodGet, "/healthz", http.HandlerFunc(health)},
		{http.MethodGet, "/openapi.json", http.HandlerFunc(openAPI)},

		{http.MethodGet, basePath + "/example_endpoint", withCaller(noScope, b.exampleEndpoint)},
		{http.MethodGet, basePath + "/headers", withCaller(noScope, headers)},
		{http.MethodGet, basePath + "/events", withCaller(readScope, b.events)},
		{http.MethodGet, basePath + "/orders", withCaller(readScope, b.listOrders)},
		{http.MethodPost, basePath + "/orders", withCaller(writeScope, b.createOrder)},
		{http.MethodGet, basePath + "/orders/{id}", withCaller(readScope, b.getOrder)},
		{http.MethodPut, basePath + "/orders/{id}", withCaller(writeScope, b.replaceOrder)},
		{http.MethodDelete, basePath + "/orders/{id}", withCaller(writeScope, b.deleteOrder)},
	}
}

func (b *backend) now() time.Time { return b.clock().UTC() }

func health(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

func openAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(openAPIDocument) // fails only where the client is gone
}

func notFound(w http.ResponseWriter, r *http.Request) {
	writeProblem(w, newProblem(http.StatusNotFound,
		"Nothing is served at %s; GET /openapi.json lists what is.", r.URL.Path))
}

func methodNotAllowed(allowed []string) http.HandlerFunc {
	allow := slices.Clone(allowed)
	if slices.Contains(allow, http.MethodGet) {
		allow = append(allow, http.MethodHead) // the mux serves HEAD wherever GET is
	}
	list := strings.Join(allow, ", ")
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", list)
		writeProblem(w, newProblem(http.StatusMethodNotAllowed,
			"%s does not take the method %s; use one of %s.", r.URL.Path, r.Method, list))
	}
}
