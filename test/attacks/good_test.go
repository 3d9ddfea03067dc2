package attacks

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/internal/testing/wiretest"
)

// long is set by make attacks: more of everything that takes time.
func long() bool { return os.Getenv("ATTACKS") == "long" }

// goodPace is how long after one good request the next one is sent, whether or not the
// first was answered, and goodAtOnce how many may be without an answer.
const (
	goodPace   = 5 * time.Millisecond
	goodAtOnce = 16
)

// traffic is good requests on their way.
type traffic struct {
	finish func()

	mu   sync.Mutex
	took []time.Duration
}

// goodTraffic sends good requests with a token of acme's until it is ended. Each has to
// be served.
func goodTraffic(t *testing.T, s *apiServer, plaintext string) *traffic {
	t.Helper()
	request := claims[0].request("acme", plaintext, "", "")
	g, end, due := &traffic{}, make(chan struct{}), make(chan time.Time, time.Hour/goodPace)
	var running sync.WaitGroup
	for range goodAtOnce {
		connection, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.address)
		must(t, err)
		must(t, connection.SetDeadline(time.Now().Add(10*time.Minute)))
		running.Go(func() {
			defer connection.Close()
			in := bufio.NewReader(connection)
			for sent := range due {
				if err := goodRequest(connection, in, request); err != nil {
					t.Error(err)
					return
				}
				g.note(time.Since(sent))
			}
		})
	}
	running.Go(func() {
		defer close(due)
		pace := time.NewTicker(goodPace)
		defer pace.Stop()
		for {
			select {
			case <-end:
				return
			case <-pace.C:
				due <- time.Now() // which has room for minutes
			}
		}
	})
	g.finish = sync.OnceFunc(func() { close(end); running.Wait() })
	t.Cleanup(g.finish)
	return g
}

func goodRequest(connection net.Conn, in *bufio.Reader, request string) error {
	if _, err := io.WriteString(connection, request); err != nil {
		return fmt.Errorf("send a good request: %w", err)
	}
	reply, err := wiretest.ReadReply(in, http.MethodGet)
	if err == nil && reply.Status != http.StatusOK {
		err = fmt.Errorf("the status is %d", reply.Status)
	}
	if err != nil {
		return fmt.Errorf("the answer to a good request: %w", err)
	}
	return nil
}

func (g *traffic) note(took time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.took = append(g.took, took)
}

// answered is how many requests were answered so far.
func (g *traffic) answered() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.took)
}

// end ends the traffic, and returns how long its requests took.
func (g *traffic) end(t *testing.T) times {
	t.Helper()
	g.finish()
	if len(g.took) == 0 {
		t.Fatal("no good request was answered")
	}
	slices.Sort(g.took)
	return g.took
}

// times are how long requests took, the shortest first.
type times []time.Duration

// at is the time within which a share of the requests was answered.
func (took times) at(share float64) time.Duration {
	return took[int(share*float64(len(took)-1))].Round(10 * time.Microsecond)
}

func (took times) String() string {
	return fmt.Sprintf("%d good requests, all served: p50 %s, p99 %s, longest %s", len(took), took.at(0.5), took.at(0.99), took.at(1))
}

// peak follows the resident memory of the API server until it is called, and returns by
// how many bytes it grew at most.
func (s *apiServer) peak(t *testing.T) func() (grown float64) {
	t.Helper()
	resident := func() (float64, error) {
		values, _, err := s.metrics(t)
		return values["process_resident_memory_bytes"], err
	}
	before, err := resident()
	must(t, err)
	if before == 0 {
		t.Fatal("the API server does not say how much memory it has")
	}
	highest, end := before, make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		pace := time.NewTicker(50 * time.Millisecond)
		defer pace.Stop()
		for {
			select {
			case <-end:
				return
			case <-pace.C:
			}
			if now, err := resident(); err == nil {
				highest = max(highest, now)
			}
		}
	})
	stop := sync.OnceFunc(func() { close(end); running.Wait() })
	t.Cleanup(stop)
	return func() float64 {
		stop()
		now, err := resident()
		must(t, err)
		return max(highest, now) - before
	}
}

const mib = 1 << 20
