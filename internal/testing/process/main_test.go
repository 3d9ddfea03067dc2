package process_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/latchkey-dev/latchkey/internal/testing/process"
)

// The test binary is also the child: these say how it behaves and where it
// reports that it is ready.
const (
	behaviourVariable = "LATCHKEY_TEST_BEHAVIOUR"
	socketVariable    = "LATCHKEY_TEST_SOCKET"
)

// limit is how long a test waits for what should happen at once.
const limit = 30 * time.Second

var behaviours = map[string]func(){
	"prints":   func() { fmt.Println("to stdout"); fmt.Fprintln(os.Stderr, "to stderr") },
	"fails":    fail,
	"waits":    func() { goOn(report()) },
	"polite":   func() { terminated := terminations(); report(); <-terminated; fmt.Println("bye") },
	"stubborn": func() { signal.Ignore(syscall.SIGTERM); goOn(report()) },
	"parent":   parent,
}

func TestMain(m *testing.M) {
	if behave, ok := behaviours[os.Getenv(behaviourVariable)]; ok {
		behave()
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func fail() {
	for i := 1; i <= 12; i++ {
		fmt.Printf("line %d\n", i)
	}
	os.Exit(3)
}

func terminations() <-chan os.Signal {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGTERM)
	return c
}

// parent starts a child of its own, which reports instead of it.
func parent() {
	child, err := process.Start(process.Command{
		Path: os.Args[0], Env: []string{behaviourVariable + "=stubborn"}, LogFile: os.DevNull,
	})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	<-child.Done()
}

// report tells the test that the child is ready. The connection stays open as
// long as both live.
func report() net.Conn {
	connection, err := net.Dial("unix", os.Getenv(socketVariable))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Fprintln(connection, os.Getpid())
	return connection
}

// goOn returns when the test is over.
func goOn(connection net.Conn) { _, _ = io.Copy(io.Discard, connection) }

// child is a process that a test started.
type child struct {
	*process.Process
	log string
	// alive is open as long as whoever reported lives.
	alive *bufio.Reader
}

func start(t *testing.T, behaviour string, env ...string) child {
	t.Helper()
	c := child{log: filepath.Join(t.TempDir(), "child.log")}
	var err error
	c.Process, err = process.Start(process.Command{
		Path: os.Args[0], LogFile: c.log, Env: append(env, behaviourVariable+"="+behaviour),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Kill(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// startReady also waits until the child, or its child, reports.
func startReady(t *testing.T, behaviour string) child {
	t.Helper()
	dir, err := os.MkdirTemp("", "process") //nolint:usetesting // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	c := start(t, behaviour, socketVariable+"="+socket)
	if err := listener.SetDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	connection, err := listener.Accept()
	if err != nil {
		t.Fatalf("the child is not ready: %v; its log:\n%s", err, process.Tail(c.log, 10))
	}
	t.Cleanup(func() { _ = connection.Close() })
	if err := connection.SetDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	c.alive = bufio.NewReader(connection)
	if _, err := c.alive.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	return c
}

// mustEnd waits until the process has ended.
func (c child) mustEnd(t *testing.T) {
	t.Helper()
	select {
	case <-c.Done():
	case <-time.After(limit):
		t.Fatal("the process goes on")
	}
}

func (c child) hasEnded() bool {
	select {
	case <-c.Done():
		return true
	default:
		return false
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(content))
}
