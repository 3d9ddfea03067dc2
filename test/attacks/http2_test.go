package attacks

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/latchkey-dev/latchkey/internal/testing/wiretest"
)

// http2Case is a request of HTTP/2 as its fields, and what comes of it: a status, or
// "reset" where the stream or the connection ends without an answer.
type http2Case struct {
	name string
	// change changes the fields of a good GET.
	change func(f fields) fields
	// data is the body, and trailers what comes after it.
	data     string
	trailers fields
	want     []string
	backend  []string
}

// fields are a header block: names and values in turns.
type fields []string

// set puts the values of names in place, or behind what is there.
func (f fields) set(pairs ...string) fields {
	f = slices.Clone(f)
	for n := 0; n < len(pairs); n += 2 {
		at := slices.Index(f, pairs[n])
		if at < 0 || at%2 == 1 {
			f = append(f, pairs[n], pairs[n+1])
		} else {
			f[at+1] = pairs[n+1]
		}
	}
	return f
}

func (f fields) add(pairs ...string) fields { return append(slices.Clone(f), pairs...) }

func (f fields) without(name string) fields {
	at := slices.Index(f, name)
	return slices.Delete(slices.Clone(f), at, at+2)
}

func set(pairs ...string) func(fields) fields {
	return func(f fields) fields { return f.set(pairs...) }
}
func add(pairs ...string) func(fields) fields {
	return func(f fields) fields { return f.add(pairs...) }
}

var (
	reset = []string{"reset"}
	// malformed is what an implementation makes of a malformed request (RFC 9113, section
	// 8.1.1).
	malformed = []string{"400", "reset"}
	good      = []string{"200"}
	served    = []string{`GET /api/v1/orders acme ""`}
)

const secondLine = " HTTP/1.1\r\nHost: globex.example.com\r\n\r\nGET /api/v1/smuggled"

// HTTP/2 can carry what would be several lines in HTTP/1, and has its own ways to say
// for whom a request is and how long it is.
var http2Cases = []http2Case{
	{name: "good", want: good, backend: served},
	{name: "another authority", change: set(":authority", "globex.example.com"), want: []string{"421"}},
	{name: "another Host beside the authority", change: add("host", "globex.example.com"), want: []string{"200", "400", "reset"}, backend: served},
	{name: "Host in place of the authority", change: func(f fields) fields { return f.without(":authority").add("host", "acme.example.com") }, want: good, backend: served},
	{name: "neither", change: func(f fields) fields { return f.without(":authority") }, want: []string{"400", "404", "421", "reset"}},
	{name: "two authorities", change: func(f fields) fields { return append(fields{":authority", "globex.example.com"}, f...) }, want: reset},
	{name: "a user in the authority", change: set(":authority", "acme.example.com@globex.example.com"), want: []string{"400", "404", "421", "reset"}},
	{name: "a list in the authority", change: set(":authority", "acme.example.com, globex.example.com"), want: []string{"400", "404", "421", "reset"}},
	{name: "a second line in the authority", change: set(":authority", "acme.example.com\r\nLatchkey-Tenant: globex"), want: []string{"400", "404", "421", "reset"}},
	{name: "no path", change: set(":path", ""), want: reset},
	{name: "an asterisk for a path", change: set(":path", "*"), want: malformed},
	{name: "a URL for a path", change: set(":path", "https://globex.example.com"+endpoint), want: malformed},
	{name: "a second request in the path", change: set(":path", endpoint+secondLine), want: malformed},
	{name: "a tab in the path", change: set(":path", endpoint+"\t"), want: malformed},
	{name: "a NUL in the path", change: set(":path", endpoint+"\x00"), want: malformed},
	{name: "two paths", change: add(":path", "/api/v1/smuggled"), want: reset},
	{name: "a second request in the method", change: set(":method", "GET "+endpoint+secondLine+" HTTP/1.1\r\nX: "), want: []string{"400", "405", "reset"}},
	{name: "a method that there is not", change: set(":method", "PRI"), want: []string{"405", "reset"}},
	{name: "CONNECT", change: set(":method", "CONNECT"), want: []string{"405", "reset"}},
	{name: "CONNECT with a protocol", change: func(f fields) fields { return append(fields{":protocol", "websocket"}, f.set(":method", "CONNECT")...) }, want: reset},
	{name: "a second request in the scheme", change: set(":scheme", "https"+secondLine), want: []string{"200", "400", "reset"}, backend: served},
	{name: "a name of ours", change: add("latchkey-tenant", "globex"), want: good, backend: served},
	{name: "a name of ours with underscores", change: add("latchkey_tenant", "globex"), want: []string{"400"}},
	{name: "upper case", change: add("Latchkey-Tenant", "globex"), want: reset},
	{name: "a colon in a name", change: add("x: y\r\nlatchkey-tenant", "globex"), want: reset},
	{name: "a line end in a name", change: add("x\r\nlatchkey-tenant", "globex"), want: reset},
	{name: "a line end in a value", change: add("x-value", "a\r\nLatchkey-Tenant: globex"), want: reset},
	{name: "a bare LF in a value", change: add("x-value", "a\nLatchkey-Tenant: globex"), want: reset},
	{name: "a NUL in a value", change: add("x-value", "a\x00b"), want: reset},
	{name: "no name", change: add("", "globex"), want: reset},
	{name: "chunks", change: add("transfer-encoding", "chunked"), data: "0\r\n\r\nGET /api/v1/smuggled HTTP/1.1\r\nHost: acme.example.com\r\n\r\n", want: malformed},
	{name: "chunks of another coding", change: add("transfer-encoding", "gzip"), want: malformed},
	{name: "an option of the connection", change: add("connection", "latchkey-tenant"), want: malformed},
	{name: "an upgrade", change: add("upgrade", "h2c"), want: malformed},
	{name: "settings of HTTP/2", change: add("http2-settings", "AAMAAABkAARAAAAAAAIAAAAA"), want: good, backend: served},
	{name: "TE", change: add("te", "gzip"), want: malformed},
	{name: "a length that is too long", change: set(":method", "POST", "content-length", "50"), data: "hello", want: malformed},
	{name: "a length that is too short", change: set(":method", "POST", "content-length", "2"), data: "hello", want: malformed},
	{name: "two lengths", change: func(f fields) fields {
		return f.set(":method", "POST").add("content-length", "5", "content-length", "0")
	}, data: "hello", want: malformed},
	{name: "a length with a sign", change: set(":method", "POST", "content-length", "+5"), data: "hello", want: malformed},
	{name: "no digits for a length", change: set(":method", "POST", "content-length", ""), data: "hello", want: malformed},
	{name: "a body", change: set(":method", "POST"), data: "hello", want: good, backend: []string{`POST /api/v1/orders acme "hello"`}},
	{name: "a pseudo-header of ours", change: func(f fields) fields { return append(fields{":tenant", "globex"}, f...) }, want: reset},
	{name: "a pseudo-header of answers", change: func(f fields) fields { return append(fields{":status", "200"}, f...) }, want: reset},
	{name: "a pseudo-header after the others", change: func(f fields) fields { return f.without(":path").add(":path", endpoint) }, want: reset},
	{name: "a token in the trailers", change: func(f fields) fields { return f.set(":method", "POST").without("authorization") }, data: "hello",
		trailers: fields{"authorization", "token {{acme}}"}, want: []string{"401"}},
	{name: "trailers", change: set(":method", "POST", "trailer", "x-trailer"), data: "hello", trailers: fields{"x-trailer", "x", "latchkey-tenant", "globex"},
		want: good, backend: []string{`POST /api/v1/orders acme "hello"`}},
	{name: "a pseudo-header in the trailers", change: set(":method", "POST"), data: "hello", trailers: fields{":path", "/api/v1/smuggled"},
		want: []string{"200", "400", "reset"}, backend: []string{`POST /api/v1/orders acme "hello"`}},
	{name: "two tokens", change: add("authorization", "token {{globex}}"), want: []string{"401"}},
	{name: "another tenant's token", change: set("authorization", "token {{globex}}"), want: []string{"401"}},
	{name: "crumbs of a cookie", change: add("cookie", "a=b", "cookie", "c=d"), want: good, backend: served},
}

func TestHTTP2(t *testing.T) {
	w := newWorld(t)
	s := w.startServer(t, "--log-level=ERROR", "--max-bad-tokens-per-minute=0")
	for _, c := range http2Cases {
		t.Run(c.name, func(t *testing.T) {
			outcome, err := w.sendHTTP2(t, s, &c)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Contains(c.want, outcome) {
				t.Errorf("answered %s, want %v", outcome, c.want)
			}
			var seen []string
			for _, r := range w.take(t) {
				if r.Complete {
					seen = append(seen, wiretest.Seen(r))
				}
			}
			if len(seen) > 0 && !slices.Equal(seen, c.backend) || outcome == "200" && len(seen) == 0 {
				t.Errorf("the backend saw %q, want %q", seen, c.backend)
			}
			w.wantVictimUnharmed(t, s.address)
			t.Logf("answered %s, the backend saw %q", outcome, seen)
		})
	}
}

// sendHTTP2 sends a case over a connection of its own, and returns what came of it.
func (w *world) sendHTTP2(t *testing.T, s *apiServer, c *http2Case) (outcome string, err error) {
	t.Helper()
	connection, err := s.dialHTTP2(t, "acme")
	if err != nil {
		return "", err
	}
	defer connection.Close()
	sent := fields{":method", "GET", ":scheme", "https", ":authority", "acme.example.com", ":path", endpoint, "authorization", "token {{acme}}"}
	if c.change != nil {
		sent = c.change(sent)
	}
	framer := http2.NewFramer(connection, connection)
	framer.AllowIllegalWrites = true
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	var encoder blockEncoder
	err = errors.Join(framer.WriteSettings(), framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: 1, BlockFragment: encoder.encode(w, sent), EndHeaders: true, EndStream: c.data == "" && c.trailers == nil,
	}))
	if c.data != "" {
		err = errors.Join(err, framer.WriteData(1, c.trailers == nil, []byte(c.data)))
	}
	if c.trailers != nil {
		err = errors.Join(err, framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: encoder.encode(w, c.trailers), EndHeaders: true, EndStream: true}))
	}
	if err != nil {
		return "", fmt.Errorf("send: %w", err)
	}
	return outcomeOf(framer)
}

// outcomeOf reads frames until the first stream has an answer, or ends without one.
func outcomeOf(framer *http2.Framer) (string, error) {
	status := ""
	for {
		frame, err := framer.ReadFrame()
		var network *net.OpError
		if errors.Is(err, io.EOF) || errors.As(err, &network) && !network.Timeout() {
			err, frame = nil, &http2.GoAwayFrame{}
		}
		if err != nil {
			return "", err
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			status = frame.PseudoValue("status")
			if frame.StreamEnded() {
				return status, nil
			}
		case *http2.DataFrame:
			if frame.StreamEnded() {
				return status, nil
			}
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			if away, ok := frame.(*http2.GoAwayFrame); ok && away.ErrCode == http2.ErrCodeNo && away.LastStreamID > 0 {
				continue // the answer comes after it
			}
			if status == "" {
				status = "reset"
			}
			return status, nil
		}
	}
}

// blockEncoder encodes the header blocks of a connection, good or bad.
type blockEncoder struct {
	buffer  bytes.Buffer
	encoder *hpack.Encoder
}

func (e *blockEncoder) encode(w *world, f fields) []byte {
	if e.encoder == nil {
		e.encoder = hpack.NewEncoder(&e.buffer)
	}
	e.buffer.Reset()
	for n := 0; n < len(f); n += 2 {
		value := (&wiretest.Case{Text: f[n+1]}).Bytes(w.tokens)
		_ = e.encoder.WriteField(hpack.HeaderField{Name: f[n], Value: value}) // into memory
	}
	return bytes.Clone(e.buffer.Bytes())
}

// Who opens streams only to reset them (CVE-2023-44487, CVE-2023-39325), or sends
// header blocks without an end (CVE-2023-45288), gets no further than the limits.
func TestHTTP2Floods(t *testing.T) {
	w := newWorld(t)
	s := w.startServer(t, "--log-level=ERROR", "--max-bad-tokens-per-minute=0")
	streams := 10_000
	if long() {
		streams = 100_000
	}
	grown, good := s.peak(t), goodTraffic(t, s, w.tokens["acme"])
	reset, err := w.resets(t, s, streams)
	must(t, err)
	frames, err := w.continuations(t, s, streams)
	must(t, err)
	if bytes := grown(); bytes > 32*mib {
		t.Errorf("resident memory grew by %.1f MiB", bytes/mib)
	} else {
		t.Logf("%d streams that were reset, and %d frames of a header block: resident memory grew by %.1f MiB at most", reset, frames, bytes/mib)
	}
	t.Logf("meanwhile %s", good.end(t))
	w.take(t)
}

// streamsAtATime is the server's default of --max-streams.
const streamsAtATime = 100

// resets opens streams and resets them, until the server has had enough. There have to
// be more of them than the server serves at a time.
func (w *world) resets(t *testing.T, s *apiServer, streams int) (reset int, err error) {
	connection, err := s.dialHTTP2(t, "acme")
	if err != nil {
		return 0, err
	}
	defer connection.Close()
	go func() { _, _ = io.Copy(io.Discard, connection) }()
	framer := http2.NewFramer(connection, nil)
	if err := framer.WriteSettings(); err != nil {
		return 0, err
	}
	var encoder blockEncoder
	sent := fields{":method", "GET", ":scheme", "https", ":authority", "acme.example.com", ":path", endpoint, "authorization", "token {{acme}}"}
	for ; reset < streams; reset++ {
		id := uint32(2*reset + 1)
		err := errors.Join(
			framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: encoder.encode(w, sent), EndHeaders: true, EndStream: true}),
			framer.WriteRSTStream(id, http2.ErrCodeCancel))
		if err != nil {
			break // the server had enough
		}
	}
	if reset <= streamsAtATime {
		return reset, fmt.Errorf("the server ended the connection after %d streams", reset)
	}
	return reset, nil
}

// continuations sends a header block until the server has had enough, which has to be
// before its end and not before its beginning.
func (w *world) continuations(t *testing.T, s *apiServer, most int) (frames int, err error) {
	connection, err := s.dialHTTP2(t, "acme")
	if err != nil {
		return 0, err
	}
	defer connection.Close()
	framer := http2.NewFramer(connection, nil)
	var encoder blockEncoder
	block := encoder.encode(w, fields{"x-value", strings.Repeat("a", 1000)})
	err = errors.Join(framer.WriteSettings(), framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block}))
	if err != nil {
		return 0, err
	}
	for ; frames < most; frames++ {
		if framer.WriteContinuation(1, false, block) != nil {
			return frames, nil // the server had enough
		}
	}
	return frames, fmt.Errorf("the server took a header block of %d frames", frames)
}
