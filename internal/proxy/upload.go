package proxy

import (
	"errors"
	"io"
	"sync/atomic"
)

// upload is a request's body. It remembers what went wrong with it, which is not
// the backend's fault.
type upload struct {
	io.ReadCloser
	// progress is called after each piece.
	progress func()
	failure  atomic.Pointer[error]
	ended    atomic.Bool
}

func (u *upload) Read(b []byte) (int, error) {
	if u.ended.Load() {
		return 0, errUploadEnded
	}
	n, err := u.ReadCloser.Read(b)
	u.progress()
	if err != nil && !errors.Is(err, io.EOF) {
		u.failure.Store(&err)
	}
	return n, err
}

// Close does nothing: net/http closes the body of a request that it serves.
func (u *upload) Close() error { return nil }

// end makes no more reads begin: a handler that has returned must not.
func (u *upload) end() { u.ended.Store(true) }

var errUploadEnded = errors.New("the request is over")
