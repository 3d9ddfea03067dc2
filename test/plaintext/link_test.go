package plaintext_test

import (
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

// link is a way to the Kubernetes API on which answers can get lost.
type link struct {
	listener net.Listener
	target   string
	// slow holds every answer back for a while, so that there is time to cut it off.
	slow atomic.Bool

	mu    sync.Mutex
	conns []net.Conn
	done  sync.WaitGroup
}

// delay is by how much a slow link holds answers back.
const delay = 300 * time.Millisecond

func newLink(t *testing.T, config *rest.Config) *link {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	l := &link{listener: listener, target: strings.TrimSuffix(strings.TrimPrefix(config.Host, "https://"), "/")}
	l.done.Go(l.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		l.cut()
		l.done.Wait()
	})
	return l
}

// config leads over the link.
func (l *link) config(direct *rest.Config) *rest.Config {
	c := rest.CopyConfig(direct)
	c.Host = "https://" + l.listener.Addr().String()
	return c
}

func (l *link) accept() {
	for {
		near, err := l.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", l.target)
		if err != nil {
			_ = near.Close()
			continue
		}
		l.mu.Lock()
		l.conns = append(l.conns, near, far)
		l.mu.Unlock()
		l.done.Go(func() {
			_, _ = io.Copy(far, near)
			_ = far.Close()
		})
		l.done.Go(func() {
			_, _ = io.Copy(held{near, l}, far)
			_ = near.Close()
		})
	}
}

// held passes on what comes, later while the link is slow.
type held struct {
	net.Conn
	link *link
}

func (h held) Write(b []byte) (int, error) {
	if h.link.slow.Load() {
		<-time.After(delay)
	}
	return h.Conn.Write(b)
}

// cut resets all connections.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, conn := range l.conns {
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = conn.Close()
	}
	l.conns = nil
}
