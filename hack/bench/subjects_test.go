package main

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/token"
)

// startInProcess serves one of this program's subjects until the test ends.
func startInProcess(t *testing.T, name string, o serveOptions) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = subjects[name](t.Context(), listener, &o) // ends with its listener
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-done
	})
	return listener.Addr().String()
}

// knownAndUnknown are a token that subjects are told of, and one that they are not.
func knownAndUnknown(t *testing.T) (known, unknown issuedToken, o serveOptions) {
	t.Helper()
	plaintexts, credentials, err := mint(benchTenant, 2)
	if err != nil {
		t.Fatal(err)
	}
	id, err := token.Parse(v1alpha1.DefaultTokenPrefix, plaintexts[0])
	if err != nil {
		t.Fatal(err)
	}
	o = serveOptions{tenant: benchTenant, id: id, digest: credentials[0].Digest.String(), tokens: 3}
	return issuedToken{benchTenant, plaintexts[0]}, issuedToken{benchTenant, plaintexts[1]}, o
}

func TestSubjectsAnswerRight(t *testing.T) {
	known, unknown, o := knownAndUnknown(t)
	o.backend = startInProcess(t, "backend", o)
	for name, test := range map[string]struct {
		body    []byte
		refuses bool
	}{
		"empty":       {},
		"backend":     {body: body},
		"check":       {refuses: true},
		"proxy":       {body: body},
		"check-proxy": {body: body, refuses: true},
		"latchkey":    {body: body, refuses: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := &subject{
				address: startInProcess(t, name, o), requests: [][]byte{known.request(target)},
				status: 200, length: len(test.body), check: sameBody(test.body),
			}
			if test.refuses {
				s.refused = unknown.request(target)
			}
			if err := s.verify(t.Context()); err != nil {
				t.Fatal(err)
			}
			m, err := (&load{
				address: s.address, requests: s.requests, status: s.status, length: s.length,
				warmup: 5 * time.Millisecond, duration: 50 * time.Millisecond,
			}).apply(t.Context())
			if err != nil || m.rate <= 0 || m.p50 <= 0 || m.p99 < m.p50 {
				t.Errorf("measured %+v, error %v", m, err)
			}
		})
	}
}

func TestWrongAnswersAreErrors(t *testing.T) {
	known, unknown, o := knownAndUnknown(t)
	address := startInProcess(t, "check", o)
	verify := func(change func(*subject)) error {
		s := &subject{address: address, requests: [][]byte{known.request(target)}, status: 200, length: -1}
		change(s)
		return s.verify(t.Context())
	}
	for want, change := range map[string]func(*subject){
		"status is 401":                          func(s *subject) { s.requests = [][]byte{unknown.request(target)} },
		"the body has 0 bytes":                   func(s *subject) { s.length = len(body) },
		"the body is":                            func(s *subject) { s.check = sameBody(body) },
		"an unknown token was answered with 200": func(s *subject) { s.refused = known.request(target) },
		"connection refused":                     func(s *subject) { s.address = "127.0.0.1:1" },
	} {
		if err := verify(change); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want one with %q", err, want)
		}
	}
	l := &load{address: address, requests: [][]byte{unknown.request(target)}, status: 200, length: -1, duration: time.Minute}
	if _, err := l.apply(t.Context()); err == nil || !strings.Contains(err.Error(), "status is 401") {
		t.Errorf("under load the error is %v, want one about the status", err)
	}
}

func TestLoadEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	address := startInProcess(t, "empty", serveOptions{})
	time.AfterFunc(10*time.Millisecond, cancel)
	l := &load{address: address, requests: [][]byte{request("x", "/", "")}, status: 200, length: 0, duration: time.Hour}
	if _, err := l.apply(ctx); err == nil {
		t.Error("a load that was interrupted has a result")
	}
}
