package server

import (
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// A client that does not read its answer is let go as one that does not send its request is
// (CWE-400). Three bounds do that; none counts while nothing is to be written, so that a
// stream of events may be quiet for as long as it likes:
//
//   - Limits.WriteTimeout for each piece on its way to the connection (boundedConn). That is
//     all that HTTP/1.1 needs.
//   - Limits.WriteTimeout for each piece on its way to a stream of HTTP/2 (responseRecorder),
//     whose client may read the connection and still give the stream no window.
//   - ownAnswerTimeout for what Latchkey itself answers without a token, and
//     Limits.AnonymousTimeout for what a backend answers without one, as a whole: no token
//     ends these.

// ownAnswerTimeout bounds how long a client without a token may take to read what Latchkey
// itself answers. The largest is the viewer of the documentation, 1.5 MB, for which 2.5 kB/s
// are enough.
const ownAnswerTimeout = 10 * time.Minute

// writePiece is how many bytes have Limits.WriteTimeout. A slow client that goes on reading
// is not cut off for the size of its answer.
const writePiece = 32 << 10

// boundedListener gives each connection a deadline for its writes.
type boundedListener struct {
	net.Listener
	timeout time.Duration
}

// Accept implements net.Listener.
func (l boundedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &boundedConn{Conn: c, timeout: l.timeout}, nil
}

// boundedConn has a deadline for each piece that is written.
type boundedConn struct {
	net.Conn
	timeout time.Duration
	// limit is the deadline that somebody set for all writes, or nil.
	limit atomic.Pointer[time.Time]
}

// Write implements net.Conn.
func (c *boundedConn) Write(b []byte) (written int, err error) {
	for first := true; first || written < len(b); first = false {
		if err := c.Conn.SetWriteDeadline(c.deadline()); err != nil {
			return written, err
		}
		n, err := c.Conn.Write(b[written:min(len(b), written+writePiece)])
		written += n
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

func (c *boundedConn) deadline() time.Time {
	deadline := time.Now().Add(c.timeout)
	if limit := c.limit.Load(); limit != nil && limit.Before(deadline) {
		return *limit
	}
	return deadline
}

// SetWriteDeadline bounds all writes from now on; the zero time lifts that.
func (c *boundedConn) SetWriteDeadline(t time.Time) error {
	if t.IsZero() {
		c.limit.Store(nil)
		return nil
	}
	c.limit.Store(&t)
	return c.Conn.SetWriteDeadline(t) // for a write that is under way
}

// SetDeadline implements net.Conn.
func (c *boundedConn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// CloseWrite ends the way to the client and leaves the other open.
func (c *boundedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return net.ErrClosed
}

// boundWrites begins to bound what is written of an answer. A connection of HTTP/1.1 may
// still have the limit of the answer before.
func (w *responseRecorder) boundWrites(r *http.Request, timeout time.Duration) {
	if r.ProtoMajor >= 2 {
		w.streamTimeout = timeout
		return
	}
	_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Time{})
}

// limitWrites bounds the answer as a whole.
func (w *responseRecorder) limitWrites(timeout time.Duration) {
	_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Now().Add(timeout))
}

// bounded runs a write to a stream of HTTP/2, and ends the stream where its client gives it
// no window. To set a deadline sends a message to the connection's loop, so that only a
// write that stalls does it.
func (w *responseRecorder) bounded(write func() error) error {
	if w.streamTimeout == 0 {
		return write()
	}
	if w.stall == nil {
		w.stall = time.AfterFunc(w.streamTimeout, func() {
			_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Unix(1, 0))
		})
	} else {
		w.stall.Reset(w.streamTimeout)
	}
	defer w.stall.Stop()
	return write()
}

// finishWrites bounds what net/http writes to a stream of HTTP/2 after the handler: the rest
// of its buffer.
func (w *responseRecorder) finishWrites() {
	if w.streamTimeout > 0 {
		_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Now().Add(w.streamTimeout))
	}
}
