package examplebackend

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

const eventsPath = "/api/v1/events"

// patience is how long the tests wait for what should come at once. It is longer
// than any interval, so that waiting for one shows.
const patience = 3 * maxEventInterval

// stream reads the events of an answer that is still coming in.
type stream struct {
	t     *testing.T
	doc   document
	lines *bufio.Scanner
}

func openStream(ctx context.Context, t *testing.T, url string) stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, patience)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	acme.set(req.Header)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	if contentType := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || contentType != "text/event-stream" {
		t.Fatalf("stream = %s, %s", resp.Status, contentType)
	}
	return stream{t: t, doc: readDocument(t), lines: bufio.NewScanner(resp.Body)}
}

// next waits for the event with the sequence.
func (s stream) next(sequence int) event {
	s.t.Helper()
	var lines []string
	for s.lines.Scan() && s.lines.Text() != "" {
		lines = append(lines, s.lines.Text())
	}
	if len(lines) != 3 || lines[0] != fmt.Sprintf("id: %d", sequence) || lines[1] != "event: orders" {
		s.t.Fatalf("event %d = %q, %v", sequence, lines, s.lines.Err())
	}
	data := strings.TrimPrefix(lines[2], "data: ")
	s.doc.conforms(s.t, s.doc.Components.Schemas["Event"], decode[any](s.t, data), "event")
	e := decode[event](s.t, data)
	if e.Sequence != sequence || e.Tenant != "acme" {
		s.t.Errorf("event %d = %+v", sequence, e)
	}
	return e
}

func (s stream) wantEnd() {
	s.t.Helper()
	if s.lines.Scan() || s.lines.Err() != nil {
		s.t.Errorf("the stream goes on with %q, %v", s.lines.Text(), s.lines.Err())
	}
}

// observed serves a backend, and says when its handler has ended one request.
func observed(t *testing.T) (url string, ended <-chan struct{}) {
	t.Helper()
	backend := New(Options{Clock: tickingClock()})
	done := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(done)
		backend.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL, done
}

// wantEndAtOnce waits for the end, and checks that no interval went by since.
func wantEndAtOnce(t *testing.T, ended <-chan struct{}, since time.Time) {
	t.Helper()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Fatal("the handler goes on")
	}
	if took := time.Since(since); took >= maxEventInterval {
		t.Errorf("the handler took %s to end", took)
	}
}

// The longest interval shows that the first event does not wait for it, and that
// a client that goes ends the handler at once.
func TestEventsArriveWhileTheStreamIsOpen(t *testing.T) {
	url, ended := observed(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	opened := time.Now()
	first := openStream(ctx, t, url+eventsPath+"?interval=10s").next(1)
	if !first.Time.Equal(start) || first.Orders != 5 {
		t.Errorf("first event = %+v", first)
	}
	select {
	case <-ended:
		t.Fatal("the stream ended after its first event")
	default:
	}
	cancel()
	wantEndAtOnce(t, ended, opened)
}

func TestEventsAreCounted(t *testing.T) {
	a := newAPI(t)
	s := openStream(t.Context(), t, a.url+eventsPath+"?interval=10ms&count=3")
	for sequence := 1; sequence <= 3; sequence++ {
		if e := s.next(sequence); !e.Time.Equal(start.Add(time.Duration(sequence-1) * time.Second)) {
			t.Errorf("event %d has the time %s", sequence, e.Time)
		}
	}
	s.wantEnd()
}

// Each event tells of the orders as they are then, not as the stream began.
func TestEventsFollowTheOrders(t *testing.T) {
	a := newAPI(t)
	s := openStream(t.Context(), t, a.url+eventsPath+"?interval=10ms&count=1000")
	before := s.next(1).Orders
	a.create(acme, `{"customer":"Ada","item":"Pen","quantity":1}`)
	for sequence := 2; ; sequence++ {
		if now := s.next(sequence).Orders; now == before+1 {
			return
		} else if now != before {
			t.Fatalf("orders = %d, want %d or one more", now, before)
		}
	}
}

// A stream lasts longer than the server lets other requests take.
func TestEventsOutliveTheServersTimeouts(t *testing.T) {
	const timeout = 50 * time.Millisecond
	server := httptest.NewUnstartedServer(New(Options{}))
	server.Config.ReadTimeout = timeout
	server.Config.WriteTimeout = timeout
	server.Start()
	defer server.Close()

	const count = 5 * int(timeout/minEventInterval)
	s := openStream(t.Context(), t, fmt.Sprintf("%s%s?interval=%s&count=%d", server.URL, eventsPath, minEventInterval, count))
	for sequence := 1; sequence <= count; sequence++ {
		s.next(sequence)
	}
	s.wantEnd()
}

func TestHeadOfEventsDoesNotWait(t *testing.T) {
	url, ended := observed(t)
	opened := time.Now()
	a := api{t: t, url: url, doc: readDocument(t)}
	a.want(a.call(acme, "HEAD", eventsPath+"?interval=10s", ""), http.StatusOK)
	wantEndAtOnce(t, ended, opened)
}

func TestInvalidStreams(t *testing.T) {
	a := newAPI(t)
	tests := []struct{ query, words string }{
		{"interval=9ms", "from 10ms to 10s"},
		{"interval=10001ms", "from 10ms to 10s"},
		{"interval=-1s", "from 10ms to 10s"},
		{"interval=1", `not "1"`},
		{"interval=", "from 10ms to 10s"},
		{"count=0", "from 1 to 1000"},
		{"count=1001", "from 1 to 1000"},
		{"count=all", `not "all"`},
	}
	for _, tt := range tests {
		a.wantProblem(a.call(acme, "GET", eventsPath+"?"+tt.query, ""), http.StatusBadRequest, tt.words)
	}
}
