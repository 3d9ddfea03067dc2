package directory_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"k8s.io/client-go/rest"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/directory"
	"github.com/latchkey-dev/latchkey/internal/testing/attentivetest"
	"github.com/latchkey-dev/latchkey/internal/testing/directorytest"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

// spoken is a directory that is told of nothing but bookmarks, over HTTP/2.
type spoken struct {
	*directory.Directory

	api attentivetest.Speaker
	// connections are those that are open.
	connections, reconnected atomic.Int32
}

const (
	spokenSilence = 4 * time.Second
	spokenBound   = 10 * time.Second
)

// newSpoken has those requests go over a connection of their own that are to go apart.
func newSpoken(t *testing.T, apart func(*http.Request) bool) *spoken {
	t.Helper()
	s := &spoken{}
	server := httptest.NewUnstartedServer(&s.api)
	server.EnableHTTP2 = true
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			s.connections.Add(1)
		case http.StateClosed:
			s.connections.Add(-1)
		case http.StateActive, http.StateIdle, http.StateHijacked:
		}
	}
	server.StartTLS()
	s.Directory = directory.NewWithOptions(slog.New(slog.DiscardHandler), directory.Options{
		MaxStaleness: spokenBound, Silence: spokenSilence,
		Reconnect: func() { s.reconnected.Add(1); server.CloseClientConnections() },
	})
	config := &rest.Config{Host: server.URL, QPS: -1}
	config.CAData = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if apart != nil {
		authorities := x509.NewCertPool()
		authorities.AddCert(server.Certificate())
		others := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: authorities, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true}
		t.Cleanup(others.CloseIdleConnections)
		config.Wrap(func(watches http.RoundTripper) http.RoundTripper {
			return roundTrip(func(r *http.Request) (*http.Response, error) {
				if apart(r) {
					return others.RoundTrip(r)
				}
				return watches.RoundTrip(r)
			})
		})
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- s.Run(ctx, config, directory.Namespaces{Records: v1alpha1.RecordsNamespace, System: v1alpha1.SystemNamespace})
	}()
	t.Cleanup(func() {
		cancel()
		directorytest.Must(t, <-ended)
		server.CloseClientConnections()
		server.Close()
	})
	wantFresh(t, s.Directory, true)
	return s
}

// wantFreshBeyondTheBound waits for longer than what was heard at first counts.
func (s *spoken) wantFreshBeyondTheBound(t *testing.T) {
	t.Helper()
	began := time.Now()
	testenv.Eventually(t, func() error {
		if !s.Fresh() {
			t.Fatalf("stale after %s: %v", time.Since(began), s.Ages())
		}
		if time.Since(began) < spokenBound+time.Second {
			return errors.New("the bound is not over yet")
		}
		return nil
	})
}

// The tests of bookmarks wait for silences and bounds, all of them at the same time.
// Afterwards every goroutine has ended.
func TestBookmarks(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Run("all", func(t *testing.T) {
		for name, test := range map[string]func(*testing.T){
			"of an API server that lost its storage": testLostStorage,
			"of another connection":                  testAnotherConnection,
			"after new connections":                  testNewConnections,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t)
			})
		}
	})
	goleak.VerifyNone(t, before)
}

// Where nothing changes a directory stays fresh by bookmarks, and lists nothing anew. An
// API server that has lost its storage, and keeps its connections, goes on sending them: it
// is not believed, and another one is looked for.
func testLostStorage(t *testing.T) {
	s := newSpoken(t, nil)
	lists := s.api.Lists.Load()
	s.wantFreshBeyondTheBound(t)
	if n := s.api.Lists.Load(); n != lists {
		t.Errorf("%d lists were made beside the first %d, though bookmarks came", n-lists, lists)
	}
	if s.api.Reads.Load() == 0 || s.connections.Load() != 1 {
		t.Errorf("%d reads over %d connections, want some over one", s.api.Reads.Load(), s.connections.Load())
	}

	s.api.Lost.Store(true)
	wantFresh(t, s.Directory, false)
	testenv.Eventually(t, func() error {
		if s.reconnected.Load() == 0 {
			return errors.New("no other API server is looked for")
		}
		return nil
	})
	s.api.Lost.Store(false)
	wantFresh(t, s.Directory, true)
}

// What an API server shows over one connection says nothing of bookmarks over another one,
// which may lead to another API server: lists take their place.
func testAnotherConnection(t *testing.T) {
	s := newSpoken(t, func(r *http.Request) bool { return r.URL.Query().Get("limit") == "1" })
	lists := s.api.Lists.Load()
	testenv.Eventually(t, func() error {
		if n := s.api.Lists.Load(); n < lists+5 {
			return fmt.Errorf("%d lists were made, and %d reads over another connection than the watches'", n, s.api.Reads.Load())
		}
		return nil
	})
}

// An API server that asks for new connections keeps the watches that there are. Each feed
// starts over once, over the new one, and all is as before.
func testNewConnections(t *testing.T) {
	var moved atomic.Bool
	s := newSpoken(t, func(*http.Request) bool { return moved.Load() })
	lists := s.api.Lists.Load()
	moved.Store(true)
	testenv.Eventually(t, func() error {
		if n := s.api.Lists.Load(); n < lists+5 {
			return fmt.Errorf("%d lists were made since there are new connections", n-lists)
		}
		return nil
	})
	s.wantFreshBeyondTheBound(t)
	if n := s.api.Lists.Load(); n != lists+5 {
		t.Errorf("%d lists were made since there are new connections, want one a feed", n-lists)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
