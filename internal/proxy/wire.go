package proxy

import (
	"net"
	"os"
	"syscall"
)

// wire is a connection that can also be read without waiting.
type wire struct {
	net.Conn
	raw syscall.RawConn
	// now makes Read give only what has arrived already, else
	// os.ErrDeadlineExceeded, which TLS forgives.
	now bool

	// What one read without waiting is about: fields, so that it allocates nothing.
	buffer []byte
	read   int
	failed error
	try    func(fd uintptr) (done bool)
}

func newWire(c net.Conn) (*wire, error) {
	w := &wire{Conn: c}
	w.try = w.readNow
	var err error
	if socket, ok := c.(syscall.Conn); ok {
		w.raw, err = socket.SyscallConn()
	}
	return w, err
}

func (w *wire) Read(b []byte) (int, error) {
	if !w.now {
		return w.Conn.Read(b)
	}
	if w.raw == nil {
		return 0, os.ErrInvalid
	}
	w.buffer, w.read, w.failed = b, 0, nil
	err := w.raw.Read(w.try)
	w.buffer = nil
	if err != nil {
		return 0, err
	}
	return w.read, w.failed
}
