package splice_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/splice"
)

// page has two values, the first of them in two places.
func page() *splice.Text {
	filler := strings.Repeat("<p>The same again.</p>\n", 200)
	return splice.New("text/html",
		splice.Piece{Text: []byte("<title>"), Value: 0}, splice.Piece{Text: []byte("</title>" + filler), Value: 1},
		splice.Piece{Text: nil, Value: 0}, splice.Piece{Text: []byte(filler)},
	)
}

func plainPage(name, origin string) string {
	filler := strings.Repeat("<p>The same again.</p>\n", 200)
	return "<title>" + name + "</title>" + filler + origin + name + filler
}

var values = [][2]string{
	{"acme.example.com", "https://acme.example.com"}, {"", ""}, {"", "x"}, {strings.Repeat("long", 40_000), "\x00é"},
}

// The compressed form is one member that any reader of gzip takes.
func TestFill(t *testing.T) {
	text := page()
	for _, v := range values {
		filled, want := text.Fill(v[:]...), plainPage(v[0], v[1])
		if got := string(filled.Bytes()); got != want {
			t.Errorf("%.20q: %.200q", v, got)
		}
		reader, err := gzip.NewReader(bytes.NewReader(filled.Gzip()))
		if err != nil {
			t.Fatal(err)
		}
		reader.Multistream(false)
		if got, err := io.ReadAll(reader); err != nil || string(got) != want {
			t.Errorf("%.20q compressed: %v", v, err)
		}
	}
	if len(text.Fill("a", "b").Gzip()) > len(plainPage("a", "b"))/10 {
		t.Error("it is hardly compressed")
	}
	path, err := exec.LookPath("gzip")
	if err != nil {
		return // the library's reader is strict enough
	}
	cmd := exec.CommandContext(t.Context(), path, "-dc")
	cmd.Stdin = bytes.NewReader(text.Fill("a", "b").Gzip())
	if got, err := cmd.Output(); err != nil || string(got) != plainPage("a", "b") {
		t.Errorf("gzip -dc: %v", err)
	}
}

// What differs has another tag, and what is the same has the same on every replica.
func TestETag(t *testing.T) {
	seen := map[string]string{}
	for name, filled := range map[string]*splice.Filled{
		"values":          page().Fill("ab", "c"),
		"values, shifted": page().Fill("a", "bc"),
		"order":           splice.New("", splice.Piece{Text: []byte("x"), Value: 1}, splice.Piece{Text: []byte("y")}).Fill("a", "b"),
		"other order":     splice.New("", splice.Piece{Text: []byte("x"), Value: 0}, splice.Piece{Text: []byte("y")}).Fill("a", "b"),
		"pieces":          splice.New("", splice.Piece{Text: []byte("xy"), Value: 0}, splice.Piece{}).Fill("a", "b"),
	} {
		for _, compressed := range []bool{false, true} {
			tag := filled.ETag(compressed)
			if other, twice := seen[tag]; twice {
				t.Errorf("%s has the tag of %s", name, other)
			}
			seen[tag] = name
		}
	}
	if first, again := page().Fill("a", "b"), page().Fill("a", "b"); first.ETag(true) != again.ETag(true) {
		t.Error("the same text has two tags")
	}
}

func get(handler http.Handler, method string, headers ...string) *http.Response {
	request := httptest.NewRequest(method, "/", nil)
	for i := 0; i < len(headers); i += 2 {
		request.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, request)
	return w.Result()
}

func TestServeHTTP(t *testing.T) {
	filled := page().Fill("a", "b")
	for encoding, want := range map[string]string{"": plainPage("a", "b"), "gzip": string(filled.Gzip())} {
		response := get(filled, http.MethodGet, "Accept-Encoding", encoding)
		body, err := io.ReadAll(response.Body)
		if err != nil || string(body) != want || response.Header.Get("Content-Length") != fmt.Sprint(len(want)) {
			t.Errorf("%q: %d bytes, %v, %v", encoding, len(body), response.Header, err)
		}
		if h := response.Header; h.Get("Content-Encoding") != encoding || h.Get("Vary") != "Accept-Encoding" || h.Get("Content-Type") != "text/html" {
			t.Errorf("%q: %v", encoding, h)
		}
		headed := get(filled, http.MethodHead, "Accept-Encoding", encoding)
		if body, _ := io.ReadAll(headed.Body); len(body) > 0 || headed.Header.Get("Content-Length") != fmt.Sprint(len(want)) {
			t.Errorf("HEAD %q: %d bytes, %v", encoding, len(body), headed.Header)
		}
		tag := response.Header.Get("ETag")
		if again := get(filled, http.MethodGet, "Accept-Encoding", encoding, "If-None-Match", tag); again.StatusCode != http.StatusNotModified {
			t.Errorf("%q with its tag: %s", encoding, again.Status)
		}
	}
}

// What gzip makes larger is sent as it is.
func TestTinyTextsAreNotCompressed(t *testing.T) {
	response := get(splice.New("text/plain", splice.Piece{Text: []byte("a")}).Fill(), http.MethodGet, "Accept-Encoding", "gzip")
	if response.Header.Get("Content-Encoding") != "" || response.Header.Get("Vary") != "" {
		t.Errorf("%v", response.Header)
	}
}

// A reader costs what his values cost, not the text.
func TestAReaderCostsLittle(t *testing.T) {
	text := splice.New("text/plain", splice.Piece{Text: make([]byte, 4<<20)}, splice.Piece{Text: make([]byte, 4<<20)})
	cost := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			get(discard{text.Fill("acme.example.com")}, http.MethodGet, "Accept-Encoding", "gzip")
		}
	})
	if cost.AllocedBytesPerOp() > 64<<10 {
		t.Errorf("%d bytes for each request", cost.AllocedBytesPerOp())
	}
}

// discard serves into nothing, so that only the serving is counted.
type discard struct{ *splice.Filled }

func (d discard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.Filled.ServeHTTP(sink{w.Header()}, r)
}

type sink struct{ header http.Header }

func (s sink) Header() http.Header          { return s.header }
func (sink) WriteHeader(int)                {}
func (sink) Write(text []byte) (int, error) { return len(text), nil }

func FuzzFill(f *testing.F) {
	f.Add("before", "value", "after")
	f.Add("", "", "")
	f.Add(strings.Repeat("a", 70_000), strings.Repeat("b", 70_000), "\x00")
	f.Fuzz(func(t *testing.T, before, value, after string) {
		filled := splice.New("", splice.Piece{Text: []byte(before)}, splice.Piece{Text: []byte(after)}).Fill(value)
		reader, err := gzip.NewReader(bytes.NewReader(filled.Gzip()))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(reader); err != nil || string(got) != before+value+after {
			t.Errorf("%q, %v", got, err)
		}
	})
}
