package proxy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
)

var (
	errSwitched = errors.New("the backend switched protocols, which it was not asked to")
	errHijack   = errors.New("the client's connection can't be switched to another protocol")
)

// passUpgrade joins the client's connection to the backend's, once that has agreed
// to switch protocols, until one of them ends. An error means that the client was
// sent nothing.
func passUpgrade(ctx context.Context, w http.ResponseWriter, response *http.Response, backend io.ReadWriteCloser, request *Request) error {
	if !request.WebSocket || !strings.EqualFold(upgradeType(response.Header), "websocket") {
		return errSwitched
	}
	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return errHijack
	}
	defer func() { _ = client.Close() }()
	defer context.AfterFunc(ctx, func() { _ = client.Close() })()
	h := w.Header()
	passHeaders(h, response.Header, request)
	h["Connection"], h["Upgrade"] = []string{"Upgrade"}, response.Header["Upgrade"]
	if request.BeforeResponse != nil {
		request.BeforeResponse(h)
	}
	head := http.Response{StatusCode: response.StatusCode, ProtoMajor: 1, ProtoMinor: 1, Header: h}
	if head.Write(buffered) != nil || buffered.Flush() != nil {
		return nil // the client is gone
	}
	tunnel(newHijacked(client, buffered.Reader), backend)
	return nil
}

// hijacked is a client's connection of which something was read before.
type hijacked struct {
	net.Conn
	r io.Reader
}

// newHijacked gives what was buffered first.
func newHijacked(client net.Conn, buffered *bufio.Reader) *hijacked {
	early, _ := buffered.Peek(buffered.Buffered()) // never more than there is
	return &hijacked{client, io.MultiReader(bytes.NewReader(early), client)}
}

func (h *hijacked) Read(b []byte) (int, error) { return h.r.Read(b) }

// CloseWrite ends one way, and leaves the other open.
func (h *hijacked) CloseWrite() error {
	if half, ok := h.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errOneWay
}

// tunnel copies both ways until both have ended; one that fails ends the other.
func tunnel(client, backend io.ReadWriteCloser) {
	ended := make(chan error, 2)
	go func() { ended <- copyWay(backend, client) }()
	go func() { ended <- copyWay(client, backend) }()
	for range cap(ended) {
		if err := <-ended; err != nil {
			_, _ = client.Close(), backend.Close()
		}
	}
}

var errOneWay = errors.New("one way ended, and the connection has no halves")

// copyWay passes on the end of what it copies, where the connection has halves.
func copyWay(to, from io.ReadWriteCloser) error {
	if _, err := io.Copy(to, from); err != nil {
		return err
	}
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errOneWay
}
