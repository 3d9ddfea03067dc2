// Package body reads the bodies of requests that the portal answers itself.
package body

import (
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/latchkey-dev/latchkey/internal/problem"
)

// MaxBytes bounds a request's body.
const MaxBytes = 64 << 10

// Read reads the whole body, which may take as long as the timeout, or says why not.
func Read(w http.ResponseWriter, r *http.Request, timeout time.Duration) ([]byte, *problem.Problem) {
	controller := http.NewResponseController(w)
	_ = controller.SetReadDeadline(time.Now().Add(timeout)) // without one the connection's own limits hold
	content, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBytes))
	_ = controller.SetReadDeadline(time.Time{})
	var network net.Error
	tooLarge, isTooLarge := errors.AsType[*http.MaxBytesError](err)
	switch {
	case isTooLarge:
		return nil, problem.RequestTooLarge(tooLarge.Limit)
	case errors.As(err, &network) && network.Timeout():
		return nil, problem.RequestTimeout
	case err != nil:
		return nil, problem.RequestRefused("The body is not framed as its Content-Length or Transfer-Encoding says.")
	}
	return content, nil
}
