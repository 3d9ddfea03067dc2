package proxy_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/internal/proxy"
)

// What would end a line early is sent to nobody, wherever it comes from.
func TestRequestsThatCanNotBeWritten(t *testing.T) {
	for name, change := range map[string]func(*http.Request, *proxy.Request){
		"a line break in a value":      func(r *http.Request, _ *proxy.Request) { r.Header["X-A"] = []string{"1\r\nLatchkey-Tenant: other"} },
		"a bare LF in a value":         func(r *http.Request, _ *proxy.Request) { r.Header["X-A"] = []string{"1\nLatchkey-Tenant: other"} },
		"NUL in a value":               func(r *http.Request, _ *proxy.Request) { r.Header["X-A"] = []string{"1\x00"} },
		"a line break in a name":       func(r *http.Request, _ *proxy.Request) { r.Header["X-A: 1\r\nX-B"] = []string{"1"} },
		"a colon in a name":            func(r *http.Request, _ *proxy.Request) { r.Header["X-A:"] = []string{"1"} },
		"an empty name":                func(r *http.Request, _ *proxy.Request) { r.Header[""] = []string{"1"} },
		"a line break in the owner":    func(_ *http.Request, p *proxy.Request) { p.Identity.Owner = "a\r\nX-B: 1" },
		"a line break in a scope":      func(_ *http.Request, p *proxy.Request) { p.Identity.Scopes = []string{"a", "b\nX-B: 1"} },
		"a line break in the host":     func(r *http.Request, _ *proxy.Request) { r.Host = "acme.example.com\r\nX-B: 1" },
		"no host":                      func(r *http.Request, _ *proxy.Request) { r.Host = "" },
		"a space in the method":        func(r *http.Request, _ *proxy.Request) { r.Method = "GET /other HTTP/1.1\r\nX: " },
		"a space in the query":         func(r *http.Request, _ *proxy.Request) { r.URL.RawQuery = "a HTTP/1.1\r\nX-B: 1" },
		"a line break in the protocol": func(_ *http.Request, p *proxy.Request) { p.Scheme = "https\r\nX-B: 1" },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, ok)
			s := newScripted(t, nil, once(fresh))
			f.request.Backend = s.url
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
			change(r, &f.request)
			if err := f.proxy.Serve(httptest.NewRecorder(), r, &f.request); err == nil {
				t.Error("it was sent")
			}
			if got := s.accepted.Load(); got != 0 {
				t.Errorf("%d connections were made", got)
			}
		})
	}
}

// Path and query reach the backend byte for byte, and framing is one of ours.
func TestTheHeadThatIsSent(t *testing.T) {
	f := newFixture(t, ok)
	heads := make(chan string, 1)
	s := newScripted(t, nil, func(_ *scripted, connection net.Conn, r *bufio.Reader, _ int) {
		var head strings.Builder
		for line := ""; line != "\r\n"; head.WriteString(line) {
			var err error
			if line, err = r.ReadString('\n'); err != nil {
				return
			}
		}
		heads <- head.String()
		_, _ = io.WriteString(connection, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
	})
	f.request.Backend = s.url
	target := "/a%20b/%C3%BC?q=%2F&&=x&a=1+2&"
	for name, c := range map[string]struct {
		method, extra, body string
		want, never         string
	}{
		"GET":                       {method: "GET", never: "Content-Length"},
		"DELETE":                    {method: "DELETE", never: "Content-Length"},
		"POST without a body":       {method: "POST", extra: "Content-Length: 0\r\n", want: "Content-Length: 0\r\n", never: "chunked"},
		"PUT with a length":         {method: "PUT", extra: "Content-Length: 004\r\n", body: "body", want: "Content-Length: 4\r\n", never: "chunked"},
		"PATCH in chunks":           {method: "PATCH", extra: "Transfer-Encoding: chunked\r\n", body: "0\r\n\r\n", want: "Transfer-Encoding: chunked\r\n", never: "Content-Length"},
		"GET in chunks, with body":  {method: "GET", extra: "Transfer-Encoding: chunked\r\n", body: "1\r\nx\r\n0\r\n\r\n", want: "Transfer-Encoding: chunked\r\n", never: "Content-Length"},
		"GET in chunks, but nobody": {method: "GET", extra: "Transfer-Encoding: chunked\r\n", body: "0\r\n\r\n", never: "chunked"},
	} {
		t.Run(name, func(t *testing.T) {
			f.raw(c.method + " " + target + " HTTP/1.1\r\nHost: acme.example.com\r\nConnection: close\r\n" + c.extra + "\r\n" + c.body)
			got := <-heads
			if !strings.HasPrefix(got, c.method+" "+target+" HTTP/1.1\r\nHost: acme.example.com\r\n") || !strings.Contains(got, c.want) || strings.Contains(got, c.never) {
				t.Errorf("the backend was sent %q", got)
			}
		})
	}
}

// What streams through a switched connection outlives the time for the answer, in
// both directions, and ends with either end.
func TestWebSocket(t *testing.T) {
	f := newFixture(t, ok)
	f.request.WebSocket, f.request.ResponseHeaderTimeout = true, 100*time.Millisecond
	ended := make(chan struct{})
	s := newScripted(t, nil, func(_ *scripted, connection net.Conn, r *bufio.Reader, _ int) {
		request, err := http.ReadRequest(r)
		if err != nil || request.Header.Get("Upgrade") != "websocket" || request.Header.Get("Connection") != "Upgrade" {
			return
		}
		_, _ = io.WriteString(connection, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nLatchkey-Tenant: other\r\nSec-Websocket-Accept: x\r\n\r\nfirst")
		_, _ = io.Copy(connection, r)
		close(ended)
	})
	f.request.Backend = s.url
	at, err := url.Parse(f.front.URL)
	must(t, err)
	connection, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", at.Host)
	must(t, err)
	_, err = io.WriteString(connection, "GET / HTTP/1.1\r\nHost: acme.example.com\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-Websocket-Key: x\r\n\r\n")
	must(t, err)
	r := bufio.NewReader(connection)
	response, err := http.ReadResponse(r, nil)
	must(t, err)
	must(t, response.Body.Close())
	if response.StatusCode != http.StatusSwitchingProtocols || response.Header.Get("Upgrade") != "websocket" || response.Header.Get("Connection") != "Upgrade" ||
		response.Header.Get("Sec-Websocket-Accept") != "x" || response.Header.Get("Latchkey-Tenant") != "" {
		t.Errorf("status %d, headers %v", response.StatusCode, response.Header)
	}
	<-time.After(2 * f.request.ResponseHeaderTimeout)
	_, err = io.WriteString(connection, " second")
	must(t, err)
	echoed := make([]byte, len("first second"))
	if _, err := io.ReadFull(r, echoed); err != nil || string(echoed) != "first second" {
		t.Errorf("echoed was %q: %v", echoed, err)
	}
	must(t, connection.Close())
	<-ended
}
