// Package proxy passes authenticated requests on to a tenant's backend: it tells
// the backend who calls, in headers that no client can set, and never passes on
// the token. It expects requests that internal/server's guard let through.
//
// Its rules, each where it is kept:
//
//   - cookies.go: Latchkey's own cookies stay here, both ways.
//   - head.go, headers.go: path and query go byte for byte; each header is decided
//     by its name, once; framing and identity are written by us alone; what holds
//     CR, LF or NUL is sent to nobody.
//   - pool.go: a connection carries one tenant's requests; idle ones are bounded in
//     number and time. There is no HTTP_PROXY and no redirect.
//   - connection.go, wire.go: an idle connection is used only if it is open and has
//     nothing to read. What a backend sends unasked answers nobody and is not
//     logged.
//   - exchange.go: a connection serves the next request only after request and
//     answer were sent whole, with nothing left over. A request is sent a second
//     time only if it has no body, its connection had been idle, not a byte of an
//     answer came, and it is safe to repeat or was not sent at all.
//   - answer.go: the answer's head is bounded in time and bytes, those before it in
//     number; no trailers; what streams is flushed at once; half an answer never
//     looks like a whole one, but to HTTP/1.0, which takes the connection's end for
//     that of an answer without a length.
//   - upload.go: where the answer begins before the body was read, the client's
//     connection serves no other request: what is left of the body must not be
//     taken for one, nor be read by net/http beside us.
//   - The request's context closes the socket to the backend, whatever is being
//     done with it, and gives the client no more than endingTime to take what was
//     read of the answer.
//
// Answers are parsed by net/http (http.ReadResponse). Why the connections are our
// own is said in docs/adr/0007-upstream-connections.md.
package proxy

import (
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/latchkey-dev/latchkey/internal/fault"
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
	// BodyTimeout bounds the wait for each piece of the request's body, until the
	// answer begins. Zero means no bound.
	BodyTimeout time.Duration
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
	// OwnsRateLimit says that the backend's RateLimit headers give way to ours.
	OwnsRateLimit bool
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
	origin, err := p.pools.of(request.Identity.Tenant).origin(request.Backend)
	if err != nil {
		return err
	}
	defer origin.users.Add(-1)
	x := &exchange{
		logger: p.logger, w: w, r: r, request: request, origin: origin,
		deadline: time.Now().Add(request.ResponseHeaderTimeout),
	}
	defer x.end()
	length := r.ContentLength
	if x.upload = newUpload(w, r, request); x.upload == nil {
		length = 0
	}
	fault.InRequest(r, "forwarded", x)
	h, err := newHead(r, length, request)
	if err != nil {
		return err
	}
	defer h.free()
	response, err := x.roundTrip(h) //nolint:bodyclose // end closes the connection; Close would read the rest
	switch {
	case err != nil:
		return cause(r.Context(), x.upload, err)
	case response.StatusCode == http.StatusSwitchingProtocols:
		return passUpgrade(r.Context(), w, response, switched{x.connection}, request)
	}
	fault.InRequest(r, "answered", x)
	x.pass(response)
	return nil
}
