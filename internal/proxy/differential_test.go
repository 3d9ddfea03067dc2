package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// However a backend answers, a client behind the proxy gets what net/http's own
// transport makes of it, or an error where that has one.
func TestAnswersAreReadAsNetHTTPReadsThem(t *testing.T) {
	for name, text := range map[string]string{
		"plain":                        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody",
		"no reason":                    "HTTP/1.1 200\r\nContent-Length: 4\r\n\r\nbody",
		"empty lines before":           "\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody",
		"bare LF":                      "HTTP/1.1 200 OK\nX-A: 1\nContent-Length: 4\n\nbody",
		"bare CR in a value":           "HTTP/1.1 200 OK\r\nX-A: 1\rX-B: 2\r\nContent-Length: 4\r\n\r\nbody",
		"NUL in a value":               "HTTP/1.1 200 OK\r\nX-A: 1\x002\r\nContent-Length: 4\r\n\r\nbody",
		"a folded header":              "HTTP/1.1 200 OK\r\nX-A: 1\r\n 2\r\nContent-Length: 4\r\n\r\nbody",
		"a folded first header":        "HTTP/1.1 200 OK\r\n X-A: 1\r\nContent-Length: 4\r\n\r\nbody",
		"a folded length":              "HTTP/1.1 200 OK\r\nContent-Length:\r\n 4\r\n\r\nbody",
		"space before the colon":       "HTTP/1.1 200 OK\r\nContent-Length : 4\r\n\r\nbody",
		"a negative length":            "HTTP/1.1 200 OK\r\nContent-Length: -4\r\n\r\nbody",
		"a signed length":              "HTTP/1.1 200 OK\r\nContent-Length: +4\r\n\r\nbody",
		"a hexadecimal length":         "HTTP/1.1 200 OK\r\nContent-Length: 0x4\r\n\r\nbody",
		"an empty length":              "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nbody",
		"a huge length":                "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nbody",
		"a list of lengths":            "HTTP/1.1 200 OK\r\nContent-Length: 4, 4\r\n\r\nbody",
		"the same length twice":        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\nbody",
		"two lengths":                  "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nbody",
		"a length that is too long":    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nbody",
		"no framing":                   "HTTP/1.1 200 OK\r\n\r\nbody",
		"no framing, HTTP/1.0":         "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\nbody",
		"length and chunks":            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
		"a bad length and chunks":      "HTTP/1.1 200 OK\r\nContent-Length: -2\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
		"chunks, HTTP/1.0":             "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
		"chunked twice":                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
		"gzip, chunked":                "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
		"identity":                     "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nbody",
		"chunked behind a tab":         "HTTP/1.1 200 OK\r\nTransfer-Encoding:\tchunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
		"a vertical tab in the coding": "HTTP/1.1 200 OK\r\nTransfer-Encoding: \vchunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
		"a chunk extension":            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;a=b\r\nbody\r\n0;c\r\n\r\n",
		"a chunk of bare LF":           "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\nbody\n0\n\n",
		"a chunk's wrong end":          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbodyX\r\n0\r\n\r\n",
		"a chunk's negative size":      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-4\r\nbody\r\n0\r\n\r\n",
		"a chunk's huge size":          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nbody\r\n0\r\n\r\n",
		"a forbidden trailer":          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Content-Length\r\n\r\n4\r\nbody\r\n0\r\nContent-Length: 9\r\n\r\n",
		"a long trailer":               "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nX-A: " + strings.Repeat("x", 8000) + "\r\n\r\n",
		"204 with a length":            "HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nbody",
		"HTTP/2.0":                     "HTTP/2.0 200 OK\r\nContent-Length: 4\r\n\r\nbody",
		"HTTP/1.2":                     "HTTP/1.2 200 OK\r\nContent-Length: 4\r\n\r\nbody",
		"HTTP/0.9":                     "body",
		"lower case":                   "http/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody",
		"status 20":                    "HTTP/1.1 20 OK\r\nContent-Length: 4\r\n\r\nbody",
		"status 2000":                  "HTTP/1.1 2000 OK\r\nContent-Length: 4\r\n\r\nbody",
		"status 999":                   "HTTP/1.1 999 Odd\r\nContent-Length: 4\r\n\r\nbody",
		"status -10":                   "HTTP/1.1 -10 Odd\r\nContent-Length: 4\r\n\r\nbody",
		"early hints with a length":    "HTTP/1.1 103 Early Hints\r\nContent-Length: 4\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody",
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, ok)
			serve := func(s *scripted, connection net.Conn, r *bufio.Reader, _ int) {
				if s.receive(r) {
					_, _ = io.WriteString(connection, text)
				}
			}
			f.request.Backend = newScripted(t, nil, serve).url
			want := outcome(t, &http.Client{Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true}}, newScripted(t, nil, serve).url, "status 502")
			got := outcome(t, f.front.Client(), f.front.URL, brokenOff)
			if got != want {
				t.Errorf("through the proxy: %s\nby net/http: %s", got, want)
			}
		})
	}
}

// brokenOff is also what a client gets whose connection is cut before the headers
// were on their way.
const brokenOff = "an answer that breaks off"

// outcome is what a client gets, in words; failed where it gets no answer.
func outcome(t *testing.T, client *http.Client, url, failed string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	must(t, err)
	r.Host = "acme.example.com"
	response, err := client.Do(r)
	if err != nil {
		return failed
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode == http.StatusBadGateway {
		return fmt.Sprintf("status %d", response.StatusCode)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return brokenOff
	}
	// net/http's server writes no line break in a header.
	value := strings.NewReplacer("\r", " ", "\n", " ").Replace(response.Header.Get("X-A"))
	return fmt.Sprintf("status %d, X-A %q, body %q", response.StatusCode, value, body)
}

func TestAnswersThatNetHTTPWouldNotEnd(t *testing.T) {
	for name, text := range map[string]string{
		"hints without end": strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", 1000),
		"a status below":    "HTTP/1.1 099 " + marker + "\r\nContent-Length: 0\r\n\r\n",
		"large hints":       "HTTP/1.1 103 Early Hints\r\n" + strings.Repeat("Link: "+marker+"\r\n", 64<<10/20) + "\r\n" + fresh,
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, ok)
			f.request.Backend = newScripted(t, nil, once(text)).url
			connection, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", f.front.Listener.Addr().String())
			must(t, err)
			defer func() { _ = connection.Close() }()
			_, err = io.WriteString(connection, "GET / HTTP/1.1\r\nHost: acme.example.com\r\nConnection: close\r\n\r\n")
			must(t, err)
			answer, err := io.ReadAll(connection)
			must(t, err)
			if !strings.Contains(string(answer), "HTTP/1.1 502") || strings.Contains(string(answer), marker) {
				t.Errorf("the client was answered %q", answer)
			}
			f.wantError(nil)
			if strings.Contains(f.errors[0].Error(), marker) {
				t.Errorf("the error quotes the backend: %v", f.errors[0])
			}
		})
	}
}
