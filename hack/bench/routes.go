package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/latchkey-dev/latchkey/internal/openapi"
)

// routeCount is how many operations the document of the section check has.
const routeCount = 200

// routes are operations, and requests for them.
type routes struct {
	matcher  *openapi.Matcher
	mux      *http.ServeMux
	requests []*http.Request
}

// newRoutes makes a document that both the API server's matcher and net/http's
// ServeMux can take.
func newRoutes() (*routes, error) {
	r := &routes{mux: http.NewServeMux()}
	paths := map[string]any{}
	for i := range routeCount / 4 {
		for _, path := range []string{"", "/{id}", "/{id}/items", "/{id}/items/{item}"} {
			template := fmt.Sprintf("/api/v1/resource%d%s", i, path)
			paths[template] = map[string]any{"get": map[string]any{"responses": map[string]any{}}}
			r.mux.Handle("GET "+template, http.NotFoundHandler())
		}
		request, err := http.NewRequest(http.MethodGet, fmt.Sprintf("/api/v1/resource%d/1234/items/56", i), nil) //nolint:noctx // is never sent
		if err != nil {
			return nil, err
		}
		r.requests = append(r.requests, request)
	}
	text, err := json.Marshal(map[string]any{"openapi": "3.1.0", "info": map[string]any{"title": "Bench", "version": "1"}, "paths": paths})
	if err != nil {
		return nil, err
	}
	document, err := openapi.Load(text)
	if err != nil {
		return nil, err
	}
	r.matcher = document.Matcher()
	for _, request := range r.requests {
		if !r.match(request) || !r.serveMux(request) {
			return nil, errors.New("a request's operation is not found: " + request.URL.Path)
		}
	}
	return r, nil
}

func (r *routes) match(request *http.Request) bool {
	operation, _ := r.matcher.Match(http.MethodGet, request.URL.Path)
	return operation != nil
}

func (r *routes) serveMux(request *http.Request) bool {
	_, pattern := r.mux.Handler(request)
	return pattern != ""
}

// measure is what it takes to find the operation of a request.
func (r *routes) measure(ctx context.Context, limit time.Duration, find func(*http.Request) bool) time.Duration {
	const stride = 1000
	started, found := time.Now(), 0
	for time.Since(started) < limit && ctx.Err() == nil {
		for range stride {
			find(r.requests[found%len(r.requests)])
			found++
		}
	}
	return time.Since(started) / time.Duration(max(1, found))
}
