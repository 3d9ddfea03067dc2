package proxy

import (
	"bufio"
	"bytes"
	"io"
	"maps"
	"mime"
	"net/http"
	"strings"
	"sync"
)

// passHeaders adds what the client may see of a backend's headers to those of the
// answer.
func passHeaders(to, from http.Header, request *Request) {
	options := connectionOptions(from)
	for name, values := range from {
		if name == "Set-Cookie" {
			values = withoutOwnSetCookies(values)
		}
		switch {
		case !answered(name, request) || names(options, name) || len(values) == 0:
		case to[name] == nil:
			to[name] = values
		default:
			to[name] = append(to[name], values...)
		}
	}
}

// passInterim passes on a 1xx answer. What the caller had set for the final answer
// is there again afterwards.
func passInterim(w http.ResponseWriter, status int, from http.Header, request *Request) {
	h := w.Header()
	ours := maps.Clone(h)
	passHeaders(h, from, request)
	w.WriteHeader(status)
	clear(h)
	maps.Copy(h, ours)
}

// streams says whether each piece of an answer must reach the client at once: its
// length is not known, or it is a stream of events.
func streams(response *http.Response) bool {
	if response.ContentLength == -1 {
		return true
	}
	contentType := response.Header.Get("Content-Type")
	if !strings.HasPrefix(strings.ToLower(strings.TrimLeft(contentType, " \t")), "text/event-stream") {
		return false
	}
	media, _, _ := mime.ParseMediaType(contentType)
	return media == "text/event-stream"
}

// pieceIsHere says whether a read of the body will very likely not block.
func pieceIsHere(r *bufio.Reader) bool {
	if r == nil || r.Buffered() == 0 {
		return false
	}
	piece, _ := r.Peek(r.Buffered())
	newline := bytes.IndexByte(piece, '\n') // the end of a chunk's size
	return newline >= 0 && newline+1 < len(piece)
}

// passBody copies a body to the client. The error is the backend's or the client's.
func passBody(w http.ResponseWriter, body io.Reader, flush bool, buffered *bufio.Reader) error {
	buffer := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buffer)
	var controller *http.ResponseController
	if flush {
		controller = http.NewResponseController(w)
		if !pieceIsHere(buffered) {
			_ = controller.Flush() // the headers need not wait for the body
		}
	}
	for {
		n, err := body.Read(buffer[:])
		if n > 0 {
			if _, err := w.Write(buffer[:n]); err != nil {
				return err
			}
			if flush {
				_ = controller.Flush() // a client that is gone fails the next write
			}
		}
		switch err {
		case nil:
		case io.EOF:
			return nil
		default:
			return err
		}
	}
}

// buffers are those by which bodies are copied.
var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

const bufferSize = 32 << 10
