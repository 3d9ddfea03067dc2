package proxy

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// Connections that nobody uses are closed, and so is what the backend has closed;
// then nothing is left of the backend.
func TestSweep(t *testing.T) {
	for name, c := range map[string]struct {
		later       time.Duration
		backendGone bool
		kept        int
	}{
		"soon":             {later: time.Second, kept: 1},
		"late":             {later: maxIdleTime + time.Second},
		"soon, and closed": {later: time.Second, backendGone: true},
	} {
		t.Run(name, func(t *testing.T) {
			backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "answer") }))
			defer backend.Close()
			proxy := New(slog.New(slog.DiscardHandler))
			defer proxy.Close()
			request := &Request{Backend: backend.URL, ResponseHeaderTimeout: time.Minute, Identity: Identity{Tenant: "acme"}}
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
			if err := proxy.Serve(httptest.NewRecorder(), r, request); err != nil {
				t.Fatal(err)
			}
			if c.backendGone {
				backend.Close() // closes idle connections before it returns
			}
			p := proxy.pools.of("acme")
			p.sweep(time.Now().Add(c.later))
			got := 0
			if o := p.origins[backend.URL]; o != nil {
				got = len(o.idle)
			}
			if got != c.kept || len(p.origins) != c.kept {
				t.Errorf("%d connections and %d backends are kept, want %d", got, len(p.origins), c.kept)
			}
		})
	}
}
