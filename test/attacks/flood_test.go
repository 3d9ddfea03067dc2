package attacks

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
	"github.com/latchkey-dev/latchkey/internal/testing/wiretest"
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
	w.firstFlood(t, s)
	plaintext, sent := w.noted(t, s), w.badRequests(t, requests)
	_, series, err := s.metrics(t)
	must(t, err)
	grown, good := s.peak(t), goodTraffic(t, s, plaintext)
	_, calls := w.kube.since(0)

	answered := w.flood(t, s, sent, asFastAsAnswered)

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
	t.Logf("%s; Kubernetes was asked nothing but its watches (%d calls)", answered, len(asked))
	t.Logf("meanwhile %s", good.end(t))
	if answered.count() != requests {
		t.Errorf("of %d bad requests %d were answered", requests, answered.count())
	}
	for _, r := range w.take(t) {
		if r.Value("Host") != host("acme") || r.Target != endpoint {
			t.Fatalf("%s %s on %s reached the backend", r.Method, r.Target, r.Value("Host"))
		}
	}
}

// firstFlood is one of every answer: what a flood makes once stays, and what is looked at
// is what the next one adds. How soon an address is told to stop is up to the machine.
func (w *world) firstFlood(t *testing.T, s *apiServer) {
	t.Helper()
	file := w.badRequests(t, 2_000)
	testenv.Eventually(t, func() error {
		if f := w.flood(t, s, file, asFastAsAnswered); f.Answers[http.StatusTooManyRequests] == 0 {
			return fmt.Errorf("no address was told to stop: %s", f)
		}
		return nil
	})
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
		if err := env().Client.List(t.Context(), &list); err != nil {
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

// pipeline sends requests as pipelineFrom does, from any address.
func pipeline(ctx context.Context, address string, requests []string, answered func(n int, reply wiretest.Reply)) error {
	return pipelineFrom(ctx, nil, address, requests, answered)
}
