package link_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/latchkey-dev/latchkey/test/faults/link"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const limit = 30 * time.Second

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// echo answers every line with the same.
func echo(t *testing.T) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { must(t, listener.Close()) })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
		}
	}()
	return listener.Addr().String()
}

func newLink(t *testing.T, target string) *link.Link {
	t.Helper()
	l, err := link.New(target)
	must(t, err)
	t.Cleanup(func() { must(t, l.Close()) })
	return l
}

type client struct {
	*net.TCPConn
	lines *bufio.Reader
}

func dial(t *testing.T, l *link.Link) client {
	t.Helper()
	c, err := net.Dial("tcp", l.Address())
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return client{c.(*net.TCPConn), bufio.NewReader(c)}
}

// refusal is what a new connection gets that says something: a reset may come before it is
// known to be made.
func refusal(t *testing.T, l *link.Link) error {
	t.Helper()
	c, err := net.Dial("tcp", l.Address())
	if err != nil {
		return err
	}
	defer c.Close()
	return client{c.(*net.TCPConn), bufio.NewReader(c)}.say("hello", limit)
}

// say sends a line and waits for its echo.
func (c client) say(line string, within time.Duration) error {
	if _, err := fmt.Fprintln(c, line); err != nil {
		return err
	}
	return c.hear(line, within)
}

func (c client) hear(line string, within time.Duration) error {
	if err := c.SetReadDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	got, err := c.lines.ReadString('\n')
	if err == nil && got != line+"\n" {
		err = fmt.Errorf("heard %q, want %q", got, line)
	}
	return err
}

func TestWhole(t *testing.T) {
	l := newLink(t, echo(t))
	c := dial(t, l)
	before := time.Now()
	for i := range 100 {
		must(t, c.say(fmt.Sprint("line ", i), limit))
	}
	if _, ok := l.GivenUp(before); ok {
		t.Error("given up")
	}
	must(t, c.CloseWrite()) // the last words arrive
	if rest, err := io.ReadAll(c.lines); err != nil || len(rest) != 0 {
		t.Errorf("%q, %v", rest, err)
	}
	if _, ok := l.GivenUp(before); !ok {
		t.Error("not given up")
	}
}

func TestRefused(t *testing.T) {
	l := newLink(t, echo(t))
	c := dial(t, l)
	must(t, c.say("hello", limit))
	l.Set(link.Refused)
	if err := c.hear("", limit); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a connection that there was ended with %v, want a reset", err)
	}
	if err := refusal(t, l); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a new connection got %v", err)
	}
	l.Set(link.Whole)
	must(t, dial(t, l).say("hello", limit))
}

func TestReset(t *testing.T) {
	l := newLink(t, echo(t))
	c := dial(t, l)
	must(t, c.say("hello", limit))
	l.Reset()
	if err := c.hear("", limit); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("it ended with %v, want a reset", err)
	}
	must(t, dial(t, l).say("hello", limit))
}

// A link that is silent loses nothing, and closes nothing.
func TestSilent(t *testing.T) {
	l := newLink(t, echo(t))
	c := dial(t, l)
	must(t, c.say("hello", limit))
	silent := time.Now()
	l.Set(link.Silent)
	late := dial(t, l)
	for _, each := range []client{c, late} {
		if err := each.say("anybody?", 100*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v, want nothing", err)
		}
	}
	gone := dial(t, l)
	must(t, gone.Close())
	for begin := time.Now(); ; {
		if _, ok := l.GivenUp(silent); ok {
			break
		}
		if time.Since(begin) > limit {
			t.Fatal("nobody noticed that a connection was closed")
		}
	}
	l.Set(link.Whole)
	for _, each := range []client{c, late} {
		must(t, each.hear("anybody?", limit))
		must(t, each.say("hello", limit))
	}
}

func TestSlow(t *testing.T) {
	l := newLink(t, echo(t))
	c := dial(t, l)
	must(t, c.say("hello", limit))
	l.Set(link.Slow)
	begin := time.Now()
	must(t, c.say("hello", limit))
	if took := time.Since(begin); took < 2*link.Latency {
		t.Errorf("there and back took %s, want at least %s", took, 2*link.Latency)
	}
	l.Set(link.Whole)
	must(t, c.say("hello", limit))
}

// Who listens at the other end no more is not hidden.
func TestNobodyThere(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	must(t, listener.Close())
	l := newLink(t, listener.Addr().String())
	if err := refusal(t, l); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}
