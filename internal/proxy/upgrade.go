package proxy

import (
	"errors"
	"io"
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
func passUpgrade(w http.ResponseWriter, response *http.Response, backend io.ReadWriteCloser, request *Request) error {
	if !request.WebSocket || !strings.EqualFold(upgradeType(response.Header), "websocket") {
		return errSwitched
	}
	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return errHijack
	}
	defer func() { _ = client.Close() }()
	h := w.Header()
	passHeaders(h, response.Header, request.OwnsCORS)
	h["Connection"], h["Upgrade"] = []string{"Upgrade"}, response.Header["Upgrade"]
	if request.BeforeResponse != nil {
		request.BeforeResponse(h)
	}
	head := http.Response{StatusCode: response.StatusCode, ProtoMajor: 1, ProtoMinor: 1, Header: h}
	if head.Write(buffered) != nil || buffered.Flush() != nil {
		return nil // the client is gone
	}
	tunnel(client, backend)
	return nil
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
