package wiretest_test

import (
	"context"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/latchkey-dev/latchkey/internal/testing/wiretest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func startBackend(t *testing.T) *wiretest.Backend {
	t.Helper()
	backend, err := wiretest.StartBackend()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := backend.Close(); err != nil {
			t.Error(err)
		}
	})
	return backend
}

// What everybody reads alike is taken, and answered in its order.
func TestBackendTakes(t *testing.T) {
	backend := startBackend(t)
	replies, err := wiretest.Exchange(t.Context(), backend.Address(), ""+
		"GET /a HTTP/1.1\r\nHost: a\r\nLatchkey-Tenant: acme\r\n\r\n"+
		"HEAD /b HTTP/1.1\r\nHost: a\r\n\r\n"+
		"POST /c HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nX-Empty:\r\n\r\nhello"+
		"POST /d?e HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n3\r\nabc\r\na\r\n0123456789\r\n0\r\n\r\n", true)
	if err != nil {
		t.Fatal(err)
	}
	var statuses []int
	for _, reply := range replies {
		statuses = append(statuses, reply.Status)
	}
	if want := []int{200, 200, 200, 100, 200}; !slices.Equal(statuses, want) {
		t.Errorf("answers %v, want %v", statuses, want)
	}
	requests, err := backend.Take()
	if err != nil {
		t.Error(err)
	}
	var seen []string
	for n, r := range requests {
		seen = append(seen, wiretest.Seen(r))
		if r.Serial != n+1 {
			t.Errorf("request %d has the serial %d", n+1, r.Serial)
		}
	}
	if want := []string{`GET /a acme ""`, `HEAD /b  ""`, `POST /c  "hello"`, `POST /d?e  "abc0123456789"`}; !slices.Equal(seen, want) {
		t.Errorf("the backend saw %q, want %q", seen, want)
	}
}

// Anything that a parser could read otherwise is a fault.
func TestBackendRefuses(t *testing.T) {
	post := func(headers, body string) string { return "POST /x HTTP/1.1\r\nHost: a\r\n" + headers + "\r\n" + body }
	for name, text := range map[string]string{
		"no request":             "hello\r\n\r\n",
		"absolute form":          "GET http://a/x HTTP/1.1\r\nHost: a\r\n\r\n",
		"HTTP/1.0":               "GET /x HTTP/1.0\r\nHost: a\r\n\r\n",
		"another method":         "TRACE /x HTTP/1.1\r\nHost: a\r\n\r\n",
		"two spaces":             "GET  /x HTTP/1.1\r\nHost: a\r\n\r\n",
		"bare LF":                "GET /x HTTP/1.1\nHost: a\r\n\r\n",
		"bare CR":                "GET /x HTTP/1.1\r\nHost: a\r\nX: b\rc\r\n\r\n",
		"NUL":                    "GET /x HTTP/1.1\r\nHost: a\r\nX: b\x00c\r\n\r\n",
		"continued line":         "GET /x HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n",
		"space before the colon": "GET /x HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n",
		"underscore":             "GET /x HTTP/1.1\r\nHost: a\r\nX_Y: b\r\n\r\n",
		"no host":                "GET /x HTTP/1.1\r\n\r\n",
		"two hosts":              "GET /x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
		"two lengths":            post("Content-Length: 1\r\nContent-Length: 1\r\n", "x"),
		"list of lengths":        post("Content-Length: 1, 1\r\n", "x"),
		"length with a sign":     post("Content-Length: +1\r\n", "x"),
		"two framings":           post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
		"another coding":         post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"),
		"chunk extension":        post("Transfer-Encoding: chunked\r\n", "1;a=b\r\nx\r\n0\r\n\r\n"),
		"chunk that is longer":   post("Transfer-Encoding: chunked\r\n", "1\r\nxy\r\n0\r\n\r\n"),
		"trailer":                post("Transfer-Encoding: chunked\r\n", "0\r\nAuthorization: x\r\n\r\n"),
		"announced trailer":      post("Transfer-Encoding: chunked\r\nTrailer: x\r\n", "0\r\n\r\n"),
		"option":                 "GET /x HTTP/1.1\r\nHost: a\r\nConnection: close, x-a\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			backend := startBackend(t)
			replies, err := wiretest.Exchange(t.Context(), backend.Address(), text, true)
			if err != nil || len(replies) > 0 {
				t.Errorf("answered %v, %v", replies, err)
			}
			if _, err := backend.Take(); err == nil {
				t.Error("it was taken")
			}
		})
	}
}

// A request that breaks off is kept as such, and is no fault: clients go away.
func TestBackendKeepsWhatBreaksOff(t *testing.T) {
	backend := startBackend(t)
	for _, text := range []string{"", "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel", "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel"} {
		if _, err := wiretest.Exchange(t.Context(), backend.Address(), text, true); err != nil {
			t.Error(err)
		}
	}
	requests, err := backend.Take()
	if err != nil || len(requests) != 2 {
		t.Fatalf("%d requests, %v", len(requests), err)
	}
	for _, r := range requests {
		if got := wiretest.Seen(r); got != `POST /x  "hel"` || r.Complete {
			t.Errorf("seen as %s, whole: %t", got, r.Complete)
		}
	}
}

func TestUnderscoresAreFound(t *testing.T) {
	r := wiretest.Request{Fields: []wiretest.Field{{"LATCHKEY_TENANT", "a"}, {"Latchkey-Tenant", "b"}}}
	if got := r.Values("Latchkey-Tenant"); !slices.Equal(got, []string{"a", "b"}) || r.Value("Latchkey-Tenant") != "" {
		t.Errorf("found %q", got)
	}
}

func TestParseCase(t *testing.T) {
	c, err := wiretest.ParseCase("# What it is.\n# answers: 200 400 closed\n# backend: GET /x acme \"\"\n# nginx: GET /y acme \"\"\n# then: end\n" +
		"GET /{{a*3}} HTTP/1.1\\r\\n\n#X: {{acme}}\\x00\\xff\\\\\\r\\n\n")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.Bytes(map[string]string{"acme": "lk_1"}), "GET /aaa HTTP/1.1\r\n#X: lk_1\x00\xff\\\r\n"; got != want {
		t.Errorf("%q is sent, want %q", got, want)
	}
	if !slices.Equal(c.Answers, []int{200, 400}) || c.Next || !c.Ends {
		t.Errorf("read as %+v", c)
	}
	for proxy, seen := range map[string]map[string]bool{
		"nginx":   {"": true, `GET /x acme ""`: true, `GET /y acme ""`: true, `GET /z acme ""`: false},
		"haproxy": {"": true, `GET /x acme ""`: true, `GET /y acme ""`: false},
	} {
		for request, want := range seen {
			all := strings.FieldsFunc(request, func(r rune) bool { return r == '\n' })
			if got := c.MayReach(proxy, all); got != want {
				t.Errorf("%s: %q may reach the backend: %t", proxy, all, got)
			}
		}
	}
	if c.MayReach("nginx", []string{`GET /x acme ""`, `GET /x acme ""`}) {
		t.Error("the same request twice may reach the backend")
	}
}

func TestParseCaseRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"no answers":     "# What it is.\nGET /\n",
		"empty answers":  "# answers: \nGET /\n",
		"no end":         "# answers: 200\nGET /\n",
		"no status":      "# answers: ok closed\nGET /\n",
		"unknown escape": "# answers: closed\nGET \\q\n",
		"another then":   "# answers: closed\n# then: wait\nGET /\n",
	} {
		if c, err := wiretest.ParseCase(text); err == nil {
			t.Errorf("%s: read as %+v", name, c)
		}
	}
}

// What is no answer is told from one, and an answer that breaks off from both.
func TestReplies(t *testing.T) {
	for name, c := range map[string]struct {
		text     string
		methods  []string
		statuses []int
		fails    bool
	}{
		"nothing":           {"", nil, nil, false},
		"a length":          {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 400 x\r\nContent-Length: 0\r\n\r\n", nil, []int{200, 400}, false},
		"chunks":            {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 204 x\r\n\r\n", nil, []int{200, 204}, false},
		"to the end":        {"HTTP/1.1 200 OK\r\n\r\nok", nil, []int{200}, false},
		"HEAD, then GET":    {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", []string{"HEAD", "GET"}, []int{200, 200}, false},
		"in between":        {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", nil, []int{100, 200}, false},
		"no HTTP/1":         {"<html>", nil, []int{0}, false},
		"broken off head":   {"HTTP/1.1 200 OK\r\nConte", nil, nil, true},
		"broken off body":   {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", nil, nil, true},
		"broken off chunks": {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", nil, nil, true},
	} {
		replies, err := wiretest.ReadReplies(strings.NewReader(c.text), c.methods)
		var statuses []int
		for _, reply := range replies {
			statuses = append(statuses, reply.Status)
		}
		if (err != nil) != c.fails || !slices.Equal(statuses, c.statuses) {
			t.Errorf("%s: %v, %v", name, statuses, err)
		}
	}
}

// A server that says nothing ends with the time that the caller gives it.
func TestExchangeEnds(t *testing.T) {
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	taken := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer close(taken)
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		_, _ = io.ReadFull(connection, make([]byte, 3))
		cancel()
		_, _ = io.Copy(io.Discard, connection)
		_ = connection.Close()
	}()
	if replies, err := wiretest.Exchange(ctx, listener.Addr().String(), "GET", false); err == nil {
		t.Errorf("answered %v", replies)
	}
	<-taken
}
