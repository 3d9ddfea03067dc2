package link_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/test/faults/link"
)

// newGateway puts a gateway in front of a server whose watches say a line each time that
// say is called, and whose other paths answer with the request's credentials.
func newGateway(t *testing.T) (g *link.Gateway, client *http.Client, say func()) {
	t.Helper()
	lines := make(chan struct{})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("watch") == "" {
			fmt.Fprint(w, r.Header.Get("Authorization"))
			return
		}
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		for {
			select {
			case <-lines:
				fmt.Fprintln(w, "event")
				_ = http.NewResponseController(w).Flush()
			case <-r.Context().Done():
				return
			}
		}
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	g, err := link.NewGateway(server.URL, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	must(t, err)
	t.Cleanup(g.Close)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(g.CA())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	return g, &http.Client{Transport: transport}, func() { lines <- struct{}{} }
}

func get(ctx context.Context, client *http.Client, url string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer me")
	return client.Do(request)
}

func TestGatewayHolds(t *testing.T) {
	g, client, _ := newGateway(t)
	isHeld := func(r *http.Request) bool { return r.URL.Path == "/held" }
	held := g.Hold(isHeld)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	answered := func(path string) {
		t.Helper()
		response, err := get(ctx, client, g.URL()+path)
		must(t, err)
		defer response.Body.Close()
		if body, err := io.ReadAll(response.Body); err != nil || string(body) != "Bearer me" {
			t.Errorf("%s: %q, %v", path, body, err)
		}
	}
	answered("/other")
	leaving, leave := context.WithCancel(ctx)
	gone := make(chan error, 1)
	go func() {
		_, err := get(leaving, client, g.URL()+"/held")
		gone <- err
	}()
	<-held
	answered("/other")
	leave()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("the request that was held ended with %v", err)
	}
	answered("/held") // the next one is not held
	g.Hold(isHeld)
	g.HoldNothing()
	answered("/held")
}

func TestGatewayFreezes(t *testing.T) {
	g, client, say := newGateway(t)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	watching, leave := context.WithCancel(ctx)
	first, err := get(watching, client, g.URL()+"/?watch=1")
	must(t, err)
	defer first.Body.Close()
	if first.ProtoMajor != 2 {
		t.Errorf("the watch is over %s", first.Proto)
	}
	events := bufio.NewReader(first.Body)
	say()
	line, err := events.ReadString('\n')
	must(t, err)
	if line != "event\n" {
		t.Errorf("heard %q", line)
	}
	if n := g.Freeze(); n != 1 {
		t.Errorf("%d watches are frozen, want 1", n)
	}
	say() // nobody hears it
	time.AfterFunc(100*time.Millisecond, leave)
	if line, err := events.ReadString('\n'); !errors.Is(err, context.Canceled) {
		t.Errorf("a frozen watch said %q, and then %v", line, err)
	}
	second, err := get(ctx, client, g.URL()+"/?watch=1")
	must(t, err)
	defer second.Body.Close()
	say()
	if line, err := bufio.NewReader(second.Body).ReadString('\n'); err != nil || line != "event\n" {
		t.Errorf("a new watch said %q, %v", line, err)
	}
}

func TestGatewayNeedsACertificate(t *testing.T) {
	if _, err := link.NewGateway("https://127.0.0.1:1", []byte("none")); err == nil || !strings.Contains(err.Error(), "CA") {
		t.Errorf("without a CA: %v", err)
	}
}
