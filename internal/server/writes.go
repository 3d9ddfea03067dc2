package server

import (
	"net"
	"net/http"
	"sync"
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
//   - ownAnswerTimeout for what Latchkey itself answers, and Limits.AnonymousTimeout for what
//     a backend answers without a token, as a whole: no token ends that.

// ownAnswerTimeout bounds how long a client may take to read what Latchkey itself answers. The largest is the viewer of the documentation, 1.5 MB, for which 2.5 kB/s
// are enough.
const ownAnswerTimeout = 10 * time.Minute

// writePiece is how many bytes have Limits.WriteTimeout, so that an answer is not cut off for
// its size. The kernel's buffer may want to be emptied by more before it takes a piece.
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

	// mu orders the deadlines of pieces and those that SetWriteDeadline sets. It is not held
	// while anything is written.
	mu sync.Mutex
	// limit is the deadline that SetWriteDeadline has set for all writes, or zero.
	limit time.Time
}

// Write implements net.Conn.
func (c *boundedConn) Write(b []byte) (written int, err error) {
	for first := true; first || written < len(b); first = false {
		if err := c.begin(); err != nil {
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

// begin sets the deadline of the next piece.
func (c *boundedConn) begin() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	deadline := time.Now().Add(c.timeout)
	if !c.limit.IsZero() && c.limit.Before(deadline) {
		deadline = c.limit
	}
	return c.Conn.SetWriteDeadline(deadline)
}

// SetWriteDeadline bounds all writes from now on, the one that is under way too. The zero
// time lifts that from the next piece on.
func (c *boundedConn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.limit = t
	if t.IsZero() {
		return nil
	}
	return c.Conn.SetWriteDeadline(t)
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
	w.limit = time.Now().Add(timeout)
	_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(w.limit)
}

// bounded runs a write to a stream of HTTP/2, and ends the stream where its client gives it
// no window.
func (w *responseRecorder) bounded(write func() error) error {
	if w.streamTimeout == 0 {
		return write()
	}
	if w.stall == nil {
		w.stall = &stall{timeout: w.streamTimeout, end: func() {
			_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Unix(1, 0))
		}}
	}
	w.stall.begin()
	defer w.stall.stop()
	return write()
}

// stall notices a write that takes too long. To set a deadline for each write would send a
// message to the loop of the HTTP/2 connection each time.
type stall struct {
	timeout time.Duration
	// end ends the stream. It must not be called once the handler has returned.
	end func()

	mu    sync.Mutex
	timer *time.Timer
	// due is when the write under way has taken too long, or zero while there is none.
	due time.Time
}

func (s *stall) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.due = time.Now().Add(s.timeout)
	if s.timer == nil {
		s.timer = time.AfterFunc(s.timeout, s.check)
	} else {
		s.timer.Reset(s.timeout)
	}
}

// stop forgets the write. It waits for a check that is under way, so that none outlives the
// handler.
func (s *stall) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.due = time.Time{}
	s.timer.Stop()
}

// check ends the stream if the write under way has taken too long. The timer may have fired
// for one that was over in that moment.
func (s *stall) check() {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch left := time.Until(s.due); {
	case s.due.IsZero():
	case left > 0:
		s.timer.Reset(left)
	default:
		s.end()
	}
}

// finishWrites bounds what net/http writes to a stream of HTTP/2 after the handler: the rest
// of its buffer.
func (w *responseRecorder) finishWrites() {
	if w.streamTimeout == 0 || w.bytes == 0 {
		return
	}
	deadline := time.Now().Add(w.streamTimeout)
	if !w.limit.IsZero() && w.limit.Before(deadline) {
		deadline = w.limit
	}
	_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(deadline)
}
