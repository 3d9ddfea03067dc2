//go:build linux

package faults_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
	"github.com/latchkey-dev/latchkey/test/faults/history"
	"github.com/latchkey-dev/latchkey/test/faults/link"
)

// partitionByReset cuts one replica off; the other hears everything.
func partitionByReset(s *stage) {
	cut := s.replicas[0]
	end := s.deaf(cut)
	cut.link.Set(link.Refused)
	s.lasts(s.long(2*time.Second, 20*time.Second))
	cut.link.Set(link.Whole)
	s.mended(end)
}

// partitionInSilence lets one replica believe that its connections live.
func partitionInSilence(s *stage) {
	cut := s.replicas[0]
	end := s.deaf(cut)
	since := time.Now()
	cut.link.Set(link.Silent)
	s.noticed(since, cut)
	s.lasts(s.long(0, 15*time.Second))
	cut.link.Set(link.Whole)
	s.mended(end)
}

// slowLink slows both replicas down. Nothing is late by more than the link is, and so
// nothing is excused.
func slowLink(s *stage) {
	for _, r := range s.replicas {
		r.link.Set(link.Slow)
	}
	s.lasts(s.long(2*time.Second, 30*time.Second))
	s.mended()
	for _, r := range s.replicas {
		r.link.Set(link.Whole)
	}
}

// frozenLimit is within what a watch that is open and mute is noticed (promise 4), and a
// list made.
const frozenLimit = 75 * time.Second

// muteWatches freezes what watches say on connections that live and answer pings.
func muteWatches(s *stage) {
	gateway, err := link.NewGateway(planeURL(), env().Config.CAData)
	must(s.t, err)
	s.t.Cleanup(gateway.Close)
	r := s.prepareReplica("mute", s.program("apiserver"), gateway.Address(), gateway.CA())
	s.startReplica(r)
	s.join(r)
	s.lasts(2 * time.Second)
	end := s.deaf(r)
	if n := gateway.Freeze(); n < 5 {
		s.t.Errorf("%d watches are frozen, want one a resource", n)
	}
	marker := s.doomed.take()
	must(s.t, s.endToken(s.t.Context(), marker, history.Revoked))
	took := s.until(frozenLimit, "to notice that watches are mute", func() error { return s.refuses(r, marker) })
	s.note("noticed after %s", round(took))
	s.mended(end)
}

// refuses says whether a replica refuses a token.
func (s *stage) refuses(r *replica, i *issued) error {
	c := newCaller(r)
	defer c.close()
	a := c.ask(s.t.Context(), s.history, i.ask())
	s.history.Answer(a)
	if a.Status != http.StatusUnauthorized {
		return fmt.Errorf("%s answers token %s with %d %s", r.name, i.name, a.Status, a.Code)
	}
	return nil
}

// tooStale partitions a replica for longer than it may go on (promise 5).
func tooStale(s *stage) {
	cut := s.replicas[0]
	end := s.deaf(cut)
	since := time.Now()
	cut.link.Set(link.Refused)
	// A feed where nothing happens was heard of up to 65 s before.
	stale := s.history.Span(history.Span{Replica: cut.name, From: s.history.Now() + maxStaleness - 66*time.Second, Refusals: []string{"stale"}})
	testenv.Eventually(s.t, func() error {
		response, err := s.askRaw(cut)
		if err != nil {
			return err
		}
		if response.StatusCode != http.StatusServiceUnavailable {
			return fmt.Errorf("%s answers %s, %s after it was cut off", cut.name, response.Status, time.Since(since))
		}
		if response.Header.Get("Retry-After") == "" {
			s.t.Error("503 without Retry-After")
		}
		return nil
	})
	took := time.Since(since)
	s.note("503 stale after %s", round(took))
	if took > maxStaleness+slack {
		s.t.Errorf("tokens were accepted for %s, must be at most %s", took, maxStaleness)
	}
	closed := s.history.Span(history.Span{Replica: cut.name, From: s.history.Now(), Closed: true})
	if err := ready(cut.admin); err == nil {
		s.t.Error("a replica that is stale says that it is ready")
	}
	if value, err := cut.metric("latchkey_directory_stale"); err != nil || value != "1" {
		s.t.Errorf("latchkey_directory_stale is %q, %v; want 1", value, err)
	}
	s.lasts(10 * time.Second)
	closed(s.history.Now())
	cut.link.Set(link.Whole)
	s.mended(end, stale) // from then on it may refuse nothing
}

// askRaw asks for a token that works, and returns the answer without its body.
func (s *stage) askRaw(r *replica) (*http.Response, error) {
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "http://"+r.address+"/api/v1/ping", http.NoBody)
	if err != nil {
		return nil, err
	}
	request.Host = s.steady[0].tenant + "." + baseDomain
	request.Header.Set("Authorization", "token "+s.steady[0].plaintext)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	return response, response.Body.Close()
}

// accountExpired has the token of a replica's ServiceAccount expire, and its connections
// end: Kubernetes asks for the token again then. A new token is taken from the file.
func accountExpired(s *stage) {
	r := s.prepareReplica("guest", s.program("apiserver"), planeAddress(), nil)
	file := strings.TrimSuffix(r.kubeconfig, ".kubeconfig") + ".token"
	lasting, err := os.ReadFile(file)
	must(s.t, err)
	brief := s.expiringAccountToken(string(lasting), 10*time.Second)
	must(s.t, os.WriteFile(file, []byte(brief), 0o600))
	s.startReplica(r)
	s.join(r)
	testenv.Eventually(s.t, func() error { return refusedByPlane(brief) })
	end := s.deaf(r)
	r.link.Reset()
	s.lasts(s.long(time.Second, 20*time.Second))
	must(s.t, os.WriteFile(file, lasting, 0o600))
	s.mended(end)
}

// refusedByPlane says whether the API server refuses a token.
func refusedByPlane(token string) error {
	config := anonymous()
	config.BearerToken = token
	status, err := whoAmI(config)
	if err == nil && status != http.StatusUnauthorized {
		err = errors.New("the ServiceAccount's token still works")
	}
	return err
}
