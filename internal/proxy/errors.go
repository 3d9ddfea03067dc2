package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"
)

// Why a request was not answered by its backend.
var (
	// ErrTimeout: the backend's answer did not begin in time.
	ErrTimeout = errors.New("the backend's answer did not begin in time")
	// ErrClientGone: the client closed the connection.
	ErrClientGone = errors.New("the client closed the connection")
	// ErrRequestBody: what the client sent as its body is not framed as HTTP is.
	ErrRequestBody = errors.New("the request's body is malformed")
)

// rememberError keeps the error for Serve to return; nothing is sent here.
func rememberError(_ http.ResponseWriter, r *http.Request, err error) {
	x := exchangeOf(r)
	cause := context.Cause(r.Context())
	switch {
	case errors.Is(cause, context.Canceled):
		x.err = ErrClientGone
	case cause != nil:
		x.err = cause
	case x.upload != nil && x.upload.failure.Load() != nil:
		x.err = uploadError(*x.upload.failure.Load())
	default:
		x.err = backendError(err)
	}
}

// upload is a request's body. It remembers what went wrong with it, which is not
// the backend's fault.
type upload struct {
	io.ReadCloser
	header  *headerTimer
	failure atomic.Pointer[error]
}

func (u *upload) Read(b []byte) (int, error) {
	n, err := u.ReadCloser.Read(b)
	u.header.restart()
	if err != nil && !errors.Is(err, io.EOF) {
		u.failure.Store(&err)
	}
	return n, err
}

func uploadError(err error) error {
	var tooLarge *http.MaxBytesError
	var network net.Error
	switch {
	case errors.As(err, &tooLarge):
		return err
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &network):
		return ErrClientGone
	default:
		return ErrRequestBody
	}
}

// backendError is the error in words that are safe to log: net/http's quote what a
// backend sent (Traefik CVE-2022-23469).
func backendError(err error) error {
	var operation *net.OpError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &operation):
		return operation
	case errors.As(err, &certificate):
		return certificate
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the backend closed the connection before it answered")
	case errors.Is(err, errSwitched):
		return errSwitched
	default:
		return errors.New("the backend's answer, or its URL, is not as HTTP has it")
	}
}

var errSwitched = errors.New("the backend switched protocols, which it was not asked to")
