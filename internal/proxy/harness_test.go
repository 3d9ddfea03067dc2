package proxy_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/latchkey-dev/latchkey/internal/proxy"
	"github.com/latchkey-dev/latchkey/internal/testing/check"
)

func TestMain(m *testing.M) {
	remove, err := trust()
	if err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(status int) {
		remove()
		os.Exit(status)
	}))
}

// marker is what must be in no log.
const marker = "s3cr3t-marker"

// fixture is a proxy between a client and a backend.
type fixture struct {
	t       *testing.T
	request proxy.Request
	proxy   *proxy.Proxy
	front   *httptest.Server
	// header is what the proxy's caller has set for the answer before.
	header http.Header

	mu     sync.Mutex
	logs   bytes.Buffer
	errors []error
	seen   []*http.Request
	dumps  []string
}

func newFixture(t *testing.T, backend http.HandlerFunc) *fixture {
	t.Helper()
	f := &fixture{t: t, request: proxy.Request{
		ResponseHeaderTimeout: 30 * time.Second,
		Identity:              proxy.Identity{Tenant: "acme", ID: "0123456789", Name: "ci", Owner: "ada@example.com", Scopes: []string{"a", "b"}},
		ClientAddress:         netip.MustParseAddr("192.0.2.1"),
		Scheme:                "https",
	}}
	f.proxy = proxy.New(slog.New(slog.NewJSONHandler(f, &slog.HandlerOptions{Level: slog.LevelDebug})))
	behind := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.record(r)
		backend(w, r)
	}))
	f.request.Backend = behind.URL
	f.front = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		maps.Copy(w.Header(), f.header)
		if err := f.proxy.Serve(w, r, &f.request); err != nil {
			f.mu.Lock()
			f.errors = append(f.errors, err)
			f.mu.Unlock()
			http.Error(w, "the proxy's error", http.StatusBadGateway)
		}
	}))
	t.Cleanup(func() {
		f.front.CloseClientConnections()
		f.front.Close()
		f.proxy.Close()
		behind.CloseClientConnections()
		behind.Close()
		if strings.Contains(f.logs.String(), marker) {
			t.Errorf("the log holds a secret:\n%s", f.logs.String())
		}
	})
	return f
}

// Write collects the log.
func (f *fixture) Write(line []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.logs.Write(line)
}

func (f *fixture) record(r *http.Request) {
	dump, _ := httputil.DumpRequest(r, false)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen, f.dumps = append(f.seen, r), append(f.dumps, string(dump))
}

// last is the request that the backend was sent last, and its text.
func (f *fixture) last() (*http.Request, string) {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.seen) == 0 {
		f.t.Fatal("the backend was sent nothing")
	}
	return f.seen[len(f.seen)-1], f.dumps[len(f.dumps)-1]
}

// wantError wants Serve to have returned such an error, and no other.
func (f *fixture) wantError(want error) {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.errors) != 1 || want != nil && !errors.Is(f.errors[0], want) {
		f.t.Errorf("errors %v, want one: %v", f.errors, want)
	}
}

func (f *fixture) newRequest(method, target string, body io.Reader) *http.Request {
	f.t.Helper()
	r, err := http.NewRequestWithContext(f.t.Context(), method, f.front.URL+target, body)
	must(f.t, err)
	r.Host = "acme.example.com"
	return r
}

// do sends a request and reads the whole answer.
func (f *fixture) do(r *http.Request) (*http.Response, string) {
	f.t.Helper()
	response, err := f.front.Client().Do(r)
	must(f.t, err)
	body, err := io.ReadAll(response.Body)
	must(f.t, err)
	must(f.t, response.Body.Close())
	return response, string(body)
}

// raw sends the text over a connection of its own, and returns the first answer.
func (f *fixture) raw(text string) (*http.Response, string) {
	f.t.Helper()
	connection, err := (&net.Dialer{}).DialContext(f.t.Context(), "tcp", f.front.Listener.Addr().String())
	must(f.t, err)
	defer func() { _ = connection.Close() }()
	must(f.t, connection.SetDeadline(time.Now().Add(30*time.Second)))
	_, err = io.WriteString(connection, text)
	must(f.t, err)
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	must(f.t, err)
	body, err := io.ReadAll(response.Body)
	must(f.t, err)
	must(f.t, response.Body.Close())
	return response, string(body)
}

var must = check.Must
