package link

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
)

// Gateway is a proxy in front of the Kubernetes API that ends TLS, so that it can hold
// back a single request, or what watches say, on connections that live.
type Gateway struct {
	server    *httptest.Server
	transport *http.Transport

	mu sync.Mutex
	// held is told of the first request of which match is so.
	match func(*http.Request) bool
	held  chan struct{}
	// watches are those that are open.
	watches map[*watchBody]struct{}
}

// NewGateway starts a gateway to an API server, such as https://127.0.0.1:6443, with its
// CA in PEM. It passes on whatever credentials requests carry.
func NewGateway(server string, ca []byte) (*Gateway, error) {
	target, err := url.Parse(server)
	if err != nil {
		return nil, fmt.Errorf("a gateway to %q: %w", server, err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, errors.New("a gateway needs the API server's CA in PEM")
	}
	g := &Gateway{
		transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true},
		watches:   map[*watchBody]struct{}{},
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:      g.transport,
		FlushInterval:  -1, // watches are read as they come
		ModifyResponse: g.watch,
		ErrorLog:       log.New(io.Discard, "", 0),
	}
	g.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g.holds(r) {
			<-r.Context().Done()
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	g.server.EnableHTTP2 = true
	g.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	g.server.StartTLS()
	return g, nil
}

// URL is the gateway's address.
func (g *Gateway) URL() string { return g.server.URL }

// Address is the gateway's address without the scheme.
func (g *Gateway) Address() string { return g.server.Listener.Addr().(*net.TCPAddr).String() }

// CA is what signed the gateway's certificate, in PEM.
func (g *Gateway) CA() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: g.server.Certificate().Raw})
}

// Hold keeps back the next request of which match is so: it never arrives. What is
// returned is closed when it comes.
func (g *Gateway) Hold(match func(*http.Request) bool) <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.match, g.held = match, make(chan struct{})
	return g.held
}

// HoldNothing lets the next request pass that was to be kept back. One that is kept back
// already stays so.
func (g *Gateway) HoldNothing() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.match = nil
}

func (g *Gateway) holds(r *http.Request) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.match == nil || !g.match(r) {
		return false
	}
	g.match = nil
	close(g.held)
	return true
}

// Freeze has every watch that is open say nothing any more, and returns how many there
// are. New ones are not touched.
func (g *Gateway) Freeze() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	for w := range g.watches {
		w.freeze()
	}
	return len(g.watches)
}

// Close ends the gateway and its connections.
func (g *Gateway) Close() {
	g.server.CloseClientConnections()
	g.transport.CloseIdleConnections()
	g.server.Close()
}

func (g *Gateway) watch(r *http.Response) error {
	if r.Request.URL.Query().Get("watch") == "" {
		return nil
	}
	w := &watchBody{ReadCloser: r.Body, gateway: g, frozen: make(chan struct{}), gone: r.Request.Context().Done()}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.watches[w] = struct{}{}
	r.Body = w
	return nil
}

// watchBody is what a watch says.
type watchBody struct {
	io.ReadCloser

	gateway  *Gateway
	freezing sync.Once
	frozen   chan struct{}
	// gone is closed when the client is.
	gone <-chan struct{}
}

func (w *watchBody) freeze() { w.freezing.Do(func() { close(w.frozen) }) }

// Read implements io.Reader.
func (w *watchBody) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	select {
	case <-w.frozen:
		<-w.gone
		return 0, net.ErrClosed
	default:
		return n, err
	}
}

// Close implements io.Closer.
func (w *watchBody) Close() error {
	w.gateway.mu.Lock()
	delete(w.gateway.watches, w)
	w.gateway.mu.Unlock()
	return w.ReadCloser.Close()
}
