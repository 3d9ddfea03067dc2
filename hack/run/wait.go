package main

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

const (
	// patience is how long something may take that takes a second on an idle
	// machine.
	patience = 2 * time.Minute
	// attemptTimeout bounds one attempt.
	attemptTimeout = 10 * time.Second
	// attemptInterval is the pause between attempts.
	attemptInterval = 100 * time.Millisecond
)

// eventually tries until it works, and returns the last error if it never does.
func eventually(ctx context.Context, try func(context.Context) error) error {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		err := attempt(ctx, try)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-deadline.C:
			return fmt.Errorf("not within %s: %w", patience, err)
		case <-time.After(attemptInterval):
		}
	}
}

func attempt(ctx context.Context, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	return try(ctx)
}

// ready waits until GET of the address answers 200.
func ready(ctx context.Context, address string) error {
	return eventually(ctx, func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		defer func() { _ = response.Body.Close() }()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("GET %s: %s", address, response.Status)
		}
		return nil
	})
}
