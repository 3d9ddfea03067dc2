package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/directory"
	"github.com/latchkey-dev/latchkey/internal/server"
	"github.com/latchkey-dev/latchkey/internal/testing/directorytest"
)

// rawBackend answers every request with the text, and closes the connection.
func rawBackend(t *testing.T, text string) (url string) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	directorytest.Must(t, err)
	var serving sync.WaitGroup
	t.Cleanup(func() {
		_ = listener.Close()
		serving.Wait()
	})
	serving.Go(func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = connection.Read(make([]byte, 64<<10))
			_, _ = io.WriteString(connection, text)
			_ = connection.(*net.TCPConn).SetLinger(len(text)) // 0 resets
			_ = connection.Close()
		}
	})
	return "http://" + listener.Addr().String()
}

// An answer without a Content-Type reaches the client without one. net/http's guess would
// make HTML, and so a script, of what a tenant's user wrote as text, on the host that has
// Settings.
func TestNoContentTypeIsGuessed(t *testing.T) {
	const script = "<html><script>alert(1)</script></html>"
	backend := rawBackend(t, fmt.Sprintf("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(script), script))
	h := newHarness(t, withAPI(func(s *v1alpha1.PublicApiSpec) { s.Backend.URL = backend }))
	plaintext := h.issue("acme").Token.Reveal()
	address, client := h.http2()
	overHTTP2, err := fetch(t, client, "https://"+address+endpoint, acmeHost, plaintext)
	directorytest.Must(t, err)
	for major, a := range map[int]answer{1: h.get(endpoint, plaintext), 2: overHTTP2} {
		if a.ProtoMajor != major || a.StatusCode != http.StatusOK || a.body != script {
			t.Fatalf("%s %d: %s", a.Proto, a.StatusCode, a.body)
		}
		if values, named := a.Header["Content-Type"]; named || a.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: Content-Type is %q, and the backend named none; X-Content-Type-Options is %q", a.Proto, values, a.Header.Get("X-Content-Type-Options"))
		}
	}
}

func TestBackendDown(t *testing.T) {
	h := newHarness(t)
	directorytest.Must(t, h.stores.PublicApis.Update(directorytest.PublicApi(h.deadBackend())))
	a := h.get(endpoint, h.issue("acme").Token.Reveal())
	a.wantProblem(t, http.StatusBadGateway, "backend-unavailable")
	if strings.Contains(a.body, "127.0.0.1") {
		t.Errorf("the answer tells where the backend is: %s", a.body)
	}
	h.wantOutcome("backend-unavailable")
	if cause := h.logs.lines("request")[0]["cause"]; cause == nil || !strings.Contains(cause.(string), "refused") {
		t.Errorf("the log says not why: %v", cause)
	}
}

// A backend that does not speak HTTP is not quoted: not to the client, and not in
// the log (Traefik CVE-2022-23469).
func TestCVE2022_23469BackendAnswersGarbage(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":                 "",
		"early hints only":        "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n",
		"no HTTP":                 "SSH-2.0-" + marker + "\r\n",
		"no status":               "HTTP/1.1 " + marker + "\r\n\r\n",
		"a header without a name": "HTTP/1.1 200 OK\r\n" + marker + "\r\n\r\n",
		"a broken header":         "HTTP/1.1 200 OK\r\nSet-Cookie " + marker + "\r\n\r\n",
		"a broken length":         "HTTP/1.1 200 OK\r\nContent-Length: " + marker + "\r\n\r\n",
		"two lengths":             "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
		"an unknown coding":       "HTTP/1.1 200 OK\r\nTransfer-Encoding: " + marker + "\r\n\r\n",
		"half of the headers":     "HTTP/1.1 200 OK\r\nSet-Cookie: " + marker,
		"64 KiB of headers":       "HTTP/1.1 200 OK\r\n" + strings.Repeat("X-Header: "+marker+"\r\n", 64<<10/20) + "\r\n",
		"an upgrade":              "HTTP/1.1 101 Switching Protocols\r\nUpgrade: " + marker + "\r\nConnection: Upgrade\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, withBackendURL(rawBackend(t, text)))
			a := h.get(endpoint, h.issue("acme").Token.Reveal())
			a.wantProblem(t, http.StatusBadGateway, "backend-unavailable")
			if strings.Contains(a.body, marker) {
				t.Errorf("the backend is quoted: %s", a.body)
			}
		}) // the harness looks for the marker in the log
	}
}

// A thousand headers that fit pass.
func TestBackendSendsAThousandHeaders(t *testing.T) {
	h := newHarness(t, withBackendURL(rawBackend(t, "HTTP/1.1 200 OK\r\n"+strings.Repeat("X-Many: a\r\n", 1000)+"Content-Length: 0\r\n\r\n")))
	a := h.get(endpoint, h.issue("acme").Token.Reveal())
	a.wantStatus(t, http.StatusOK)
	if n := len(a.Header.Values("X-Many")); n != 1000 {
		t.Errorf("%d headers arrived", n)
	}
}

// Half an answer must not look like a whole one.
func TestBackendBreaksOff(t *testing.T) {
	for name, text := range map[string]string{
		"with a length":  "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
		"in chunks":      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
		"inside a chunk": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nhalf",
		"broken chunks":  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n" + marker + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, withBackendURL(rawBackend(t, text)))
			response, err := h.front.Client().Do(h.request(http.MethodGet, endpoint, h.issue("acme").Token.Reveal()))
			if err == nil { // else it was cut before its headers were on their way
				body, err := io.ReadAll(response.Body)
				if _ = response.Body.Close(); err == nil {
					t.Errorf("the answer seems whole: %q", body)
				}
			}
			h.wantOutcome("backend-unavailable")
		})
	}
}

func TestBackendIsSlow(t *testing.T) {
	backend := newStreaming()
	h := newHarness(t, func(s *setup) {
		s.backend = backend
		s.api.Spec.Backend.ResponseHeaderTimeout = &metav1.Duration{Duration: 50 * time.Millisecond}
	})
	h.get(endpoint, h.issue("acme").Token.Reveal()).wantProblem(t, http.StatusGatewayTimeout, "backend-unavailable")
	await(t, "the end of the backend's request", backend.ended)
}

// The timeout is for the beginning of the answer; what streams may take longer.
func TestTimeoutEndsWithTheHeaders(t *testing.T) {
	t.Parallel()
	const timeout = time.Second
	backend := newStreaming()
	h := newHarness(t, func(s *setup) {
		s.backend = backend
		s.api.Spec.Backend.ResponseHeaderTimeout = &metav1.Duration{Duration: timeout}
	})
	s := h.openStream(backend, h.issue("acme").Token.Reveal())
	<-time.After(timeout + timeout/2)
	s.wantOpen()
}

func TestClientThatGoesEndsTheBackendsRequest(t *testing.T) {
	for name, streams := range map[string]bool{"before the answer": false, "in the answer": true} {
		t.Run(name, func(t *testing.T) {
			backend := newStreaming()
			h := newHarness(t, func(s *setup) { s.backend = backend })
			plaintext := h.issue("acme").Token.Reveal()
			if streams {
				directorytest.Must(t, h.openStream(backend, plaintext).body.Close())
			} else {
				ctx, cancel := context.WithCancel(t.Context())
				go func() {
					<-backend.entered
					cancel()
				}()
				if _, err := h.front.Client().Do(h.request(http.MethodGet, endpoint, plaintext).WithContext(ctx)); !errors.Is(err, context.Canceled) {
					t.Fatalf("error %v", err)
				}
			}
			await(t, "the end of the backend's request", backend.ended)
			h.wantOutcome("client-gone")
		})
	}
}

// Who closes only the sending half of the connection still reads: it must not be
// told 200 for what was not served.
func TestClientThatClosesItsHalfIsNotToldSuccess(t *testing.T) {
	backend := newStreaming()
	h := newHarness(t, func(s *setup) { s.backend = backend })
	connection := h.dial()
	_, err := io.WriteString(connection, rawGet("GET "+endpoint+" HTTP/1.1", h.issue("acme").Token.Reveal(), acmeHost))
	directorytest.Must(t, err)
	await(t, "the request's arrival at the backend", backend.entered)
	directorytest.Must(t, connection.(*net.TCPConn).CloseWrite())
	if all, _ := io.ReadAll(connection); strings.HasPrefix(string(all), "HTTP/1.1 2") {
		t.Errorf("the client was answered %q", all)
	}
}

// Who has gone before its token was looked at must not be counted, or told, as one
// with a bad token.
func TestClientThatIsGoneAtOnceHasNoBadToken(t *testing.T) {
	h := newHarness(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, endpoint, nil)
	r.Host = acmeHost
	r.Header.Set("Authorization", "token "+h.issue("acme").Token.Reveal())
	w := &discard{header: http.Header{}}
	func() {
		defer func() { _ = recover() }() // http.ErrAbortHandler: there is nobody to answer
		h.handler.ServeHTTP(w, r)
	}()
	if w.status != 0 {
		t.Errorf("it was answered %d", w.status)
	}
	h.wantOutcome("client-gone")
}

// A body that is no HTTP is the client's fault, not the backend's.
func TestBrokenRequestBody(t *testing.T) {
	h := newHarness(t)
	head := "POST /api/v1/orders HTTP/1.1\r\nHost: " + acmeHost + "\r\nAuthorization: token " + h.issue("acme").Token.Reveal() + "\r\nTransfer-Encoding: chunked\r\n\r\n"
	for name, body := range map[string]string{"no length": "zz\r\n", "a wrong end": "2\r\n{}x\r\n", "a broken trailer": "0\r\n\x00: x\r\n\r\n"} {
		a := h.rawAnswer(head + body)
		if a.StatusCode != http.StatusBadRequest {
			t.Errorf("a chunk with %s: status %d, want 400: %s", name, a.StatusCode, a.body)
		}
	}
}

// An answer that comes before the request was read whole is passed on.
func TestBackendAnswersEarly(t *testing.T) {
	h := newHarness(t, withBackend(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "too big", http.StatusRequestEntityTooLarge)
	}))
	r := h.request(http.MethodPut, endpoint, h.issue("acme").Token.Reveal())
	r.Body, r.ContentLength = readCloser(strings.Repeat("x", 2<<20)), 2<<20
	if a := h.do(r); a.StatusCode != http.StatusRequestEntityTooLarge || a.body != "too big\n" {
		t.Errorf("status %d: %s", a.StatusCode, a.body)
	}
}

func TestRedirectsAreTheClientsToFollow(t *testing.T) {
	h := newHarness(t, withBackend(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://169.254.169.254/latest/meta-data", http.StatusFound)
	}))
	client := *h.front.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	response, err := client.Do(h.request(http.MethodGet, endpoint, h.issue("acme").Token.Reveal()))
	directorytest.Must(t, err)
	directorytest.Must(t, response.Body.Close())
	if response.StatusCode != http.StatusFound || response.Header.Get("Location") == "" || len(h.backend.all()) != 1 {
		t.Errorf("status %d, %d requests at the backend", response.StatusCode, len(h.backend.all()))
	}
}

// A backend's URL that can't be used is the platform team's to mend.
func TestBackendURLIsBroken(t *testing.T) {
	for _, url := range []string{"http://%zz", "backend:8080", "ftp://backend"} {
		h := newHarness(t, withAPI(func(s *v1alpha1.PublicApiSpec) { s.Backend.URL = url }))
		h.get(endpoint, h.issue("acme").Token.Reveal()).wantProblem(t, http.StatusBadGateway, "backend-unavailable")
	}
}

// panickingUses stands for a fault of ours.
type panickingUses struct{}

func (panickingUses) Use(*directory.Token, time.Time) { panic("a fault of ours") }

func TestPanicIsAnsweredAndLogged(t *testing.T) {
	h := newHarness(t, withConfig(func(c *server.Config) { c.Uses = panickingUses{} }))
	a := h.get(endpoint, h.issue("acme").Token.Reveal())
	a.wantProblem(t, http.StatusInternalServerError, "internal-error")
	if strings.Contains(a.body, "fault of ours") {
		t.Errorf("the panic is told to the client: %s", a.body)
	}
	h.wantOutcome("internal-error")
	lines := h.logs.lines("panic while serving a request")
	if len(lines) != 1 || lines[0]["panic"] != "a fault of ours" || !strings.Contains(lines[0]["stack"].(string), "panickingUses") {
		t.Errorf("logged was %v", lines)
	}
}
