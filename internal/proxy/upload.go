package proxy

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// upload sends a request's body while the answer is waited for. It remembers what
// the client did wrong, which is not the backend's fault.
type upload struct {
	body   io.Reader
	length int64
	// timeout is how long the answer may take to begin after each piece.
	timeout time.Duration
	// failure is the client's.
	failure atomic.Pointer[error]
	// ended makes no more reads begin: a handler that has returned must not.
	ended atomic.Bool
	// done gets nil once the whole body was sent, or why it was not.
	done chan error

	mu       sync.Mutex
	answered bool
}

// newUpload is nil for a request without a body.
func newUpload(r *http.Request, timeout time.Duration) *upload {
	if r.ContentLength == 0 || r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	body := io.Reader(r.Body)
	if r.ContentLength < 0 && usuallyWithoutBody(r.Method) {
		if body = probe(r.Body); body == nil {
			return nil
		}
	}
	return &upload{body: body, length: r.ContentLength, timeout: timeout, done: make(chan error, 1)}
}

var (
	errUploadEnded   = errors.New("the request is over")
	errWrongLength   = errors.New("the body is not as long as was announced")
	endOfChunks      = []byte("0\r\n\r\n")
	chunkSizeDigits  = 8 // of a piece, which is at most bufferSize
	longestChunkHead = chunkSizeDigits + len("\r\n")
)

// send sends the body. Where the client fails it closes the connection, so that the
// backend sees that the body was cut; where the backend stops reading it leaves the
// connection open: the answer may have been sent already.
func (u *upload) send(c *connection) {
	buffer := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buffer)
	err := u.copy(c, buffer)
	if u.failure.Load() != nil || u.ended.Load() {
		c.abort()
	}
	u.done <- err
}

func (u *upload) copy(c *connection, buffer *[bufferSize]byte) error {
	room := buffer[longestChunkHead : bufferSize-len("\r\n")]
	left := u.length
	for {
		n, err := u.read(c, room)
		left -= int64(n)
		switch {
		case u.length >= 0 && (left < 0 || left > 0 && err == io.EOF): //nolint:errorlint // io.Reader's word
			return u.fail(errWrongLength)
		case err != nil && err != io.EOF: //nolint:errorlint // io.Reader's word
			return u.fail(err)
		}
		if n > 0 {
			piece := room[:n]
			if u.length < 0 {
				piece = chunk(buffer, n)
			}
			if _, err := c.stream.Write(piece); err != nil {
				return err
			}
		}
		if err != nil {
			break
		}
	}
	if u.length < 0 {
		_, err := c.stream.Write(endOfChunks)
		return err
	}
	return nil
}

// chunk frames the n bytes behind the room for a chunk's head.
func chunk(buffer *[bufferSize]byte, n int) []byte {
	var digits [16]byte
	size := append(strconv.AppendInt(digits[:0], int64(n), 16), "\r\n"...)
	start := longestChunkHead - len(size)
	copy(buffer[start:], size)
	end := longestChunkHead + n
	copy(buffer[end:], "\r\n")
	return buffer[start : end+len("\r\n")]
}

// read reads a piece; the backend's time begins anew with it, because it is the
// client that was slow.
func (u *upload) read(c *connection, b []byte) (int, error) {
	if u.ended.Load() {
		return 0, errUploadEnded
	}
	n, err := u.body.Read(b)
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.answered {
		_ = c.wire.SetReadDeadline(time.Now().Add(u.timeout))
	}
	return n, err
}

func (u *upload) fail(err error) error {
	u.failure.Store(&err)
	return err
}

// stopTimer lets what follows the answer's head take its time.
func (u *upload) stopTimer(c *connection) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.answered = true
	_ = c.wire.SetReadDeadline(time.Time{})
}

// maxWaitForUpload is how long a connection, whose answer was read, waits for word
// that its request was sent. A backend which answers early leaves it unsent.
const maxWaitForUpload = 50 * time.Millisecond

// sent says whether the whole body was sent.
func (u *upload) sent() bool {
	select {
	case err := <-u.done:
		return err == nil
	default:
	}
	timer := time.NewTimer(maxWaitForUpload)
	defer timer.Stop()
	select {
	case err := <-u.done:
		return err == nil
	case <-timer.C:
		return false
	}
}
