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

	"github.com/latchkey-dev/latchkey/internal/wiretest"
)

// long is set by make attacks: more of everything that takes time.
func long() bool { return os.Getenv("ATTACKS") == "long" }

// goodTraffic sends good requests with a token of acme's, one after the other over a connection of
// its own, until stop is called. Each has to be served; how long they took is only told.
func goodTraffic(t *testing.T, s *apiServer, plaintext string) (stop func() string) {
	t.Helper()
	connection, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.address)
	must(t, err)
	must(t, connection.SetDeadline(time.Now().Add(10*time.Minute)))
	request := claims[0].request("acme", plaintext, "", "")
	end := make(chan struct{})
	var took []time.Duration
	var running sync.WaitGroup
	running.Go(func() {
		in, pace := bufio.NewReader(connection), time.NewTicker(5*time.Millisecond)
		defer pace.Stop()
		for {
			started := time.Now()
			_, err := io.WriteString(connection, request)
			var reply wiretest.Reply
			if err == nil {
				reply, err = wiretest.ReadReply(in, http.MethodGet)
			}
			if err != nil || reply.Status != http.StatusOK {
				t.Errorf("a good request was answered %d: %v", reply.Status, err)
				return
			}
			took = append(took, time.Since(started))
			select {
			case <-end:
				return
			case <-pace.C:
			}
		}
	})
	finish := sync.OnceFunc(func() { close(end); running.Wait(); _ = connection.Close() })
	t.Cleanup(finish)
	return func() string {
		finish()
		slices.Sort(took)
		if len(took) == 0 {
			return "no good request"
		}
		at := func(share float64) time.Duration {
			return took[int(share*float64(len(took)-1))].Round(10 * time.Microsecond)
		}
		return fmt.Sprintf("%d good requests, all served: p50 %s, p99 %s, max %s", len(took), at(0.5), at(0.99), at(1))
	}
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
