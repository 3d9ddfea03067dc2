package wiretest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
)

// SerialHeader is the header by which an answer names the request that it is for.
const SerialHeader = "Backend-Serial"

// Backend takes requests that every parser reads alike, remembers them, and answers
// each by what it was. Anything else that reaches it is a fault.
type Backend struct {
	listener net.Listener
	serving  sync.WaitGroup

	mu          sync.Mutex
	serial      int
	requests    []*Request
	faults      []error
	connections map[net.Conn]struct{}
	closed      bool
}

// Answer is the body of a backend's answer.
type Answer struct {
	Serial int    `json:"serial"`
	Method string `json:"method"`
	Target string `json:"target"`
	Host   string `json:"host"`
	Tenant string `json:"tenant"`
	Body   string `json:"body"`
}

// StartBackend starts one on loopback. Close must be called.
func StartBackend() (*Backend, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	b := &Backend{listener: listener, connections: map[net.Conn]struct{}{}}
	b.serving.Go(b.accept)
	return b, nil
}

// Address is where it listens.
func (b *Backend) Address() string { return b.listener.Addr().String() }

// Close closes every connection, and waits for what serves them.
func (b *Backend) Close() error {
	err := b.listener.Close()
	b.mu.Lock()
	b.closed = true
	for connection := range b.connections {
		_ = connection.Close()
	}
	b.mu.Unlock()
	b.serving.Wait()
	return err
}

// Take returns what came since it was called last: the requests, in the order in which
// they were read to their end, and what was no request.
func (b *Backend) Take() ([]*Request, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	requests, faults := b.requests, errors.Join(b.faults...)
	b.requests, b.faults = nil, nil
	return requests, faults
}

func (b *Backend) accept() {
	for {
		connection, err := b.listener.Accept()
		if err != nil {
			return // Close
		}
		b.mu.Lock()
		if b.closed {
			_ = connection.Close()
		} else {
			b.connections[connection] = struct{}{}
			b.serving.Go(func() { b.serve(connection) })
		}
		b.mu.Unlock()
	}
}

func (b *Backend) serve(connection net.Conn) {
	defer func() {
		_ = connection.Close()
		b.mu.Lock()
		delete(b.connections, connection)
		b.mu.Unlock()
	}()
	in := bufio.NewReader(connection)
	for {
		r, err := b.read(connection, in)
		if err != nil {
			return
		}
		if _, err := connection.Write(answer(r)); err != nil {
			return
		}
	}
}

// read reads a request and keeps it, or what was wrong with it.
func (b *Backend) read(connection net.Conn, in *bufio.Reader) (*Request, error) {
	r, err := readHead(in)
	if err == nil {
		if len(r.Values("Expect")) > 0 {
			_, err = io.WriteString(connection, "HTTP/1.1 100 Continue\r\n\r\n")
		}
		if err == nil {
			err = r.readBody(in)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var network net.Error
	ended := errors.Is(err, errNoRequest) || errors.Is(err, errCut) || errors.As(err, &network)
	if err != nil && !ended {
		b.faults = append(b.faults, fmt.Errorf("what reached the backend is no request that everybody reads alike: %w", err))
	}
	if r != nil {
		b.serial++
		r.Serial, r.Complete = b.serial, err == nil
		b.requests = append(b.requests, r)
	}
	return r, err
}

func answer(r *Request) []byte {
	body, err := json.Marshal(Answer{r.Serial, r.Method, r.Target, r.Value("Host"), r.Value("Latchkey-Tenant"), r.Body})
	if err != nil {
		body = []byte(err.Error()) // strings and numbers always encode
	}
	head := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%s: %d\r\n\r\n", len(body), SerialHeader, r.Serial)
	if r.Method == http.MethodHead {
		return []byte(head)
	}
	return append([]byte(head), body...)
}
