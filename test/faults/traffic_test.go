//go:build linux

package faults_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/latchkey-dev/latchkey/test/faults/history"
)

// answerLimit is how long an answer may be missing. Tests that run beside others wait for a
// busy machine.
func answerLimit() time.Duration {
	if *full {
		return 3 * time.Second
	}
	return 30 * time.Second
}

// pace is how often a replica is asked by each kind of traffic.
func pace() time.Duration {
	if *full {
		return 20 * time.Millisecond
	}
	return 50 * time.Millisecond
}

// Why there was no answer.
const (
	noTimely  = "timeout"
	noRefused = "refused"
	noReset   = "reset"
	noEnd     = "cut"
)

// question is what a request asks.
type question struct {
	// host is the tenant on whose host it is asked.
	host string
	// token is its name in the history, and authorization what is sent.
	token, authorization string
}

func (i *issued) ask() question { return question{i.tenant, i.name, "token " + i.plaintext} }

func (i *issued) askOn(host string) question { return question{host, i.name, "token " + i.plaintext} }

// caller asks one replica, over a connection of its own.
type caller struct {
	replica *replica
	client  *http.Client
}

func newCaller(r *replica) *caller {
	return &caller{r, &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}, Timeout: answerLimit()}}
}

func (c *caller) close() { c.client.CloseIdleConnections() }

// ask sends a request and notes what it got.
func (c *caller) ask(ctx context.Context, h *history.History, q question) (a history.Answer) {
	a = history.Answer{Replica: c.replica.name, Tenant: q.host, Token: q.token, Sent: h.Now()}
	var err error
	a.Status, a.Code, a.Backend, err = c.request(ctx, q)
	a.Received = h.Now()
	if err != nil {
		a.Status, a.Code = 0, why(err)
	}
	return a
}

func (c *caller) request(ctx context.Context, q question) (status int, code, backend string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.replica.address+"/api/v1/ping", http.NoBody)
	if err != nil {
		return 0, "", "", err
	}
	request.Host = q.host + "." + baseDomain
	if q.authorization != "" {
		request.Header.Set("Authorization", q.authorization)
	}
	response, err := c.client.Do(request)
	if err != nil {
		return 0, "", "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, "", "", err
	}
	if response.StatusCode == http.StatusOK {
		return response.StatusCode, "", string(body), nil
	}
	return response.StatusCode, codeOf(body), "", nil
}

// codeOf is the code of a problem. What is none is noted as what it is.
func codeOf(body []byte) string {
	var problem struct{ Type string }
	if err := json.Unmarshal(body, &problem); err != nil {
		return "no problem"
	}
	_, code, _ := strings.Cut(problem.Type, "#")
	return code
}

func why(err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return noRefused
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return noReset
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, os.ErrDeadlineExceeded):
		return noTimely
	}
	return noEnd
}

// traffic is what is asked all the time during a scenario.
type traffic struct {
	stage *stage
	stop  context.CancelFunc
	ctx   context.Context
	asked map[*replica]*asking
}

// asking is the traffic to one replica.
type asking struct {
	enough  chan struct{}
	running sync.WaitGroup
}

func (s *stage) startTraffic() *traffic {
	ctx, stop := context.WithCancel(context.Background())
	return &traffic{stage: s, ctx: ctx, stop: stop, asked: map[*replica]*asking{}}
}

// to begins to ask a replica: every kind of token that works or does not.
func (t *traffic) to(r *replica) {
	s := t.stage
	crossing := make([]question, 0, len(s.steady))
	works := make([]question, 0, len(s.steady))
	for _, i := range s.steady {
		works = append(works, i.ask())
		for _, host := range tenants {
			if host != i.tenant {
				crossing = append(crossing, i.askOn(host))
			}
		}
	}
	expiring := make([]question, 0, len(s.expiring))
	for _, i := range s.expiring {
		expiring = append(expiring, i.ask())
	}
	for _, questions := range [][]question{works, crossing, expiring, s.garbage} {
		t.cycle(r, questions)
	}
	t.keep(r, func() func() question { return s.doomed.asker(r) })
}

// cycle asks the questions in turn.
func (t *traffic) cycle(r *replica, questions []question) {
	t.keep(r, func() func() question {
		n := 0
		return func() question { n++; return questions[n%len(questions)] }
	})
}

// keep asks a replica what asker comes up with, until the traffic stops.
func (t *traffic) keep(r *replica, asker func() func() question) {
	next, a := asker(), t.asked[r]
	if a == nil {
		a = &asking{enough: make(chan struct{})}
		t.asked[r] = a
	}
	a.running.Go(func() {
		c := newCaller(r)
		defer c.close()
		tick := time.NewTicker(pace())
		defer tick.Stop()
		for {
			select {
			case <-t.ctx.Done():
				return
			case <-a.enough:
				return
			case <-tick.C:
			}
			got := c.ask(t.ctx, t.stage.history, next())
			if t.ctx.Err() != nil {
				return // it was we who ended it
			}
			t.stage.history.Answer(got)
			t.stage.doomed.note(got)
		}
	})
}

// from ends what to and cycle began, once what is under way was answered.
func (t *traffic) from(r *replica) {
	a := t.asked[r]
	close(a.enough)
	a.running.Wait()
	delete(t.asked, r)
}

func (t *traffic) end() {
	t.stop()
	for _, a := range t.asked {
		a.running.Wait()
	}
}
