package server_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/directory"
	problems "github.com/latchkey-dev/latchkey/internal/problem"
	"github.com/latchkey-dev/latchkey/internal/proxy"
	"github.com/latchkey-dev/latchkey/internal/server"
	"github.com/latchkey-dev/latchkey/internal/testing/directorytest"
	"github.com/latchkey-dev/latchkey/internal/testing/examplebackend"
	"github.com/latchkey-dev/latchkey/internal/wallclock"
)

const (
	acmeHost = "acme.example.com"
	// marker stands for a secret that a client sends in places other than
	// Authorization. It must be in no log and no metric.
	marker = "s3cr3t-marker"
)

var (
	start  = time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)
	expiry = start.Add(time.Hour)
)

// harness is a server with a directory, a clock that the test moves, the tenants
// acme and globex, and a backend. At the end of every test it wants nothing secret
// in the logs, the metrics, the answers, or in what reached the backend.
type harness struct {
	t     *testing.T
	clock *clocktesting.FakeClock
	// aging is the directory's clock.
	aging     *clocktesting.FakeClock
	directory *directory.Directory
	stores    directory.Stores
	handler   *server.Server
	front     *httptest.Server
	logs      *logBuffer
	registry  *prometheus.Registry
	backend   *recorder
	// api is the PublicApi as it was first delivered.
	api *v1alpha1.PublicApi

	mu      sync.Mutex
	secrets []string
}

// setup is what a test changes of the harness.
type setup struct {
	backend http.Handler
	api     *v1alpha1.PublicApi
	config  server.Config
	// unsynced leaves the directory without its first lists.
	unsynced bool
}

func newHarness(t *testing.T, changes ...func(*setup)) *harness {
	t.Helper()
	h := &harness{t: t, clock: clocktesting.NewFakeClock(start), logs: &logBuffer{}, registry: prometheus.NewRegistry(), secrets: []string{marker}}
	logger := slog.New(slog.NewJSONHandler(h.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	h.aging = clocktesting.NewFakeClock(start)
	h.directory = directory.NewWithOptions(logger, directory.Options{Clock: h.aging})
	h.stores = h.directory.Stores()
	s := &setup{
		backend: examplebackend.New(examplebackend.Options{}),
		api:     directorytest.PublicApi(""),
		config: server.Config{
			BaseDomain: "example.com", TokenPrefix: v1alpha1.DefaultTokenPrefix, Directory: h.directory,
			Clock: wallclock.New(h.clock), Logger: logger, Metrics: h.registry,
		},
	}
	backends := proxy.New(logger)
	s.config.Proxy = backends
	for _, change := range changes {
		change(s)
	}
	h.backend = &recorder{next: s.backend}
	backend := httptest.NewServer(h.backend)
	if s.api.Spec.Backend.URL == "" {
		s.api.Spec.Backend.URL = backend.URL
	}
	if !s.unsynced {
		directorytest.Sync(t, h.stores)
	}
	h.api = s.api
	directorytest.Must(t, h.stores.PublicApis.Add(s.api))
	for _, tenant := range []string{"acme", "globex"} {
		directorytest.Must(t, h.stores.Tenants.Add(directorytest.Tenant(tenant)))
	}
	var err error
	h.handler, err = server.New(s.config)
	directorytest.Must(t, err)
	h.front = httptest.NewServer(h.handler)
	t.Cleanup(func() {
		h.front.CloseClientConnections()
		h.front.Close() // waits for every handler, and so for every line of the log
		backends.Close()
		backend.CloseClientConnections()
		backend.Close()
		h.wantNothingSecretLeft()
	})
	return h
}

func withBackend(backend http.HandlerFunc) func(*setup) {
	return func(s *setup) { s.backend = backend }
}

func withAPI(change func(*v1alpha1.PublicApiSpec)) func(*setup) {
	return func(s *setup) { change(&s.api.Spec) }
}

func withConfig(change func(*server.Config)) func(*setup) {
	return func(s *setup) { change(&s.config) }
}

// issue makes a token of the tenant that works until expiry.
func (h *harness) issue(tenant string, changes ...func(*directorytest.Issued)) *directorytest.Issued {
	h.t.Helper()
	i := directorytest.Issue(h.t, tenant, expiry)
	i.Record.Owner, i.Record.Scopes = "ada@example.com", []string{"orders:read", "orders:write"}
	for _, change := range changes {
		change(i)
	}
	h.keepSecret(secretPart(i.Token.Reveal()))
	i.Add(h.t, h.stores)
	return i
}

// secretPart is what follows the public id.
func secretPart(plaintext string) string { return plaintext[strings.LastIndexByte(plaintext, '_')+1:] }

func (h *harness) keepSecret(secret string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.secrets = append(h.secrets, secret)
}

// secretIn names the first secret that the text holds, or is empty.
func (h *harness) secretIn(text string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, secret := range h.secrets {
		if strings.Contains(text, secret) {
			return secret
		}
	}
	return ""
}

func (h *harness) wantNothingSecretLeft() {
	h.t.Helper()
	for what, text := range map[string]string{"log": h.logs.String(), "metrics": h.metrics()} {
		if secret := h.secretIn(text); secret != "" {
			h.t.Errorf("the %s holds %q:\n%s", what, secret, text)
		}
	}
	for _, request := range h.backend.all() {
		if secret := h.secretIn(request.dump); secret != "" && secret != marker {
			h.t.Errorf("the backend was sent a token:\n%s", request.dump)
		}
	}
}

func (h *harness) metrics() string {
	h.t.Helper()
	families, err := h.registry.Gather()
	directorytest.Must(h.t, err)
	var text strings.Builder
	for _, family := range families {
		if _, err := expfmt.MetricFamilyToText(&text, family); err != nil {
			h.t.Fatal(err)
		}
	}
	return text.String()
}

// request makes a request to acme's host with the token, if there is one.
func (h *harness) request(method, target, plaintext string) *http.Request {
	h.t.Helper()
	r, err := http.NewRequestWithContext(h.t.Context(), method, h.front.URL+target, nil)
	directorytest.Must(h.t, err)
	r.Host = acmeHost
	if plaintext != "" {
		r.Header.Set("Authorization", "token "+plaintext)
	}
	return r
}

// answer is a response that was read to its end.
type answer struct {
	*http.Response
	body string
}

// open sends a request and returns once the answer's headers are there.
func (h *harness) open(r *http.Request) *http.Response {
	h.t.Helper()
	response, err := h.front.Client().Do(r)
	directorytest.Must(h.t, err)
	h.t.Cleanup(func() { _ = response.Body.Close() })
	return response
}

// do sends a request and reads the whole answer.
func (h *harness) do(r *http.Request) answer {
	h.t.Helper()
	response := h.open(r)
	body, err := io.ReadAll(response.Body)
	directorytest.Must(h.t, err)
	if secret := h.secretIn(fmt.Sprint(response.Header) + string(body)); secret != "" && secret != marker {
		h.t.Errorf("the answer holds the token:\n%s", body)
	}
	return answer{response, string(body)}
}

func (h *harness) get(target, plaintext string) answer {
	h.t.Helper()
	return h.do(h.request(http.MethodGet, target, plaintext))
}

// dial opens a connection to the front door.
func (h *harness) dial() net.Conn {
	h.t.Helper()
	connection, err := (&net.Dialer{}).DialContext(h.t.Context(), "tcp", h.front.Listener.Addr().String())
	directorytest.Must(h.t, err)
	h.t.Cleanup(func() { _ = connection.Close() })
	directorytest.Must(h.t, connection.SetDeadline(time.Now().Add(30*time.Second)))
	return connection
}

// raw sends the text over a connection of its own, and returns all that comes
// back until the server closes it. The text must ask for that.
func (h *harness) raw(text string) string {
	h.t.Helper()
	connection := h.dial()
	_, err := io.WriteString(connection, text)
	directorytest.Must(h.t, err)
	all, err := io.ReadAll(connection)
	if err != nil {
		h.t.Fatalf("read after %q: %v", all, err)
	}
	return string(all)
}

// rawAnswer sends the text over a connection of its own, and returns the first
// answer to it.
func (h *harness) rawAnswer(text string) answer {
	h.t.Helper()
	connection := h.dial()
	_, err := io.WriteString(connection, text)
	directorytest.Must(h.t, err)
	method, _, _ := strings.Cut(text, " ")
	response, err := http.ReadResponse(bufio.NewReader(connection), &http.Request{Method: method})
	directorytest.Must(h.t, err)
	body, err := io.ReadAll(response.Body)
	directorytest.Must(h.t, err)
	directorytest.Must(h.t, response.Body.Close())
	directorytest.Must(h.t, connection.Close())
	return answer{response, string(body)}
}

func (a answer) wantStatus(t *testing.T, want int) {
	t.Helper()
	if a.StatusCode != want {
		t.Fatalf("status %d, want %d: %s", a.StatusCode, want, a.body)
	}
}

// problem is an answer as RFC 9457 has it.
type problem struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	ExpiredAt string `json:"expiredAt"`
}

// wantProblem wants all that every problem of the code has to have.
func (a answer) wantProblem(t *testing.T, status int, code string) problem {
	t.Helper()
	a.wantStatus(t, status)
	var p problem
	if err := json.Unmarshal([]byte(a.body), &p); err != nil {
		t.Fatalf("the body is not JSON: %v: %s", err, a.body)
	}
	if p.Type != problems.DefaultBase+code || p.Status != status || p.Title == "" || p.Detail == "" {
		t.Errorf("got %+v, want one of code %s with status %d, title and detail", p, code, status)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/problem+json", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
	} {
		if got := a.Header.Values(name); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	challenges := strings.Join(a.Header.Values("Www-Authenticate"), "; ")
	want := ""
	if status == http.StatusUnauthorized {
		want = `token realm="acme.example.com"; Bearer realm="acme.example.com"`
	}
	if challenges != want {
		t.Errorf("WWW-Authenticate: %s, want %s", challenges, want)
	}
	return p
}

// recorder is a backend that remembers what it was sent.
type recorder struct {
	next http.Handler
	mu   sync.Mutex
	seen []seenRequest
}

type seenRequest struct {
	*http.Request
	dump string
}

func (b *recorder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	dump, _ := httputil.DumpRequest(r, false)
	b.mu.Lock()
	b.seen = append(b.seen, seenRequest{r.Clone(r.Context()), string(dump)})
	b.mu.Unlock()
	b.next.ServeHTTP(w, r)
}

func (b *recorder) all() []seenRequest {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]seenRequest(nil), b.seen...)
}

// last is the request that the backend was sent last.
func (b *recorder) last(t *testing.T) seenRequest {
	t.Helper()
	all := b.all()
	if len(all) == 0 {
		t.Fatal("the backend was sent nothing")
	}
	return all[len(all)-1]
}

// logBuffer collects log lines from many goroutines.
type logBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *logBuffer) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(line)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

// lines are the logged records with the message.
func (b *logBuffer) lines(message string) []map[string]any {
	var lines []map[string]any
	for line := range strings.Lines(b.String()) {
		var attributes map[string]any
		if json.Unmarshal([]byte(line), &attributes) == nil && attributes["msg"] == message {
			lines = append(lines, attributes)
		}
	}
	return lines
}

func readCloser(text string) io.ReadCloser { return io.NopCloser(strings.NewReader(text)) }

func metaTime(t time.Time) metav1.Time { return metav1.NewTime(t) }
