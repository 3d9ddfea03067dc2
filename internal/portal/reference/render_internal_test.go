package reference

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/portal/assets"
)

// shop has its host in every place that a page can have it.
func shop() Document {
	return Document{
		Title: "Shop", Description: "It & *more*.", DocsPath: "/docs", BasePath: "/api/v1", SpecPath: "/api/v1/openapi.json",
		ProblemBase: "https://example.com/errors#", Example: &Operation{Method: "GET", Path: "/api/v1/$x`\"<orders>"},
		Operations: []Operation{{Method: "GET", Path: "/api/v1/orders", Summary: "List orders"}},
	}
}

// A page that was rendered once has what one rendered for the host would have.
func TestThePageIsWhatAPlainRenderingIs(t *testing.T) {
	r, err := New(shop())
	if err != nil {
		t.Fatal(err)
	}
	v, err := prepare(shop(), r.files)
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []Host{
		{"acme.example.com", "https://acme.example.com"}, {"a.b:8443", "https://a.b:8443"}, {"x-1.localhost:80", "http://x-1.localhost:80"},
	} {
		want, err := v.render(host)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.page.Fill(host.Name, host.Origin).Bytes(); !bytes.Equal(got, want) {
			t.Errorf("%s: got\n%s\nwant\n%s", host.Name, got, want)
		}
	}
}

// What is not plain would have to be escaped, and is refused instead.
func TestHostsThatAreNotPlainHaveNoPage(t *testing.T) {
	r, err := New(shop())
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []Host{
		{}, {"a.b", "https://a.c"}, {"a.b", "ftp://a.b"}, {"a.b", "a.b"}, {"A.b", "https://A.b"}, {"<b>", "https://<b>"}, {`a"`, `https://a"`},
		{"a$(x)", "https://a$(x)"}, {"a`b`", "https://a`b`"}, {"a:x", "https://a:x"}, {"a b", "https://a b"}, {"a\n", "https://a\n"}, {"a/b", "https://a/b"},
	} {
		request := httptest.NewRequest(http.MethodGet, "/docs", nil)
		if refused := r.Serve(httptest.NewRecorder(), request, host); refused == nil || refused.Status != http.StatusNotFound {
			t.Errorf("%q: %v", host, refused)
		}
	}
}

// Anybody can ask for a page under many ports: none costs more than its headers
// and its host's text, however large the page.
func TestManyHostsCostLittle(t *testing.T) {
	d := shop()
	for i := range 2000 {
		d.Operations = append(d.Operations, Operation{Method: "GET", Path: "/api/v1/things" + strconv.Itoa(i), Summary: "Shows a thing"})
	}
	r, err := New(d)
	if err != nil {
		t.Fatal(err)
	}
	i := 0
	request := httptest.NewRequest(http.MethodGet, "/docs", nil)
	request.Header.Set("Accept-Encoding", "gzip")
	cost := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			i++
			name := "acme.example.com:" + strconv.Itoa(i)
			if refused := r.Serve(sink{http.Header{}}, request, Host{name, "https://" + name}); refused != nil {
				t.Fatal(refused)
			}
		}
	})
	if cost.AllocedBytesPerOp() > 16<<10 || cost.AllocsPerOp() > 150 {
		t.Errorf("a host costs %d bytes in %d pieces", cost.AllocedBytesPerOp(), cost.AllocsPerOp())
	}
}

// sink takes an answer and keeps nothing.
type sink struct{ header http.Header }

func (s sink) Header() http.Header          { return s.header }
func (sink) WriteHeader(int)                {}
func (sink) Write(text []byte) (int, error) { return len(text), nil }

// What not everyone may read is kept by no cache.
func TestCaching(t *testing.T) {
	for private, want := range map[bool][2]string{false: {"no-cache", assets.CacheControl}, true: {"private, no-store", "private, no-store"}} {
		d := shop()
		d.Private = private
		r, err := New(d)
		if err != nil {
			t.Fatal(err)
		}
		paths, err := Paths("/docs")
		if err != nil {
			t.Fatal(err)
		}
		for i, path := range paths[:2] {
			w := httptest.NewRecorder()
			if refused := r.Serve(w, httptest.NewRequest(http.MethodGet, path, nil), Host{"a.b", "https://a.b"}); refused != nil {
				t.Fatal(refused)
			}
			if got := w.Header().Get("Cache-Control"); got != want[i] {
				t.Errorf("%s, private %t: %q, want %q", path, private, got, want[i])
			}
		}
	}
}
