package openapi_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/internal/openapi"
)

// document has GET on each template, and what follows a template after a space.
func document(t testing.TB, templates ...string) *openapi.Document {
	t.Helper()
	var b strings.Builder
	b.WriteString(head + "paths:\n")
	for _, template := range templates {
		path, methods, _ := strings.Cut(template, " ")
		fmt.Fprintf(&b, "  %q:\n", path)
		for method := range strings.FieldsSeq(methods + " get") {
			fmt.Fprintf(&b, "    %s: {}\n", method)
		}
	}
	d, err := openapi.Load([]byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestMatch(t *testing.T) {
	m := document(t,
		"/", "/orders post", "/orders/", "/orders/mine", "/orders/{id} delete", "/orders/{id}.json", "/orders/{id}:cancel", "/orders/{from}-{to}",
		"/orders/{id}/items", "/orders/mine/notes", "/a/{x}", "/{y}/b", "/n/{user-id}/x", "/é", "/with head options").Matcher()
	cases := []struct{ method, path, want string }{
		{"GET", "/", "/"},
		{"GET", "/orders", "/orders"},
		{"POST", "/orders", "/orders"},
		{"GET", "/orders/", "/orders/"},
		{"GET", "/orders/mine", "/orders/mine"},
		{"DELETE", "/orders/mine", "405 GET HEAD"},
		{"DELETE", "/orders/7", "/orders/{id}"},
		{"GET", "/orders/7.json", "/orders/{id}.json"},
		{"GET", "/orders/.json", "/orders/{id}"},
		{"GET", "/orders/7:cancel", "/orders/{id}:cancel"},
		{"GET", "/orders/1-2", "/orders/{from}-{to}"},
		{"GET", "/orders/-2", "/orders/{id}"},
		{"GET", "/orders/mine/items", "/orders/{id}/items"},
		{"GET", "/orders/mine/notes", "/orders/mine/notes"},
		{"GET", "/orders//items", ""},
		{"GET", "/orders/..", ""},
		{"GET", "/orders/7/", ""},
		{"GET", "/Orders", ""},
		{"GET", "/orders/Mine", ""}, // is mine to some, and an id to others
		{"GET", "/orders/MINE/items", ""},
		{"GET", "/orders/Mine.json", "/orders/{id}.json"},
		{"GET", "/a/b", "/a/{x}"},
		{"GET", "/c/b", "/{y}/b"},
		{"GET", "/n/1/x", "/n/{user-id}/x"},
		{"HEAD", "/orders", "/orders"},
		{"PUT", "/orders", "405 GET HEAD POST"},
		{"OPTIONS", "/orders", "405 GET HEAD POST"},
		{"OPTIONS", "/with", "/with"},
		{"GET", "/%6Frders", "/orders"},
		{"GET", "/%6frders/%6Dine", "/orders/mine"},
		{"GET", "/%C3%A9", "/é"},
		{"GET", "/é", "/é"},
		{"GET", "/orders/a%20b", "/orders/{id}"},
		{"GET", "/orders/7%3Acancel", ""}, // the two readings differ
		{"GET", "/orders/7%40x", "/orders/{id}"},
		{"GET", "/orders/7%2Fitems", ""},
		{"GET", "/orders/%zz", ""},
		{"GET", "/orders/%4", ""},
		{"GET", "", ""},
		{"GET", "orders", ""},
		{"GET", "*", ""},
	}
	for _, c := range cases {
		operation, allowed := m.Match(c.method, c.path)
		got := ""
		switch {
		case operation != nil:
			got = operation.Path
		case allowed != nil:
			got = "405 " + strings.Join(allowed, " ")
		}
		if got != c.want {
			t.Errorf("%s %s is %q, want %q", c.method, c.path, got, c.want)
		}
	}
}

// Templates that make a search go back at every segment.
func TestMatchIsBounded(t *testing.T) {
	var templates []string
	for i := range 1 << 10 {
		path := ""
		for bit := range 10 {
			if i>>bit&1 == 0 {
				path += "/a"
			} else {
				path += "/{x}"
			}
		}
		templates = append(templates, path+"/end")
	}
	m := document(t, templates...).Matcher()
	begin := time.Now()
	for range 100 {
		if operation, _ := m.Match("GET", strings.Repeat("/a", 10)+"/none"); operation != nil {
			t.Fatal(operation.Path)
		}
		m.Match("GET", strings.Repeat("/a", 2000))
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
}

// reference finds a template as the rules say, by regular expressions.
func reference(templates []string, path string) string {
	variable := regexp.MustCompile(`\{[^}]*\}`)
	best, key := "", ""
	for _, template := range templates {
		pattern, rank := "^", ""
		for segment := range strings.SplitSeq(template[1:], "/") {
			pattern += "/" + strings.ReplaceAll(regexp.QuoteMeta(variable.ReplaceAllString(segment, "\x01")), "\x01", "[^/]+")
			text := variable.ReplaceAllString(segment, "")
			switch text {
			case segment:
				rank += "0"
			case "":
				rank += "2"
			default:
				rank += fmt.Sprintf("1%03d", 999-len(text))
			}
			rank += "/"
		}
		if regexp.MustCompile(pattern+"$").MatchString(path) && !miswritten(templates, template, path) && (best == "" || rank < key) {
			best, key = template, rank
		}
	}
	return best
}

// miswritten says whether a variable of the template stands for a literal that
// another template has in its place, but for its case.
func miswritten(templates []string, template, path string) bool {
	shape := func(text string) []string {
		return strings.Split(regexp.MustCompile(`\{[^}]*\}`).ReplaceAllString(text, "{}"), "/")
	}
	own, segments := shape(template), strings.Split(path, "/")
	for i, segment := range own {
		for _, other := range templates {
			theirs := shape(other)
			if strings.Contains(segment, "{}") && len(theirs) > i && slices.Equal(theirs[:i], own[:i]) &&
				!strings.Contains(theirs[i], "{}") && theirs[i] != segments[i] && strings.EqualFold(theirs[i], segments[i]) {
				return true
			}
		}
	}
	return false
}

// What is not found, and yet one of the document's to a reader who is less exact, is
// told from what is none of it.
func TestAmbiguousPaths(t *testing.T) {
	m := document(t, "/orders post", "/orders/export", "/orders/{id}", "/orders/{id}:cancel", "/a/{x}.json", "/shop/list/").Matcher()
	for path, want := range map[string]bool{
		"/orders/7%3Acancel": true, "/orders/7%3acancel": true, "/Orders": true, "/orders/": true, "/ORDERS/EXPORT": true, "/orders/Export": true,
		"/orders/7/": true, "/%4Frders": true, "/a/1.JSON": true, "/shop/list": true, "/Shop/List/": true, "/orders/%zz": true,
		"/missing": false, "/orders/7/items": false, "/order": false, "/orderss": false, "/": false, "": false, "/a": false, "/a/1.xml": false,
	} {
		operation, allowed := m.Match(http.MethodGet, path)
		if resembles := m.Resembles(path); operation != nil || allowed != nil || resembles != want {
			t.Errorf("%s: %v %v resembles %t, want %t", path, operation, allowed, resembles, want)
		}
	}
}

// FuzzMatch compares with the rules, told again by other means.
func FuzzMatch(f *testing.F) {
	templates := []string{
		"/", "/a", "/a/", "/a/b", "/a/{x}", "/a/C/d", "/{x}/b", "/{x}", "/{x}/{y}", "/a/{x}.json", "/a/{x}:b", "/a/b/{x}/c", "/a/{x}/c/d", "/a/b{x}b", "/{x}/b/c/{y}/", "/a/{x}-{y}:z",
	}
	m := document(f, templates...).Matcher()
	for _, template := range templates {
		f.Add(template)
	}
	f.Add("/a/b/b/c")
	f.Add("/a/x-:z-y:z")
	f.Fuzz(func(t *testing.T, path string) {
		if strings.ContainsAny(path, "%\n") || slices.ContainsFunc(strings.Split(path, "/"), func(s string) bool { return s == "." || s == ".." }) {
			m.Match("GET", path) // must not panic
			return
		}
		got := ""
		if operation, _ := m.Match("GET", path); operation != nil {
			got = operation.Path
		}
		if want := reference(templates, path); got != want {
			t.Errorf("%q is %q, want %q", path, got, want)
		}
	})
}

// routes are 200 of an API's size.
func routes() (templates []string) {
	for i := range 40 {
		r := fmt.Sprintf("/api/v1/resource%d", i)
		templates = append(templates, r, r+"/{id}", r+"/{id}/items", r+"/{id}/items/{item}", r+"/search")
	}
	return templates
}

// BenchmarkMatch compares with net/http's ServeMux on the same routes.
func BenchmarkMatch(b *testing.B) {
	m := document(b, routes()...).Matcher()
	mux := http.NewServeMux()
	for _, template := range routes() {
		mux.Handle("GET "+template, http.NotFoundHandler())
	}
	var requests []*http.Request
	for i := range 40 {
		requests = append(requests, httptest.NewRequest(http.MethodGet, fmt.Sprintf("/api/v1/resource%d/1234/items/56", i), nil))
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if operation, _ := m.Match("GET", requests[i%40].URL.EscapedPath()); operation == nil {
			b.Fatal("no match")
		}
		i++
	}
	ours := float64(b.Elapsed().Nanoseconds()) / float64(b.N)
	begin := time.Now()
	for i := range b.N {
		if _, pattern := mux.Handler(requests[i%40]); pattern == "" {
			b.Fatal("no match")
		}
	}
	b.ReportMetric(float64(time.Since(begin).Nanoseconds())/float64(b.N)/ours, "mux/ours")
}

// siblings are 5,000 operations beside each other, and paths of 16 KiB that are none of
// them. A stranger may send these.
func siblings() map[string]struct{ templates, paths []string } {
	const count, length = 5000, 16 << 10
	all := map[string]struct{ templates, paths []string }{}
	for kind, format := range map[string]string{"literals": "/Sibling%d", "suffixes": "/{id}:verb%d", "middles": "/{a}-mid%d-{b}", "nested": "/{a}/Sibling%d/{b}"} {
		kept := all[kind]
		for i := range count {
			kept.templates = append(kept.templates, fmt.Sprintf(format, i))
		}
		for _, piece := range []string{"A", "a", "-mid", "sibling", "a/", "/", "%41", "%3A"} {
			kept.paths = append(kept.paths, "/"+strings.Repeat(piece, length/len(piece))+"z/none")
		}
		all[kind] = kept
	}
	return all
}

// Whatever a path looks like, and however many operations the document has, to look for it
// costs a few copies of it at most.
func TestUnknownPathsAllocateLittle(t *testing.T) {
	for kind, s := range siblings() {
		m := document(t, s.templates...).Matcher()
		for _, path := range s.paths {
			for what, look := range map[string]func(){
				"match":     func() { m.Match("GET", path) },
				"resembles": func() { m.Resembles(path) },
			} {
				if bytes := allocatedBytes(look); bytes > 4*len(path) {
					t.Errorf("%s: %s %.20s… allocates %d bytes, want at most four copies of its %d", kind, what, path, bytes, len(path))
				}
			}
			if operation, allowed := m.Match("GET", path); operation != nil || allowed != nil {
				t.Errorf("%s: %.20s… is %v", kind, path, operation)
			}
		}
	}
}

func allocatedBytes(f func()) int {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int(after.TotalAlloc - before.TotalAlloc)
}

// A search gives up on a path that costs too much, and then finds nothing: not a less
// concrete template either, whose scopes may be others.
func TestSearchGivesUp(t *testing.T) {
	m := document(t, append(siblings()["middles"].templates[1:], "/{all}")...).Matcher()
	for _, c := range []struct {
		path, want string
		resembles  bool
	}{
		{"/x-mid4999-" + strings.Repeat("y", 20), "/{a}-mid4999-{b}", true},
		{"/x-mid4999-" + strings.Repeat("y", 117), "/{a}-mid4999-{b}", true},
		{"/" + strings.Repeat("x", 128), "/{all}", true},
		{"/" + strings.Repeat("x", 20), "/{all}", true},
		{"/" + strings.Repeat("x", 16000) + "-mid4999-y", "", true},
		{"/" + strings.Repeat("x", 16000), "", true},
	} {
		got := ""
		if operation, _ := m.Match("GET", c.path); operation != nil {
			got = operation.Path
		}
		if resembles := m.Resembles(c.path); got != c.want || resembles != c.resembles {
			t.Errorf("%.20s… of %d bytes is %q and resembles %t, want %q and %t", c.path, len(c.path), got, resembles, c.want, c.resembles)
		}
	}
}

// BenchmarkUnknownPath compares the slowest path of 16 KiB that is none of 5,000 operations
// with a short one.
func BenchmarkUnknownPath(b *testing.B) {
	for kind, s := range siblings() {
		m := document(b, s.templates...).Matcher()
		b.Run(kind, func(b *testing.B) {
			for b.Loop() {
				m.Match("GET", "/none/none")
			}
			short := float64(b.Elapsed().Nanoseconds()) / float64(b.N)
			slowest := 0.0
			for _, path := range s.paths {
				const rounds = 50
				began := time.Now()
				for range rounds {
					m.Match("GET", path)
				}
				slowest = max(slowest, float64(time.Since(began).Nanoseconds())/rounds)
			}
			b.ReportMetric(slowest/1000, "µs/16KiB")
			b.ReportMetric(slowest/short, "16KiB/short")
		})
	}
}
