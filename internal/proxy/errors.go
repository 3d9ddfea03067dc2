package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
)

// Why a request was not answered by its backend.
var (
	// ErrTimeout: the backend's answer did not begin in time.
	ErrTimeout = errors.New("the backend's answer did not begin in time")
	// ErrClientGone: the client closed the connection.
	ErrClientGone = errors.New("the client closed the connection")
	// ErrRequestBody: what the client sent as its body is not framed as HTTP is.
	ErrRequestBody = errors.New("the request's body is malformed")
	// ErrBodyTimeout: the client sent nothing more of its body for too long.
	ErrBodyTimeout = errors.New("the client stopped sending the request's body")
)

// cause is why a request failed, in words that are safe to log: who ended it, or
// whose fault it was. body is nil where the request has none.
func cause(ctx context.Context, body *upload, err error) error {
	ended := context.Cause(ctx)
	switch {
	case errors.Is(ended, context.Canceled) && body != nil && body.stalled():
		return ErrBodyTimeout // net/http takes it for a client that is gone
	case errors.Is(ended, context.Canceled):
		return ErrClientGone
	case ended != nil:
		return ended
	case body != nil && body.failure.Load() != nil:
		return uploadError(*body.failure.Load())
	case errors.Is(err, ErrTimeout):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return ErrTimeout
	default:
		return backendError(err)
	}
}

func uploadError(err error) error {
	var tooLarge *http.MaxBytesError
	var network net.Error
	switch {
	case errors.As(err, &tooLarge):
		return err
	case errors.Is(err, ErrBodyTimeout):
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
	case errors.Is(err, errHeaderTooLarge) || errors.Is(err, errInterims) || errors.Is(err, errStatus):
		return err
	default:
		return errors.New("the backend's answer, or its URL, is not as HTTP has it")
	}
}

// errHandshake is a timeout with a place.
var errHandshake = fmt.Errorf("%w: the TLS handshake took longer than %s", ErrTimeout, handshakeTimeout)

var (
	errBackendURL     = errors.New("the backend's URL is not that of an HTTP origin")
	errHeaderTooLarge = errors.New("the headers of the backend's answer are too large")
	errStatus         = errors.New("the backend's answer has a status below 100")
	errInterims       = errors.New("the backend sends 1xx answers without end")
)
