package proxy_test

import (
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/textproto"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/proxy"
)

func ok(http.ResponseWriter, *http.Request) {}

// In whatever spelling a client sends them, the backend is not to see them.
func TestInboundHeadersThatAreDropped(t *testing.T) {
	f := newFixture(t, ok)
	dropped := []string{
		"Authorization", "authorization", "AUTHORIZATION", "Proxy-Authorization", "Latchkey-Anything", "latchkey-tenant", "LATCHKEY-TOKEN-ID",
		"Forwarded", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Server", "X-Forwarded-Uri", "x-forwarded-user",
		"X-Forwarded-Client-Cert", "X-Forwarded-Tls-Client-Cert", "X-Real-Ip", "X-Original-Url", "X-Original-Uri", "X-Rewrite-Url",
		"X-Original-Host", "X-Host", "X-Http-Host-Override", "X-Http-Method-Override", "X-Http-Method", "X-Method-Override",
		"Upgrade", "Http2-Settings", "Keep-Alive", "Proxy-Connection", "Te", "Trailer",
	}
	kept := []string{"Accept", "Accept-Encoding", "Content-Type", "Cookie", "If-Match", "Idempotency-Key", "Origin", "Range", "User-Agent", "X-Tenant", "X-Latchkey-Tenant", "Traceparent"}
	for _, name := range append(slices.Clone(dropped), kept...) {
		t.Run(name, func(t *testing.T) {
			value := marker
			switch name {
			case "Trailer": // net/http lists as trailers only what may be one
				value = "X-Trailer"
			case "Te": // which ReverseProxy would pass on
				value = "trailers"
			}
			f.raw("POST /api/v1/x HTTP/1.1\r\nHost: acme.example.com\r\nConnection: close\r\n" + name + ": " + value + "\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
			_, dump := f.last()
			if got, want := strings.Contains(dump, value), slices.Contains(kept, name); got != want {
				t.Errorf("reached the backend: %t, want %t\n%s", got, want, dump)
			}
		})
	}
}

// All that the backend is told, and nothing more.
func TestOutboundHeaders(t *testing.T) {
	f := newFixture(t, ok)
	f.raw("GET /api/v1/x HTTP/1.1\r\nHost: acme.example.com\r\nConnection: close\r\nAuthorization: token x\r\n\r\n")
	got, _ := f.last()
	want := http.Header{
		proxy.HeaderTenant: {"acme"}, proxy.HeaderTokenID: {"0123456789"}, proxy.HeaderTokenName: {"ci"},
		proxy.HeaderTokenOwner: {"ada@example.com"}, proxy.HeaderTokenScopes: {"a b"},
		"X-Forwarded-For": {"192.0.2.1"}, "X-Forwarded-Host": {"acme.example.com"}, "X-Forwarded-Proto": {"https"},
	}
	if !maps.EqualFunc(got.Header, want, slices.Equal) {
		t.Errorf("the backend was sent %v, want %v", got.Header, want)
	}
	if got.Host != "acme.example.com" {
		t.Errorf("Host: %s", got.Host)
	}
}

func TestWhatIsUnknownIsNotTold(t *testing.T) {
	f := newFixture(t, ok)
	f.request.ClientAddress, f.request.Identity.Owner = netip.Addr{}, ""
	f.do(f.newRequest(http.MethodGet, "/", nil))
	got, dump := f.last()
	for _, name := range []string{"X-Forwarded-For", proxy.HeaderTokenOwner} {
		if _, told := got.Header[name]; told {
			t.Errorf("%s is told:\n%s", name, dump)
		}
	}
}

// A proxy passed on whatever came after the body, which nobody had checked
// (Traefik CVE-2026-88004).
func TestCVE2026_88004RequestTrailersAreDropped(t *testing.T) {
	trailers := make(chan http.Header, 1)
	f := newFixture(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		trailers <- r.Trailer
	})
	f.raw("POST /api/v1/x HTTP/1.1\r\nHost: acme.example.com\r\nConnection: close\r\nTrailer: Latchkey-Tenant, X-Late\r\nTransfer-Encoding: chunked\r\n\r\n" +
		"4\r\nbody\r\n0\r\nLatchkey-Tenant: other\r\nX-Late: late\r\nX-Unannounced: late\r\n\r\n")
	if got := <-trailers; len(got) != 0 {
		t.Errorf("the backend was sent the trailers %v", got)
	}
	if got, dump := f.last(); got.Header.Get(proxy.HeaderTenant) != "acme" || strings.Contains(dump, "Late") {
		t.Errorf("the backend was sent\n%s", dump)
	}
}

func TestCVE2026_88004ResponseTrailersAreDropped(t *testing.T) {
	f := newFixture(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "X-Announced")
		_, _ = io.WriteString(w, "body")
		w.Header().Set("X-Announced", "late")
		w.Header().Set(http.TrailerPrefix+"X-Unannounced", "late")
		w.Header().Set(http.TrailerPrefix+"Latchkey-Token-Expires", "late")
	})
	response, body := f.do(f.newRequest(http.MethodGet, "/", nil))
	if body != "body" || len(response.Trailer) != 0 || response.Header.Get("Trailer") != "" {
		t.Errorf("body %q, trailers %v, headers %v", body, response.Trailer, response.Header)
	}
}

// The names that are ours in answers are ours alone.
func TestReservedHeadersOfTheBackendAreStripped(t *testing.T) {
	f := newFixture(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Latchkey-Token-Expires", "never")
		w.Header()["LATCHKEY-TENANT"] = []string{"other"}
		w.Header().Set("Latchkey-Whatever", "x")
		w.Header().Set("Keep-Alive", "timeout=1")
		w.Header().Set("Proxy-Authenticate", "Basic")
		w.Header().Set("X-Kept", "kept")
	})
	f.request.BeforeResponse = func(h http.Header) { h.Set("Latchkey-Token-Expires", "2027-01-01T00:00:00Z") }
	response, _ := f.do(f.newRequest(http.MethodGet, "/", nil))
	if got := response.Header.Values("Latchkey-Token-Expires"); !slices.Equal(got, []string{"2027-01-01T00:00:00Z"}) {
		t.Errorf("Latchkey-Token-Expires: %q", got)
	}
	for _, name := range []string{"Latchkey-Tenant", "Latchkey-Whatever", "Keep-Alive", "Proxy-Authenticate"} {
		if got := response.Header.Get(name); got != "" {
			t.Errorf("%s: %s reached the client", name, got)
		}
	}
	if response.Header.Get("X-Kept") != "kept" {
		t.Error("another header was lost")
	}
}

func TestAnswersPassUnchanged(t *testing.T) {
	f := newFixture(t, func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h["Set-Cookie"] = []string{"a=1; Path=/; HttpOnly", "b=2; SameSite=Strict"}
		h.Set("Www-Authenticate", "Custom")
		h.Set("Content-Type", "application/vnd.example+json")
		h.Set("Content-Encoding", "gzip")
		h.Set("Etag", `W/"x"`)
		h.Set("Location", "/elsewhere")
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, "not really gzip")
	})
	r := f.newRequest(http.MethodGet, "/", nil)
	r.Header.Set("Accept-Encoding", "gzip")
	response, body := f.do(r)
	if response.StatusCode != http.StatusTeapot || body != "not really gzip" {
		t.Errorf("status %d, body %q", response.StatusCode, body)
	}
	for name, want := range map[string][]string{
		"Set-Cookie": {"a=1; Path=/; HttpOnly", "b=2; SameSite=Strict"}, "Www-Authenticate": {"Custom"}, "Etag": {`W/"x"`},
		"Content-Type": {"application/vnd.example+json"}, "Content-Encoding": {"gzip"}, "Location": {"/elsewhere"},
	} {
		if got := response.Header.Values(name); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got, _ := f.last(); got.Header.Get("Accept-Encoding") != "gzip" {
		t.Errorf("Accept-Encoding: %s", got.Header.Get("Accept-Encoding"))
	}
}

func TestCORSHeadersOfTheBackend(t *testing.T) {
	for _, owns := range []bool{true, false} {
		f := newFixture(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Access-Control-Allow-Origin", "*")
			w.Header().Set("Access-Control-Allow-Credentials", "true")
			w.Header().Set("Access-Control-Expose-Headers", "X-Own")
		})
		f.request.OwnsCORS = owns
		response, _ := f.do(f.newRequest(http.MethodGet, "/", nil))
		for _, name := range []string{"Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Access-Control-Expose-Headers"} {
			if got := response.Header.Get(name) != ""; got == owns {
				t.Errorf("OwnsCORS %t: %s passed: %t", owns, name, got)
			}
		}
	}
}

// Answers before the answer pass, without names of ours, and cost the answer
// nothing that was set for it before.
func TestInformationalAnswers(t *testing.T) {
	f := newFixture(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.Header().Set("Latchkey-Token-Expires", "never")
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusProcessing)
		w.Header().Del("Link")
		w.Header().Set("Vary", "Accept")
		_, _ = io.WriteString(w, "body")
	})
	f.header = http.Header{"Access-Control-Allow-Origin": {"https://app.example.com"}, "Vary": {"Origin"}}
	var codes []int
	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
		codes = append(codes, code)
		if header.Get("Latchkey-Token-Expires") != "" || header.Get("Link") == "" {
			t.Errorf("%d has the headers %v", code, header)
		}
		return nil
	}}
	r := f.newRequest(http.MethodGet, "/", nil)
	response, body := f.do(r.WithContext(httptrace.WithClientTrace(r.Context(), trace)))
	if !slices.Equal(codes, []int{103, 102}) {
		t.Errorf("the client saw %v", codes)
	}
	if response.StatusCode != http.StatusOK || body != "body" || response.Header.Get("Link") != "" {
		t.Errorf("status %d, headers %v, body %q", response.StatusCode, response.Header, body)
	}
	if got := response.Header.Values("Access-Control-Allow-Origin"); !slices.Equal(got, []string{"https://app.example.com"}) {
		t.Errorf("Access-Control-Allow-Origin: %q", got)
	}
	if got := response.Header.Values("Vary"); !slices.Equal(got, []string{"Origin", "Accept"}) {
		t.Errorf("Vary: %q", got)
	}
}
