package server_test

import (
	"bufio"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/server"
)

func withLimits(limits server.Limits) func(*setup) {
	return func(s *setup) { s.config.Limits = limits }
}

func TestBodyLimit(t *testing.T) {
	const limit = 1000
	received := make(chan int64, 1)
	h := newHarness(t, withLimits(server.Limits{BodyBytes: limit}), withBackend(func(_ http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		received <- n
	}))
	plaintext := h.issue("acme").Token.Reveal()
	post := func(body io.Reader, length int64) answer {
		r := h.request(http.MethodPost, endpoint, plaintext)
		r.Body, r.ContentLength = io.NopCloser(body), length
		return h.do(r)
	}
	if a := post(strings.NewReader(strings.Repeat("a", limit)), limit); a.StatusCode != http.StatusOK || <-received != limit {
		t.Errorf("a body of the limit's size is answered %d", a.StatusCode)
	}
	post(strings.NewReader(strings.Repeat("a", limit+1)), limit+1).wantProblem(t, http.StatusRequestEntityTooLarge, "request-too-large")
	post(strings.NewReader(strings.Repeat("a", limit+1)), -1).wantProblem(t, http.StatusRequestEntityTooLarge, "request-too-large")
}

func TestRequestsPerTenant(t *testing.T) {
	backend := newStreaming()
	h := newHarness(t, withLimits(server.Limits{RequestsPerTenant: 1}), func(s *setup) { s.backend = backend })
	acme, globex := h.issue("acme").Token.Reveal(), h.issue("globex").Token.Reveal()
	s := h.openStream(backend, acme)
	refused := h.get(endpoint, acme)
	refused.wantProblem(t, http.StatusTooManyRequests, "rate-limited")
	if refused.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	other := h.request(http.MethodGet, "/api/v1/token", globex)
	other.Host = "globex.example.com"
	if a := h.do(other); a.StatusCode != http.StatusOK {
		t.Errorf("another tenant is answered %d", a.StatusCode)
	}
	if err := s.body.Close(); err != nil {
		t.Fatal(err)
	}
	await(t, "the end of the backend's request", backend.ended)
	h.wantOutcome("client-gone")
	if a := h.get("/api/v1/token", acme); a.StatusCode != http.StatusOK {
		t.Errorf("after the end of the first request the next is answered %d", a.StatusCode)
	}
}

// A flood of bad tokens is told to stop; good tokens of the same address still
// work, and a minute later the counting starts anew.
func TestBadTokensPerMinute(t *testing.T) {
	const limit = 3
	h := newHarness(t, withLimits(server.Limits{BadTokensPerMinute: limit}))
	good := h.issue("acme").Token.Reveal()
	for range limit {
		h.get(endpoint, "lk_nonsense").wantProblem(t, http.StatusUnauthorized, "token-invalid")
	}
	refused := h.get(endpoint, "lk_nonsense")
	refused.wantProblem(t, http.StatusTooManyRequests, "rate-limited")
	if !refused.Close {
		t.Error("the connection stays open")
	}
	if a := h.get(endpoint, good); a.StatusCode != http.StatusOK {
		t.Errorf("a good token is answered %d", a.StatusCode)
	}
	h.clock.Step(time.Minute)
	h.get(endpoint, "lk_nonsense").wantProblem(t, http.StatusUnauthorized, "token-invalid")
}

// A proxy that is not trusted stands for all its clients: what one of them does wrong is not
// counted against the others. The log says so once. Clients of a trusted one are counted
// each by itself.
func TestBadTokensBehindAProxy(t *testing.T) {
	const limit = 3
	from := func(h *harness, address string) answer {
		r := h.request(http.MethodGet, endpoint, "lk_nonsense")
		r.Header.Set("X-Forwarded-For", address)
		return h.do(r)
	}
	untrusted := newHarness(t, withLimits(server.Limits{BadTokensPerMinute: limit}))
	for range 3 * limit {
		from(untrusted, "203.0.113.9").wantProblem(t, http.StatusUnauthorized, "token-invalid")
	}
	if n := len(untrusted.logs.lines("no trusted proxy is configured (--trusted-proxies): if requests come by one, tokens with allowedCIDRs are refused, and failures are not counted by address")); n != 1 {
		t.Errorf("the log warns %d times that no proxy is trusted, want once", n)
	}

	trusted := newHarness(t, withLimits(server.Limits{BadTokensPerMinute: limit}), withConfig(func(c *server.Config) {
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	}))
	for range limit {
		from(trusted, "203.0.113.9:4711").wantProblem(t, http.StatusUnauthorized, "token-invalid")
	}
	from(trusted, "203.0.113.9:4712").wantProblem(t, http.StatusTooManyRequests, "rate-limited")
	from(trusted, "203.0.113.10:4711").wantProblem(t, http.StatusUnauthorized, "token-invalid")
	if n := len(trusted.logs.lines("no trusted proxy is configured (--trusted-proxies): if requests come by one, tokens with allowedCIDRs are refused, and failures are not counted by address")); n != 0 {
		t.Error("the log warns of proxies where one is trusted")
	}
	elsewhere := newHarness(t, withLimits(server.Limits{BadTokensPerMinute: limit}), withConfig(func(c *server.Config) {
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
	}))
	for range limit { // a client that is no proxy can't hide behind a header
		from(elsewhere, "203.0.113.9").wantProblem(t, http.StatusUnauthorized, "token-invalid")
	}
	from(elsewhere, "203.0.113.9").wantProblem(t, http.StatusTooManyRequests, "rate-limited")
	for range 2 * limit {
		from(trusted, "unknown").wantProblem(t, http.StatusUnauthorized, "token-invalid")
	}
}

// echo switches to WebSocket and sends back what it gets.
func echo(w http.ResponseWriter, _ *http.Request) {
	connection, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	defer func() { _ = connection.Close() }()
	_, _ = io.WriteString(connection, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nLatchkey-Tenant: spoofed\r\n\r\n")
	_, _ = io.Copy(connection, buffered)
}

func handshake(plaintext, connection string) string {
	return "GET " + endpoint + " HTTP/1.1\r\nHost: " + acmeHost + "\r\nAuthorization: token " + plaintext +
		"\r\nConnection: " + connection + "\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
}

func TestWebSocketEndsWithItsToken(t *testing.T) {
	h := newHarness(t, withBackend(echo), withAPI(func(s *v1alpha1.PublicApiSpec) {
		s.Upgrades = []v1alpha1.UpgradeProtocol{v1alpha1.UpgradeWebSocket}
	}))
	issued := h.issue("acme")
	connection := h.dial()
	_, err := io.WriteString(connection, handshake(issued.Token.Reveal(), "keep-alive, Upgrade"))
	if err != nil {
		t.Fatal(err)
	}
	reader := bufio.NewReader(connection)
	response, err := http.ReadResponse(reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusSwitchingProtocols || response.Header.Get("Latchkey-Tenant") != "" {
		t.Fatalf("the answer is %d %v", response.StatusCode, response.Header)
	}
	if _, err := io.WriteString(connection, "ping\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := reader.ReadString('\n'); line != "ping\n" {
		t.Fatalf("the echo is %q, %v", line, err)
	}
	issued.UpdateApiToken(t, h.stores, func(a *v1alpha1.ApiToken) { a.Spec.Revoked = true })
	if rest, _ := io.ReadAll(reader); len(rest) != 0 {
		t.Errorf("after the revocation came %q", rest)
	}
}

// Traefik CVE-2026-88008: no protocol is switched to unless the PublicApi says so.
func TestUpgradesAreRefusedByDefault(t *testing.T) {
	h := newHarness(t, withBackend(echo))
	plaintext := h.issue("acme").Token.Reveal()
	for _, connection := range []string{"Upgrade", "upgrade, keep-alive", "Upgrade, HTTP2-Settings"} {
		h.rawAnswer(handshake(plaintext, connection)).wantProblem(t, http.StatusBadRequest, "request-refused")
	}
}
