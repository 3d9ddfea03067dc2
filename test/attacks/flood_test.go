package attacks

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/testenv"
	"github.com/latchkey-dev/latchkey/internal/token"
	"github.com/latchkey-dev/latchkey/internal/wiretest"
)

// A flood of bad tokens costs nobody else anything: good requests are served, nothing
// is asked of Kubernetes, and neither memory nor the number of metrics grows.
func TestFloodOfBadTokens(t *testing.T) {
	w := newWorld(t)
	s := w.startServer(t, "--log-level=WARN")
	requests := 30_000
	if long() {
		requests = 1_000_000
	}
	// What one flood makes once stays: what is looked at is what the next one adds.
	w.flood(t, s, 2_000)
	plaintext := w.noted(t, s)
	_, series, err := s.metrics(t)
	must(t, err)
	grown, good := s.peak(t), goodTraffic(t, s, plaintext)
	_, calls := w.kube.since(0)

	started := time.Now()
	answers := w.flood(t, s, requests)
	took := time.Since(started)

	asked, _ := w.kube.since(calls)
	if left := unprompted(asked); len(left) > 0 {
		t.Errorf("Kubernetes was asked %d times, such as %s", len(left), left[0])
	}
	if bytes := grown(); bytes > 32*mib {
		t.Errorf("resident memory grew by %.1f MiB", bytes/mib)
	} else {
		t.Logf("resident memory grew by %.1f MiB at most", bytes/mib)
	}
	_, after, err := s.metrics(t)
	must(t, err)
	if !maps.Equal(series, after) {
		t.Errorf("before the flood there were these series\n%v\nand after it\n%v", series, after)
	}
	t.Logf("%d bad requests in %s (%.0f/s): %v", requests, took.Round(time.Millisecond), float64(requests)/took.Seconds(), answers)
	t.Logf("meanwhile %s; Kubernetes was asked nothing but its watches (%d calls)", good(), len(asked))
	for _, r := range w.take(t) {
		if r.Value("Host") != host("acme") || r.Target != endpoint {
			t.Fatalf("%s %s on %s reached the backend", r.Method, r.Target, r.Value("Host"))
		}
	}
}

// noted issues a token of acme's, uses it, and waits until its last use was noted: the
// only thing that the API server writes because of a request.
func (w *world) noted(t *testing.T, s *apiServer) (plaintext string) {
	t.Helper()
	plaintext, err := issue(t, "acme", time.Hour)
	must(t, err)
	testenv.Eventually(t, func() error {
		status := 0
		err := pipeline(t.Context(), s.address, []string{claims[0].request("acme", plaintext, "", "")}, func(_ int, reply wiretest.Reply) { status = reply.Status })
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("the new token is answered %d", status)
		}
		return err
	})
	testenv.Eventually(t, func() error {
		var list v1alpha1.ApiTokenList
		if err := env.Client.List(t.Context(), &list); err != nil {
			return err
		}
		for i := range list.Items {
			if c := list.Items[i].Status.Credential; c != nil && c.ID == tokenID(plaintext) && c.LastUsedAt != nil {
				return nil
			}
		}
		return fmt.Errorf("the use of %s is not noted", tokenID(plaintext))
	})
	return plaintext
}

// byItself is how many lists a replica asks for during a flood at most.
const byItself = 50

// unprompted leaves out what a replica asks by itself, by the clock: watches of what it
// serves, and a few lists.
func unprompted(calls []string) (left []string) {
	lists := 0
	for _, call := range calls {
		path, query, _ := strings.Cut(call, "?")
		if !strings.Contains(query, "watch=true") {
			lists++
		}
		if lists > byItself {
			left = append(left, call)
			continue
		}
		switch path {
		case "GET /api/v1/namespaces/" + v1alpha1.RecordsNamespace + "/secrets",
			"GET /api/v1/namespaces/" + v1alpha1.SystemNamespace + "/configmaps",
			"GET /apis/latchkey.dev/v1alpha1/apitokens",
			"GET /apis/latchkey.dev/v1alpha1/tenants",
			"GET /apis/latchkey.dev/v1alpha1/publicapis":
		default:
			left = append(left, call)
		}
	}
	return left
}

// flood sends bad requests from many addresses at a time, and counts the answers. None
// may be served.
func (w *world) flood(t *testing.T, s *apiServer, requests int) map[int]int64 {
	t.Helper()
	const workers, batch = 8, 50
	var counts [600]atomic.Int64
	var next atomic.Int64
	var running sync.WaitGroup
	for worker := range workers {
		running.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(worker)))
			for next.Add(batch) <= int64(requests) && !t.Failed() {
				sent := make([]string, batch)
				for n := range sent {
					sent[n] = w.bad(random)
				}
				var from net.Addr
				if worker > 0 { // the first is one address that does not learn
					from = source(random)
				}
				err := pipelineFrom(t.Context(), from, s.address, sent, func(n int, reply wiretest.Reply) {
					counts[reply.Status%len(counts)].Add(1)
					if reply.Status < 400 {
						t.Errorf("%q was answered %d", sent[n], reply.Status)
					}
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	running.Wait()
	answers := map[int]int64{}
	for status := range counts {
		if n := counts[status].Load(); n > 0 {
			answers[status] = n
		}
	}
	return answers
}

// source is an address of loopback; there are many where the system has more than one.
func source(random *rand.Rand) net.Addr {
	if runtime.GOOS != "linux" {
		return nil
	}
	return &net.TCPAddr{IP: net.IPv4(127, byte(random.IntN(256)), byte(random.IntN(256)), byte(1+random.IntN(254)))}
}

// bad is a request that nobody may be served.
func (w *world) bad(random *rand.Rand) string {
	label := fmt.Sprintf("nobody-%d", random.Uint64())
	tenant := w.tenants[random.IntN(len(w.tenants))]
	other := w.tenants[random.IntN(len(w.tenants))]
	for other == tenant {
		other = w.tenants[random.IntN(len(w.tenants))]
	}
	switch random.IntN(10) {
	case 0: // a host that there is not
		return claims[0].request(label, w.tokens[tenant], "", "")
	case 1: // another tenant's token
		return claims[0].request(tenant, w.tokens[other], "", "")
	case 2: // no token's form
		return claims[0].request(tenant, label, "", "")
	case 3: // no token, and paths that nobody has seen
		return fmt.Sprintf("GET /api/v1/%s HTTP/1.1\r\nHost: %s\r\n\r\n", label, host(tenant))
	case 4: // methods that there are not
		return fmt.Sprintf("M%d %s HTTP/1.1\r\nHost: %s\r\n\r\n", random.Uint32(), endpoint, host(tenant))
	case 5: // what is refused before anything is looked up
		return fmt.Sprintf("GET /api/v1/../%s HTTP/1.1\r\nHost: %s\r\n\r\n", label, host(tenant))
	default:
		minted, err := token.Mint(v1alpha1.DefaultTokenPrefix)
		if err != nil {
			return "the system has no random numbers: " + err.Error()
		}
		return claims[0].request(tenant, minted.Reveal(), "", "")
	}
}

// pipeline sends requests as pipelineFrom does, from any address.
func pipeline(ctx context.Context, address string, requests []string, answered func(n int, reply wiretest.Reply)) error {
	return pipelineFrom(ctx, nil, address, requests, answered)
}
