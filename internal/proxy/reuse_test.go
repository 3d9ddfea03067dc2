package proxy_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/proxy"
)

func TestConnectionsAreReused(t *testing.T) {
	for name, answer := range map[string]string{
		"with a length":             fresh,
		"in chunks":                 "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfresh\r\n0\r\n\r\n",
		"in chunks with trailers":   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfresh\r\n0\r\nX-Late: late\r\n\r\n",
		"of HTTP/1.0, kept alive":   "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nfresh",
		"without a body":            "HTTP/1.1 204 No Content\r\n\r\n",
		"empty":                     "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"larger than every buffer":  "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 100_000),
		"after early hints":         "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + fresh,
		"not modified, with length": "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, ok)
			s := newScripted(t, nil, func(s *scripted, connection net.Conn, r *bufio.Reader, _ int) {
				for s.receive(r) {
					_, _ = io.WriteString(connection, answer)
				}
			})
			f.request.Backend = s.url
			for range 5 {
				f.do(f.newRequest(http.MethodGet, "/", nil))
				f.do(f.newRequest(http.MethodPost, "/", strings.NewReader("a body")))
				f.do(f.newRequest(http.MethodPost, "/", io.MultiReader(strings.NewReader("a body"))))
			}
			if got := s.accepted.Load(); got != 1 {
				t.Errorf("%d connections were made for 15 requests, want 1", got)
			}
		})
	}
}

func TestConnectionsThatAreNotReused(t *testing.T) {
	for name, answer := range map[string]string{
		"close":              "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nfresh",
		"HTTP/1.0":           "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nfresh",
		"close, among more":  "HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 5\r\n\r\nfresh",
		"close, with chunks": "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfresh\r\n0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, ok)
			s := newScripted(t, nil, func(s *scripted, connection net.Conn, r *bufio.Reader, _ int) {
				for s.receive(r) {
					_, _ = io.WriteString(connection, answer)
				}
			})
			f.request.Backend = s.url
			for range 3 {
				if _, body := f.do(f.newRequest(http.MethodGet, "/", nil)); body != "fresh" {
					t.Errorf("body %q", body)
				}
			}
			if got := s.accepted.Load(); got != 3 {
				t.Errorf("%d connections were made for 3 requests, want 3", got)
			}
		})
	}
}

// What a backend sends beyond its answer must not answer the next request: it may
// be somebody else's (response smuggling).
func TestLeftoversAnswerNobody(t *testing.T) {
	const stolen = "HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n" + marker
	for name, text := range map[string]string{
		"two answers":                   "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst" + stolen,
		"two answers, the first empty":  "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" + stolen,
		"two answers, the first chunks": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n0\r\n\r\n" + stolen,
		"a longer body than announced":  "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst" + marker,
		"204 with a body":               "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n" + stolen,
		"304 with chunks":               "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n" + stolen,
		"both framings, length shorter": "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n0\r\n\r\n" + stolen,
		"both framings, length longer":  "HTTP/1.1 200 OK\r\nContent-Length: 90\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n0\r\n\r\n" + stolen,
		"a line after the answer":       "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, ok)
			s := newScripted(t, nil, once(text))
			f.request.Backend = s.url
			if _, body := f.do(f.newRequest(http.MethodGet, "/", nil)); strings.Contains(body, marker) {
				t.Errorf("the first body is %q", body)
			}
			for range 3 {
				if _, body := f.do(f.newRequest(http.MethodGet, "/", nil)); body != "fresh" {
					t.Errorf("a later body is %q", body)
				}
			}
		})
	}
	t.Run("HEAD with a body", func(t *testing.T) {
		f := newFixture(t, ok)
		f.request.Backend = newScripted(t, nil, once("HTTP/1.1 200 OK\r\nContent-Length: 83\r\n\r\n"+stolen)).url
		f.do(f.newRequest(http.MethodHead, "/", nil))
		if _, body := f.do(f.newRequest(http.MethodGet, "/", nil)); body != "fresh" {
			t.Errorf("the next body is %q", body)
		}
	})
}

// The same where it comes while the connection is idle. Nothing of it is logged.
func TestUnsolicitedAnswerOnAnIdleConnection(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("TLS %t", secure), func(t *testing.T) {
			f := newFixture(t, ok)
			idle, sent := make(chan struct{}), make(chan struct{})
			s := newScripted(t, backendTLS(secure), func(s *scripted, connection net.Conn, r *bufio.Reader, n int) {
				for first := n == 0; s.receive(r); first = false {
					_, _ = io.WriteString(connection, fresh)
					if first {
						<-idle
						_, _ = io.WriteString(connection, "HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n"+marker)
						close(sent)
					}
				}
			})
			f.request.Backend = s.url
			f.do(f.newRequest(http.MethodGet, "/", nil))
			close(idle)
			<-sent
			for range 3 {
				if _, body := f.do(f.newRequest(http.MethodGet, "/", nil)); body != "fresh" {
					t.Errorf("a later body is %q", body)
				}
			}
		})
	}
}

// A backend closes a connection that was idle too long for it, at any moment.
func TestBackendClosesIdleConnections(t *testing.T) {
	for name, serve := range map[string]func(*scripted, net.Conn, *bufio.Reader, int){
		"after each answer": func(s *scripted, connection net.Conn, r *bufio.Reader, _ int) {
			if s.receive(r) {
				_, _ = io.WriteString(connection, fresh)
			}
		},
		"when the next request is there": func(s *scripted, connection net.Conn, r *bufio.Reader, _ int) {
			if s.receive(r) {
				_, _ = io.WriteString(connection, fresh)
				_, _ = r.Peek(1)
			}
		},
		"and resets it": func(s *scripted, connection net.Conn, r *bufio.Reader, _ int) {
			if s.receive(r) {
				_, _ = io.WriteString(connection, fresh)
				_, _ = r.Peek(1)
				_ = connection.(*net.TCPConn).SetLinger(0)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, ok)
			s := newScripted(t, nil, serve)
			f.request.Backend = s.url
			const n = 30
			for range n {
				if response, body := f.do(f.newRequest(http.MethodGet, "/", nil)); body != "fresh" {
					t.Fatalf("status %d, body %q", response.StatusCode, body)
				}
			}
			if got := len(s.received()); got != n {
				t.Errorf("%d requests were answered, want %d", got, n)
			}
		})
	}
}

// What may have been done must not be done twice.
func TestRequestsThatAreNotSentTwice(t *testing.T) {
	for name, c := range map[string]struct {
		method, body, key string
		again             bool
	}{
		"GET":                        {method: http.MethodGet, again: true},
		"HEAD":                       {method: http.MethodHead, again: true},
		"OPTIONS":                    {method: http.MethodOptions, again: true},
		"POST without a body":        {method: http.MethodPost},
		"DELETE without a body":      {method: http.MethodDelete},
		"POST with a body":           {method: http.MethodPost, body: "an order"},
		"PUT with a body":            {method: http.MethodPut, body: "an order"},
		"GET with a body":            {method: http.MethodGet, body: "a query"},
		"POST with a key":            {method: http.MethodPost, key: "k", again: true},
		"POST with a key and a body": {method: http.MethodPost, key: "k", body: "an order"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, ok)
			s := newScripted(t, nil, func(s *scripted, connection net.Conn, r *bufio.Reader, n int) {
				if s.receive(r) {
					_, _ = io.WriteString(connection, fresh)
				}
				if n > 0 {
					for s.receive(r) {
						_, _ = io.WriteString(connection, fresh)
					}
				}
				s.receive(r) // and closes
			})
			f.request.Backend = s.url
			f.do(f.newRequest(http.MethodGet, "/", nil))
			var body io.Reader
			if c.body != "" {
				body = strings.NewReader(c.body)
			}
			r := f.newRequest(c.method, "/", body)
			if c.key != "" {
				r.Header.Set("Idempotency-Key", c.key)
			}
			response, _ := f.do(r)
			want := []string{http.MethodGet, c.method}
			if c.again {
				want = append(want, c.method)
			}
			if got := s.received(); !slices.Equal(got, want) || (response.StatusCode == http.StatusOK) != c.again {
				t.Errorf("status %d, the backend received %v, want %v", response.StatusCode, got, want)
			}
		})
	}
}

// A connection that was never good is not tried again and again.
func TestNewConnectionsAreTriedOnce(t *testing.T) {
	f := newFixture(t, ok)
	s := newScripted(t, nil, func(s *scripted, _ net.Conn, r *bufio.Reader, _ int) { s.receive(r) })
	f.request.Backend = s.url
	f.do(f.newRequest(http.MethodGet, "/", nil))
	f.wantError(nil)
	if got := s.accepted.Load(); got != 1 {
		t.Errorf("%d connections were made", got)
	}
}

// The rest of an answer that nobody waits for must not be in the way.
func TestConnectionOfAClientThatGoesIsNotReused(t *testing.T) {
	f := newFixture(t, ok)
	gone := make(chan struct{})
	s := newScripted(t, nil, func(s *scripted, connection net.Conn, r *bufio.Reader, n int) {
		for s.receive(r) {
			if n > 0 {
				_, _ = io.WriteString(connection, fresh)
				continue
			}
			_, _ = io.WriteString(connection, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"+strings.Repeat("x", 10_000))
			_, _ = r.Peek(1) // until the proxy closes
			close(gone)
		}
	})
	f.request.Backend = s.url
	ctx, cancel := context.WithCancel(t.Context())
	response, err := f.front.Client().Do(f.newRequest(http.MethodGet, "/", nil).WithContext(ctx))
	must(t, err)
	_, err = io.ReadFull(response.Body, make([]byte, 10))
	must(t, err)
	cancel()
	must(t, response.Body.Close())
	<-gone
	if _, body := f.do(f.newRequest(http.MethodGet, "/", nil)); body != "fresh" {
		t.Errorf("the next body is %q", body)
	}
}

func TestTenantsShareNoConnection(t *testing.T) {
	f := newFixture(t, ok)
	s := newScripted(t, nil, once(fresh))
	f.request.Backend = s.url
	for range 3 {
		for _, tenant := range []string{"acme", "globex"} {
			f.request.Identity.Tenant = tenant
			f.do(f.newRequest(http.MethodGet, "/", nil))
		}
	}
	if got := s.accepted.Load(); got != 2 {
		t.Errorf("%d connections for two tenants", got)
	}
}

func TestRetainClosesIdleConnections(t *testing.T) {
	f := newFixture(t, ok)
	closed := make(chan string, 2)
	s := newScripted(t, nil, func(_ *scripted, connection net.Conn, r *bufio.Reader, _ int) {
		request, err := http.ReadRequest(r)
		must(t, err)
		_, _ = io.WriteString(connection, fresh)
		_, _ = r.Peek(1)
		closed <- request.Header.Get(proxy.HeaderTenant)
	})
	f.request.Backend = s.url
	for _, tenant := range []string{"acme", "globex"} {
		f.request.Identity.Tenant = tenant
		f.do(f.newRequest(http.MethodGet, "/", nil))
	}
	f.proxy.Retain(func(tenant string) bool { return tenant == "acme" })
	if got := <-closed; got != "globex" {
		t.Errorf("the connection of %s was closed", got)
	}
}
