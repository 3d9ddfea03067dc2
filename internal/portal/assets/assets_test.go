package assets_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/portal/assets"
)

var script = assets.File{Name: "page.js", Content: []byte(strings.Repeat("let a = 1;\n", 100))}

func set(t *testing.T, files ...assets.File) *assets.Set {
	t.Helper()
	s, err := assets.New(files...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// serve answers a request for a file of a set; headers are pairs.
func serve(t *testing.T, s *assets.Set, method, name string, headers ...string) *http.Response {
	t.Helper()
	file, ok := s.Get(name)
	if !ok {
		t.Fatalf("no file %q among %q", name, s.Names())
	}
	r := httptest.NewRequest(method, "/docs/assets/"+name, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	file.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r *http.Response) []byte {
	t.Helper()
	content, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestNamesChangeWithTheContent(t *testing.T) {
	one, two := set(t, script), set(t, assets.File{Name: "page.js", Content: []byte("let a = 2;")})
	if one.Public("page.js") == two.Public("page.js") || one.Public("page.js") != set(t, script).Public("page.js") {
		t.Errorf("%q and %q: want names that differ with the content, and with nothing else", one.Public("page.js"), two.Public("page.js"))
	}
	if _, ok := one.Get("page.js"); ok {
		t.Error("served under its own name too, which caches would keep for good")
	}
	if one.Public("other.js") != "" {
		t.Error("a name for a file that is not there")
	}
}

func TestFilesAreServed(t *testing.T) {
	s := set(t, script)
	response := serve(t, s, http.MethodGet, s.Public("page.js"))
	for name, want := range map[string]string{
		"Content-Type": "text/javascript; charset=utf-8", "Content-Encoding": "", "Vary": "Accept-Encoding",
		"Content-Length": strconv.Itoa(len(script.Content)),
	} {
		if got := response.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got := body(t, response); !bytes.Equal(got, script.Content) {
		t.Errorf("%q is not the file", got)
	}
}

func TestCompressed(t *testing.T) {
	s := set(t, script)
	plain := serve(t, s, http.MethodGet, s.Public("page.js"))
	response := serve(t, s, http.MethodGet, s.Public("page.js"), "Accept-Encoding", "br, gzip")
	if response.Header.Get("Content-Encoding") != "gzip" || response.Header.Get("ETag") == plain.Header.Get("ETag") {
		t.Errorf("%v: want gzip, with a tag other than %s", response.Header, plain.Header.Get("ETag"))
	}
	compressed := body(t, response)
	if response.Header.Get("Content-Length") != strconv.Itoa(len(compressed)) || len(compressed) >= len(script.Content) {
		t.Errorf("%d bytes, announced as %s", len(compressed), response.Header.Get("Content-Length"))
	}
	reader, err := gzip.NewReader(bytes.NewReader(compressed))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(reader); err != nil || !bytes.Equal(got, script.Content) {
		t.Errorf("%q, %v is not the file", got, err)
	}
}

func TestAcceptEncoding(t *testing.T) {
	s := set(t, script)
	for header, want := range map[string]string{
		"gzip": "gzip", "GZIP": "gzip", "deflate, gzip;q=0.5": "gzip", "gzip ; q=1": "gzip",
		"": "", "br": "", "*": "gzip", "gzip;q=0": "", "gzip;q=0.000": "", "gzip;q=x": "", "xgzip": "",
	} {
		if got := serve(t, s, http.MethodGet, s.Public("page.js"), "Accept-Encoding", header).Header.Get("Content-Encoding"); got != want {
			t.Errorf("Accept-Encoding %q: Content-Encoding %q, want %q", header, got, want)
		}
	}
}

func TestWhatTheClientHasIsNotSentAgain(t *testing.T) {
	s := set(t, script)
	name := s.Public("page.js")
	tag := serve(t, s, http.MethodGet, name).Header.Get("ETag")
	for header, want := range map[string]int{
		tag: 304, "W/" + tag: 304, `"other", ` + tag: 304, "*": 304, `"other"`: 200, strings.Trim(tag, `"`): 200,
	} {
		response := serve(t, s, http.MethodGet, name, "If-None-Match", header)
		if content := body(t, response); response.StatusCode != want || (want == 304) != (len(content) == 0) {
			t.Errorf("If-None-Match %s: %d with %d bytes, want %d", header, response.StatusCode, len(content), want)
		}
	}
}

func TestHeadHasNoBody(t *testing.T) {
	s := set(t, script)
	response := serve(t, s, http.MethodHead, s.Public("page.js"))
	if content := body(t, response); len(content) != 0 || response.Header.Get("Content-Length") != strconv.Itoa(len(script.Content)) {
		t.Errorf("%d bytes, Content-Length %s", len(content), response.Header.Get("Content-Length"))
	}
}

// What gzip makes larger is sent as it is.
func TestTinyFilesAreNotCompressed(t *testing.T) {
	s := set(t, assets.File{Name: "a.css", Content: []byte("a{}")})
	response := serve(t, s, http.MethodGet, s.Public("a.css"), "Accept-Encoding", "gzip")
	if response.Header.Get("Content-Encoding") != "" || response.Header.Get("Vary") != "" {
		t.Errorf("%v", response.Header)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, files := range [][]assets.File{
		{{Name: "page.html"}}, {{Name: "page"}}, {{Name: "../page.js"}}, {{Name: "a%2f.js"}}, {script, script},
	} {
		if _, err := assets.New(files...); err == nil {
			t.Errorf("%v: no error", files)
		}
	}
}
