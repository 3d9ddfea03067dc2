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

	"github.com/latchkey-dev/latchkey/internal/testing/check"
	"github.com/latchkey-dev/latchkey/test/faults/link"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const limit = 30 * time.Second

var must = check.Must

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

// leave ends a connection, and returns once the link knows: the echo ends after it does.
func (c client) leave(t *testing.T) {
	t.Helper()
	must(t, c.CloseWrite()) // the last words arrive
	if rest, err := io.ReadAll(c.lines); err != nil || len(rest) != 0 {
		t.Errorf("%q, %v", rest, err)
	}
}

func TestWhole(t *testing.T) {
	l := newLink(t, echo(t))
	c := dial(t, l)
	must(t, c.say("hello", limit)) // the link has it
	before := time.Now()
	for i := range 100 {
		must(t, c.say(fmt.Sprint("line ", i), limit))
	}
	if at, err := l.GivenUp(before); err == nil {
		t.Errorf("given up at %s", at)
	}
	c.leave(t)
	if at, err := l.GivenUp(before); err != nil || at.Before(before) {
		t.Errorf("given up at %s, %v", at, err)
	}
}

// Only what was open at the instant counts, and only once the near side has ended all of it.
func TestGivenUp(t *testing.T) {
	l := newLink(t, echo(t))
	before, first, last := dial(t, l), dial(t, l), dial(t, l)
	for _, c := range []client{before, first, last} {
		must(t, c.say("hello", limit))
	}
	before.leave(t)
	open := time.Now()
	if at, err := l.GivenUp(open); err == nil {
		t.Errorf("given up at %s, before anything was", at)
	}
	after := dial(t, l)
	must(t, after.say("hello", limit))
	first.leave(t)
	if at, err := l.GivenUp(open); err == nil {
		t.Errorf("given up at %s, while one connection is open", at)
	}
	left := time.Now()
	last.leave(t)
	at, err := l.GivenUp(open)
	if err != nil || at.Before(left) {
		t.Errorf("given up at %s, %v; want the time of the last", at, err)
	}
	after.leave(t)
	if again, err := l.GivenUp(open); err != nil || !again.Equal(at) {
		t.Errorf("given up at %s, %v, by one that was opened later", again, err)
	}
}

// What the link ends was not given up.
func TestCutIsNotGivenUp(t *testing.T) {
	l := newLink(t, echo(t))
	c := dial(t, l)
	must(t, c.say("hello", limit))
	open := time.Now()
	l.Reset()
	if err := c.hear("", limit); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("it ended with %v, want a reset", err)
	}
	if at, err := l.GivenUp(open); err == nil {
		t.Errorf("given up at %s", at)
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
	half := dial(t, l)
	must(t, half.say("hello", limit))
	l.Set(link.Silent)
	must(t, half.CloseWrite())
	if err := half.hear("", 100*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("who sent its last words got %v, want nothing", err)
	}
	late := dial(t, l)
	for _, each := range []client{c, late} {
		if err := each.say("anybody?", 100*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v, want nothing", err)
		}
	}
	l.Set(link.Whole)
	for _, each := range []client{c, late} {
		must(t, each.hear("anybody?", limit))
		must(t, each.say("hello", limit))
	}
	l.Set(link.Silent)
	silent := time.Now()
	must(t, c.Close())
	must(t, late.Close())
	for _, err := l.GivenUp(silent); err != nil; _, err = l.GivenUp(silent) {
		if time.Since(silent) > limit {
			t.Fatalf("nobody noticed that a connection was closed: %v", err)
		}
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
