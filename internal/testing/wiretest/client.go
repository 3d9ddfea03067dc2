package wiretest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/textproto"
	"strconv"
	"strings"
	"time"
)

// Reply is one answer, or what came in place of one.
type Reply struct {
	// Status is 0 for bytes that are no answer of HTTP/1.
	Status int
	// Head is the answer's head as it came, but for the line with the date.
	Head string
	// Header is the answer's.
	Header http.Header
	// Body is the answer's, without its framing.
	Body string
}

// Exchange sends the bytes over a connection of its own, and returns the answers until
// the other side ends the connection. With half, the client's half of it is ended after
// the bytes.
func Exchange(ctx context.Context, address, text string, half bool) ([]Reply, error) {
	connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer func() { _ = connection.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = connection.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = io.WriteString(connection, text) // the other side may have had enough
		if half {
			_ = connection.(*net.TCPConn).CloseWrite()
		}
	}()
	replies, err := ReadReplies(connection, methods(text))
	_ = connection.Close()
	<-sent
	return replies, err
}

// methods are those of the requests in a text, for the answers that have no body
// because of them.
func methods(text string) []string {
	var methods []string
	for line := range strings.Lines(text) {
		if method, rest, ok := strings.Cut(line, " "); ok && strings.Contains(rest, " HTTP/1.") && strings.ToUpper(method) == method {
			methods = append(methods, method)
		}
	}
	return methods
}

// ReadReplies reads answers until the connection ends. A reset ends it as well: a
// server may close a connection before it read all that it was sent.
func ReadReplies(from io.Reader, methods []string) ([]Reply, error) {
	in := bufio.NewReader(from)
	var replies []Reply
	for n := 0; ; {
		method := ""
		if n < len(methods) {
			method = methods[n]
		}
		reply, err := ReadReply(in, method)
		if errors.Is(err, errEnded) {
			return replies, nil
		}
		if err != nil {
			return replies, fmt.Errorf("after %d answers: %w", len(replies), err)
		}
		replies = append(replies, reply)
		if reply.Status == 0 || reply.Status == http.StatusSwitchingProtocols {
			return replies, nil
		}
		if reply.Status >= 200 {
			n++
		}
	}
}

// ReadReply reads one answer to the method. What is none is taken whole.
func ReadReply(in *bufio.Reader, method string) (Reply, error) {
	if start, err := in.Peek(5); err != nil && len(start) == 0 {
		return Reply{}, ended(err)
	} else if string(start) != "HTTP/" {
		all, err := io.ReadAll(in)
		return Reply{Body: string(all)}, err
	}
	r, err := readReplyHead(in)
	if err != nil {
		return Reply{}, err
	}
	body, err := r.body(in, method)
	if err != nil {
		return r, fmt.Errorf("the body of an answer %d breaks off: %w", r.Status, err)
	}
	r.Body = string(body)
	return r, nil
}

func readReplyHead(in *bufio.Reader) (r Reply, err error) {
	var whole, undated strings.Builder
	for line := ""; line != "\r\n"; {
		if line, err = in.ReadString('\n'); err != nil {
			return r, fmt.Errorf("an answer breaks off after %q: %w", whole.String(), err)
		}
		whole.WriteString(line)
		if !strings.HasPrefix(line, "Date: ") {
			undated.WriteString(line)
		}
	}
	r.Head = undated.String()
	lines := textproto.NewReader(bufio.NewReader(strings.NewReader(whole.String())))
	status, err := lines.ReadLine()
	if err != nil {
		return r, err
	}
	var minor int
	if _, err := fmt.Sscanf(status, "HTTP/1.%d %d", &minor, &r.Status); err != nil {
		return r, fmt.Errorf("an answer begins with %q: %w", status, err)
	}
	header, err := lines.ReadMIMEHeader()
	r.Header = http.Header(header)
	return r, err
}

// errEnded: the connection ended after an answer.
var errEnded = errors.New("there are no more answers")

func ended(err error) error {
	var network *net.OpError
	if errors.Is(err, io.EOF) || errors.As(err, &network) && !network.Timeout() {
		return errEnded
	}
	return err
}

func (r *Reply) body(in *bufio.Reader, method string) ([]byte, error) {
	switch length := r.Header.Get("Content-Length"); {
	case method == http.MethodHead || r.Status < 200 || r.Status == http.StatusNoContent || r.Status == http.StatusNotModified:
		return nil, nil
	case r.Header.Get("Transfer-Encoding") == "chunked":
		body, err := io.ReadAll(httputil.NewChunkedReader(in))
		if err == nil {
			_, err = textproto.NewReader(in).ReadMIMEHeader() // the trailers, of which there are none
		}
		return body, err
	case length != "":
		n, err := strconv.Atoi(length)
		if err != nil {
			return nil, err
		}
		body := make([]byte, n)
		_, err = io.ReadFull(in, body)
		return body, err
	default:
		body, err := io.ReadAll(in)
		if err != nil && errors.Is(ended(err), errEnded) {
			err = nil // a server may close with a reset
		}
		return body, err
	}
}
