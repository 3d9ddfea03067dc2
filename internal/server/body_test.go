package server_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/internal/server"
	"github.com/latchkey-dev/latchkey/internal/testing/directorytest"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

// half sends a request without (all of) its body, and returns the first answer.
func (h *harness) half(text string) (*http.Response, net.Conn, *bufio.Reader) {
	h.t.Helper()
	connection := h.dial()
	_, err := io.WriteString(connection, text)
	directorytest.Must(h.t, err)
	r := bufio.NewReader(connection)
	response, err := http.ReadResponse(r, nil)
	directorytest.Must(h.t, err)
	h.t.Cleanup(func() { _ = response.Body.Close() })
	return response, connection, r
}

// A request that is refused is refused at once, whether or not its body comes.
func TestRefusalDoesNotWaitForTheBody(t *testing.T) {
	for name, limits := range map[string]server.Limits{"with a limit": {BodyBytes: 1000}, "without a limit": {}} {
		for framing, text := range map[string]string{
			"100-continue":      "Expect: 100-continue\r\nContent-Length: 10\r\n\r\n",
			"nothing":           "Content-Length: 10\r\n\r\n",
			"a part":            "Content-Length: 10\r\n\r\nabc",
			"a part, in chunks": "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
		} {
			t.Run(name+", "+framing, func(t *testing.T) {
				t.Parallel()
				h := newHarness(t, withLimits(limits))
				response, _, r := h.half("POST " + endpoint + " HTTP/1.1\r\nHost: " + acmeHost + "\r\n" + text)
				body, err := io.ReadAll(response.Body)
				directorytest.Must(t, err)
				answer{response, string(body)}.wantProblem(t, http.StatusUnauthorized, "authorization-missing")
				if !response.Close {
					t.Error("the connection is offered for another request")
				}
				if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
					t.Errorf("then came %q, %v, want the end", rest, err)
				}
			})
		}
	}
}

// What Latchkey answers itself does not wait for a body either.
func TestTokensDescriptionDoesNotWaitForABody(t *testing.T) {
	h := newHarness(t, withLimits(server.Limits{BodyBytes: 1000}))
	response, _, r := h.half("GET /api/v1/token HTTP/1.1\r\nHost: " + acmeHost + "\r\nAuthorization: token " + h.issue("acme").Token.Reveal() + "\r\nContent-Length: 10\r\n\r\n")
	if response.StatusCode != http.StatusBadRequest || !response.Close { // it takes no body
		t.Errorf("status %d, close %t", response.StatusCode, response.Close)
	}
	_, err := io.Copy(io.Discard, response.Body)
	directorytest.Must(t, err)
	if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
		t.Errorf("then came %q, %v, want the end", rest, err)
	}
}

// What is left of a refused request's body is no request.
func TestRestOfABodyIsNoRequest(t *testing.T) {
	h := newHarness(t, withLimits(server.Limits{BodyBytes: 1 << 20}))
	smuggled := "GET /api/v1/token HTTP/1.1\r\nHost: " + acmeHost + "\r\nAuthorization: token " + h.issue("acme").Token.Reveal() + "\r\n\r\n"
	connection := h.dial()
	_, err := io.WriteString(connection, "POST "+endpoint+" HTTP/1.1\r\nHost: "+acmeHost+"\r\nContent-Length: 100000\r\n\r\n"+strings.Repeat(smuggled, 10))
	directorytest.Must(t, err)
	all, _ := io.ReadAll(connection)
	if n := strings.Count(string(all), "HTTP/1.1 "); n != 1 {
		t.Errorf("%d answers, want 1:\n%s", n, all)
	}
}

func TestBodyThatStalls(t *testing.T) {
	h := newHarness(t, withLimits(server.Limits{BodyBytes: 1000, BodyTimeout: 100 * time.Millisecond}))
	response, _, _ := h.half("POST " + endpoint + " HTTP/1.1\r\nHost: " + acmeHost + "\r\nAuthorization: token " + h.issue("acme").Token.Reveal() + "\r\nContent-Length: 10\r\n\r\nabc")
	body, err := io.ReadAll(response.Body)
	directorytest.Must(t, err)
	answer{response, string(body)}.wantProblem(t, http.StatusRequestTimeout, "request-timeout")
	if !response.Close {
		t.Error("the connection is offered for another request")
	}
	h.wantOutcome("request-timeout")
}

// The same over HTTP/2, whose connection serves other requests on.
func TestBodyThatStallsOnHTTP2(t *testing.T) {
	h := newHarness(t, withLimits(server.Limits{BodyBytes: 1000, BodyTimeout: 100 * time.Millisecond}))
	front, client := h.http2()
	plaintext := h.issue("acme").Token.Reveal()
	reader, writer := io.Pipe()
	defer func() { _ = writer.Close() }()
	r := h.request(http.MethodPost, endpoint, plaintext)
	r.URL.Scheme, r.URL.Host, r.Body, r.ContentLength = "https", front, reader, -1
	response, err := client.Do(r)
	directorytest.Must(t, err)
	body, err := io.ReadAll(response.Body)
	directorytest.Must(t, err)
	directorytest.Must(t, response.Body.Close())
	if response.ProtoMajor != 2 {
		t.Fatalf("it was %s", response.Proto)
	}
	answer{response, string(body)}.wantProblem(t, http.StatusRequestTimeout, "request-timeout")
}

// A client that does not read holds nothing longer than its token works.
func TestDownloadThatIsNotReadEndsWithItsToken(t *testing.T) {
	full := make(chan struct{})
	h := newHarness(t, withBackend(func(w http.ResponseWriter, r *http.Request) {
		controller, piece := http.NewResponseController(w), make([]byte, 64<<10)
		for {
			_ = controller.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
			if _, err := w.Write(piece); err != nil {
				close(full)
				<-r.Context().Done()
				return
			}
		}
	}))
	connection := h.dial()
	_, err := io.WriteString(connection, "GET "+endpoint+" HTTP/1.1\r\nHost: "+acmeHost+"\r\nAuthorization: token "+h.issue("acme").Token.Reveal()+"\r\n\r\n")
	directorytest.Must(t, err)
	await(t, "the backend's standstill", full)
	h.clock.SetTime(expiry)
	testenv.Eventually(t, func() error {
		if text := h.metrics(); !strings.Contains(text, "latchkey_http_requests_in_flight 0\n") {
			return errors.New("the request is still under way")
		}
		return nil
	})
}

// http2 serves over HTTP/2 too.
func (h *harness) http2() (address string, client *http.Client) {
	front := httptest.NewUnstartedServer(h.handler)
	front.EnableHTTP2 = true
	front.StartTLS()
	h.t.Cleanup(front.Close)
	return front.Listener.Addr().String(), front.Client()
}
