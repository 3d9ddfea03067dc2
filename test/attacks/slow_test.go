package attacks

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
	"github.com/latchkey-dev/latchkey/internal/testing/wiretest"
)

// slowClient holds a connection for as long as it can.
type slowClient struct {
	name string
	tls  bool
	// begin is sent at once, and trickle again and again after it.
	begin   func(w *world) string
	trickle string
	// status is what the server answers before it ends the connection, or 0 where there
	// is no request to answer.
	status int
	// atOnce says that the server does not wait before it ends the connection.
	atOnce bool
	// unread sends the request again and again, and reads no answer.
	unread bool
}

var slowClients = []slowClient{
	{name: "says nothing", begin: func(*world) string { return "" }},
	{name: "headers without an end", trickle: "X-Slow: b\r\n", begin: func(*world) string { return "GET " + endpoint + " HTTP/1.1\r\nHost: " + host("acme") + "\r\n" }},
	{name: "one letter at a time", trickle: "a", begin: func(*world) string { return "GET /" }},
	{name: "body that does not come", status: http.StatusRequestTimeout, begin: func(w *world) string { return w.post("globex", "globex") }},
	{name: "body without a token", status: http.StatusUnauthorized, atOnce: true, trickle: "x", begin: func(w *world) string { return w.post("globex", "acme") }},
	{name: "idle after a request", status: http.StatusOK, begin: func(w *world) string { return claims[0].request("globex", w.tokens["globex"], "", "") }},
	{name: "problems that are not read", unread: true, begin: func(*world) string { return "GET / HTTP/1.1\r\nHost: " + host("acme") + "\r\n\r\n" }},
	{name: "answers that are not read", unread: true, begin: func(w *world) string { return claims[0].request("globex", w.tokens["globex"], "", "") }},
	{name: "TLS without a handshake", tls: true, begin: func(*world) string { return "" }},
	{name: "TLS handshake without an end", tls: true, trickle: "\x00", begin: func(*world) string { return "\x16\x03\x01\x10\x00" }},
}

// post is a request that announces a body of a megabyte.
func (w *world) post(tenant, owner string) string {
	return "POST " + endpoint + " HTTP/1.1\r\nHost: " + host(tenant) + "\r\nContent-Length: 1048576\r\nAuthorization: token " + w.tokens[owner] + "\r\n\r\n"
}

// slowTimeout is how long the server waits for each of headers, body and next request:
// longer than a busy machine takes to send any of them.
const slowTimeout = 8 * time.Second

// Slow clients hold connections for as long as the limits say, however many they are,
// and nobody else waits for them.
func TestSlowClients(t *testing.T) {
	w := newWorld(t)
	timeout := slowTimeout.String()
	s := w.startServer(t, "--log-level=ERROR", "--max-bad-tokens-per-minute=0", "--max-requests-per-tenant=0", "--header-timeout="+timeout, "--body-timeout="+timeout, "--idle-timeout="+timeout, "--write-timeout="+timeout)
	each := 100
	if long() {
		each = 1000
	}
	values, _, err := s.metrics(t)
	must(t, err)
	goroutines := values["go_goroutines"]
	grown, good := s.peak(t), goodTraffic(t, s, w.tokens["acme"])
	var running sync.WaitGroup
	connections := 0
	for _, c := range slowClients {
		many := each
		if c.unread { // some ten thousand requests fill the buffers of each
			many = each / 10
		}
		connections += many
		for range many {
			running.Go(func() {
				began := time.Now()
				if err := c.hold(t, w, s); err != nil {
					t.Errorf("%s: %v", c.name, err)
				}
				if held := time.Since(began); held < slowTimeout && !c.atOnce {
					t.Errorf("%s: the connection was held for %s, and was to be for %s", c.name, held, slowTimeout)
				}
			})
		}
	}
	overHTTP2 := map[string]func(*testing.T) error{
		"a header block without an end": s.holdHTTP2,
		"answers without a window":      func(t *testing.T) error { return s.holdUnreadHTTP2(t, w) },
	}
	for name, hold := range overHTTP2 {
		connections += each
		for range each {
			running.Go(func() {
				began := time.Now()
				if err := hold(t); err != nil {
					t.Errorf("HTTP/2, %s: %v", name, err)
				}
				if held := time.Since(began); held < slowTimeout {
					t.Errorf("HTTP/2, %s: the connection was held for %s, and was to be for %s", name, held, slowTimeout)
				}
			})
		}
	}
	running.Wait()
	if grew := grown(); grew > 32*mib+float64(connections*64<<10) {
		t.Errorf("for %d connections resident memory grew by %.1f MiB", connections, grew/mib)
	} else {
		t.Logf("%d slow connections, each ended by the server; resident memory grew by %.1f MiB at most, %.1f KiB for each", connections, grew/mib, grew/1024/float64(connections))
	}
	t.Logf("meanwhile %s", good.end(t))
	testenv.Eventually(t, func() error {
		values, _, err := s.metrics(t)
		if err == nil && values["go_goroutines"] > goroutines+10 {
			err = fmt.Errorf("%v goroutines, %v before", values["go_goroutines"], goroutines)
		}
		return err
	})
	w.take(t)
}

// hold holds a connection until the server ends it.
func (c *slowClient) hold(t *testing.T, w *world, s *apiServer) error {
	address := s.address
	if c.tls {
		address = s.tls
	}
	connection, err := inTurn(func() (net.Conn, error) { return (&net.Dialer{}).DialContext(t.Context(), "tcp", address) })
	if err != nil {
		return err
	}
	defer connection.Close()
	if err := connection.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		return err
	}
	if c.unread {
		return c.sendUnread(w, connection)
	}
	if _, err := io.WriteString(connection, c.begin(w)); err != nil {
		return err
	}
	stop := trickle(connection, c.trickle)
	defer stop()
	if c.status == 0 {
		// There may be an answer to what came, which is no request.
		start, err := io.ReadAll(connection)
		if bytes.HasPrefix(start, []byte("HTTP/1.1 2")) {
			return fmt.Errorf("answered %q", start)
		}
		return timedOut(err)
	}
	replies, err := wiretest.ReadReplies(connection, nil)
	if err != nil {
		return err
	}
	if len(replies) != 1 || replies[0].Status != c.status {
		return fmt.Errorf("answered %+v, want %d", replies, c.status)
	}
	return nil
}

// sendUnread sends requests until the server has ended the connection.
func (c *slowClient) sendUnread(w *world, connection net.Conn) error {
	requests := strings.Repeat(c.begin(w), 20)
	for {
		if _, err := io.WriteString(connection, requests); err != nil {
			return timedOut(err)
		}
	}
}

// holdUnreadHTTP2 asks for answers, with and without a token, and gives none of their streams
// a window, until the server has ended every stream and then the connection.
func (s *apiServer) holdUnreadHTTP2(t *testing.T, w *world) error {
	connection, err := inTurn(func() (net.Conn, error) { return s.dialHTTP2(t, "acme") })
	if err != nil {
		return notEnded(err)
	}
	defer connection.Close()
	framer := http2.NewFramer(connection, bufio.NewReader(connection))
	if err := framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}); err != nil {
		return notEnded(err)
	}
	var encoder blockEncoder
	const streams = 4
	for n := range uint32(streams) {
		sent := fields{":method", "GET", ":scheme", "https", ":authority", "acme.example.com", ":path", endpoint}
		if n%2 == 0 {
			sent = append(sent, "authorization", "token {{acme}}")
		}
		if err := framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*n + 1, BlockFragment: encoder.encode(w, sent), EndHeaders: true, EndStream: true}); err != nil {
			return notEnded(err)
		}
	}
	for reset := 0; ; {
		frame, err := framer.ReadFrame()
		if err != nil && reset < streams {
			return fmt.Errorf("%d of %d streams were ended by the server, and then: %w", reset, streams, err)
		}
		if err != nil {
			return timedOut(err)
		}
		if frame.Header().Type == http2.FrameRSTStream {
			reset++
		}
	}
}

// dialing are as many as may be dialed at a time: who sends the good requests is in this
// process too, and would stand still for all their handshakes.
var dialing = make(chan struct{}, 16)

func inTurn(dial func() (net.Conn, error)) (net.Conn, error) {
	dialing <- struct{}{}
	defer func() { <-dialing }()
	return dial()
}

// timedOut leaves of an error only that the server did not end the connection.
func timedOut(err error) error {
	var network net.Error
	if errors.As(err, &network) && network.Timeout() {
		return err
	}
	return nil
}

// notEnded leaves of an error what is no end of the connection by the server: on a busy
// machine a client is slower than it means to be.
func notEnded(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		return nil
	}
	return err
}

// trickle writes the text again and again until it can't, or stop is called.
func trickle(to io.Writer, text string) (stop func()) {
	if text == "" {
		return func() {}
	}
	end := make(chan struct{})
	go func() {
		pace := time.NewTicker(100 * time.Millisecond)
		defer pace.Stop()
		for {
			select {
			case <-end:
				return
			case <-pace.C:
			}
			if _, err := io.WriteString(to, text); err != nil {
				return
			}
		}
	}()
	return func() { close(end) }
}

// holdHTTP2 holds a connection of HTTP/2 with a header block that does not end.
func (s *apiServer) holdHTTP2(t *testing.T) error {
	connection, err := inTurn(func() (net.Conn, error) { return s.dialHTTP2(t, "acme") })
	if err != nil {
		return notEnded(err)
	}
	defer connection.Close()
	framer := http2.NewFramer(connection, bufio.NewReader(connection))
	if err := errors.Join(framer.WriteSettings(), framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x82}})); err != nil {
		return notEnded(err)
	}
	for {
		_, err := framer.ReadFrame()
		if err != nil {
			return timedOut(err)
		}
	}
}

// dialHTTP2 makes a connection of HTTP/2 for the tenant's host.
func (s *apiServer) dialHTTP2(t *testing.T, tenant string) (net.Conn, error) {
	// The certificate is the test's own, and not what it is about.
	dialer := &tls.Dialer{Config: &tls.Config{ServerName: host(tenant), InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}}}
	connection, err := dialer.DialContext(t.Context(), "tcp", s.tls)
	if err != nil {
		return nil, err
	}
	if protocol := connection.(*tls.Conn).ConnectionState().NegotiatedProtocol; protocol != "h2" {
		return nil, errors.Join(fmt.Errorf("the protocol is %q", protocol), connection.Close())
	}
	err = connection.SetDeadline(time.Now().Add(2 * time.Minute))
	if err == nil {
		_, err = io.WriteString(connection, http2.ClientPreface)
	}
	return connection, err
}
