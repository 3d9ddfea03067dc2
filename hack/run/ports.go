package main

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"

	"github.com/latchkey-dev/latchkey/internal/testing/freeport"
)

// reservation keeps a port for a server that is started later.
type reservation struct {
	listener net.Listener
	port     int
}

// reserve takes a port of loopback, any free one for 0. The variable is what a
// user sets to choose it.
func reserve(variable string, port int) (*reservation, error) {
	if port == 0 {
		var err error
		if port, err = freeport.Port(); err != nil {
			return nil, err
		}
	}
	listener, err := net.Listen("tcp4", loopback(port))
	if err != nil {
		return nil, portError(variable, port, err)
	}
	r := &reservation{listener, listener.Addr().(*net.TCPAddr).Port}
	// Clients try ::1 first for names below localhost: whoever listens there
	// would get what is meant for us.
	other, err := net.Listen("tcp6", net.JoinHostPort("::1", strconv.Itoa(r.port)))
	switch {
	case err == nil:
		err = other.Close()
	case !errors.Is(err, syscall.EADDRINUSE):
		err = nil // no IPv6 here
	}
	if err != nil {
		return nil, errors.Join(portError(variable, r.port, err), listener.Close())
	}
	return r, nil
}

func portError(variable string, port int, err error) error {
	choice := fmt.Sprintf("choose another port, or 0 for any free one: make run %s=0", variable)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("port %d is in use by another program. Stop that program, or %s", port, choice)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("port %d is not for ordinary users. Please %s", port, choice)
	default:
		return fmt.Errorf("port %d can't be used (%w). Please %s", port, err, choice)
	}
}

// address is where the server is to listen.
func (r *reservation) address() string { return loopback(r.port) }

// release lets the server have the port. Releasing again does nothing.
func (r *reservation) release() error {
	if err := r.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
