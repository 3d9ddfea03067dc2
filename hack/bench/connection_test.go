package main

import (
	"net"
	"strings"
	"testing"
	"time"
)

func TestParseAnswer(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nDate: x\r\ncontent-length:  5\r\n\r\n"
	for name, test := range map[string]struct {
		received string
		status   int
		body     string
		complete bool
		err      string
	}{
		"nothing yet":         {received: ""},
		"half the headers":    {received: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"},
		"half the body":       {received: head + "abc", status: 200, body: "abc"},
		"everything":          {received: head + "abcde", status: 200, body: "abcde", complete: true},
		"an empty body":       {received: "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", status: 401, complete: true},
		"too much":            {received: head + "abcdef", err: "1 bytes follow"},
		"no length":           {received: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", err: "no Content-Length"},
		"a length too long":   {received: "HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n", err: "not a number of at most"},
		"a length of letters": {received: "HTTP/1.1 200 OK\r\nContent-Length: 1a\r\n\r\n", err: "not a number of at most"},
		"not HTTP":            {received: "SSH-2.0-server\r\n\r\n", err: "not the beginning"},
	} {
		t.Run(name, func(t *testing.T) {
			a, complete, err := parseAnswer([]byte(test.received))
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Fatalf("error is %v, want one with %q", err, test.err)
				}
				return
			}
			if err != nil || complete != test.complete || a.status != test.status || string(a.body) != test.body {
				t.Errorf("status %d, body %q, complete %v, error %v", a.status, a.body, complete, err)
			}
		})
	}
}

func TestExchangeReadsAnAnswerThatComesInPieces(t *testing.T) {
	client, server := net.Pipe()
	defer func() { _ = client.Close() }()
	go func() {
		defer func() { _ = server.Close() }()
		var request [1 << 10]byte
		if _, err := server.Read(request[:]); err != nil {
			return
		}
		for _, piece := range []string{"HTTP/1.1 200 ", "OK\r\nContent-Length: 4\r\n\r", "\nab", "cd"} {
			if _, err := server.Write([]byte(piece)); err != nil {
				return
			}
		}
	}()
	_ = client.SetDeadline(time.Now().Add(patience))
	c := &connection{Conn: client}
	a, err := c.exchange(request("acme.example.com", "/", "lk_x"))
	if err != nil || a.status != 200 || string(a.body) != "abcd" {
		t.Fatalf("status %d, body %q, error %v", a.status, a.body, err)
	}
	if _, err := c.exchange(request("acme.example.com", "/", "")); err == nil {
		t.Error("an exchange with a server that is gone succeeded")
	}
}
