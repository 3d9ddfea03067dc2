package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"sync/atomic"
	"time"

	"golang.org/x/net/http/httpguts"
)

const (
	dialTimeout      = 5 * time.Second
	handshakeTimeout = 5 * time.Second
	keepAlive        = 30 * time.Second
)

// origin is where a tenant's requests go: a backend, and the connections to it.
type origin struct {
	pool *pool
	// backend is its URL, as the PublicApi has it.
	backend string
	// address is host and port.
	address string
	// tls is nil for plain HTTP.
	tls *tls.Config
	// idle are its idle connections, the one used last at the end. The pool's lock
	// guards them.
	idle []*connection
	// users are the requests under way.
	users atomic.Int64
}

// newOrigin reads a backend's URL.
func newOrigin(backend string) (*origin, error) {
	u, err := url.Parse(backend)
	if err != nil || u.Hostname() == "" {
		return nil, errBackendURL
	}
	host, err := httpguts.PunycodeHostPort(u.Hostname())
	if err != nil {
		return nil, errBackendURL
	}
	o := &origin{backend: backend}
	port := u.Port()
	switch u.Scheme {
	case "http":
		if port == "" {
			port = "80"
		}
	case "https":
		if port == "" {
			port = "443"
		}
		o.tls = &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	default:
		return nil, errBackendURL
	}
	o.address = net.JoinHostPort(host, port)
	return o, nil
}

// dialer knows of no HTTP_PROXY: it must not see tenants' requests.
var dialer = net.Dialer{Timeout: dialTimeout, KeepAlive: keepAlive}

// dial makes a new connection.
func (o *origin) dial(ctx context.Context) (*connection, error) {
	raw, err := dialer.DialContext(ctx, "tcp", o.address)
	if err != nil {
		return nil, err
	}
	w, err := newWire(raw)
	if err != nil {
		_ = raw.Close()
		return nil, err
	}
	if o.tls == nil {
		return newConnection(o, w, w), nil
	}
	handshake, cancel := context.WithTimeoutCause(ctx, handshakeTimeout, errHandshake)
	defer cancel()
	secure := tls.Client(w, o.tls)
	if err := secure.HandshakeContext(handshake); err != nil {
		_ = raw.Close()
		if cause := context.Cause(handshake); errors.Is(cause, errHandshake) {
			return nil, cause
		}
		return nil, err
	}
	return newConnection(o, w, secure), nil
}
