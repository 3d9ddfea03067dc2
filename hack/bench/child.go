package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/latchkey-dev/latchkey/internal/testing/freeport"
	"github.com/latchkey-dev/latchkey/internal/testing/process"
)

// startLimit bounds how long a process may take to be ready.
const startLimit = 10 * time.Minute

// child is a process that was started to be measured, or to help.
type child struct {
	*process.Process
	address string
}

func (s *child) pid() int { return s.PID() }

func (s *child) stop() error { return s.Stop(stopGrace) }

// startSubject starts this program as one of the subjects, on a core, and waits
// until it can be reached.
func (b *bench) startSubject(ctx context.Context, core int, name string, args ...string) (*child, error) {
	address, err := freeport.Address()
	if err != nil {
		return nil, err
	}
	s, err := b.start(core, process.Command{
		Path:    b.self,
		Args:    append([]string{"serve", name, "--listen=" + address}, args...),
		LogFile: b.log(name),
	})
	if err != nil {
		return nil, err
	}
	s.address = address
	return s, s.reachable(ctx)
}

// start starts a process on a core, and ends it when the run ends.
func (b *bench) start(core int, c process.Command) (*child, error) {
	s := &child{}
	launch := func() (err error) {
		s.Process, err = process.Start(c)
		return err
	}
	var err error
	if b.cores.pinned && core != anyCore {
		err = onCore(core, launch)
	} else {
		err = launch()
	}
	if s.Process != nil {
		b.onStop(s.stop)
	}
	return s, err
}

// anyCore leaves it to the system where a process runs.
const anyCore = -1

// reachable waits until the server accepts connections.
func (s *child) reachable(ctx context.Context) error {
	return s.await(ctx, time.Millisecond, func() error {
		conn, err := net.Dial("tcp", s.address)
		if err == nil {
			err = conn.Close()
		}
		return err
	})
}

// ready waits until the URL is answered with 200.
func (s *child) ready(ctx context.Context, url string) error {
	client := &http.Client{Transport: &http.Transport{}, Timeout: patience}
	defer client.CloseIdleConnections()
	return s.await(ctx, time.Millisecond, func() error {
		response, err := client.Get(url)
		if err != nil {
			return err
		}
		defer func() { _ = response.Body.Close() }()
		said, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10)) // only to explain a failure
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("GET %s: %s: %s", url, response.Status, said)
		}
		return nil
	})
}

// await tries until the condition holds, the process ends, or time is up.
func (s *child) await(ctx context.Context, pause time.Duration, condition func() error) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for {
		err := condition()
		if err == nil {
			return nil
		}
		select {
		case <-s.Done():
			return s.Err()
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(pause):
		}
	}
}
