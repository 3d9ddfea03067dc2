package server_test

import (
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/directory"
	"github.com/latchkey-dev/latchkey/internal/proxy"
	"github.com/latchkey-dev/latchkey/internal/server"
	"github.com/latchkey-dev/latchkey/internal/testing/directorytest"
)

// discarded is an answer that nobody reads.
type discarded struct {
	header http.Header
	status int
}

func (d *discarded) Header() http.Header         { return d.header }
func (d *discarded) Write(b []byte) (int, error) { return len(b), nil }
func (d *discarded) WriteHeader(status int)      { d.status = status }

// BenchmarkFrontDoor is what the API server itself does for a request, without
// network and backend.
func BenchmarkFrontDoor(b *testing.B) {
	for name, level := range map[string]slog.Level{"access log": slog.LevelInfo, "no access log": slog.LevelWarn} {
		b.Run(name, func(b *testing.B) {
			logger := slog.New(slog.NewJSONHandler(&discarded{}, &slog.HandlerOptions{Level: level})) // lines are made, as slog.DiscardHandler would not
			view := directory.New(logger)
			stores := view.Stores()
			for _, err := range []error{
				stores.Records.Replace(nil, ""), stores.ApiTokens.Replace(nil, ""), stores.Tenants.Replace(nil, ""), stores.PublicApis.Replace(nil, ""), stores.Documents.Replace(nil, ""),
				stores.PublicApis.Add(directorytest.PublicApi("http://127.0.0.1:1")), stores.Tenants.Add(directorytest.Tenant("acme")),
			} {
				if err != nil {
					b.Fatal(err)
				}
			}
			issued := directorytest.Issue(b, "acme", time.Now().Add(time.Hour))
			issued.Add(b, stores)
			s, err := server.New(server.Config{
				BaseDomain: "example.com", TokenPrefix: v1alpha1.DefaultTokenPrefix, Directory: view, Proxy: proxy.New(logger),
				Logger: logger, Metrics: prometheus.NewRegistry(),
			})
			if err != nil {
				b.Fatal(err)
			}
			r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, "http://acme.example.com/api/v1/token", nil)
			if err != nil {
				b.Fatal(err)
			}
			r.RequestURI, r.RemoteAddr = "/api/v1/token", "192.0.2.1:1234"
			r.URL.Scheme, r.URL.Host = "", ""
			r.Header.Set("Authorization", "token "+issued.Token.Reveal())
			b.ReportAllocs()
			for b.Loop() {
				answer := &discarded{header: http.Header{}}
				if s.ServeHTTP(answer, r); answer.status != http.StatusOK {
					b.Fatalf("answered %d", answer.status)
				}
			}
		})
	}
}
