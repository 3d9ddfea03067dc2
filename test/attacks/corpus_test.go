package attacks

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/internal/testing/wiretest"
)

// corpusTimeout bounds what a front door takes for a case.
const corpusTimeout = 15 * time.Second

// sentinel is the target of the request that is sent over each connection after a
// case's own bytes, and victim that of somebody else's, over another connection.
const (
	sentinel = "/api/v1/sentinel"
	victim   = "/api/v1/victim"
)

// exchange is what came of a case at one front door.
type exchange struct {
	replies []wiretest.Reply
	err     error
	// seen are the whole requests that reached the backend, in the words of the case's
	// file, and serials their numbers. next says that the sentinel was among them.
	seen    []string
	serials []int
	next    bool
}

// Every case of the corpus is answered as its file says, and nothing else reaches the
// backend: not by its own connection, nor by the next one.
func TestCorpus(t *testing.T) {
	w := newWorld(t)
	s := w.startServer(t, "--log-level=WARN", "--max-bad-tokens-per-minute=0")
	for _, c := range corpus(t) {
		t.Run(c.Name, func(t *testing.T) {
			e := w.send(t, s.address, c)
			if e.err != nil {
				t.Errorf("%v", e.err)
			}
			want := c.Answers
			if c.Next {
				want = append(slices.Clone(want), http.StatusOK)
			}
			if got := statuses(e.replies); !slices.Equal(got, want) {
				t.Errorf("answered %v, want %v", got, want)
			}
			if !slices.Equal(e.seen, c.Backend) {
				t.Errorf("the backend saw\n%q, want\n%q", e.seen, c.Backend)
			}
			if e.next != c.Next {
				t.Errorf("the request after it was served: %t, want %t", e.next, c.Next)
			}
			e.wantEachAnswered(t)
			w.wantVictimUnharmed(t, s.address)
		})
	}
}

// Through a proxy that clients reach first, nothing reaches the backend but what does
// so without one, or what the proxy made of it as the case's file says.
func TestCorpusThroughProxies(t *testing.T) {
	w := newWorld(t)
	s := w.startServer(t, "--log-level=WARN", "--max-bad-tokens-per-minute=0", "--trusted-proxies=127.0.0.0/8")
	for _, proxy := range []string{"nginx", "haproxy"} {
		t.Run(proxy, func(t *testing.T) {
			address := startProxy(t, proxy, s.address)
			w.wantVictimUnharmed(t, address)
			for _, c := range corpus(t) {
				t.Run(c.Name, func(t *testing.T) {
					e := w.send(t, address, c)
					if !c.MayReach(proxy, e.seen) {
						t.Errorf("the backend saw\n%q, want as without the proxy\n%q, or\n%q", e.seen, c.Backend, c.Through[proxy])
					}
					e.wantEachAnswered(t)
					w.wantVictimUnharmed(t, address)
					t.Logf("answered %v (%v), the backend saw %q, and the next request: %t", statuses(e.replies), e.err, e.seen, e.next)
				})
			}
		})
	}
}

func corpus(t *testing.T) []*wiretest.Case {
	t.Helper()
	cases, err := wiretest.Corpus("testdata/corpus")
	must(t, err)
	return cases
}

// sends counts what was sent. Its number stands in the targets, because the backend may
// see late what broke off: when the client has its answer already.
var sends int

// send sends a case's bytes and, over the same connection, the sentinel.
func (w *world) send(t *testing.T, address string, c *wiretest.Case) exchange {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), corpusTimeout)
	defer cancel()
	sends++
	const word = "orders"
	mark := fmt.Sprintf("o%0*d", len(word)-1, sends)
	text := strings.ReplaceAll(c.Bytes(w.tokens), word, mark)
	if !c.Ends {
		text += fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nAuthorization: token %s\r\n\r\n", sentinel, host("acme"), w.tokens["acme"])
	}
	var e exchange
	e.replies, e.err = wiretest.Exchange(ctx, address, text, c.Ends)
	for _, r := range w.take(t) {
		if !r.Complete {
			if r.Method != http.MethodPost || r.Value("Latchkey-Tenant") != "acme" || !strings.HasPrefix(r.Target, "/api/v1/o") {
				t.Errorf("%s reached the backend, and broke off", wiretest.Seen(r))
			}
			continue
		}
		e.serials = append(e.serials, r.Serial)
		if r.Target == sentinel && r.Method == http.MethodGet && r.Body == "" {
			e.next = true
			continue
		}
		r.Target = strings.ReplaceAll(r.Target, mark, word)
		e.seen = append(e.seen, wiretest.Seen(r))
	}
	return e
}

func statuses(replies []wiretest.Reply) (statuses []int) {
	for _, reply := range replies {
		statuses = append(statuses, reply.Status)
	}
	return statuses
}

// wantEachAnswered wants that the answers are those to the requests that the backend
// saw, each once and in their order: else a client would get somebody else's.
func (e *exchange) wantEachAnswered(t *testing.T) {
	t.Helper()
	var answered []int
	for _, reply := range e.replies {
		if text := reply.Header.Get(wiretest.SerialHeader); text != "" {
			serial, err := strconv.Atoi(text)
			must(t, err)
			answered = append(answered, serial)
		}
	}
	if !slices.Equal(answered, e.serials) {
		t.Errorf("the client got the answers %v, and the backend saw the requests %v", answered, e.serials)
	}
}

// wantVictimUnharmed wants that another client, whose requests may share a connection
// with what is left of the case's, is served as ever.
func (w *world) wantVictimUnharmed(t *testing.T, address string) {
	t.Helper()
	for _, tenant := range []string{"acme", "globex"} {
		ctx, cancel := context.WithTimeout(t.Context(), corpusTimeout)
		text := fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nAuthorization: token %s\r\n\r\n", victim, host(tenant), w.tokens[tenant])
		replies, err := wiretest.Exchange(ctx, address, text, false)
		cancel()
		must(t, err)
		var answer wiretest.Answer
		if len(replies) != 1 || json.Unmarshal([]byte(replies[0].Body), &answer) != nil || answer.Target != victim || answer.Tenant != tenant || answer.Body != "" {
			t.Errorf("%s's own request was answered %+v", tenant, replies)
		}
		seen := slices.DeleteFunc(w.take(t), func(r *wiretest.Request) bool { return !r.Complete })
		if len(seen) != 1 || wiretest.Seen(seen[0]) != fmt.Sprintf(`GET %s %s ""`, victim, tenant) || seen[0].Serial != answer.Serial {
			t.Errorf("of %s's own request, numbered %d, the backend saw %d:", tenant, answer.Serial, len(seen))
			for _, r := range seen {
				t.Errorf("%d: %s", r.Serial, wiretest.Seen(r))
			}
		}
	}
}
