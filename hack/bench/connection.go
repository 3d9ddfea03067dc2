package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
)

// maxAnswer bounds an answer, headers and body together.
const maxAnswer = 32 << 10

// connection sends prepared requests and reads the answers to them. It knows as
// much of HTTP/1.1 as the subjects need: final answers with a Content-Length. It
// is not the bottleneck where net/http's client would be.
type connection struct {
	net.Conn
	buffer [maxAnswer]byte
}

// answer is valid until the connection's next exchange.
type answer struct {
	status int
	body   []byte
}

func dial(ctx context.Context, address string) (*connection, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return &connection{Conn: conn}, nil
}

// exchange sends a request and waits for its answer.
func (c *connection) exchange(request []byte) (answer, error) {
	if _, err := c.Write(request); err != nil {
		return answer{}, err
	}
	n := 0
	for n < len(c.buffer) {
		read, err := c.Read(c.buffer[n:])
		n += read
		if a, complete, err := parseAnswer(c.buffer[:n]); complete || err != nil {
			return a, err
		}
		if err != nil {
			return answer{}, fmt.Errorf("after %d bytes of an answer: %w", n, err)
		}
	}
	return answer{}, fmt.Errorf("an answer has more than %d bytes", len(c.buffer))
}

var endOfHeaders = []byte("\r\n\r\n")

// parseAnswer reads an answer from what has arrived so far.
func parseAnswer(b []byte) (a answer, complete bool, err error) {
	head, rest, found := bytes.Cut(b, endOfHeaders)
	if !found {
		return answer{}, false, nil
	}
	line, fields, _ := bytes.Cut(head, endOfHeaders[:2])
	if len(line) < len("HTTP/1.1 200") || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return answer{}, false, fmt.Errorf("not the beginning of an HTTP/1.1 answer: %.40q", line)
	}
	if a.status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return answer{}, false, fmt.Errorf("not a status line: %.40q", line)
	}
	length, err := contentLength(fields)
	switch {
	case err != nil:
		return answer{}, false, err
	case len(rest) > length:
		return answer{}, false, fmt.Errorf("%d bytes follow an answer whose Content-Length is %d", len(rest)-length, length)
	}
	a.body = rest
	return a, len(rest) == length, nil
}

var nameContentLength = []byte("Content-Length")

func contentLength(fields []byte) (int, error) {
	for len(fields) > 0 {
		var line []byte
		line, fields, _ = bytes.Cut(fields, endOfHeaders[:2])
		name, value, _ := bytes.Cut(line, []byte(":"))
		if len(name) == len(nameContentLength) && bytes.EqualFold(name, nameContentLength) {
			return parseLength(bytes.Trim(value, " \t"))
		}
	}
	return 0, errors.New("an answer has no Content-Length")
}

func parseLength(digits []byte) (int, error) {
	length, err := strconv.ParseUint(string(digits), 10, 16)
	if err != nil || length > maxAnswer {
		return 0, fmt.Errorf("Content-Length %.20q is not a number of at most %d", digits, maxAnswer)
	}
	return int(length), nil
}

// request is a GET as a customer's program would send it. An empty token means no
// Authorization header.
func request(host, path, token string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: latchkey-bench/1.0\r\nAccept: application/json\r\n", path, host)
	if token != "" {
		fmt.Fprintf(&b, "Authorization: token %s\r\n", token)
	}
	b.WriteString("\r\n")
	return b.Bytes()
}
