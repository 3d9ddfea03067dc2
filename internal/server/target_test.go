package server

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// HTTP/2 carries the target in a header, where net/http lets pass what would end a
// request line of HTTP/1.1.
func TestTargetsThatOnlyHTTP2CanCarry(t *testing.T) {
	for target, refused := range map[string]bool{
		"/api/v1/x?a=b":          false,
		"/api/v1/x?a b":          true,
		"/api/v1/x?a=1 HTTP/1.1": true,
		"/api/v1/x?\ta":          true,
		"/api/v1/x?a\x7f":        true,
		"/api/v1/x?a\r\nb: c":    true,
	} {
		path, query, _ := strings.Cut(target, "?")
		r := &http.Request{Method: http.MethodGet, RequestURI: target, URL: &url.URL{Path: path, RawQuery: query}, Header: http.Header{}}
		if p := guard(r); (p != nil) != refused {
			t.Errorf("%q: %v", target, p)
		}
	}
}
