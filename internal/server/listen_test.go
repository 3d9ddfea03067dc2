package server_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/internal/server"
	"github.com/latchkey-dev/latchkey/internal/testing/directorytest"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

const loopback = "127.0.0.1:0"

// running is a server.Run under way.
type running struct {
	h *harness
	// stop tells it to end; ended gets what it returns.
	stop  context.CancelFunc
	ended chan error
}

func (h *harness) run(l server.Listeners) *running {
	h.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{h, cancel, make(chan error, 1)}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		r.ended <- h.handler.Run(ctx, l, h.registry)
	}()
	h.t.Cleanup(func() {
		cancel()
		<-exited
	})
	return r
}

// address waits until the listener is there.
func (r *running) address(listener string) (address string) {
	r.h.t.Helper()
	testenv.Eventually(r.h.t, func() error {
		for _, line := range r.h.logs.lines("listening") {
			if line["listener"] == listener {
				address = line["address"].(string)
				return nil
			}
		}
		return errors.New("nobody listens for " + listener)
	})
	return address
}

// fetch makes one request over a connection of its own.
func fetch(t *testing.T, client *http.Client, url, host, plaintext string) (answer, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	directorytest.Must(t, err)
	r.Close = true
	r.Host = host
	if plaintext != "" {
		r.Header.Set("Authorization", "token "+plaintext)
	}
	response, err := client.Do(r)
	if err != nil {
		return answer{}, err
	}
	body, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	return answer{response, string(body)}, err
}

func (r *running) admin(path string) (answer, error) {
	r.h.t.Helper()
	return fetch(r.h.t, &http.Client{}, "http://"+r.address("admin")+path, "", "")
}

func TestAdminListener(t *testing.T) {
	h := newHarness(t, func(s *setup) { s.unsynced = true })
	r := h.run(server.Listeners{HTTP: loopback, Admin: loopback})
	want := func(path string, status int, text string) {
		t.Helper()
		a, err := r.admin(path)
		directorytest.Must(t, err)
		if a.StatusCode != status || !strings.Contains(a.body, text) {
			t.Errorf("%s: status %d, want %d with %q: %s", path, a.StatusCode, status, text, a.body)
		}
	}
	want("/healthz", http.StatusOK, "ok")
	want("/readyz", http.StatusServiceUnavailable, "records, apitokens, tenants, publicapis")
	directorytest.Must(t, h.stores.Records.Replace(nil, "1"))
	want("/readyz", http.StatusServiceUnavailable, "not synced yet: apitokens, tenants, publicapis")
	directorytest.Sync(t, h.stores)
	want("/readyz", http.StatusOK, "ok")
	want("/metrics", http.StatusOK, "latchkey_directory_synced 1")
	want("/", http.StatusNotFound, "")
	// What is for operators is not served to the internet, nor the other way round.
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		a, err := fetch(t, &http.Client{}, "http://"+r.address("http")+path, acmeHost, "")
		directorytest.Must(t, err)
		if a.StatusCode != http.StatusNotFound || strings.Contains(a.body, "latchkey_directory") {
			t.Errorf("%s on the tenants' listener: status %d: %s", path, a.StatusCode, a.body)
		}
	}
	want(endpoint, http.StatusNotFound, "")
}

// Told to end, a server says that it is not ready and goes on for the delay; then
// it takes nothing new on any listener, and lets what is under way finish.
func TestDrain(t *testing.T) {
	t.Parallel()
	backend := newStreaming()
	h := newHarness(t, func(s *setup) { s.backend = backend })
	plaintext := h.issue("acme").Token.Reveal()
	certFile, keyFile, client := newCertificate(t).write(t)
	r := h.run(server.Listeners{
		HTTP: loopback, HTTPS: loopback, CertFile: certFile, KeyFile: keyFile, Admin: loopback,
		ShutdownDelay: 2 * time.Second, ShutdownGracePeriod: time.Minute,
	})
	url, secureURL := "http://"+r.address("http")+endpoint, "https://"+r.address("https")+endpoint
	connection, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", r.address("http"))
	directorytest.Must(t, err)
	defer func() { _ = connection.Close() }()
	_, err = io.WriteString(connection, rawGet("GET "+endpoint+" HTTP/1.1", plaintext, acmeHost))
	directorytest.Must(t, err)
	await(t, "the request's arrival at the backend", backend.entered)

	r.stop()
	testenv.Eventually(t, func() error {
		if a, err := r.admin("/readyz"); err != nil || a.StatusCode != http.StatusServiceUnavailable || !strings.Contains(a.body, "shutting down") {
			return fmt.Errorf("%d %s, %w", a.StatusCode, a.body, err)
		}
		return nil
	})
	for _, u := range []string{url, secureURL} {
		a, err := fetch(t, client, u, acmeHost, "")
		if err != nil || a.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s during the delay: %v, %v", u, a.Response, err)
		}
	}
	for _, u := range []string{url, secureURL} {
		testenv.Eventually(t, func() error {
			if _, err := fetch(t, client, u, acmeHost, ""); err == nil {
				return errors.New(u + " takes requests after the delay")
			}
			return nil
		})
	}
	select {
	case err := <-r.ended:
		t.Fatalf("it ended with a request under way: %v", err)
	default:
	}
	if a, err := r.admin("/healthz"); err != nil || a.StatusCode != http.StatusOK {
		t.Errorf("it is not healthy while it drains: %v, %v", a.Response, err)
	}
	backend.send <- "finished"
	reader := bufio.NewReader(connection)
	response, err := http.ReadResponse(reader, nil)
	directorytest.Must(t, err)
	defer func() { _ = response.Body.Close() }()
	wantPiece(t, response.Body, "finished")
	h.clock.SetTime(expiry) // ends the stream
	await(t, "the end of the backend's request", backend.ended)
	if err := <-r.ended; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func wantPiece(t *testing.T, body io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(body, got); err != nil || string(got) != want {
		t.Fatalf("received %q, %v, want %q", got, err, want)
	}
}

// What does not end within the grace period is cut, and the log can say so.
func TestGracePeriodEnds(t *testing.T) {
	backend := newStreaming()
	h := newHarness(t, func(s *setup) { s.backend = backend })
	plaintext := h.issue("acme").Token.Reveal()
	r := h.run(server.Listeners{HTTP: loopback, ShutdownGracePeriod: 50 * time.Millisecond})
	failed := make(chan error, 1)
	url := "http://" + r.address("http") + endpoint
	go func() {
		_, err := fetch(t, &http.Client{}, url, acmeHost, plaintext)
		failed <- err
	}()
	await(t, "the request's arrival at the backend", backend.entered)
	r.stop()
	if err := <-r.ended; !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "under way") {
		t.Errorf("Run: %v", err)
	}
	if err := <-failed; err == nil {
		t.Error("the client was not told")
	}
	await(t, "the end of the backend's request", backend.ended)
}

func TestRunFailsWhenItCannotListen(t *testing.T) {
	h := newHarness(t)
	busy, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", loopback)
	directorytest.Must(t, err)
	defer func() { _ = busy.Close() }()
	address := busy.Addr().String()
	certFile, keyFile, _ := newCertificate(t).write(t)
	for name, c := range map[string]struct {
		listeners server.Listeners
		says      string
	}{
		"admin":               {server.Listeners{Admin: address}, "listen for admin on " + address},
		"http":                {server.Listeners{Admin: loopback, HTTP: address}, "listen for http on " + address},
		"https":               {server.Listeners{Admin: loopback, HTTPS: address, CertFile: certFile, KeyFile: keyFile}, "listen for https on " + address},
		"missing certificate": {server.Listeners{HTTPS: loopback, CertFile: "/nonexistent", KeyFile: keyFile}, "certificate /nonexistent with key"},
	} {
		r := h.run(c.listeners)
		if err := <-r.ended; err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
		r.stop()
	}
}

func TestHeaderLimits(t *testing.T) {
	h := newHarness(t)
	plaintext := h.issue("acme").Token.Reveal()
	r := h.run(server.Listeners{HTTP: loopback, Limits: server.Limits{HeaderBytes: 16 << 10, HeaderTimeout: 50 * time.Millisecond}})
	url := "http://" + r.address("http") + endpoint
	for length, status := range map[int]int{8 << 10: http.StatusOK, 32 << 10: http.StatusRequestHeaderFieldsTooLarge} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		directorytest.Must(t, err)
		request.Host, request.Close = acmeHost, true
		request.Header.Set("Authorization", "token "+plaintext)
		request.Header.Set("X-Long", strings.Repeat("x", length))
		response, err := http.DefaultClient.Do(request)
		directorytest.Must(t, err)
		_ = response.Body.Close()
		if response.StatusCode != status {
			t.Errorf("%d bytes: status %d, want %d", length, response.StatusCode, status)
		}
	}
	// Slowloris: who does not finish its headers loses the connection.
	connection, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", r.address("http"))
	directorytest.Must(t, err)
	defer func() { _ = connection.Close() }()
	directorytest.Must(t, connection.SetDeadline(time.Now().Add(30*time.Second)))
	_, err = io.WriteString(connection, "GET "+endpoint+" HTTP/1.1\r\nHost: "+acmeHost+"\r\nX-Slow: ")
	directorytest.Must(t, err)
	if _, err := io.ReadAll(connection); err != nil {
		t.Errorf("the connection was not closed: %v", err)
	}
}

func TestOptionsOfTheServerAreRefused(t *testing.T) {
	h := newHarness(t)
	r := h.run(server.Listeners{HTTP: loopback})
	connection, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", r.address("http"))
	directorytest.Must(t, err)
	defer func() { _ = connection.Close() }()
	_, err = io.WriteString(connection, "OPTIONS * HTTP/1.1\r\nHost: "+acmeHost+"\r\nConnection: close\r\n\r\n")
	directorytest.Must(t, err)
	if all, err := io.ReadAll(connection); err != nil || !strings.HasPrefix(string(all), "HTTP/1.1 400 ") {
		t.Errorf("answered %s, %v", all, err)
	}
}
