package gateways

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/directory"
	"github.com/latchkey-dev/latchkey/internal/proxy"
	"github.com/latchkey-dev/latchkey/internal/server"
	"github.com/latchkey-dev/latchkey/internal/testing/directorytest"
	"github.com/latchkey-dev/latchkey/internal/testing/freeport"
	"github.com/latchkey-dev/latchkey/internal/testing/process"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is Latchkey as gateways ask it, and a backend that says what it was sent.
type world struct {
	stores           directory.Stores
	gateway, backend string
	// asked is the target that the gateway asked about last.
	asked atomic.Value
}

func newWorld(t *testing.T) *world {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	view := directory.New(logger)
	w := &world{stores: view.Stores()}
	directorytest.Sync(t, w.stores)
	directorytest.Must(t, w.stores.PublicApis.Add(directorytest.PublicApi("http://127.0.0.1:1")))
	for _, tenant := range []string{"acme", "globex"} {
		directorytest.Must(t, w.stores.Tenants.Add(directorytest.Tenant(tenant)))
	}
	backends := proxy.New(logger)
	t.Cleanup(backends.Close)
	latchkey, err := server.New(server.Config{
		BaseDomain: "example.com", TokenPrefix: v1alpha1.DefaultTokenPrefix, Directory: view, Proxy: backends,
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Logger: logger, Metrics: prometheus.NewRegistry(),
	})
	directorytest.Must(t, err)
	handler := latchkey.GatewayHandler()
	w.gateway = serve(t, http.HandlerFunc(func(answer http.ResponseWriter, r *http.Request) {
		w.asked.Store(r.Header.Get("X-Original-Uri") + r.Header.Get("X-Forwarded-Uri"))
		handler.ServeHTTP(answer, r)
	}))
	w.backend = serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"uri": r.RequestURI, "host": r.Host, "method": r.Method, "header": r.Header})
	}))
	return w
}

func serve(t *testing.T, handler http.Handler) (address string) {
	s := httptest.NewServer(handler)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s.Listener.Addr().String()
}

// configuration is the first block of the guide that is in the language and has
// the text, with its addresses replaced.
func (w *world) configuration(t *testing.T, language, text string) string {
	t.Helper()
	guide, err := os.ReadFile("../../docs/guides/gateways.md")
	directorytest.Must(t, err)
	for _, block := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(string(guide), -1) {
		if !strings.Contains(block[1], text) {
			continue
		}
		return strings.NewReplacer(
			"latchkey-gateway.latchkey-system.svc.cluster.local", w.gateway,
			"backend.example.svc.cluster.local", w.backend,
		).Replace(block[1])
	}
	t.Fatalf("the guide has no block in %s with %q", language, text)
	return ""
}

// installed is the program's path; without it the test is skipped.
func installed(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("%s is not installed here, so that its part of docs/guides/gateways.md is not tested", program)
	}
	return path
}

func freeAddress(t *testing.T) string {
	t.Helper()
	address, err := freeport.Address()
	directorytest.Must(t, err)
	return address
}

func write(t *testing.T, path, content string) {
	t.Helper()
	directorytest.Must(t, os.WriteFile(path, []byte(content), 0o600))
}

// run starts the gateway and waits until it answers.
func run(t *testing.T, address string, command process.Command) {
	t.Helper()
	command.LogFile = filepath.Join(t.TempDir(), "log")
	p, err := process.Start(command)
	directorytest.Must(t, err)
	t.Cleanup(func() {
		if err := p.Stop(10 * time.Second); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			log, _ := os.ReadFile(command.LogFile)
			t.Logf("%s said:\n%s", command.Path, log)
		}
	})
	testenv.Eventually(t, func() error {
		connection, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
		if err != nil {
			return err
		}
		return connection.Close()
	})
}

func startNginx(t *testing.T, w *world) (address string) {
	program, dir, address := installed(t, "nginx"), t.TempDir(), freeAddress(t)
	site := strings.Replace(w.configuration(t, "nginx", "auth_request"), "listen 80;", "listen "+address+";", 1)
	var temporary strings.Builder
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&temporary, "%s_temp_path %s;\n", kind, filepath.Join(dir, kind))
	}
	file := filepath.Join(dir, "nginx.conf")
	write(t, file, fmt.Sprintf("daemon off; pid %s/pid; error_log stderr; events {}\nhttp {\naccess_log off;\n%s\n%s\n}\n", dir, temporary.String(), site))
	run(t, address, process.Command{Path: program, Args: []string{"-p", dir, "-e", "stderr", "-c", file}})
	return address
}

func startTraefik(t *testing.T, w *world) (address string) {
	program, dir, address := installed(t, "traefik"), t.TempDir(), freeAddress(t)
	file := filepath.Join(dir, "dynamic.yaml")
	write(t, file, w.configuration(t, "yaml", "forwardAuth"))
	run(t, address, process.Command{Path: program, Args: []string{
		"--entrypoints.web.address=" + address, "--providers.file.filename=" + file,
		"--global.checknewversion=false", "--global.sendanonymoususage=false", "--log.level=ERROR",
	}})
	testenv.Eventually(t, func() error {
		if got := call(t, address, "acme.example.com", "/api/v1/x", ""); got.status == http.StatusNotFound {
			return fmt.Errorf("traefik has no routes yet")
		}
		return nil
	})
	return address
}

// answer is what came through the gateway. sent is what the backend was sent.
type answer struct {
	status int
	header http.Header
	body   string
	sent   struct {
		URI, Host string
		Header    http.Header
	}
}

func call(t *testing.T, address, host, target, plaintext string, changes ...func(http.Header)) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address, nil)
	directorytest.Must(t, err)
	r.URL.Opaque, r.Host, r.Close = target, host, true // as it is, dots too
	if plaintext != "" {
		r.Header.Set("Authorization", "token "+plaintext)
	}
	for _, change := range changes {
		change(r.Header)
	}
	response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	directorytest.Must(t, err)
	body, err := io.ReadAll(response.Body)
	directorytest.Must(t, err)
	directorytest.Must(t, response.Body.Close())
	a := answer{status: response.StatusCode, header: response.Header, body: string(body)}
	_ = json.NewDecoder(bytes.NewReader(body)).Decode(&a.sent) // a refusal has something else
	return a
}

func TestGuide(t *testing.T) {
	for name, start := range map[string]func(*testing.T, *world) string{"nginx": startNginx, "traefik": startTraefik} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			address := start(t, w)
			t.Run("accepted", func(t *testing.T) { accepted(t, w, address) })
			t.Run("refused", func(t *testing.T) { refused(t, w, address) })
			t.Run("forged headers", func(t *testing.T) { forged(t, w, address) })
			t.Run("ambiguous paths", func(t *testing.T) { ambiguous(t, w, address) })
			t.Run("another host in the request line", func(t *testing.T) { absolute(t, w, address) })
			t.Run("addresses", func(t *testing.T) { addresses(t, w, address) })
		})
	}
}

func issue(t *testing.T, w *world, tenant string, changes ...func(*directorytest.Issued)) *directorytest.Issued {
	t.Helper()
	i := directorytest.Issue(t, tenant, time.Now().Add(time.Hour))
	i.Record.Scopes = []string{"orders:read"}
	for _, change := range changes {
		change(i)
	}
	i.Add(t, w.stores)
	return i
}

func accepted(t *testing.T, w *world, address string) {
	i := issue(t, w, "acme")
	a := call(t, address, "acme.example.com", "/api/v1/orders?limit=3&q=a%20b", i.Token.Reveal())
	if a.status != http.StatusOK || a.sent.URI != "/api/v1/orders?limit=3&q=a%20b" || a.sent.Host != "acme.example.com" {
		t.Fatalf("status %d, the backend was sent %+v: %s", a.status, a.sent, a.body)
	}
	for name, want := range map[string]string{
		"Latchkey-Tenant": "acme", "Latchkey-Token-Id": i.Token.ID(), "Latchkey-Token-Name": i.Record.Name,
		"Latchkey-Token-Owner": "", "Latchkey-Token-Scopes": "orders:read", "Authorization": "",
	} {
		if got := strings.Join(a.sent.Header.Values(name), "|"); got != want {
			t.Errorf("%s: %q reached the backend, want %q", name, got, want)
		}
	}
}

func refused(t *testing.T, w *world, address string) {
	for name, c := range map[string]struct {
		host, plaintext string
		status          int
		challenge       bool
	}{
		"no token":         {"acme.example.com", "", 401, true},
		"another tenant's": {"acme.example.com", issue(t, w, "globex").Token.Reveal(), 401, true},
		"expired":          {"acme.example.com", issue(t, w, "acme", func(i *directorytest.Issued) { i.Record.Current.NotAfter = time.Now().Add(-time.Minute) }).Token.Reveal(), 401, true},
		"revoked":          {"acme.example.com", issue(t, w, "acme", func(i *directorytest.Issued) { i.ApiToken.Spec.Revoked = true }).Token.Reveal(), 401, true},
		"garbage":          {"acme.example.com", "garbage", 401, true},
		"of another address": {"acme.example.com", issue(t, w, "acme", func(i *directorytest.Issued) {
			i.Record.AllowedCIDRs = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
		}).Token.Reveal(), 403, false},
	} {
		a := call(t, address, c.host, "/api/v1/orders", c.plaintext)
		if a.status != c.status || (a.header.Get("Www-Authenticate") != "") != c.challenge || a.sent.URI != "" {
			t.Errorf("%s: status %d, %v, %s", name, a.status, a.header, a.body)
		}
	}
	if a := call(t, address, "acme.example.com", "/api/v1/orders", "garbage"); strings.HasPrefix(a.header.Get("Server"), "nginx") {
		var p struct {
			Type   string
			Status int
		}
		if err := json.Unmarshal([]byte(a.body), &p); err != nil || !strings.HasSuffix(p.Type, "#token-invalid") || p.Status != a.status {
			t.Errorf("the problem is %s: %v", a.body, err)
		}
	}
	if a := call(t, address, "nobody.example.com", "/api/v1/orders", issue(t, w, "acme").Token.Reveal()); a.status < 400 || a.sent.URI != "" {
		t.Errorf("an unknown host: status %d, %s", a.status, a.body)
	}
}

// What a client claims to be reaches neither Latchkey nor the backend.
func forged(t *testing.T, w *world, address string) {
	mine, theirs := issue(t, w, "acme"), issue(t, w, "globex")
	claims := func(h http.Header) {
		for name, value := range map[string]string{
			"Latchkey-Tenant": "globex", "Latchkey-Token-Id": theirs.Token.ID(), "Latchkey-Token-Owner": "boss@example.com", "Latchkey-Token-Scopes": "everything",
			"X-Original-Uri": "/api/v1/other", "X-Original-Url": "https://globex.example.com/api/v1/x", "X-Original-Method": "POST",
			"X-Forwarded-Host": "globex.example.com", "X-Forwarded-Uri": "/api/v1/other", "X-Forwarded-Method": "POST",
		} {
			h.Set(name, value)
		}
	}
	a := call(t, address, "acme.example.com", "/api/v1/orders", mine.Token.Reveal(), claims)
	if a.status != http.StatusOK || a.sent.Header.Get("Latchkey-Tenant") != "acme" || len(a.sent.Header.Values("Latchkey-Tenant")) != 1 ||
		a.sent.Header.Get("Latchkey-Token-Owner") != "" || a.sent.Header.Get("Latchkey-Token-Scopes") != "orders:read" {
		t.Errorf("status %d, the backend was sent %+v", a.status, a.sent)
	}
	if a := call(t, address, "acme.example.com", "/api/v1/orders", theirs.Token.Reveal(), claims); a.status != http.StatusUnauthorized {
		t.Errorf("another tenant's token with forged headers: status %d: %s", a.status, a.body)
	}
}

// What is forwarded is, byte for byte, what was asked about: a gateway may refuse
// such a path or repair it before it asks, but not afterwards.
func ambiguous(t *testing.T, w *world, address string) {
	plaintext := issue(t, w, "acme").Token.Reveal()
	for _, target := range []string{"/api/v1/../v1/orders", "/api/v1/a//b", "/api/v1/%2e%2e/x", "/api/v1/a%2fb", "/api/v1/x?a=1;b=2",
		"/api/v1/%61bc", "/api/v1/a%7eb", "/api/v1/x?q=%61;", "/api/v1/a%20b?c=%2e%2e"} {
		a := call(t, address, "acme.example.com", target, plaintext)
		if asked := w.asked.Load(); a.status < 400 && a.sent.URI != asked {
			t.Errorf("%s: asked about %s, the backend was sent %s", target, asked, a.sent.URI)
		}
	}
}

// The host that a gateway routes by is the one that it asks about, also where the
// request line has another than Host (Caddy CVE-2026-27588).
func absolute(t *testing.T, w *world, address string) {
	connection, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
	directorytest.Must(t, err)
	defer func() { _ = connection.Close() }()
	directorytest.Must(t, connection.SetDeadline(time.Now().Add(20*time.Second)))
	_, err = fmt.Fprintf(connection, "GET http://globex.example.com/api/v1/x HTTP/1.1\r\nHost: acme.example.com\r\nAuthorization: token %s\r\nConnection: close\r\n\r\n",
		issue(t, w, "acme").Token.Reveal())
	directorytest.Must(t, err)
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	directorytest.Must(t, err)
	defer func() { _ = response.Body.Close() }()
	var sent struct{ Host string }
	if response.StatusCode < 400 && (json.NewDecoder(response.Body).Decode(&sent) != nil || sent.Host != "acme.example.com") {
		t.Errorf("status %d: a token of acme's reached %s", response.StatusCode, sent.Host)
	}
}

// The client's address is the one that the gateway saw.
func addresses(t *testing.T, w *world, address string) {
	limited := func(cidr string) string {
		return issue(t, w, "acme", func(i *directorytest.Issued) { i.Record.AllowedCIDRs = []netip.Prefix{netip.MustParsePrefix(cidr)} }).Token.Reveal()
	}
	claim := func(h http.Header) { h.Set("X-Forwarded-For", "192.0.2.7") }
	if a := call(t, address, "acme.example.com", "/api/v1/orders", limited("192.0.2.0/24"), claim); a.status != http.StatusForbidden {
		t.Errorf("an address that the client made up: status %d", a.status)
	}
	if a := call(t, address, "acme.example.com", "/api/v1/orders", limited("127.0.0.0/8")); a.status != http.StatusOK {
		t.Errorf("the client's address: status %d", a.status)
	}
}
