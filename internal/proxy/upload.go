package proxy

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// upload sends a request's body while the answer is waited for. It remembers what
// the client did wrong, which is not the backend's fault.
type upload struct {
	w      http.ResponseWriter
	client *http.ResponseController
	body   io.Reader
	length int64
	// probe is where the body's first byte comes from; nil if that was not asked for.
	probe *firstByte
	// awaited says that the client waits to be told to send the body.
	awaited bool
	// timeout is how long the answer may take to begin after each piece.
	timeout time.Duration
	// bodyTimeout is how long the client may take for each; zero is no limit.
	bodyTimeout time.Duration
	// failure is the client's.
	failure atomic.Pointer[error]
	// read says that the body was read to its end.
	read atomic.Bool
	// done is closed once the body was sent, or failed to be: then result says why.
	// It is nil until that is begun.
	done   chan struct{}
	result error

	mu       sync.Mutex
	answered bool
	// limit is when the client will have taken too long.
	limit time.Time
	// ended makes no more reads begin: a handler that has returned must not.
	ended bool
}

// newUpload is nil for a request without a body.
func newUpload(w http.ResponseWriter, r *http.Request, request *Request) *upload {
	if r.ContentLength == 0 || r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	u := &upload{
		w: w, client: http.NewResponseController(w), body: r.Body, length: r.ContentLength,
		timeout: request.ResponseHeaderTimeout, bodyTimeout: request.BodyTimeout,
		awaited: r.ProtoMajor == 1 && r.ProtoAtLeast(1, 1) && strings.EqualFold(r.Header.Get("Expect"), "100-continue"),
	}
	if r.ContentLength < 0 && usuallyWithoutBody(r.Method) && !u.probeBody(r.Body) {
		return nil
	}
	return u
}

// probeBody says whether there is a body.
func (u *upload) probeBody(body io.Reader) bool {
	u.goAhead()
	u.limitClient()
	probed := probe(body)
	if probed == nil {
		return false
	}
	u.body, u.probe = probed, probed.first
	return true
}

// goAhead tells the client to send the body. net/http would do so itself, but where
// it is read, and so beside the answers that come before the answer.
func (u *upload) goAhead() {
	if !u.awaited {
		return
	}
	u.awaited = false
	h := u.w.Header()
	ours := maps.Clone(h)
	clear(h)
	u.w.WriteHeader(http.StatusContinue)
	maps.Copy(h, ours)
}

func (u *upload) limitClient() {
	if u.bodyTimeout > 0 {
		u.limit = time.Now().Add(u.bodyTimeout)
		_ = u.client.SetReadDeadline(u.limit)
	}
}

// start sends the body from now on.
func (u *upload) start(c *connection) {
	u.goAhead()
	u.done = make(chan struct{})
	go u.send(c)
}

// lingerTime is how long net/http may look for the rest of a body that nobody read.
const lingerTime = 500 * time.Millisecond

// stop ends the reading of the body and waits for that, so that it does not outlive
// the handler.
func (u *upload) stop() {
	if u.end() != nil {
		return // there is no connection to wait for
	}
	switch {
	case u.done != nil:
		<-u.done
	case u.probe != nil:
		<-u.probe.read
	}
	if !u.read.Load() {
		_ = u.client.SetReadDeadline(time.Now().Add(lingerTime))
	}
}

// end makes a read under way fail. Once the body was read the deadline is that of
// net/http's own reading.
func (u *upload) end() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ended = true
	if u.read.Load() {
		return nil
	}
	return u.client.SetReadDeadline(time.Unix(1, 0))
}

func (u *upload) over() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.ended
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
	if u.failure.Load() != nil || u.over() {
		c.abort()
	}
	u.result = err
	close(u.done)
}

func (u *upload) copy(c *connection, buffer *[bufferSize]byte) error {
	room := buffer[longestChunkHead : bufferSize-len("\r\n")]
	left := u.length
	for {
		n, err := u.next(c, room)
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

// next reads a piece. Meanwhile it is the client's time that runs, and the backend's
// begins anew afterwards.
func (u *upload) next(c *connection, b []byte) (int, error) {
	if !u.await(c) {
		return 0, errUploadEnded
	}
	n, err := u.body.Read(b)
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case err == io.EOF:
		u.read.Store(true)
	case errors.Is(err, os.ErrDeadlineExceeded) && !u.limit.IsZero() && !u.answered && !time.Now().Before(u.limit):
		err = ErrBodyTimeout
	}
	if err == nil && !u.ended && u.bodyTimeout > 0 {
		_ = u.client.SetReadDeadline(time.Time{}) // HTTP/2 breaks the body off even if nobody reads it
	}
	if !u.answered {
		_ = c.wire.SetReadDeadline(time.Now().Add(u.timeout))
	}
	return n, err
}

// await begins to wait for the client. It is false if the request is over.
func (u *upload) await(c *connection) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended {
		return false
	}
	if !u.answered {
		_ = c.wire.SetReadDeadline(time.Time{})
		u.limitClient()
	}
	return true
}

// stalled ends the upload, and says whether the client took too long.
func (u *upload) stalled() bool {
	u.stop()
	failure := u.failure.Load()
	return failure != nil && errors.Is(*failure, ErrBodyTimeout)
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
	if u.bodyTimeout > 0 && !u.read.Load() {
		_ = u.client.SetReadDeadline(time.Time{})
	}
}

// maxWaitForUpload is how long a connection, whose answer was read, waits for word
// that its request was sent. A backend which answers early leaves it unsent.
const maxWaitForUpload = 50 * time.Millisecond

// sent says whether the whole body was sent.
func (u *upload) sent() bool {
	timer := time.NewTimer(maxWaitForUpload)
	defer timer.Stop()
	select {
	case <-u.done:
		return u.result == nil
	case <-timer.C:
		return false
	}
}
