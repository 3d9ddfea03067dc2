package proxy

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// exchange is one request's way to the backend and back.
type exchange struct {
	logger  *slog.Logger
	w       http.ResponseWriter
	r       *http.Request
	request *Request
	origin  *origin
	// upload is nil where the request has no body.
	upload *upload
	// deadline is when the answer must have begun.
	deadline time.Time

	// connection is nil while there is none.
	connection *connection
	// unwatch stops closing the connection when the request ends.
	unwatch func() bool
	// early says that the answer began before the request's body was read.
	early bool

	mu sync.Mutex
	// over says that the client's connection is no longer ours.
	over bool
}

// roundTrip sends the request and reads the head of the answer.
func (x *exchange) roundTrip(h *head) (*http.Response, error) {
	if err := x.r.Context().Err(); err != nil {
		return nil, err
	}
	if err := x.connect(); err != nil {
		return nil, err
	}
	response, again, err := x.try(h)
	if again && x.r.Context().Err() == nil {
		x.disconnect()
		if err := x.dial(); err != nil {
			return nil, err
		}
		response, _, err = x.try(h)
	}
	return response, err
}

// connect takes an idle connection, or makes one.
func (x *exchange) connect() error {
	for c := x.origin.pool.take(x.origin); c != nil; c = x.origin.pool.take(x.origin) {
		c.limitHeader()
		if c.wire.SetDeadline(x.deadline) == nil && c.quiet() {
			x.use(c)
			return nil
		}
		c.close()
	}
	return x.dial()
}

func (x *exchange) dial() error {
	ctx, cancel := context.WithDeadline(x.r.Context(), x.deadline)
	defer cancel()
	c, err := x.origin.dial(ctx)
	if err != nil {
		var network net.Error
		if errors.As(err, &network) && network.Timeout() && !time.Now().Before(x.deadline) {
			return os.ErrDeadlineExceeded
		}
		return err
	}
	c.limitHeader()
	_ = c.wire.SetDeadline(x.deadline)
	x.use(c)
	return nil
}

// endingTime is how long a client may take, once the request's context has ended, to
// read what it was sent, which may be why the request ended.
const endingTime = time.Second

// use makes the connection end with the request's context.
func (x *exchange) use(c *connection) {
	x.connection, x.unwatch = c, context.AfterFunc(x.r.Context(), func() {
		c.abort()
		x.hurryClient()
	})
}

// hurryClient bounds writes to the client: one that does not read would hold the
// handler for as long as it likes.
func (x *exchange) hurryClient() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.over {
		_ = http.NewResponseController(x.w).SetWriteDeadline(time.Now().Add(endingTime))
	}
}

// try sends the request over the connection. again says that it failed in a way
// which a connection that was closed while it was idle has, and that the request
// may be sent once more.
func (x *exchange) try(h *head) (response *http.Response, again bool, err error) {
	c := x.connection
	if n, err := c.stream.Write(h.bytes); err != nil {
		return nil, c.reused && x.upload == nil && (n == 0 || x.replayable()), err
	}
	if x.upload != nil {
		_ = c.wire.SetWriteDeadline(time.Time{})
		x.upload.start(c)
	}
	if _, err := c.r.Peek(1); err != nil {
		return nil, c.reused && x.replayable() && !errors.Is(err, os.ErrDeadlineExceeded), err
	}
	response, err = x.readAnswer()
	return response, false, err
}

// replayable says whether the request may be sent again although the backend may
// have seen it, by the rules of http.Transport (RFC 9110, section 9.2.2): it has no
// body, and either changes nothing or says that once and twice are the same.
func (x *exchange) replayable() bool {
	if x.upload != nil {
		return false
	}
	switch x.r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return true
	}
	return x.r.Header["Idempotency-Key"] != nil || x.r.Header["X-Idempotency-Key"] != nil
}

// readAnswer reads the head of the answer and passes on those that come before it.
func (x *exchange) readAnswer() (*http.Response, error) {
	c := x.connection
	for interims := 0; ; interims++ {
		response, err := http.ReadResponse(c.r, x.r)
		if err != nil {
			return nil, err
		}
		switch status := response.StatusCode; {
		case status < 100:
			return nil, errStatus
		case status >= 200 || status == http.StatusSwitchingProtocols:
			x.stopTimer(response)
			c.limitNothing()
			return response, x.r.Context().Err()
		case interims == maxInterims:
			return nil, errInterims
		}
		if x.r.ProtoAtLeast(1, 1) { // HTTP/1.0 has none (RFC 9110, section 15.2)
			passInterim(x.w, response.StatusCode, response.Header, x.request)
		}
		c.limitHeader()
	}
}

// stopTimer lets what follows the answer's head take its time. Where that is here
// already there is nothing to wait for, and the call is spared.
func (x *exchange) stopTimer(response *http.Response) {
	c := x.connection
	switch {
	case x.upload != nil:
		x.upload.stopTimer(c)
	case response.StatusCode == http.StatusSwitchingProtocols:
		_ = c.wire.SetDeadline(time.Time{})
	case response.Body == http.NoBody:
	case response.ContentLength >= 0 && response.ContentLength <= int64(c.r.Buffered()):
	default:
		_ = c.wire.SetDeadline(time.Time{})
	}
}

// pass passes on the answer.
func (x *exchange) pass(response *http.Response) {
	h := x.w.Header()
	passHeaders(h, response.Header, x.request)
	if _, named := h["Content-Type"]; !named {
		// net/http would guess one, and make HTML of text on the host that has Settings. A
		// name without values keeps it from that, and is not sent. Browsers must not guess
		// either.
		h["Content-Type"] = nil
		h["X-Content-Type-Options"] = []string{"nosniff"}
	}
	if x.request.BeforeResponse != nil {
		x.request.BeforeResponse(h)
	}
	if x.early = x.upload != nil && !x.upload.read.Load(); x.early && x.r.ProtoMajor == 1 {
		h["Connection"] = []string{"close"} // else net/http reads the body beside us
	}
	x.w.WriteHeader(response.StatusCode)
	if err := passBody(x.w, response.Body, streams(response), x.connection.r); err != nil {
		ctx := x.r.Context()
		x.logger.LogAttrs(ctx, slog.LevelDebug, "an answer broke off", slog.String("cause", cause(ctx, x.upload, err).Error()))
		panic(http.ErrAbortHandler)
	}
	if !response.Close {
		x.release()
	}
}

// release gives the connection to the next request, unless something of this one is
// left on it.
func (x *exchange) release() {
	c := x.connection
	if c.r.Buffered() > 0 || x.upload != nil && !x.uploaded() || !x.unwatch() {
		return
	}
	x.connection = nil
	x.origin.pool.put(c)
}

// uploaded says whether the whole body was sent. The client need not wait for that.
func (x *exchange) uploaded() bool {
	if x.early {
		return false
	}
	select {
	case <-x.upload.done:
	default:
		_ = http.NewResponseController(x.w).Flush()
	}
	return x.upload.sent()
}

// end closes the connection, unless it was released. After it nothing of the request
// touches the client's connection.
func (x *exchange) end() {
	x.disconnect()
	if x.upload != nil {
		x.upload.stop()
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.over = true
}

func (x *exchange) disconnect() {
	if x.connection != nil {
		x.unwatch()
		x.connection.close()
		x.connection = nil
	}
}
