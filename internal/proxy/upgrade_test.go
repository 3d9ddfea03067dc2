package proxy_test

import (
	"net/http"
	"strings"
	"testing"
)

// A tunnel that the client asks for is not made: nobody would check what is in it
// (Traefik CVE-2026-88008, by h2c).
func TestCVE2026_88008UpgradesAreNotForwarded(t *testing.T) {
	f := newFixture(t, ok)
	for _, headers := range []string{
		"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
		"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
		"Connection: upgrade\r\nUpgrade: TLS/1.2",
		"Upgrade: websocket",
		"Connection: Upgrade, keep-alive\r\nUpgrade: foo/1, bar",
	} {
		response, _ := f.raw("GET /api/v1/x HTTP/1.1\r\nHost: acme.example.com\r\n" + headers + "\r\n\r\n")
		if response.StatusCode != http.StatusOK {
			t.Errorf("%q: status %d, want the plain answer", headers, response.StatusCode)
		}
		got, dump := f.last()
		for _, name := range []string{"Upgrade", "Connection", "Http2-Settings"} {
			if got.Header.Get(name) != "" {
				t.Errorf("the backend was sent\n%s", dump)
			}
		}
	}
}

func TestBackendThatSwitchesUnasked(t *testing.T) {
	f := newFixture(t, func(w http.ResponseWriter, r *http.Request) {
		connection, _, err := http.NewResponseController(w).Hijack()
		must(t, err)
		_, _ = connection.Write([]byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + r.Header.Get("Upgrade") + "websocket\r\n\r\n"))
		_ = connection.Close()
	})
	response, body := f.raw("GET /api/v1/x HTTP/1.1\r\nHost: acme.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	if response.StatusCode != http.StatusBadGateway || !strings.Contains(body, "the proxy's error") {
		t.Errorf("status %d: %s", response.StatusCode, body)
	}
	f.wantError(nil)
}
