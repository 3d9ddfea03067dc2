package server

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/latchkey-dev/latchkey/internal/problem"
	"github.com/latchkey-dev/latchkey/internal/token"
)

// FuzzSubdomain: what is taken for a tenant's label is one, and the host is, but
// for case, one dot and the port, that label and the base domain.
func FuzzSubdomain(f *testing.F) {
	for _, host := range []string{
		"acme.example.com", "ACME.example.COM.:443", "acme.example.com:", "example.com", ".example.com", "a.b.example.com", "a,b.example.com",
		"acme.example.com..", "[::1]:80", "acme.example.com:http", "\u212aelly.example.com", "acme.example.com@evil", "acme.example.com:80:80", "",
	} {
		f.Add(host)
	}
	const base = "example.com"
	f.Fuzz(func(t *testing.T, host string) {
		label := subdomain(host, base)
		if label == "" {
			return
		}
		if len(label) > 63 || label != strings.ToLower(label) || !plainName(label) {
			t.Fatalf("%q gives %q, which is no label", host, label)
		}
		rest, found := strings.CutPrefix(asciiLower(host), label+"."+base)
		if !found {
			t.Fatalf("%q gives %q, with which it does not begin", host, label)
		}
		rest = strings.TrimPrefix(rest, ".")
		if port, found := strings.CutPrefix(rest, ":"); rest != "" && (!found || strings.Trim(port, "0123456789") != "") {
			t.Fatalf("%q gives %q, and ends with %q", host, label, rest)
		}
		if again := subdomain(label+"."+base, base); again != label {
			t.Fatalf("%q gives %q, which gives %q", host, label, again)
		}
	})
}

func asciiLower(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// FuzzCleanPath: a path that is accepted means the same to who cleans it, decodes it,
// or does both in either order.
func FuzzCleanPath(f *testing.F) {
	for _, raw := range []string{
		"/", "/api/v1/orders", "/api/v1/orders/", "/..", "/a/../b", "/./a", "//", "/a//b", "/%2e%2e/", "/a%2fb", "/a%2F", "/%5c", "/a;b", "/%3b", "/%00",
		"/...", "/.a", "/a.", "/a%20b", "/%", "/%2", "/%zz", "/%252e", "/\\", "/#", "/ü", "/%c3%bc", "/\x00",
	} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if !strings.HasPrefix(raw, "/") || strings.Contains(raw, "?") || !cleanPath(raw) {
			return // the query has a check of its own
		}
		decoded, err := url.PathUnescape(raw)
		if err != nil {
			return // net/http refuses it
		}
		for what, p := range map[string]string{"raw": raw, "decoded": decoded} {
			if cleaned := path.Clean(p); cleaned != p && cleaned+"/" != p {
				t.Fatalf("%s path %q cleans to %q", what, p, cleaned)
			}
			if strings.ContainsAny(p, ";\\\x00") {
				t.Fatalf("%s path %q is accepted", what, p)
			}
		}
		if strings.ContainsAny(raw, "# \t\r\n\x7f") || strings.Count(decoded, "/") != strings.Count(raw, "/") || strings.Count(decoded, ".") != strings.Count(raw, ".") || strings.ContainsAny(decoded, "?#") {
			t.Fatalf("%q is accepted, and decodes to %q", raw, decoded)
		}
	})
}

// FuzzCredentials: what is taken for a token is all that follows the scheme and one
// space, and has no byte that could end it.
func FuzzCredentials(f *testing.F) {
	for _, value := range []string{
		"", " ", "token", "token ", "token x", "Bearer x", "BEARER x", "token  x", "token\tx", "token x y", "token x,y", "Basic x", "x", "to\u212aen x", "token \x00",
	} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		r := &http.Request{Header: http.Header{"Authorization": {value}}}
		plaintext, p := credentials(r)
		if p != nil {
			if plaintext != "" || p.Status != http.StatusUnauthorized {
				t.Fatalf("%q: %q, %+v", value, plaintext, p)
			}
			return
		}
		scheme := strings.TrimSuffix(value, " "+plaintext)
		if lower := asciiLower(scheme); lower != "token" && lower != "bearer" {
			t.Fatalf("%q has the scheme %q", value, scheme)
		}
		if plaintext == "" || strings.ContainsAny(plaintext, " \t,") {
			t.Fatalf("%q has the token %q", value, plaintext)
		}
		if _, err := token.Parse("lk", plaintext); err == nil && !utf8.ValidString(plaintext) {
			t.Fatalf("%q is a token", plaintext)
		}
		r.Header["Authorization"] = []string{value, value}
		if _, p := credentials(r); p == nil {
			t.Fatalf("%q sent twice is taken", value)
		}
	})
}

// FuzzClientAddress: whatever the header says, an address is the peer's or one that
// the header has, and never that of somebody a client could pass for.
func FuzzClientAddress(f *testing.F) {
	for _, header := range []string{"", "203.0.113.9", "1.2.3.4, 203.0.113.9", "203.0.113.9, 10.0.0.2", "::ffff:10.0.0.2", "fe80::1%eth0", ",", "garbage", "1.2.3.4:80"} {
		f.Add("10.0.0.1:1234", header)
		f.Add("192.0.2.1:1234", header)
		f.Add("[::ffff:10.0.0.1]:1", header)
	}
	f.Add("", "203.0.113.9")
	trusted := prefixes("10.0.0.0/8")
	f.Fuzz(func(t *testing.T, peer, header string) {
		r := &http.Request{RemoteAddr: peer, Header: http.Header{"X-Forwarded-For": {header}}}
		got := clientAddress(r, trusted)
		if !got.IsValid() {
			return
		}
		if got.Is4In6() || got.Zone() != "" {
			t.Fatalf("%q, %q: %s would match no CIDR", peer, header, got)
		}
		parsed, err := netip.ParseAddrPort(peer)
		if err != nil {
			t.Fatalf("%q, %q: %s from nobody", peer, header, got)
		}
		if direct := plainAddress(parsed.Addr()); !contains(trusted, direct) && got != direct {
			t.Fatalf("%q is not trusted, and %q gave %s", peer, header, got)
		}
		// What a client puts before it changes nothing, once an address is found that
		// no trusted proxy has.
		if !contains(trusted, got) {
			r.Header["X-Forwarded-For"] = []string{"198.51.100.7", header}
			if again := clientAddress(r, trusted); header != "" && again != got {
				t.Fatalf("%q, %q: %s, and %s after a client's own header", peer, header, got, again)
			}
		}
	})
}

// FuzzCIDRs: a list that is accepted matches just the addresses that share its
// prefixes' bits.
func FuzzCIDRs(f *testing.F) {
	for _, list := range []string{
		"", "10.0.0.0/8", "10.1.2.3/8, 192.168.0.0/16", "2001:db8::/32,10.0.0.0/8", "::ffff:10.0.0.0/104", "10.0.0.0/33", "0.0.0.0/0", "::/0",
		"10.0.0.0", "fe80::1%eth0/64", "010.0.0.0/8", ",,", "10.0.0.0/08", "10.0.0.0/-1",
	} {
		f.Add(list, "10.9.8.7")
		f.Add(list, "2001:db8::1")
	}
	f.Fuzz(func(t *testing.T, list, text string) {
		accepted, err := ParseCIDRs(list)
		if err != nil {
			return
		}
		address, err := netip.ParseAddr(text)
		if err != nil {
			return
		}
		address = plainAddress(address)
		want := false
		for _, prefix := range accepted {
			if prefix != prefix.Masked() || prefix.Addr().Is4In6() {
				t.Fatalf("%q gave %s", list, prefix)
			}
			want = want || sharesBits(prefix.Addr().AsSlice(), address.AsSlice(), prefix.Bits())
		}
		if got := contains(accepted, address); got != want {
			t.Fatalf("%q has %s: %t", list, address, got)
		}
	})
}

func sharesBits(a, b []byte, n int) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range n {
		if mask := byte(0x80) >> (i % 8); a[i/8]&mask != b[i/8]&mask {
			return false
		}
	}
	return true
}

// FuzzGuard: no request makes it panic or hang, and one that is let through is
// forwarded as it came.
func FuzzGuard(f *testing.F) {
	for _, target := range []string{"/api/v1/x", "/api/v1/x?a=1;b=2", "/%2e%2e", "http://h/x", "*", "/a b", "//h/x", "/x?%zz", "/x#y"} {
		f.Add("GET", target, "X-Name", "close")
	}
	f.Add("TRACE", "/", "X_Name", "Authorization")
	f.Fuzz(func(t *testing.T, method, target, name, connection string) {
		parsed, err := url.ParseRequestURI(target)
		if err != nil || name == "Connection" {
			return
		}
		r := &http.Request{Method: method, RequestURI: target, URL: parsed, Header: http.Header{name: {"x"}, "Connection": {connection}}}
		if guard(r) != nil {
			return
		}
		if got := r.URL.RequestURI(); got != target {
			t.Fatalf("%q is let through as %q", target, got)
		}
		if !plainName(name) || strings.Contains(strings.ToLower(connection), "authorization") || r.URL.IsAbs() {
			t.Fatalf("%q %q %q %q is let through", method, target, name, connection)
		}
	})
}

// FuzzProblem: a problem is JSON with what it was made of, whatever that is, and as
// long as it says.
func FuzzProblem(f *testing.F) {
	f.Add("token-expired", "It expired.", "https://latchkey.dev/errors#", "acme.example.com")
	f.Add("x", "\"\\\x00\u2028<script>\xff", "", "")
	f.Fuzz(func(t *testing.T, code, detail, base, realm string) {
		w := httptest.NewRecorder()
		p := &problem.Problem{Code: code, Status: http.StatusUnauthorized, Title: "A title", Detail: detail, Challenge: true}
		p.Write(w, base, realm)
		var got struct {
			Type, Title, Detail string
			Status              int
		}
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatalf("%v: %q", err, w.Body)
		}
		valid := utf8.ValidString(base) && utf8.ValidString(code) && utf8.ValidString(detail)
		if valid && (got.Type != base+code || got.Detail != detail) || got.Status != http.StatusUnauthorized || got.Title != "A title" {
			t.Fatalf("%q and %q are written as %q", code, detail, w.Body)
		}
		if w.Header().Get("Content-Length") != strconv.Itoa(w.Body.Len()) || !strings.HasSuffix(w.Body.String(), "}\n") {
			t.Fatalf("%d bytes, announced %s: %q", w.Body.Len(), w.Header().Get("Content-Length"), w.Body)
		}
		if strings.ContainsAny(w.Body.String(), "<>\u2028") {
			t.Fatalf("a browser that guesses could take it for HTML: %q", w.Body)
		}
	})
}
