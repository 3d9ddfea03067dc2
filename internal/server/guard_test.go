package server_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// Paths that a proxy and a backend may read differently are refused, not repaired
// (Traefik CVE-2025-66490 and CVE-2026-48020).
func TestCVE2025_66490AmbiguousPaths(t *testing.T) {
	h := newHarness(t)
	plaintext := h.issue("acme").Token.Reveal()
	for _, target := range []string{
		"/api/v1/..", "/api/v1/../../healthz", "/api/v1/.", "/api/v1/./orders", "/api/v1/orders/..", "/../api/v1/orders",
		"/api/v1/%2e%2e/healthz", "/api/v1/%2E%2E/healthz", "/api/v1/.%2e/healthz", "/api/v1/%2e/orders", "/api/v1/a%2eb",
		"//api/v1/orders", "/api//v1/orders", "/api/v1//orders", "/api/v1/orders//",
		"/api/v1/%00", "/api/v1/orders%00.json", "/api/v1/a%2fb", "/api/v1/a%2Fb", "/api/v1/%5c..%5chealthz", "/api/v1/a\\b",
		"/api/v1/orders;a=b", "/api/v1/;/orders", "/api/v1/..;/healthz", "/api/v1/a%3bb", "/api/v1/a%3Fb", "/api/v1/a%23b", "/api/v1/a#b",
		"/api/v1/a\"b", "/api/v1/a<b", "/api/v1/a^b", "/api/v1/a`b", "/api/v1/{a}", "/api/v1/ü",
	} {
		a := h.rawAnswer(rawGet("GET "+target+" HTTP/1.1", plaintext, acmeHost))
		if a.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: status %d, want 400", target, a.StatusCode)
			continue
		}
		a.wantProblem(t, http.StatusBadRequest, "request-refused")
	}
	// What is no URL at all net/http refuses itself.
	for _, target := range []string{"/api/v1/%", "/api/v1/%zz", "/api/v1/%2", "/api/v1/a b", "/api/v1/\x00", "/api/v1/\x7f"} {
		if a := h.rawAnswer(rawGet("GET "+target+" HTTP/1.1", plaintext, acmeHost)); a.StatusCode != http.StatusBadRequest {
			t.Errorf("%q: status %d, want 400", target, a.StatusCode)
		}
	}
	if n := len(h.backend.all()); n != 0 {
		t.Errorf("%d of the requests reached the backend", n)
	}
}

// What is authorised is, byte for byte, what is forwarded.
func TestTargetsAreForwardedUnchanged(t *testing.T) {
	h := newHarness(t)
	plaintext := h.issue("acme").Token.Reveal()
	for _, target := range []string{
		"/api/v1", "/api/v1/", "/api/v1/orders/", "/api/v1/a%20b", "/api/v1/a+b", "/api/v1/%c3%BC", "/api/v1/%25", "/api/v1/%252e%252e/x",
		"/api/v1/a:b@c,d=e&f$g!h'i(j)k*l~m-n_o.p", "/api/v1/...", "/api/v1/.hidden", "/api/v1/a..b", "/api/v1/%41", "/api/v1/[a]",
		"/api/v1/x?", "/api/v1/x?a=1&b=2", "/api/v1/x?a=1&a=2&&b", "/api/v1/x?q=%2e%2e%2F%00&r=../..//", "/api/v1/x?url=http://a/b?c=d", "/api/v1/x?%61=%20+",
	} {
		h.raw(rawGet("GET "+target+" HTTP/1.1", plaintext, acmeHost))
		if all := h.backend.all(); len(all) == 0 || all[len(all)-1].RequestURI != target {
			t.Errorf("%s did not reach the backend as it is", target)
		}
	}
}

// Go's proxy dropped such a query as a whole, after it was checked.
func TestCVE2022_2880UnparsableQuery(t *testing.T) {
	h := newHarness(t)
	plaintext := h.issue("acme").Token.Reveal()
	for _, query := range []string{"a=1;b=2", ";", "a=%zz", "a=%", "%=1", "a=1&b;c=2", "a=" + strings.Repeat("x&", 20000)} {
		a := h.rawAnswer(rawGet("GET "+endpoint+"?"+query+" HTTP/1.1", plaintext, acmeHost))
		if a.StatusCode != http.StatusBadRequest {
			t.Errorf("?%.20s: status %d, want 400", query, a.StatusCode)
			continue
		}
		a.wantProblem(t, http.StatusBadRequest, "request-refused")
	}
	if n := len(h.backend.all()); n != 0 {
		t.Errorf("%d of the requests reached the backend", n)
	}
}

// Go's proxy forwarded any method (Traefik CVE-2026-71324).
func TestCVE2026_71324Methods(t *testing.T) {
	h := newHarness(t)
	plaintext := h.issue("acme").Token.Reveal()
	allowed := []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
	for _, method := range []string{"TRACE", "CONNECT", "TRACK", "DEBUG", "PROPFIND", "INVENTED", "get", "Get", "G-E_T", "GET0"} {
		a := h.rawAnswer(rawGet(method+" "+endpoint+" HTTP/1.1", plaintext, acmeHost))
		a.wantProblem(t, http.StatusMethodNotAllowed, "method-not-allowed")
		if got := a.Header.Get("Allow"); got != strings.Join(allowed, ", ") {
			t.Errorf("%s: Allow: %s", method, got)
		}
	}
	h.rawAnswer(rawGet("CONNECT globex.example.com:443 HTTP/1.1", plaintext, acmeHost)).wantProblem(t, http.StatusMethodNotAllowed, "method-not-allowed")
	h.rawAnswer(rawGet("PRI * HTTP/2.0\r\n\r\nSM\r\n", plaintext, acmeHost)).wantStatus(t, http.StatusMethodNotAllowed)
	if n := len(h.backend.all()); n != 0 {
		t.Errorf("%d of the requests reached the backend", n)
	}
	for _, method := range allowed {
		h.do(h.request(method, endpoint, plaintext))
		if got := h.backend.last(t).Method; got != method {
			t.Errorf("the backend was sent %s, want %s", got, method)
		}
	}
}

// A backend with CGI's habits reads X_Tenant as X-Tenant (oauth2-proxy
// CVE-2025-64484, Traefik CVE-2026-39858).
func TestCVE2025_64484HeaderNames(t *testing.T) {
	h := newHarness(t)
	plaintext := h.issue("acme").Token.Reveal()
	for _, name := range []string{"X_tenant", "Latchkey_Tenant", "latchkey_token_scopes", "X.Tenant", "X!", "X~", "X|Y", "Authorization_", "Conte`nt"} {
		r := h.request(http.MethodGet, endpoint, plaintext)
		r.Header[name] = []string{"x"}
		a := h.do(r)
		if a.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: status %d, want 400", name, a.StatusCode)
			continue
		}
		a.wantProblem(t, http.StatusBadRequest, "request-refused")
	}
	for _, name := range []string{"X Tenant", "X-Tenant ", "X(Y)", "", "X\x00"} {
		text := "GET " + endpoint + " HTTP/1.1\r\nHost: " + acmeHost + "\r\nConnection: close\r\n" + name + ": x\r\nAuthorization: token " + plaintext + "\r\n\r\n"
		if a := h.rawAnswer(text); a.StatusCode != http.StatusBadRequest {
			t.Errorf("%q: status %d, want 400", name, a.StatusCode)
		}
	}
	if n := len(h.backend.all()); n != 0 {
		t.Errorf("%d of the requests reached the backend", n)
	}
}

// By such an option a client made a proxy drop the headers that the proxy had set
// (Fabio CVE-2025-48865, Traefik CVE-2024-45410, Kong CVE-2026-6338).
func TestCVE2025_48865ConnectionOptions(t *testing.T) {
	h := newHarness(t)
	plaintext := h.issue("acme").Token.Reveal()
	request := func(connection string) string {
		return "GET " + endpoint + " HTTP/1.1\r\nHost: " + acmeHost + "\r\n" + connection + "\r\nAuthorization: token " + plaintext + "\r\n\r\n"
	}
	for _, connection := range []string{
		"Connection: close, Authorization", "Connection: close, Latchkey-Tenant", "Connection: Latchkey-Tenant,close", "Connection: close\r\nConnection: X-Forwarded-For",
		"Connection: close, x", "Connection: close,\tlatchkey-token-scopes", "Connection: close; a", "Connection: close, HTTP2-Settings",
	} {
		h.rawAnswer(request(connection)).wantProblem(t, http.StatusBadRequest, "request-refused")
	}
	if n := len(h.backend.all()); n != 0 {
		t.Errorf("%d of the requests reached the backend", n)
	}
	for _, connection := range []string{"Connection: close", "Connection: Close", "Connection: close, keep-alive", "Connection: close,, ,"} {
		h.rawAnswer(request(connection)).wantStatus(t, http.StatusOK)
	}
}

// An expectation that some servers see and others don't leaves two of them with
// different ideas of where the next request begins.
func TestExpectationsThatAreSeenBySome(t *testing.T) {
	h := newHarness(t)
	plaintext := h.issue("acme").Token.Reveal()
	request := func(expect string) string {
		return "POST /api/v1/orders HTTP/1.1\r\nHost: " + acmeHost + "\r\nConnection: close\r\nAuthorization: token " + plaintext + "\r\n" + expect + "\r\nContent-Length: 2\r\n\r\n{}"
	}
	for _, expect := range []string{"Expect: y 100-continue", "Expect: 100-continue, 100-continue", "Expect: 100-continue\r\nExpect: y", "Expect: y\r\nExpect: 100-continue"} {
		if a := h.rawAnswer(request(expect)); a.StatusCode != http.StatusBadRequest && a.StatusCode != http.StatusExpectationFailed {
			t.Errorf("%s: status %d, want 400 or 417", expect, a.StatusCode)
		}
	}
	if n := len(h.backend.all()); n != 0 {
		t.Errorf("%d of the requests reached the backend", n)
	}
	for _, expect := range []string{"Expect: 100-continue", "expect: 100-Continue"} {
		if a := h.raw(request(expect)); !strings.HasPrefix(a, "HTTP/1.1 100 ") {
			t.Errorf("%s: answered %s", expect, a)
		}
	}
	if n := len(h.backend.all()); n != 2 {
		t.Errorf("%d of the requests that are well reached the backend", n)
	}
}

// Of two framings a request may have, the backend sees one, and nothing is left on
// the connection that could be taken for another request.
func TestContentLengthBesideTransferEncoding(t *testing.T) {
	h := newHarness(t)
	plaintext := h.issue("acme").Token.Reveal()
	request := func(headers, body string) string {
		return "POST /api/v1/orders HTTP/1.1\r\nHost: " + acmeHost + "\r\nConnection: close\r\nAuthorization: token " + plaintext + "\r\n" + headers + "\r\n\r\n" + body
	}
	for name, text := range map[string]string{
		"two lengths":              request("Content-Length: 2\r\nContent-Length: 3", "{}x"),
		"list of lengths":          request("Content-Length: 2, 3", "{}x"),
		"negative length":          request("Content-Length: -1", ""),
		"length with a sign":       request("Content-Length: +2", "{}"),
		"unknown transfer coding":  request("Transfer-Encoding: gzip, chunked", "0\r\n\r\n"),
		"two transfer codings":     request("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
		"obfuscated coding":        request("Transfer-Encoding: xchunked", "0\r\n\r\n"),
		"obfuscated header's name": request("Transfer-Encoding : chunked", "0\r\n\r\n"),
	} {
		if a := h.rawAnswer(text); a.StatusCode != http.StatusBadRequest && a.StatusCode != http.StatusNotImplemented {
			t.Errorf("%s: status %d, want 400 or 501", name, a.StatusCode)
		}
	}
	if n := len(h.backend.all()); n != 0 {
		t.Fatalf("%d of the requests reached the backend", n)
	}
	// Go takes the chunked framing then. What follows it is a request of its own,
	// with no authorization but its own.
	both := "POST /api/v1/orders HTTP/1.1\r\nHost: " + acmeHost + "\r\nAuthorization: token " + plaintext + "\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
	answers := h.raw(both + "GET /api/v1/smuggled HTTP/1.1\r\nHost: " + acmeHost + "\r\nConnection: close\r\n\r\n")
	if !strings.Contains(answers, "#authorization-missing") {
		t.Errorf("the second request was answered %s", answers)
	}
	all := h.backend.all()
	if len(all) != 1 || all[0].ContentLength != -1 || !slices.Equal(all[0].TransferEncoding, []string{"chunked"}) || all[0].Header.Get("Content-Length") != "" {
		t.Errorf("the backend was sent %d requests, the first %s", len(all), all[0].dump)
	}
}
