package proxy_test

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
)

// scripted is a backend that does on its connections what a test says.
type scripted struct {
	url      string
	accepted atomic.Int64
	// requests are those that arrived whole, as "GET", by their methods.
	mu       sync.Mutex
	requests []string
}

// newScripted starts a backend. Connections are numbered from 0.
func newScripted(t *testing.T, config *tls.Config, serve func(s *scripted, connection net.Conn, r *bufio.Reader, n int)) *scripted {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	s := &scripted{url: "http://" + listener.Addr().String()}
	if config != nil {
		listener, s.url = tls.NewListener(listener, config), "https://"+listener.Addr().String()
	}
	var serving sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	serving.Go(func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, connection)
			mu.Unlock()
			n := int(s.accepted.Add(1)) - 1
			serving.Go(func() {
				defer func() { _ = connection.Close() }()
				serve(s, connection, bufio.NewReader(connection), n)
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		mu.Lock()
		for _, connection := range open {
			_ = connection.Close()
		}
		mu.Unlock()
		serving.Wait()
	})
	return s
}

// receive reads a request with its body. It is false at the connection's end.
func (s *scripted) receive(r *bufio.Reader) bool {
	request, err := http.ReadRequest(r)
	if err != nil {
		return false
	}
	if _, err := io.Copy(io.Discard, request.Body); err != nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, request.Method)
	return true
}

func (s *scripted) received() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.requests...)
}

const fresh = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfresh"

// once answers the first connection's first request with the text, and every other
// request afresh.
func once(text string) func(*scripted, net.Conn, *bufio.Reader, int) {
	return func(s *scripted, connection net.Conn, r *bufio.Reader, n int) {
		for first := n == 0; s.receive(r); first = false {
			answer := fresh
			if first {
				answer = text
			}
			_, _ = io.WriteString(connection, answer)
		}
	}
}
