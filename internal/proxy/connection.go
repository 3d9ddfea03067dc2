package proxy

import (
	"bufio"
	"errors"
	"math"
	"net"
	"os"
	"time"
)

const (
	// maxAnswerHeader bounds the head of an answer, in bytes.
	maxAnswerHeader = 64 << 10
	// maxInterims bounds the 1xx answers before an answer.
	maxInterims = 100
)

// connection is one to a backend. One request at a time uses it; only Close may be
// called by others meanwhile.
type connection struct {
	origin *origin
	// wire is the socket, stream what goes over it: the same, or TLS.
	wire   *wire
	stream net.Conn
	// r buffers what was read of stream, through connection's Read.
	r *bufio.Reader
	// limit is how many bytes may still be read.
	limit int64
	// reused says that it has served a request before.
	reused bool
	// idleSince is when it was put into the pool.
	idleSince time.Time
	// abort closes the socket, which ends every read and write at once.
	abort func()
}

func newConnection(o *origin, w *wire, stream net.Conn) *connection {
	c := &connection{origin: o, wire: w, stream: stream}
	c.r = bufio.NewReader(c)
	c.abort = func() { _ = w.Close() }
	return c
}

// Read implements io.Reader for the buffer.
func (c *connection) Read(b []byte) (int, error) {
	if c.limit <= 0 {
		return 0, errHeaderTooLarge
	}
	if int64(len(b)) > c.limit {
		b = b[:c.limit]
	}
	n, err := c.stream.Read(b)
	c.limit -= int64(n)
	return n, err
}

// quiet says whether an idle connection is as it should be: open, with nothing to
// read. An answer that nobody asked for must answer nobody.
func (c *connection) quiet() bool {
	if c.r.Buffered() > 0 {
		return false
	}
	c.wire.now = true
	_, err := c.r.Peek(1)
	c.wire.now = false
	return errors.Is(err, os.ErrDeadlineExceeded)
}

// limitHeader bounds what is read until limitNothing.
func (c *connection) limitHeader() { c.limit = maxAnswerHeader }

func (c *connection) limitNothing() { c.limit = math.MaxInt64 }

// close closes the socket without TLS's goodbye, which could block: what was sent
// is complete by its own framing.
func (c *connection) close() { _ = c.wire.Close() }

// switched is a connection that speaks another protocol from now on.
type switched struct{ *connection }

// Read gives what was buffered first.
func (s switched) Read(b []byte) (int, error) { return s.r.Read(b) }

func (s switched) Write(b []byte) (int, error) { return s.stream.Write(b) }

func (s switched) Close() error { return s.wire.Close() }

// CloseWrite ends one way, and leaves the other open.
func (s switched) CloseWrite() error {
	if half, ok := s.stream.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	if half, ok := s.wire.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errOneWay
}
