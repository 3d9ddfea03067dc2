package proxy_test

import (
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"testing"
)

// A session of Settings is of the whole host, so that browsers send it to the
// product's paths as well: no backend is to see it.
func TestOwnCookiesStayHere(t *testing.T) {
	f := newFixture(t, ok)
	for name, c := range map[string]struct{ sent, want []string }{
		"none of ours":          {[]string{"a=1; b=2"}, []string{"a=1; b=2"}},
		"as it came":            {[]string{"a=1;b=2 ;; c"}, []string{"a=1;b=2 ;; c"}},
		"ours alone":            {[]string{"__Host-latchkey-session=SECRET"}, nil},
		"ours first":            {[]string{"__Host-latchkey-session=SECRET; a=1; b=2"}, []string{"a=1; b=2"}},
		"ours between":          {[]string{"a=1; __Host-latchkey-session=SECRET; b=2"}, []string{"a=1; b=2"}},
		"ours last":             {[]string{"a=1; b=2; __Host-latchkey-session=SECRET"}, []string{"a=1; b=2"}},
		"several of ours":       {[]string{"__Host-latchkey-session=SECRET; a=1; __Host-latchkey-sign-in-abcdefgh=SECRET"}, []string{"a=1"}},
		"no spaces":             {[]string{"a=1;__Host-latchkey-session=SECRET;b=2"}, []string{"a=1;b=2"}},
		"much space":            {[]string{"a=1;  \t__Host-latchkey-session \t= SECRET ; b=2"}, []string{"a=1; b=2"}},
		"another case":          {[]string{"a=1; __HOST-LatchKey-Session=SECRET"}, []string{"a=1"}},
		"several headers":       {[]string{"a=1; __Host-latchkey-session=SECRET", "__Host-latchkey-session=SECRET", "b=2"}, []string{"a=1", "b=2"}},
		"a comma, as RFC 2109":  {[]string{"a=1, __Host-latchkey-session=SECRET; b=2"}, []string{"b=2"}},
		"in quotes":             {[]string{`a="x; __Host-latchkey-session=SECRET"; b=2`}, []string{`a="x; b=2`}},
		"its name in quotes":    {[]string{`"__Host-latchkey-session"=SECRET; b=2`}, []string{"b=2"}},
		"without a name":        {[]string{"=__Host-latchkey-session=SECRET; b=2"}, []string{"b=2"}},
		"without a value":       {[]string{"__Host-latchkey-session; b=2"}, []string{"b=2"}},
		"underscores before":    {[]string{"___Host-latchkey-session=SECRET; ____=1"}, []string{"____=1"}},
		"semicolons alone":      {[]string{";; __Host-latchkey-session=SECRET;;"}, nil},
		"others of such a name": {[]string{"__Host-session=1; latchkey-session=2; __Host-latchkey=3; __Secure-latchkey-x=4"}, []string{"__Host-session=1; latchkey-session=2; __Host-latchkey=3; __Secure-latchkey-x=4"}},
	} {
		t.Run(name, func(t *testing.T) {
			head := "GET /api/v1/x HTTP/1.1\r\nHost: acme.example.com\r\nConnection: close\r\n"
			for n, cookie := range c.sent {
				head += []string{"Cookie: ", "cookie: ", "COOKIE: "}[n%3] + cookie + "\r\n"
			}
			f.raw(head + "\r\n")
			got, dump := f.last()
			if !slices.Equal(got.Header["Cookie"], c.want) || strings.Contains(dump, "SECRET") {
				t.Errorf("the backend was sent %q, want %q", got.Header["Cookie"], c.want)
			}
		})
	}
}

// Nor can a backend, or who finds a hole in it, set or end a session.
func TestTheBackendSetsNoCookieOfOurs(t *testing.T) {
	sent := []string{
		"a=1; Path=/", "__Host-latchkey-session=EVIL; Path=/; Secure", "__host-LATCHKEY-session=EVIL; Path=/; Secure",
		" __Host-latchkey-sign-in-abcdefgh =EVIL", "=__Host-latchkey-session=EVIL; Path=/; Secure", "__Host-latchkey-session; Max-Age=0",
		"b=2; Path=/__Host-latchkey-", "__Host-other=3; Path=/; Secure",
	}
	want := []string{sent[0], sent[6], sent[7]}
	var interim []string
	trace := &httptrace.ClientTrace{Got1xxResponse: func(_ int, header textproto.MIMEHeader) error {
		interim = append(interim, header["Link"]...)
		interim = append(interim, header["Set-Cookie"]...)
		return nil
	}}
	f := newFixture(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Set-Cookie"] = []string{"__Host-latchkey-session=EVIL; Path=/; Secure"}
		w.Header().Set("Link", "</a.css>")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header()["Set-Cookie"] = sent
		w.WriteHeader(http.StatusOK)
	})
	r := f.newRequest(http.MethodGet, "/", nil)
	response, _ := f.do(r.WithContext(httptrace.WithClientTrace(r.Context(), trace)))
	if got := response.Header["Set-Cookie"]; !slices.Equal(got, want) {
		t.Errorf("the client was sent %q, want %q", got, want)
	}
	if !slices.Equal(interim, []string{"</a.css>"}) {
		t.Errorf("before the answer the client was sent %q", interim)
	}
}
