package server_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/server"
	"github.com/latchkey-dev/latchkey/internal/testing/directorytest"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

// shortWrites is the write timeout of these tests, and never one that nothing reaches.
const (
	shortWrites = 300 * time.Millisecond
	neverEnding = time.Hour
)

// readers is a server on all its listeners, whose clients may not read.
type readers struct {
	*harness
	http, https, gateway string
	tls                  *tls.Config
	// atBackend is how many requests the backend answers at the moment.
	atBackend atomic.Int32
}

const bigAnswer = 64 << 20

// newReaders has a backend that answers /api/v1/big with much, and /api/v1/events with
// nothing until the client or the server ends it.
func newReaders(t *testing.T, limits server.Limits) *readers {
	t.Helper()
	r := &readers{}
	backend := func(w http.ResponseWriter, request *http.Request) {
		r.atBackend.Add(1)
		defer r.atBackend.Add(-1)
		if strings.HasSuffix(request.URL.Path, "/events") {
			w.Header().Set("Content-Type", "text/event-stream")
			_ = http.NewResponseController(w).Flush()
			<-request.Context().Done()
			return
		}
		piece := make([]byte, 1<<16)
		for range bigAnswer / len(piece) {
			if _, err := w.Write(piece); err != nil {
				return
			}
		}
	}
	r.harness = newHarness(t, withBackend(backend), withLimits(limits), withContract(func(o *v1alpha1.OpenAPI) { o.AllowAnonymousOperations = true }))
	// Larger than any buffer on its way, so that it has to wait for a window.
	description := strings.Repeat("big ", 8<<10)
	r.publish("openapi: 3.1.0\ninfo: {title: Big, description: '" + description + "', version: '1'}\nservers: [{url: /api/v1}]\npaths:\n  /big: {get: {security: []}}\n  /events: {get: {security: []}}\n  /closed: {get: {}}\n")
	certFile, keyFile, client := newCertificate(t).write(t)
	running := r.run(server.Listeners{HTTP: loopback, HTTPS: loopback, CertFile: certFile, KeyFile: keyFile, Gateway: loopback, Limits: limits})
	r.http, r.https, r.gateway = running.address("http"), running.address("https"), running.address("gateway")
	r.tls = client.Transport.(*http.Transport).TLSClientConfig.Clone()
	return r
}

// get is a request as it is sent in HTTP/1.1.
func get(path, plaintext string) string {
	authorization := ""
	if plaintext != "" {
		authorization = "Authorization: token " + plaintext + "\r\n"
	}
	return "GET " + path + " HTTP/1.1\r\nHost: " + acmeHost + "\r\n" + authorization + "\r\n"
}

// pipeline sends requests until the server takes no more of them, and reads none of the
// answers. It returns once the server has ended the connection.
func (r *readers) pipeline(address, request string) {
	r.t.Helper()
	connection, err := net.Dial("tcp", address)
	directorytest.Must(r.t, err)
	defer func() { _ = connection.Close() }()
	began := time.Now()
	directorytest.Must(r.t, connection.SetWriteDeadline(began.Add(time.Minute)))
	many := []byte(strings.Repeat(request, 100))
	for {
		if _, err := connection.Write(many); err != nil {
			var network net.Error
			if errors.As(err, &network) && network.Timeout() {
				r.t.Errorf("the server still holds a client that reads nothing of its answers to %.40q", request)
			}
			if held := time.Since(began); held < shortWrites {
				r.t.Errorf("the connection ended after %s, and an answer may wait for %s", held, shortWrites)
			}
			return
		}
	}
}

// A client of HTTP/1.1 that reads none of its answers is let go, whatever it asks for.
func TestClientsThatDoNotReadHTTP1(t *testing.T) {
	r := newReaders(t, server.Limits{WriteTimeout: shortWrites})
	plaintext := r.issue("acme").Token.Reveal()
	for name, sent := range map[string]struct{ address, request string }{
		"problems":             {r.http, get("/nothing", "")},
		"documentation":        {r.http, get("/docs", "")},
		"document":             {r.http, get("/api/v1/openapi.json", "")},
		"public operation":     {r.http, get("/api/v1/big", "")},
		"operation":            {r.http, get("/api/v1/big", plaintext)},
		"token API":            {r.http, get("/api/v1/token", plaintext)},
		"a gateway's verdicts": {r.gateway, "GET /auth/nginx HTTP/1.1\r\nHost: latchkey\r\nX-Original-Method: GET\r\nX-Original-Url: http://" + acmeHost + "/api/v1/closed\r\n\r\n"},
	} {
		t.Run(name, func(*testing.T) {
			r.pipeline(sent.address, sent.request)
		})
	}
	r.wantNobodyAtTheBackend()
}

func (r *readers) wantNobodyAtTheBackend() {
	r.t.Helper()
	testenv.Eventually(r.t, func() error {
		if n := r.atBackend.Load(); n > 0 {
			return fmt.Errorf("the backend still answers %d requests", n)
		}
		return nil
	})
}

// closedWindow is a connection of HTTP/2 whose client gives no stream a window.
type closedWindow struct {
	t      *testing.T
	framer *http2.Framer
	next   uint32
}

func (r *readers) closedWindow() *closedWindow {
	r.t.Helper()
	config := r.tls.Clone()
	config.NextProtos = []string{http2.NextProtoTLS}
	connection, err := tls.Dial("tcp", r.https, config)
	directorytest.Must(r.t, err)
	r.t.Cleanup(func() { _ = connection.Close() })
	directorytest.Must(r.t, connection.SetDeadline(time.Now().Add(time.Minute)))
	_, err = io.WriteString(connection, http2.ClientPreface)
	directorytest.Must(r.t, err)
	framer := http2.NewFramer(connection, connection)
	directorytest.Must(r.t, framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}))
	return &closedWindow{r.t, framer, 1}
}

func (c *closedWindow) get(path, plaintext string) {
	c.t.Helper()
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	fields := [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", acmeHost}, {":path", path}}
	if plaintext != "" {
		fields = append(fields, [2]string{"authorization", "token " + plaintext})
	}
	for _, field := range fields {
		directorytest.Must(c.t, encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}))
	}
	directorytest.Must(c.t, c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: c.next, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: true}))
	c.next += 2
}

// await returns once a frame of a type has come for every stream.
func (c *closedWindow) await(wanted http2.FrameType) {
	c.t.Helper()
	for left := (c.next - 1) / 2; left > 0; {
		frame, err := c.framer.ReadFrame()
		if err != nil {
			c.t.Fatalf("%d streams have no %s: %v", left, wanted, err)
		}
		if frame.Header().Type == wanted {
			left--
		}
	}
}

// So is a stream of HTTP/2 that gets no window, though its client reads the connection.
func TestClientsThatDoNotReadHTTP2(t *testing.T) {
	r := newReaders(t, server.Limits{WriteTimeout: shortWrites})
	plaintext := r.issue("acme").Token.Reveal()
	c := r.closedWindow()
	for _, path := range []string{"/nothing", "/docs", "/api/v1/openapi.json", "/api/v1/big", "/api/v1/closed"} {
		c.get(path, "")
	}
	c.get("/api/v1/big", plaintext)
	c.get("/api/v1/token", plaintext)
	c.await(http2.FrameRSTStream)
	r.wantNobodyAtTheBackend()
}

// What Latchkey answers itself takes no place of the tenant while it is written.
func TestSlowReadersTakeNoPlace(t *testing.T) {
	r := newReaders(t, server.Limits{WriteTimeout: neverEnding, RequestsPerTenant: 1})
	plaintext := r.issue("acme").Token.Reveal()
	c := r.closedWindow()
	for range 10 {
		c.get("/docs", "")
		c.get("/api/v1/openapi.json", "")
		c.get("/api/v1/token", plaintext)
	}
	c.await(http2.FrameHeaders)
	client := newClient(t, r.tls)
	for path, token := range map[string]string{"/docs": "", "/api/v1/openapi.json": "", "/api/v1/token": plaintext} {
		testenv.Eventually(t, func() error { // the headers go out an instant before the place is free
			got, err := fetch(t, client, "https://"+r.https+path, acmeHost, token)
			if err == nil && got.StatusCode != http.StatusOK {
				err = fmt.Errorf("%s: status %d: %s", path, got.StatusCode, got.body)
			}
			return err
		})
	}
}

// A stream that is quiet for much longer than the write timeout stays open.
func TestQuietStreams(t *testing.T) {
	stream := newStreaming()
	limits := server.Limits{WriteTimeout: shortWrites}
	h := newHarness(t, func(s *setup) { s.backend = stream }, withLimits(limits))
	certFile, keyFile, client := newCertificate(t).write(t)
	running := h.run(server.Listeners{HTTP: loopback, HTTPS: loopback, CertFile: certFile, KeyFile: keyFile, Limits: limits})
	plaintext := h.issue("acme").Token.Reveal()
	for name, tc := range map[string]struct {
		url    string
		client *http.Client
		major  int
	}{
		"HTTP/1.1": {"http://" + running.address("http"), &http.Client{}, 1},
		"HTTP/2":   {"https://" + running.address("https"), client, 2},
	} {
		t.Run(name, func(t *testing.T) {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, tc.url+endpoint, http.NoBody)
			directorytest.Must(t, err)
			request.Host = acmeHost
			request.Header.Set("Authorization", "token "+plaintext)
			go func() { stream.send <- "first" }()
			response, err := tc.client.Do(request)
			directorytest.Must(t, err)
			defer func() { _ = response.Body.Close() }()
			if response.ProtoMajor != tc.major {
				t.Fatalf("answered in %s", response.Proto)
			}
			wantText := func(want string) {
				t.Helper()
				got := make([]byte, len(want))
				if _, err := io.ReadFull(response.Body, got); err != nil || string(got) != want {
					t.Fatalf("received %q, %v; want %q", got, err, want)
				}
			}
			wantText("first")
			quiet := time.After(4 * shortWrites) // real time, as the deadline of a connection is
			go func() { <-quiet; stream.send <- "second" }()
			wantText("second")
			directorytest.Must(t, response.Body.Close())
			await(t, "the end of the request at the backend", stream.ended)
		})
	}
}

// A client that reads slowly, and reads, gets all of an answer that takes many times as
// long as the write timeout.
func TestSlowDownload(t *testing.T) {
	const timeout = 2 * time.Second // longer than this process may stand still on a busy machine
	r := newReaders(t, server.Limits{WriteTimeout: timeout})
	for name, url := range map[string]string{"HTTP/1.1": "http://" + r.http, "HTTP/2": "https://" + r.https} {
		t.Run(name, func(t *testing.T) {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/api/v1/big", http.NoBody)
			directorytest.Must(t, err)
			request.Host = acmeHost
			response, err := newClient(t, r.tls).Do(request)
			directorytest.Must(t, err)
			defer func() { _ = response.Body.Close() }()
			pace := time.NewTicker(timeout / 20)
			defer pace.Stop()
			read := int64(0)
			for err == nil {
				<-pace.C
				var n int64
				n, err = io.CopyN(io.Discard, response.Body, 1<<20)
				read += n
			}
			if !errors.Is(err, io.EOF) || read != bigAnswer {
				t.Errorf("%d bytes of %d came, and then %v", read, bigAnswer, err)
			}
		})
	}
}

// A request without a token that a backend answers ends in time, since no token ends it.
func TestAnonymousStreamEnds(t *testing.T) {
	r := newReaders(t, server.Limits{WriteTimeout: neverEnding, AnonymousTimeout: shortWrites})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.http+"/api/v1/events", http.NoBody)
	directorytest.Must(t, err)
	request.Host = acmeHost
	response, err := (&http.Client{}).Do(request)
	directorytest.Must(t, err)
	defer func() { _ = response.Body.Close() }()
	if _, err := io.Copy(io.Discard, response.Body); err == nil || ctx.Err() != nil {
		t.Errorf("the stream ended with %v, and the test's patience with %v; want it broken off by the server", err, ctx.Err())
	}
	r.wantNobodyAtTheBackend()
}

// A write that ends in the instant in which it has taken too long harms nobody: neither the
// answers of others nor the process. HTTP/2's state of a stream is gone once its handler has
// returned.
func TestStallsAtTheLastInstant(t *testing.T) {
	h := newHarness(t, withLimits(server.Limits{WriteTimeout: 100 * time.Microsecond}))
	address, client := h.http2()
	plaintext := h.issue("acme").Token.Reveal()
	var clients sync.WaitGroup
	for range 20 {
		clients.Go(func() {
			for range 100 {
				request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+address+"/api/v1/token", http.NoBody)
				if err != nil {
					t.Error(err)
					return
				}
				request.Host = acmeHost
				request.Header.Set("Authorization", "token "+plaintext)
				if response, err := client.Do(request); err == nil { // or the stream was ended
					_, _ = io.Copy(io.Discard, response.Body)
					_ = response.Body.Close()
				}
			}
		})
	}
	clients.Wait()
	testenv.Eventually(t, func() error { // the time may be too short for this one too
		a, err := fetch(t, client, "https://"+address+"/api/v1/token", acmeHost, plaintext)
		if err == nil && a.StatusCode != http.StatusOK {
			err = fmt.Errorf("status %d", a.StatusCode)
		}
		return err
	})
}
