package directory_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/attentive/attentivetest"
	"github.com/latchkey-dev/latchkey/internal/directory"
	"github.com/latchkey-dev/latchkey/internal/directory/directorytest"
	"github.com/latchkey-dev/latchkey/internal/testenv"
)

// An API server that has lost its storage, and keeps its connections, goes on saying that
// nothing has changed. It is believed only while it can read its storage; another one is
// looked for.
func TestBookmarksOfAnAPIServerThatLostItsStorage(t *testing.T) {
	api := &attentivetest.Speaker{}
	server := httptest.NewServer(api)
	t.Cleanup(server.Close)
	var reconnected atomic.Int32
	d := directory.NewWithOptions(slog.New(slog.DiscardHandler), directory.Options{
		MaxStaleness: shortBound, Silence: shortSilence,
		Reconnect: func() { reconnected.Add(1); server.CloseClientConnections() },
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- d.Run(ctx, &rest.Config{Host: server.URL, QPS: -1}, directory.Namespaces{Records: v1alpha1.RecordsNamespace, System: v1alpha1.SystemNamespace})
	}()
	t.Cleanup(func() { cancel(); directorytest.Must(t, <-ended) })
	wantFresh(t, d, true)
	began := time.Now()
	testenv.Eventually(t, func() error { // by nothing but bookmarks
		if !d.Fresh() {
			t.Fatalf("stale after %s, though the API server reads its storage", time.Since(began))
		}
		if time.Since(began) < shortBound+shortSilence {
			return errors.New("the bound is not over yet")
		}
		return nil
	})
	if api.Reads.Load() == 0 {
		t.Error("bookmarks were believed though the API server was never asked to read its storage")
	}

	lost := time.Now()
	api.Lost.Store(true)
	wantFresh(t, d, false)
	if took := time.Since(lost); took < shortBound-shortSilence {
		t.Errorf("stale after %s already, the bound is %s", took, shortBound)
	}
	testenv.Eventually(t, func() error {
		if reconnected.Load() == 0 {
			return errors.New("no other API server is looked for")
		}
		return nil
	})
	api.Lost.Store(false)
	wantFresh(t, d, true)
}
