// Package proxy passes authenticated requests on to a tenant's backend: it tells
// the backend who calls, in headers that no client can set, and never passes on
// the token.
package proxy

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/textproto"
	"net/url"
	"strings"
	"sync"
	"time"
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
	logger *slog.Logger
	pools  pools
}

// New makes a proxy. Answers of backends that break off are logged at level debug:
// the access log has them too.
func New(logger *slog.Logger) *Proxy { return &Proxy{logger: logger} }

// Close closes idle connections to backends.
func (p *Proxy) Close() { p.Retain(func(string) bool { return false }) }

// Retain closes the idle connections of the tenants that are not kept.
func (p *Proxy) Retain(keep func(tenant string) bool) { p.pools.retain(keep) }

// Serve passes a request on. An error means that nothing was sent to the client
// yet. Where the answer breaks off later, it panics with http.ErrAbortHandler, so
// that the client sees that it was cut.
func (p *Proxy) Serve(w http.ResponseWriter, r *http.Request, request *Request) error {
	target, err := url.Parse(request.Backend)
	if err != nil {
		return errBackendURL
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	timer := newHeaderTimer(request.ResponseHeaderTimeout, func() { cancel(ErrTimeout) })
	defer timer.stop()
	var body *upload
	if r.ContentLength != 0 {
		body = &upload{ReadCloser: r.Body, progress: timer.restart}
		defer body.end()
	}
	interim := &interims{w: w, ownsCORS: request.OwnsCORS}
	out := outbound(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got1xxResponse: interim.pass}), r, target, body, request)
	response, err := p.pools.transport(request.Identity.Tenant).RoundTrip(out)
	interim.end()
	timer.stop()
	if err == nil && ctx.Err() != nil {
		_ = response.Body.Close()
		err = ctx.Err()
	}
	if err != nil {
		return cause(ctx, body, err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode == http.StatusSwitchingProtocols {
		return p.upgrade(ctx, w, response, request)
	}
	p.pass(ctx, w, response, nil, request)
	return nil
}

// pass passes on an answer.
func (p *Proxy) pass(ctx context.Context, w http.ResponseWriter, response *http.Response, buffered *bufio.Reader, request *Request) {
	h := w.Header()
	passHeaders(h, response.Header, request.OwnsCORS)
	if request.BeforeResponse != nil {
		request.BeforeResponse(h)
	}
	w.WriteHeader(response.StatusCode)
	if err := passBody(w, response.Body, streams(response), buffered); err != nil {
		p.logger.LogAttrs(ctx, slog.LevelDebug, "an answer broke off", slog.String("cause", cause(ctx, nil, err).Error()))
		panic(http.ErrAbortHandler)
	}
}

func (p *Proxy) upgrade(ctx context.Context, w http.ResponseWriter, response *http.Response, request *Request) error {
	backend, ok := response.Body.(io.ReadWriteCloser)
	if !ok {
		return errSwitched
	}
	defer context.AfterFunc(ctx, func() { _ = backend.Close() })()
	return passUpgrade(w, response, backend, request)
}

// interims pass on 1xx answers until the answer is there.
type interims struct {
	w        http.ResponseWriter
	ownsCORS bool

	mu    sync.Mutex
	ended bool
}

func (i *interims) pass(status int, header textproto.MIMEHeader) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.ended {
		passInterim(i.w, status, http.Header(header), i.ownsCORS)
	}
	return nil
}

func (i *interims) end() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.ended = true
}

// outbound makes the outbound request. Path and query stay as they came, byte for
// byte. Identity is set last, after every inbound header of that name is gone
// (Traefik CVE-2026-41181).
func outbound(ctx context.Context, r *http.Request, target *url.URL, body *upload, request *Request) *http.Request {
	to := *r.URL
	to.Scheme, to.Host = target.Scheme, target.Host
	out := (&http.Request{
		Method: r.Method, URL: &to, Host: r.Host, ContentLength: r.ContentLength,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: make(http.Header, len(r.Header)+8),
	}).WithContext(ctx)
	if body != nil {
		out.Body = body
	}
	options := connectionOptions(r.Header)
	for name, values := range r.Header {
		if forwarded(name) && !names(options, name) {
			out.Header[name] = values
		}
	}
	h := out.Header
	if _, ok := h["User-Agent"]; !ok {
		h["User-Agent"] = nil // else net/http would send its own
	}
	if request.ClientAddress.IsValid() {
		h["X-Forwarded-For"] = []string{request.ClientAddress.String()}
	}
	h["X-Forwarded-Host"], h["X-Forwarded-Proto"] = []string{r.Host}, []string{request.Scheme}
	if request.WebSocket {
		h["Connection"], h["Upgrade"] = []string{"Upgrade"}, []string{"websocket"}
	}
	setIdentity(h, &request.Identity)
	return out
}

func setIdentity(h http.Header, i *Identity) {
	h[HeaderTenant], h[HeaderTokenID], h[HeaderTokenName] = []string{i.Tenant}, []string{i.ID}, []string{i.Name}
	if i.Owner != "" {
		h[HeaderTokenOwner] = []string{i.Owner}
	}
	h[HeaderTokenScopes] = []string{strings.Join(i.Scopes, " ")}
}
