package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/latchkey-dev/latchkey/internal/testing/examplebackend"
)

// startBackend serves the example backend on loopback, for the API server.
func (s *session) startBackend(ctx context.Context) error {
	listener, err := net.Listen("tcp4", loopback(0))
	if err != nil {
		return fmt.Errorf("listen for the example backend: %w", err)
	}
	server := &http.Server{
		Handler:           examplebackend.New(examplebackend.Options{}),
		ReadHeaderTimeout: 5 * time.Second,
		// Longer than the API server keeps idle connections, so that it never
		// sends a request into one that is being closed.
		IdleTimeout: 2 * time.Minute,
	}
	s.onStop(server.Close)
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) && ctx.Err() == nil {
			s.fail(fmt.Errorf("the example backend can't go on serving: %w", err))
		}
	}()
	s.backendURL = "http://" + listener.Addr().String()
	return nil
}
