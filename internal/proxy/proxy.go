// Package proxy passes authenticated requests on to a tenant's backend: it tells
// the backend who calls, in headers that no client can set, and never passes on
// the token.
package proxy

import (
	"context"
	"errors"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// The headers that tell the backend who calls.
const (
	headerPrefix = "Latchkey-"

	HeaderTenant      = headerPrefix + "Tenant"
	HeaderTokenID     = headerPrefix + "Token-Id"
	HeaderTokenName   = headerPrefix + "Token-Name"
	HeaderTokenOwner  = headerPrefix + "Token-Owner"
	HeaderTokenScopes = headerPrefix + "Token-Scopes"
)

// Identity is who calls.
type Identity struct {
	// Tenant is the tenant's name.
	Tenant string
	// ID, Name and Owner are the token's. Owner may be empty.
	ID, Name, Owner string
	// Scopes are what the token may do.
	Scopes []string
}

// Request says where a request goes and what goes with it.
type Request struct {
	// Backend is the origin of the backend.
	Backend string
	// ResponseHeaderTimeout bounds the time until the backend's answer begins.
	ResponseHeaderTimeout time.Duration
	// Identity is who calls.
	Identity Identity
	// ClientAddress is where the request comes from, if known.
	ClientAddress netip.Addr
	// Scheme is what the client used: http or https.
	Scheme string
	// WebSocket passes on a request's wish to switch to that protocol.
	WebSocket bool
	// OwnsCORS says that the backend's CORS headers give way to ours.
	OwnsCORS bool
	// BeforeResponse may add to the answer's headers.
	BeforeResponse func(http.Header)
}

// Proxy reaches backends. It keeps connections to them, each tenant's apart.
type Proxy struct {
	reverse *httputil.ReverseProxy
	pools   pools
}

// New makes a proxy. Faults of backends are logged at level debug: the access log
// has them too.
func New(logger *slog.Logger) *Proxy {
	p := &Proxy{}
	p.reverse = &httputil.ReverseProxy{
		Transport:      &p.pools,
		Rewrite:        rewrite,
		ModifyResponse: modifyResponse,
		ErrorHandler:   rememberError,
		BufferPool:     &bufferPool{},
		ErrorLog:       log.New(debugWriter{logger}, "", 0),
	}
	return p
}

// Close closes idle connections to backends.
func (p *Proxy) Close() { p.Retain(func(string) bool { return false }) }

// Retain closes the idle connections of the tenants that are not kept.
func (p *Proxy) Retain(keep func(tenant string) bool) { p.pools.retain(keep) }

// exchange is what the hooks of one request share.
type exchange struct {
	*Request
	target *url.URL
	header *headerTimer
	upload *upload
	err    error
}

// headerTimer ends a request whose backend is silent. While the client uploads it
// starts anew with each piece: the time is the backend's, not the client's.
type headerTimer struct {
	timer    *time.Timer
	timeout  time.Duration
	answered atomic.Bool
}

func newHeaderTimer(timeout time.Duration, expire func()) *headerTimer {
	h := &headerTimer{timeout: timeout}
	h.timer = time.AfterFunc(timeout, func() {
		if !h.answered.Load() {
			expire()
		}
	})
	return h
}

func (h *headerTimer) restart() {
	if !h.answered.Load() {
		h.timer.Reset(h.timeout)
	}
}

func (h *headerTimer) stop() {
	h.answered.Store(true)
	h.timer.Stop()
}

type exchangeKey struct{}

// Serve passes a request on. An error means that nothing was sent to the client
// yet. Where the answer breaks off later, it panics with http.ErrAbortHandler, so
// that the client sees that it was cut.
func (p *Proxy) Serve(w http.ResponseWriter, r *http.Request, request *Request) error {
	target, err := url.Parse(request.Backend)
	if err != nil {
		return errors.New("the backend's URL can't be parsed")
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	x := &exchange{Request: request, target: target}
	x.header = newHeaderTimer(request.ResponseHeaderTimeout, func() { cancel(ErrTimeout) })
	defer x.header.stop()
	r = r.WithContext(context.WithValue(ctx, exchangeKey{}, x))
	if r.ContentLength != 0 {
		x.upload = &upload{ReadCloser: r.Body, header: x.header}
		r.Body = x.upload
	}
	p.reverse.ServeHTTP(newInterim(w), r)
	return x.err
}

func exchangeOf(r *http.Request) *exchange { return r.Context().Value(exchangeKey{}).(*exchange) }

// rewrite makes the outbound request. Path and query stay as they came, byte for
// byte. Identity is set last, after every inbound header of that name is gone
// (Traefik CVE-2026-41181).
func rewrite(pr *httputil.ProxyRequest) {
	x := exchangeOf(pr.In)
	out := pr.Out
	out.URL.Scheme, out.URL.Host = x.target.Scheme, x.target.Host
	out.Host = pr.In.Host
	out.Trailer = nil
	dropInbound(out.Header)
	if x.ClientAddress.IsValid() {
		out.Header.Set("X-Forwarded-For", x.ClientAddress.String())
	}
	out.Header.Set("X-Forwarded-Host", pr.In.Host)
	out.Header.Set("X-Forwarded-Proto", x.Scheme)
	if x.WebSocket {
		out.Header.Set("Connection", "Upgrade")
		out.Header.Set("Upgrade", "websocket")
	}
	setIdentity(out.Header, &x.Identity)
}

// dropInbound removes what a backend must not believe or see. Which headers those
// are does not depend on the client: the Connection options that could drop more
// were refused before.
func dropInbound(h http.Header) {
	for name := range h {
		if reserved(name) || strings.HasPrefix(name, "X-Forwarded-") {
			delete(h, name)
		}
	}
	for _, name := range []string{
		"Authorization", "Proxy-Authorization", "Forwarded", "X-Real-Ip", "X-Original-Url", "X-Original-Uri",
		"X-Rewrite-Url", "X-Http-Method-Override", "X-Http-Method", "X-Method-Override",
		"Upgrade", "Connection", "Http2-Settings", "Te", "Trailer",
	} {
		delete(h, name)
	}
}

func reserved(name string) bool {
	return len(name) >= len(headerPrefix) && strings.EqualFold(name[:len(headerPrefix)], headerPrefix)
}

func setIdentity(h http.Header, i *Identity) {
	h.Set(HeaderTenant, i.Tenant)
	h.Set(HeaderTokenID, i.ID)
	h.Set(HeaderTokenName, i.Name)
	if i.Owner != "" {
		h.Set(HeaderTokenOwner, i.Owner)
	}
	h.Set(HeaderTokenScopes, strings.Join(i.Scopes, " "))
}

// modifyResponse makes the answer's headers those that the client may see.
func modifyResponse(response *http.Response) error {
	x := exchangeOf(response.Request)
	x.header.stop()
	if response.Request.Context().Err() != nil {
		return ErrTimeout // or whatever ended the request: rememberError finds the cause
	}
	switching := response.StatusCode == http.StatusSwitchingProtocols
	if switching && !x.WebSocket {
		return errSwitched
	}
	for name := range response.Header {
		if reserved(name) || x.OwnsCORS && strings.HasPrefix(name, "Access-Control-") {
			delete(response.Header, name)
		}
	}
	if !switching { // then Body is the connection
		response.Header.Del("Trailer")
		response.Trailer = nil
		response.Body = &trailerless{response.Body, response}
	}
	if x.BeforeResponse != nil {
		x.BeforeResponse(response.Header)
	}
	return nil
}

// trailerless forgets the trailers that reading a body to its end brings up
// (Traefik CVE-2026-88004: what a proxy passes on after the body, nobody checks).
type trailerless struct {
	io.ReadCloser
	response *http.Response
}

func (t *trailerless) Close() error {
	t.response.Trailer = nil
	return t.ReadCloser.Close()
}

// bufferPool lends the buffers by which bodies are copied.
type bufferPool struct{ pool sync.Pool }

const bufferSize = 32 << 10

func (b *bufferPool) Get() []byte {
	if buffer, ok := b.pool.Get().(*[bufferSize]byte); ok {
		return buffer[:]
	}
	return new([bufferSize]byte)[:]
}

func (b *bufferPool) Put(buffer []byte) {
	if len(buffer) == bufferSize {
		b.pool.Put((*[bufferSize]byte)(buffer))
	}
}

type debugWriter struct{ logger *slog.Logger }

func (w debugWriter) Write(b []byte) (int, error) {
	w.logger.Debug("proxy", "message", strings.TrimSpace(string(b)))
	return len(b), nil
}
