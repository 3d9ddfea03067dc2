package server

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/latchkey-dev/latchkey/internal/problem"
)

// allowedMethods are those of an HTTP API. CONNECT, TRACE and invented ones are
// refused (Traefik CVE-2026-71324: extension methods that a backend took for GET).
var allowedMethods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut,
	http.MethodPatch, http.MethodDelete, http.MethodOptions,
}

// guard refuses requests that a client and a backend, or two proxies, could
// understand differently. It repairs nothing: what is authorised is, byte for
// byte, what is forwarded.
func guard(r *http.Request) *problem.Problem {
	if !slices.Contains(allowedMethods, r.Method) {
		return problem.MethodNotAllowed(strings.Join(allowedMethods, ", "))
	}
	for _, check := range []func(*http.Request) *problem.Problem{guardTarget, guardPath, guardQuery, guardHeaders} {
		if p := check(r); p != nil {
			return p
		}
	}
	return nil
}

// guardTarget requires the origin form (RFC 9112, section 3.2.1): in the absolute
// form the request line would override Host (Caddy CVE-2026-27588). HTTP/2 can
// carry bytes in it that would end the line of the request to the backend.
func guardTarget(r *http.Request) *problem.Problem {
	for i := range len(r.RequestURI) {
		if c := r.RequestURI[i]; c <= ' ' || c == 0x7f {
			return problem.RequestRefused("The request target must not have spaces or control characters: percent-encode them.")
		}
	}
	if !strings.HasPrefix(r.RequestURI, "/") || r.URL.IsAbs() || r.URL.Host != "" {
		return problem.RequestRefused("The request target must be a path that begins with a slash.")
	}
	return nil
}

// guardPath refuses what proxies and backends normalise each in their own way
// (Traefik CVE-2025-66490 and CVE-2026-48020).
func guardPath(r *http.Request) *problem.Problem {
	raw, _, _ := strings.Cut(r.RequestURI, "?")
	if raw != r.URL.EscapedPath() {
		return problem.RequestRefused("The path has characters that must be percent-encoded.")
	}
	if !cleanPath(raw) {
		return problem.RequestRefused("The path must not have empty, . or .. segments, ;, \\ or NUL, nor percent-encoded / \\ . ; ? # or NUL.")
	}
	return nil
}

// cleanPath says whether a raw path means the same to everybody.
func cleanPath(raw string) bool {
	for i := range len(raw) {
		switch c := raw[i]; {
		case c <= ' ' || c == 0x7f || c == ';' || c == '\\' || c == '#':
			return false
		case c == '/' && !cleanSegment(raw[i+1:]):
			return false
		case c == '%' && (i+2 >= len(raw) || ambiguousEscape(raw[i+1:i+3])):
			return false
		}
	}
	return true
}

// cleanSegment looks at what follows a slash: not another slash, nor a segment of
// dots alone.
func cleanSegment(rest string) bool {
	segment, _, more := strings.Cut(rest, "/")
	return segment != "." && segment != ".." && (segment != "" || !more)
}

func ambiguousEscape(hex string) bool {
	switch strings.ToUpper(hex) {
	case "2F", "5C", "2E", "3B", "3F", "23", "00":
		return true
	}
	return false
}

// guardQuery refuses a query that Go's parser and a backend's would read
// differently, such as a=1;b=2 (CVE-2022-2880).
func guardQuery(r *http.Request) *problem.Problem {
	if _, err := url.ParseQuery(r.URL.RawQuery); err != nil {
		return problem.RequestRefused("The query can't be parsed: separate parameters with & and percent-encode semicolons.")
	}
	return nil
}

// guardHeaders refuses header names that servers with CGI's habits read as
// another name, as X_tenant for X-Tenant (oauth2-proxy CVE-2025-64484, Traefik
// CVE-2026-39858), and Connection options by which a client would make a proxy
// drop a header of its choice (Fabio CVE-2025-48865, Traefik CVE-2024-45410).
func guardHeaders(r *http.Request) *problem.Problem {
	for name := range r.Header {
		if !plainName(name) {
			return problem.RequestRefused("Header names must consist of letters, digits and hyphens.")
		}
	}
	for _, value := range r.Header["Connection"] {
		for option := range strings.SplitSeq(value, ",") {
			switch strings.ToLower(strings.Trim(option, " \t")) {
			case "", "close", "keep-alive", "upgrade":
			default:
				return problem.RequestRefused("The header Connection may name close and keep-alive only, and upgrade where the API allows it.")
			}
		}
	}
	if p := guardExpect(r); p != nil {
		return p
	}
	return guardLength(r)
}

// guardLength refuses a length that is none, which net/http takes for 0 in HTTP/2, and
// several, of which it takes the first there (RFC 9113, section 8.1.1).
func guardLength(r *http.Request) *problem.Problem {
	values := r.Header["Content-Length"]
	if len(values) == 0 || len(values) == 1 && values[0] != "" && strings.Trim(values[0], "0123456789") == "" {
		return nil
	}
	return problem.RequestRefused("The header Content-Length may be sent once, and must have digits only.")
}

// guardExpect refuses expectations that servers see or overlook, each in its own way.
// net/http answers others than 100-continue itself, but finds that among other words
// too: what it sends on, one that does not find it would wait for.
func guardExpect(r *http.Request) *problem.Problem {
	values := r.Header["Expect"]
	if len(values) == 0 || len(values) == 1 && equalFoldASCII(values[0], "100-continue") {
		return nil
	}
	return problem.RequestRefused("The header Expect may be sent once, and be 100-continue only.")
}

// guardServerName refuses a request for another host than the TLS connection was
// made for (RFC 9110, section 15.5.20): the certificate was checked for that one.
func (s *Server) guardServerName(r *http.Request) *problem.Problem {
	if r.TLS == nil || r.TLS.ServerName == "" {
		return nil
	}
	if subdomain(r.TLS.ServerName, s.config.BaseDomain) != subdomain(r.Host, s.config.BaseDomain) {
		return problem.Misdirected
	}
	return nil
}

// guardUpgrade refuses to switch protocols where the PublicApi does not allow it.
func guardUpgrade(r *http.Request, allowed bool) *problem.Problem {
	if allowed || !connectionNames(r, "upgrade") {
		return nil
	}
	return problem.RequestRefused("This API does not switch protocols: the header Connection may name close and keep-alive only.")
}

func connectionNames(r *http.Request, option string) bool {
	for named := range strings.SplitSeq(strings.Join(r.Header["Connection"], ","), ",") {
		if equalFoldASCII(strings.Trim(named, " \t"), option) {
			return true
		}
	}
	return false
}

// wantsWebSocket says whether a request asks to be switched to WebSocket and to
// nothing else (RFC 6455, section 4.1). Any other Upgrade is dropped: h2c would
// make a tunnel that nobody checks (Traefik CVE-2026-88008).
func wantsWebSocket(r *http.Request) bool {
	return r.Method == http.MethodGet && r.ProtoMajor == 1 && r.ContentLength == 0 &&
		len(r.Header["Upgrade"]) == 1 && equalFoldASCII(r.Header["Upgrade"][0], "websocket") &&
		connectionNames(r, "upgrade") &&
		r.Header.Get("Sec-Websocket-Key") != ""
}

func plainName(name string) bool {
	for i := range len(name) {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// subdomain is the tenant's name in a Host of the form <label>.<base domain>, or
// empty. Case, one trailing dot and the port do not matter; anything else does
// (Traefik CVE-2022-23632).
func subdomain(host, baseDomain string) string {
	if i := strings.LastIndexByte(host, ':'); i >= 0 {
		if !digits(host[i+1:]) {
			return ""
		}
		host = host[:i]
	}
	for i := range len(host) {
		if host[i] >= utf8.RuneSelf {
			return "" // ToLower would make a k of the Kelvin sign
		}
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	label, ok := strings.CutSuffix(host, "."+baseDomain)
	if !ok || label == "" || len(label) > 63 || strings.ContainsRune(label, '.') || !plainName(label) {
		return ""
	}
	return label
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return len(s) <= 5
}
