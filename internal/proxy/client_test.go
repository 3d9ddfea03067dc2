package proxy_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/internal/proxy"
)

// client opens a connection to the proxy and sends the text.
func (f *fixture) client(text string) (net.Conn, *bufio.Reader) {
	f.t.Helper()
	connection, err := (&net.Dialer{}).DialContext(f.t.Context(), "tcp", f.front.Listener.Addr().String())
	must(f.t, err)
	f.t.Cleanup(func() { _ = connection.Close() })
	must(f.t, connection.SetDeadline(time.Now().Add(30*time.Second)))
	_, err = io.WriteString(connection, text)
	must(f.t, err)
	return connection, bufio.NewReader(connection)
}

const post = "POST / HTTP/1.1\r\nHost: acme.example.com\r\n"

// What a client still sends while it is answered reaches the backend whole, and is
// never taken for a request.
func TestBodyThatIsSentBesideTheAnswer(t *testing.T) {
	const pieces, size = 50, 1000
	f := newFixture(t, ok)
	type receipt struct {
		n   int64
		err error
	}
	received := make(chan receipt, 1)
	s := newScripted(t, nil, func(_ *scripted, connection net.Conn, r *bufio.Reader, _ int) {
		request, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		_, _ = io.WriteString(connection, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n")
		n, err := io.Copy(io.Discard, request.Body)
		received <- receipt{n, err}
		_, _ = io.WriteString(connection, "0\r\n\r\n")
	})
	f.request.Backend = s.url
	piece := fmt.Sprintf("%x\r\n%s\r\n", size, strings.Repeat("x", size))
	connection, r := f.client(post + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat(piece, pieces/2))
	response, err := http.ReadResponse(r, nil)
	must(t, err)
	_, err = io.ReadFull(response.Body, make([]byte, len("begin")))
	must(t, err)
	_, err = io.WriteString(connection, strings.Repeat(piece, pieces/2)+"0\r\n\r\n")
	must(t, err)
	if got := <-received; got.n != pieces*size || got.err != nil {
		t.Errorf("the backend received %d bytes, %v, want %d", got.n, got.err, pieces*size)
	}
	_, err = io.Copy(io.Discard, response.Body)
	must(t, err)
	if !response.Close {
		t.Error("the connection is offered for another request")
	}
	if rest, _ := io.ReadAll(r); len(rest) > 0 {
		t.Errorf("after the answer came %q", rest)
	}
}

// cancelable makes every request of the fixture end by the returned function.
func (f *fixture) cancelable() (end func(), ended <-chan struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	f.t.Cleanup(cancel)
	inner, done := f.front.Config.Handler, make(chan struct{})
	f.front.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(done)
		inner.ServeHTTP(w, r.WithContext(ctx))
	})
	return cancel, done
}

func awaitEnd(t *testing.T, ended <-chan struct{}) {
	t.Helper()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Fatal("the handler did not end with the request")
	}
}

// A request that is over ends whatever its client does.
func TestRequestEndsBesideAClientThat(t *testing.T) {
	t.Run("does not read", func(t *testing.T) {
		f := newFixture(t, ok)
		full := make(chan struct{})
		s := newScripted(t, nil, func(_ *scripted, connection net.Conn, r *bufio.Reader, _ int) {
			if _, err := http.ReadRequest(r); err != nil {
				return
			}
			_, _ = io.WriteString(connection, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
			fill(connection, full)
			_, _ = r.Peek(1)
		})
		f.request.Backend = s.url
		end, ended := f.cancelable()
		f.client("GET / HTTP/1.1\r\nHost: acme.example.com\r\n\r\n")
		<-full
		end()
		awaitEnd(t, ended)
	})
	t.Run("does not read its WebSocket", func(t *testing.T) {
		f := newFixture(t, ok)
		f.request.WebSocket = true
		full := make(chan struct{})
		s := newScripted(t, nil, func(_ *scripted, connection net.Conn, r *bufio.Reader, _ int) {
			if _, err := http.ReadRequest(r); err != nil {
				return
			}
			_, _ = io.WriteString(connection, switching)
			fill(connection, full)
			_, _ = r.Peek(1)
		})
		f.request.Backend = s.url
		end, ended := f.cancelable()
		f.client(upgrade)
		<-full
		end()
		awaitEnd(t, ended)
	})
	t.Run("sends no more of its body", func(t *testing.T) {
		f := newFixture(t, ok)
		s := newScripted(t, nil, func(_ *scripted, connection net.Conn, r *bufio.Reader, _ int) {
			if _, err := http.ReadRequest(r); err != nil {
				return
			}
			_, _ = io.WriteString(connection, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n")
			_, _ = io.Copy(io.Discard, r)
		})
		f.request.Backend = s.url
		end, ended := f.cancelable()
		_, r := f.client(post + "Content-Length: 10\r\n\r\nx")
		response, err := http.ReadResponse(r, nil)
		must(t, err)
		_, err = io.ReadFull(response.Body, make([]byte, len("begin")))
		must(t, err)
		end()
		awaitEnd(t, ended)
	})
}

const (
	switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
	upgrade   = "GET / HTTP/1.1\r\nHost: acme.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-Websocket-Key: x\r\n\r\n"
)

// fill writes until nobody has taken anything for a while, and says so.
func fill(connection net.Conn, full chan<- struct{}) {
	piece := make([]byte, 64<<10)
	for {
		_ = connection.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		if _, err := connection.Write(piece); err != nil {
			close(full)
			return
		}
	}
}

// What the client sends right behind its handshake is the first of the new protocol.
func TestWhatComesRightBehindTheHandshakeIsPassedOn(t *testing.T) {
	f := newFixture(t, ok)
	f.request.WebSocket = true
	s := newScripted(t, nil, func(_ *scripted, connection net.Conn, r *bufio.Reader, _ int) {
		if _, err := http.ReadRequest(r); err != nil {
			return
		}
		_, _ = io.WriteString(connection, switching)
		_, _ = io.Copy(connection, r)
	})
	f.request.Backend = s.url
	connection, r := f.client(upgrade + "early")
	_, err := http.ReadResponse(r, nil)
	must(t, err)
	_, err = io.WriteString(connection, " late")
	must(t, err)
	echoed := make([]byte, len("early late"))
	if _, err := io.ReadFull(r, echoed[:len(" late")]); err != nil || string(echoed[:5]) != "early" {
		t.Fatalf("echoed was %q, %v", echoed, err)
	}
	if _, err := io.ReadFull(r, echoed[5:]); err != nil || string(echoed) != "early late" {
		t.Errorf("echoed was %q, %v", echoed, err)
	}
}

// The client is told once to go on, by whom that does not race with early hints.
func TestExpectContinueBesideEarlyHints(t *testing.T) {
	f := newFixture(t, ok)
	s := newScripted(t, nil, func(_ *scripted, connection net.Conn, r *bufio.Reader, _ int) {
		request, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		_, _ = io.WriteString(connection, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
		_, _ = io.Copy(io.Discard, request.Body)
		_, _ = io.WriteString(connection, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
	})
	f.request.Backend = s.url
	f.header = http.Header{"X-Ours": {"1"}}
	for range 20 {
		connection, r := f.client(post + "Expect: 100-continue\r\nContent-Length: 4\r\n\r\n")
		continued := 0
		for {
			response, err := http.ReadResponse(r, nil)
			must(t, err)
			must(t, response.Body.Close())
			if response.StatusCode == http.StatusContinue {
				continued++
				if len(response.Header) > 0 {
					t.Errorf("100 has headers: %v", response.Header)
				}
				_, err = io.WriteString(connection, "body")
				must(t, err)
			}
			if response.StatusCode >= 200 {
				break
			}
		}
		if continued != 1 {
			t.Fatalf("%d times 100, want one", continued)
		}
		must(t, connection.Close())
	}
}

// A client that stalls is not a backend that does.
func TestClientThatStalls(t *testing.T) {
	for name, framing := range map[string]string{
		"before its body": "Content-Length: 10\r\n\r\n",
		"in its body":     "Content-Length: 10\r\n\r\nx",
		"in chunks":       "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, ok)
			s := newScripted(t, nil, func(_ *scripted, _ net.Conn, r *bufio.Reader, _ int) { _, _ = io.Copy(io.Discard, r) })
			f.request.Backend = s.url
			f.request.ResponseHeaderTimeout, f.request.BodyTimeout = 20*time.Millisecond, 200*time.Millisecond
			f.client(post + framing)
			waitForError(f)
			f.wantError(proxy.ErrBodyTimeout)
		})
	}
}

// waitForError waits until Serve has returned one.
func waitForError(f *fixture) {
	f.t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		f.mu.Lock()
		n := len(f.errors)
		f.mu.Unlock()
		if n > 0 {
			return
		}
		select {
		case <-deadline:
			f.t.Fatal("Serve returned no error")
		case <-time.After(time.Millisecond):
		}
	}
}

// HTTP/1.0 knows no answers before the answer (RFC 9110, section 15.2).
func TestHTTP10ClientsAreSentNoInterimAnswers(t *testing.T) {
	f := newFixture(t, ok)
	f.request.Backend = newScripted(t, nil, once("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"+fresh)).url
	if response, _ := f.raw("GET / HTTP/1.0\r\nHost: acme.example.com\r\n\r\n"); response.StatusCode != http.StatusOK {
		t.Errorf("the first answer is %d", response.StatusCode)
	}
}

func TestInterimAnswersAreBounded(t *testing.T) {
	for n, want := range map[int]int{100: http.StatusOK, 101: http.StatusBadGateway} {
		f := newFixture(t, ok)
		f.request.Backend = newScripted(t, nil, once(strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", n)+fresh)).url
		// HTTP/1.0, as Go's client has a bound of its own.
		if response, _ := f.raw("GET / HTTP/1.0\r\nHost: acme.example.com\r\n\r\n"); response.StatusCode != want {
			t.Errorf("after %d the answer is %d, want %d", n, response.StatusCode, want)
		}
	}
}

// A handshake that hangs is bounded more closely than the answer, and is a timeout too.
func TestTLSHandshakeHasATimeoutOfItsOwn(t *testing.T) {
	t.Parallel()
	f := newFixture(t, ok)
	s := newScripted(t, nil, func(_ *scripted, _ net.Conn, r *bufio.Reader, _ int) { _, _ = io.Copy(io.Discard, r) })
	f.request.Backend = strings.Replace(s.url, "http:", "https:", 1)
	f.do(f.newRequest(http.MethodGet, "/", nil))
	f.wantError(proxy.ErrTimeout)
	if got := f.errors[0].Error(); !strings.Contains(got, "TLS") {
		t.Errorf("the error says not where: %s", got)
	}
}

// An answer that comes before the body was read waits for nothing.
func TestEarlyRefusalIsNotDelayed(t *testing.T) {
	f := newFixture(t, ok)
	f.request.Backend = newScripted(t, nil, func(_ *scripted, connection net.Conn, r *bufio.Reader, _ int) {
		if _, err := http.ReadRequest(r); err == nil {
			_, _ = io.WriteString(connection, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
			_, _ = r.Peek(1)
		}
	}).url
	fastest := time.Hour
	for range 10 {
		_, r := f.client(post + "Content-Length: 10\r\n\r\n")
		started := time.Now()
		response, err := http.ReadResponse(r, nil)
		must(t, err)
		must(t, response.Body.Close())
		fastest = min(fastest, time.Since(started))
	}
	if fastest >= 50*time.Millisecond {
		t.Errorf("the fastest of 10 refusals took %s", fastest)
	}
}

// A handler that returns before its body came leaves no read of it behind.
func TestUploadsEndWithTheirHandlers(t *testing.T) {
	f := newFixture(t, ok)
	inner := f.front.Config.Handler
	var mu sync.Mutex
	var late error
	f.front.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := &watchedBody{ReadCloser: r.Body}
		r.Body = body
		inner.ServeHTTP(w, r)
		mu.Lock()
		defer mu.Unlock()
		if body.reading() {
			late = errors.New("the body is read after the handler's end")
		}
	})
	f.request.Backend = newScripted(t, nil, func(_ *scripted, connection net.Conn, r *bufio.Reader, _ int) {
		if _, err := http.ReadRequest(r); err == nil {
			_, _ = io.WriteString(connection, fresh)
			_, _ = r.Peek(1)
		}
	}).url
	_, r := f.client(post + "Content-Length: 10\r\n\r\nx")
	response, err := http.ReadResponse(r, nil)
	must(t, err)
	must(t, response.Body.Close())
	if _, err := io.ReadAll(r); err != nil {
		t.Errorf("the connection's end: %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if late != nil {
		t.Error(late)
	}
}

// watchedBody knows whether it is being read.
type watchedBody struct {
	io.ReadCloser
	mu sync.Mutex
	n  int
}

func (b *watchedBody) count(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.n += n
}

func (b *watchedBody) reading() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.n > 0
}

func (b *watchedBody) Read(p []byte) (int, error) {
	b.count(1)
	defer b.count(-1)
	return b.ReadCloser.Read(p)
}
