package server_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/latchkey-dev/latchkey/internal/testing/directorytest"
)

// In HTTP/2 frames say how long a body is, and net/http reads a content-length that is
// no number as 0, and of several the first. The request would reach the backend without
// its body, and what follows on that connection could be taken for it (RFC 9113, section
// 8.1.1).
func TestLengthsThatOnlyHTTP2CanCarry(t *testing.T) {
	taken := withBackend(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	for name, lengths := range map[string][]string{
		"a sign":         {"+5"},
		"nothing":        {""},
		"a space":        {" 5"},
		"hexadecimal":    {"0x5"},
		"two, one wrong": {"5", "0"},
		"two alike":      {"5", "5"},
		"a list":         {"5, 5"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, taken)
			if status := h.postHTTP2(lengths...); status != "400" && status != reset {
				t.Errorf("answered %s, want 400 or a reset", status)
			}
			if n := len(h.backend.all()); n != 0 {
				t.Errorf("%d requests reached the backend", n)
			}
		})
	}
	for name, lengths := range map[string][]string{"the right one": {"5"}, "none": nil} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, taken)
			if status := h.postHTTP2(lengths...); status != "200" {
				t.Errorf("answered %s, want 200", status)
			}
			if n := len(h.backend.all()); n != 1 {
				t.Errorf("%d requests reached the backend", n)
			}
		})
	}
}

// reset is the outcome of a request whose stream or connection ends without an answer.
const reset = "reset"

// postHTTP2 sends five bytes with headers that no client library sends, and returns the
// status, or reset.
func (h *harness) postHTTP2(lengths ...string) (status string) {
	h.t.Helper()
	address, client := h.http2()
	config := client.Transport.(*http.Transport).TLSClientConfig.Clone()
	config.NextProtos = []string{http2.NextProtoTLS}
	connection, err := tls.Dial("tcp", address, config)
	directorytest.Must(h.t, err)
	defer func() { _ = connection.Close() }()

	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	field := func(name, value string) {
		directorytest.Must(h.t, encoder.WriteField(hpack.HeaderField{Name: name, Value: value}))
	}
	field(":method", http.MethodPost)
	field(":scheme", "https")
	field(":authority", acmeHost)
	field(":path", endpoint)
	field("authorization", "token "+h.issue("acme").Token.Reveal())
	for _, length := range lengths {
		field("content-length", length)
	}
	_, err = io.WriteString(connection, http2.ClientPreface)
	directorytest.Must(h.t, err)
	framer := http2.NewFramer(connection, connection)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	directorytest.Must(h.t, errors.Join(framer.WriteSettings(),
		framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true}),
		framer.WriteData(1, true, []byte("hello"))))
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return reset
		}
		switch f := frame.(type) {
		case *http2.MetaHeadersFrame:
			return f.PseudoValue("status")
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return reset
		}
	}
}
