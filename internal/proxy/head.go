package proxy

import (
	"errors"
	"net/http"
	"strconv"
	"sync"

	"golang.org/x/net/http/httpguts"
)

// errHead: what should be sent can't be written as HTTP has it.
var errHead = errors.New("the request has a target, host or header that can't be sent to a backend")

// head is the head of an outbound request, as it is sent.
type head struct {
	bytes []byte
	// bad says that something was not fit to be sent.
	bad bool
}

const maxKeptHead = 64 << 10

var heads = sync.Pool{New: func() any { return &head{bytes: make([]byte, 0, 2048)} }}

// free gives back what newHead lent.
func (h *head) free() {
	if cap(h.bytes) <= maxKeptHead {
		heads.Put(h)
	}
}

// newHead writes a request's head. Path and query stay as they came, byte for byte.
// Who calls is written beside headers of which none can have such a name (Traefik
// CVE-2026-41181). length is the body's, negative where it is not known. free must
// be called on the result.
func newHead(r *http.Request, length int64, request *Request) (*head, error) {
	h := heads.Get().(*head)
	h.bytes, h.bad = h.bytes[:0], false
	h.line(r)
	h.framing(r.Method, length)
	h.inbound(r.Header)
	if request.ClientAddress.IsValid() {
		h.name("X-Forwarded-For")
		h.bytes = request.ClientAddress.AppendTo(h.bytes)
		h.end()
	}
	h.header("X-Forwarded-Host", r.Host)
	h.header("X-Forwarded-Proto", request.Scheme)
	if request.WebSocket {
		h.header("Connection", "Upgrade")
		h.header("Upgrade", "websocket")
	}
	h.identity(&request.Identity)
	h.end()
	if h.bad {
		h.free()
		return nil, errHead
	}
	return h, nil
}

func (h *head) line(r *http.Request) {
	target := r.URL.RequestURI()
	h.bad = h.bad || !plainText(target) || !httpguts.ValidHeaderFieldName(r.Method) ||
		r.Host == "" || !httpguts.ValidHostHeader(r.Host)
	h.bytes = append(h.bytes, r.Method...)
	h.bytes = append(h.bytes, ' ')
	h.bytes = append(h.bytes, target...)
	h.bytes = append(h.bytes, " HTTP/1.1\r\n"...)
	h.header("Host", r.Host)
}

// plainText says whether a request's target has no byte that would end it.
func plainText(target string) bool {
	for i := range len(target) {
		if c := target[i]; c <= ' ' || c == 0x7f {
			return false
		}
	}
	return target != ""
}

// framing is ours alone: what the client said of it was for its own connection.
func (h *head) framing(method string, length int64) {
	switch {
	case length < 0:
		h.header("Transfer-Encoding", "chunked")
	case length > 0 || method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch:
		h.name("Content-Length")
		h.bytes = strconv.AppendInt(h.bytes, length, 10)
		h.end()
	}
}

func (h *head) inbound(headers http.Header) {
	options := connectionOptions(headers)
	for name, values := range headers {
		if !forwarded(name) || names(options, name) {
			continue
		}
		h.bad = h.bad || !httpguts.ValidHeaderFieldName(name)
		for _, value := range values {
			if name == "Cookie" {
				if value = withoutOwnCookies(value); value == "" {
					continue
				}
			}
			h.header(name, value)
		}
	}
}

func (h *head) identity(i *Identity) {
	h.header(HeaderTenant, i.Tenant)
	if i.ID == "" {
		return // no token called
	}
	h.header(HeaderTokenID, i.ID)
	h.header(HeaderTokenName, i.Name)
	if i.Owner != "" {
		h.header(HeaderTokenOwner, i.Owner)
	}
	h.name(HeaderTokenScopes)
	for n, scope := range i.Scopes {
		if n > 0 {
			h.bytes = append(h.bytes, ' ')
		}
		h.value(scope)
	}
	h.end()
}

func (h *head) header(name, value string) {
	h.name(name)
	h.value(value)
	h.end()
}

func (h *head) name(name string) {
	h.bytes = append(h.bytes, name...)
	h.bytes = append(h.bytes, ": "...)
}

// value refuses CR, LF and NUL, which would end a header early.
func (h *head) value(value string) {
	h.bad = h.bad || !httpguts.ValidHeaderFieldValue(value)
	h.bytes = append(h.bytes, value...)
}

func (h *head) end() { h.bytes = append(h.bytes, "\r\n"...) }
