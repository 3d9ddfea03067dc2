package proxy_test

import (
	"bufio"
	"crypto/tls"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/internal/proxy"
)

// trusted is a certificate for 127.0.0.1 and example.com that the system trusts
// while these tests run.
var trusted tls.Certificate

// trust makes the system trust it; it must run before the first handshake.
func trust() (remove func(), err error) {
	server := httptest.NewTLSServer(nil)
	trusted = server.TLS.Certificates[0]
	server.Close()
	directory, err := os.MkdirTemp("", "proxy")
	if err != nil {
		return nil, err
	}
	file := filepath.Join(directory, "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: trusted.Certificate[0]}), 0o600); err != nil {
		return nil, err
	}
	return func() { _ = os.RemoveAll(directory) }, os.Setenv("SSL_CERT_FILE", file)
}

func backendTLS(secure bool) *tls.Config {
	if !secure {
		return nil
	}
	return &tls.Config{Certificates: []tls.Certificate{trusted}, MinVersion: tls.VersionTLS12}
}

func TestTLSBackend(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			f := newFixture(t, ok)
			config := backendTLS(true)
			config.MaxVersion = version
			config.NextProtos = []string{"h2", "http/1.1"} // the proxy speaks the second only
			s := newScripted(t, config, once("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfresh\r\n0\r\n\r\n"))
			f.request.Backend = s.url
			for range 3 {
				for _, body := range []io.Reader{nil, strings.NewReader(strings.Repeat("x", 100_000))} {
					if response, got := f.do(f.newRequest(http.MethodPost, "/", body)); got != "fresh" {
						t.Errorf("status %d, body %q, errors %v", response.StatusCode, got, f.errors)
					}
				}
			}
			if got := s.accepted.Load(); got != 1 {
				t.Errorf("%d connections were made", got)
			}
		})
	}
}

func TestTLSBackendThatIsNotTrusted(t *testing.T) {
	f := newFixture(t, ok)
	s := newScripted(t, backendTLS(true), once(fresh))
	f.request.Backend = strings.Replace(s.url, "127.0.0.1", "localhost", 1) // for which the certificate is not
	if response, _ := f.do(f.newRequest(http.MethodGet, "/", nil)); response.StatusCode != http.StatusBadGateway {
		t.Errorf("status %d", response.StatusCode)
	}
	f.wantError(nil)
	if got := f.errors[0].Error(); !strings.Contains(got, "certificate") {
		t.Errorf("the error says not why: %s", got)
	}
	if got := s.received(); len(got) != 0 {
		t.Errorf("it was sent %v", got)
	}
}

// A handshake that hangs counts as an answer that does not begin.
func TestTLSBackendThatHangs(t *testing.T) {
	f := newFixture(t, ok)
	s := newScripted(t, nil, func(_ *scripted, _ net.Conn, r *bufio.Reader, _ int) { _, _ = io.Copy(io.Discard, r) })
	f.request.Backend = strings.Replace(s.url, "http:", "https:", 1)
	f.request.ResponseHeaderTimeout = 50 * time.Millisecond
	f.do(f.newRequest(http.MethodGet, "/", nil))
	f.wantError(proxy.ErrTimeout)
}
