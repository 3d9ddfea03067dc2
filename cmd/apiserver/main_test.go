package main

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
	"k8s.io/client-go/rest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The connections of a config end together, and no others do.
func TestReconnectable(t *testing.T) {
	var opened atomic.Int32
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	own, end := reconnectable(&rest.Config{Host: server.URL})
	other, _ := reconnectable(own)
	clients := make([]*http.Client, 0, 2)
	for _, config := range []*rest.Config{own, other} {
		client, err := rest.HTTPClientFor(config)
		if err != nil {
			t.Fatal(err)
		}
		defer client.CloseIdleConnections()
		clients = append(clients, client)
	}
	ask := func(want int32) {
		t.Helper()
		for _, c := range clients {
			response, err := c.Get(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			_, err = io.Copy(io.Discard, response.Body) // a connection is used again after the end of an answer
			if err := errors.Join(err, response.Body.Close()); err != nil {
				t.Fatal(err)
			}
		}
		if got := opened.Load(); got != want {
			t.Errorf("%d connections were opened, want %d", got, want)
		}
	}
	ask(2)
	ask(2)
	end()
	ask(3)
}
