package proxy

import (
	"io"
	"net/http"
	"time"
)

// maxProbe is how long a request waits until it is known whether it has a body.
const maxProbe = 200 * time.Millisecond

func usuallyWithoutBody(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodDelete, http.MethodOptions:
		return true
	}
	return false
}

// probe is the body, or nil if it is empty. HTTP/2 clients may leave open whether a
// GET has one, and backends refuse a GET in chunks; http.Transport does the same.
func probe(body io.Reader) *probed {
	first := &firstByte{read: make(chan struct{})}
	go func() {
		defer close(first.read)
		first.n, first.err = body.Read(first.b[:])
	}()
	timer := time.NewTimer(maxProbe)
	defer timer.Stop()
	select {
	case <-first.read:
		if first.n == 0 && first.err == io.EOF { //nolint:errorlint // io.Reader's word
			return nil
		}
	case <-timer.C:
	}
	return &probed{first: first, rest: body}
}

// firstByte is what reading one byte came to, once read is closed.
type firstByte struct {
	read chan struct{}
	b    [1]byte
	n    int
	err  error
}

// probed is a body whose first byte was, or is being, read.
type probed struct {
	first *firstByte
	rest  io.Reader
}

func (p *probed) Read(b []byte) (n int, err error) {
	if p.first == nil {
		return p.rest.Read(b)
	}
	<-p.first.read
	n, err = copy(b, p.first.b[:p.first.n]), p.first.err
	p.first = nil
	return n, err
}
