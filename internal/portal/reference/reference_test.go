package reference_test

import (
	"bufio"
	"bytes"
	"crypto/sha512"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/portal/reference"
	"github.com/latchkey-dev/latchkey/internal/problem"
)

// call asks a Reference; headers are pairs.
func call(t *testing.T, r *reference.Reference, method, target string, headers ...string) *http.Response {
	t.Helper()
	request := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	if refused := r.Serve(w, request, host); refused != nil {
		refused.Write(w, problem.DefaultBase, host.Name)
	}
	return w.Result()
}

// pageOf is the page as it is sent.
func pageOf(t *testing.T, change ...func(*reference.Document)) string {
	t.Helper()
	response := call(t, newReference(t, change...), http.MethodGet, "/docs")
	content, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatal(response.Status, err)
	}
	return string(content)
}

// text is what a page says, without tags and with entities resolved.
func text(page string) string {
	page = regexp.MustCompile(`<[^>]*>`).ReplaceAllString(page, "")
	return strings.NewReplacer("&#34;", `"`, "&quot;", `"`, "&#39;", "'", "&#43;", "+", "&lt;", "<", "&gt;", ">", "&amp;", "&").Replace(page)
}

func paths(t *testing.T) []string {
	t.Helper()
	list, err := reference.Paths("/docs")
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// Nobody has to be known to read these, so the list is written out here.
func TestPaths(t *testing.T) {
	hash := regexp.MustCompile(`-[0-9a-f]{16}\.`)
	var got []string
	for _, p := range paths(t) {
		got = append(got, hash.ReplaceAllString(p, "-HASH."))
	}
	want := []string{
		"/docs", "/docs/assets/latchkey-HASH.css", "/docs/assets/reference-HASH.js",
		"/docs/assets/swagger-ui-HASH.css", "/docs/assets/swagger-ui-bundle-HASH.js", "/docs/assets/viewer-HASH.css",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestEveryPathIsServedWithProtection(t *testing.T) {
	r := newReference(t)
	for _, path := range paths(t) {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			response := call(t, r, method, path)
			if response.StatusCode != http.StatusOK {
				t.Errorf("%s %s: %s", method, path, response.Status)
			}
			for name, want := range map[string]string{
				"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
					"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
				"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
				"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
			} {
				if got := response.Header.Get(name); got != want {
					t.Errorf("%s %s: %s is %q, want %q", method, path, name, got, want)
				}
			}
		}
	}
}

// What is spelled otherwise than it is served is another path.
func TestOtherPathsAreNotFound(t *testing.T) {
	r := newReference(t)
	asset := paths(t)[1]
	for _, target := range []string{
		"/", "/docs/", "/docs//", "//docs", "/DOCS", "/docs.html", "/docs%2F", "/%64ocs", "/docs/index.html", "/docsx", "/docs;a=b", "/docs/.",
		"/docs/assets", "/docs/assets/", "/docs/assets/latchkey.css", "/docs/assets/swagger-ui-bundle.js", "/docs/assets/../assets/x.css",
		asset + "/", asset + "%20", strings.Replace(asset, "/assets/", "/assets//", 1), strings.Replace(asset, "latchkey", "%6catchkey", 1),
		strings.Replace(asset, "/docs", "", 1), strings.ToUpper(asset),
	} {
		if response := call(t, r, http.MethodGet, target); response.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s, want 404", target, response.Status)
		}
	}
}

func TestOtherMethodsAreRefused(t *testing.T) {
	r := newReference(t)
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions, "PROPFIND"} {
		for _, path := range paths(t)[:2] {
			response := call(t, r, method, path)
			if response.StatusCode != http.StatusMethodNotAllowed || response.Header.Get("Allow") != "GET, HEAD" {
				t.Errorf("%s %s: %s, Allow %q", method, path, response.Status, response.Header.Get("Allow"))
			}
		}
	}
}

// The page is asked for again with its tag, and is as new as the document.
func TestThePageIsRevalidated(t *testing.T) {
	r := newReference(t)
	response := call(t, r, http.MethodGet, "/docs")
	if got := response.Header.Get("Cache-Control"); got != "no-cache" {
		t.Errorf("Cache-Control is %q", got)
	}
	tag := response.Header.Get("ETag")
	if again := call(t, r, http.MethodGet, "/docs", "If-None-Match", tag); again.StatusCode != http.StatusNotModified {
		t.Errorf("with the tag: %s", again.Status)
	}
	changed := newReference(t, func(d *reference.Document) { d.Version = "2.0.0" })
	if again := call(t, changed, http.MethodGet, "/docs", "If-None-Match", tag); again.StatusCode != http.StatusOK {
		t.Errorf("with the tag of another document: %s", again.Status)
	}
}

// Each host is told its own name, however many there are and whoever asks at once.
func TestEveryHostHasItsOwnPage(t *testing.T) {
	r := newReference(t)
	var group sync.WaitGroup
	for i := range 300 {
		group.Go(func() {
			name := "tenant-" + strings.Repeat("x", i%200) + ".example.com"
			w := httptest.NewRecorder()
			if refused := r.Serve(w, httptest.NewRequest(http.MethodGet, "/docs", nil), reference.Host{Name: name, Origin: "https://" + name}); refused != nil {
				t.Error(refused)
			}
			if !strings.Contains(w.Body.String(), "https://"+name+"/api/v1/example_endpoint") {
				t.Errorf("the page of %s has not its URL", name)
			}
		})
	}
	group.Wait()
}

func TestQuickStart(t *testing.T) {
	const url = `https://acme.example.com/api/v1/example_endpoint`
	page := text(pageOf(t))
	for _, want := range []string{
		`curl -X GET "` + url + `" -H "Authorization: token YOUR_API_TOKEN"` + "\n",
		`"` + url + `",` + "\n" + `    headers={"Authorization": "token " + os.environ["API_TOKEN"]},`,
		`http.NewRequest("GET", "` + url + `", nil)`,
		`fetch("` + url + `", {`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has not %s", want)
		}
	}
}

func TestExampleOfTheQuickStart(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*reference.Document)
		want   string
	}{
		"the first GET without parameters that needs a token": {func(*reference.Document) {}, "GET \"https://acme.example.com/api/v1/example_endpoint\""},
		"the caller's choice": {func(d *reference.Document) {
			d.Example = &reference.Operation{Method: "POST", Path: "/api/v1/orders"}
		}, "POST \"https://acme.example.com/api/v1/orders\""},
		"no such operation": {func(d *reference.Document) { d.Operations = d.Operations[:2] }, "GET \"https://acme.example.com/api/v1\""},
		"nothing that a shell would expand": {func(d *reference.Document) {
			d.Example = &reference.Operation{Method: "GET", Path: "/api/v1/$(id)`id`\"x"}
		}, "GET \"https://acme.example.com/api/v1/\\$(id)\\`id\\`\\\"x\""},
	} {
		if page := text(pageOf(t, c.change)); !strings.Contains(page, "curl -X "+c.want+" -H ") {
			t.Errorf("%s: want %s", name, c.want)
		}
	}
}

func TestHowToGetAToken(t *testing.T) {
	if page := pageOf(t); !strings.Contains(page, `<a href="/settings">Settings</a>`) || strings.Contains(page, "Ask the administrator") {
		t.Error("with Settings: want a link there")
	}
	without := pageOf(t, func(d *reference.Document) { d.SettingsPath = "" })
	if strings.Contains(without, "/settings") || !strings.Contains(text(without), "Ask the administrator of your account on acme.example.com") {
		t.Error("without Settings: want the reader to be sent to the administrator")
	}
}

func TestWhatThePageTells(t *testing.T) {
	page := text(pageOf(t))
	for _, want := range []string{
		"90 days after it was made", "longer than 365 days", "the last 14 days only", "Latchkey-Token-Expires", "Latchkey-Token-Days-Left",
		"https://latchkey.dev/errors#token-expired", `WWW-Authenticate: token realm="acme.example.com"`, "A token is a password.",
		"API support", "api@example.com", "https://acme.example.com/api/v1", "orders:write", "Make, change and delete orders.",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	elsewhere := text(pageOf(t, func(d *reference.Document) {
		d.ProblemBase, d.DefaultLifetime, d.MaxLifetime, d.NoticeDays = "https://example.com/e#", 36*3600e9, 0, 0
	}))
	for _, want := range []string{"https://example.com/e#token-expired", "36 hours after it was made"} {
		if !strings.Contains(elsewhere, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	for _, unwanted := range []string{"No token lives longer", "0 days"} {
		if strings.Contains(elsewhere, unwanted) {
			t.Errorf("the page says %q", unwanted)
		}
	}
}

// Without JavaScript this is all there is.
func TestTheListOfOperationsIsComplete(t *testing.T) {
	page := pageOf(t)
	list := text(page[strings.Index(page, `id="operations"`):])
	last := -1
	for _, want := range []string{
		"Service", "GET /api/v1/status", "Tell whether the API works", "Needs no token.",
		"Orders", "GET /api/v1/orders/{id}", "Show an order", "Needs orders:read.",
		"GET /api/v1/orders\n", "Filters can be combined", "PUT /api/v1/orders/{id} deprecated", "DELETE /api/v1/orders/{id}",
		"Start here", "GET /api/v1/example_endpoint", "Needs a token, of any scope.",
	} {
		at := strings.Index(list, want)
		if at < 0 {
			t.Fatalf("the list has not %q:\n%s", want, list)
		}
		if at < last {
			t.Errorf("%q is not where its tag is:\n%s", want, list)
		}
		last = at
	}
	for _, link := range []string{`href="/api/v1/openapi.json"`, `href="/api/v1/openapi.yaml"`} {
		if !strings.Contains(page, link) {
			t.Errorf("no %s", link)
		}
	}
}

// The document is somebody else's: nothing in it may run, or reach another host.
func TestDocumentsCanNotHarm(t *testing.T) {
	const evil = "Text <script>alert(1)</script> <img src=x onerror=alert(1)> [a](javascript:alert(1)) ![seen](https://evil.example/pixel.png)\n\n# Heading\n\n</div>"
	page := pageOf(t, func(d *reference.Document) {
		d.Title, d.Version, d.Description = "<script>alert(2)</script>", `"><script>`, evil
		d.Contact = reference.Contact{Name: "<b>", URL: "javascript:alert(3)", Email: "a@b?<script>"}
		d.Scopes = []reference.Scope{{Name: "<script>", Description: "<script>"}}
		d.Operations = []reference.Operation{{Tag: "<script>", Method: "GET", Path: "/<script>", Summary: "<script>", Description: evil, Scopes: [][]string{{"<script>"}}}}
	})
	if n := strings.Count(page, "<script"); n != strings.Count(page, "<script src=\"/docs/assets/") || n != 2 {
		t.Errorf("%d scripts, want the page's own two", n)
	}
	for _, unwanted := range []string{"onerror", "javascript:", "<img", "<h1 id", "<b>", " style="} {
		if strings.Contains(page, unwanted) {
			t.Errorf("the page has %s", unwanted)
		}
	}
	if !strings.Contains(page, `<a href="https://evil.example/pixel.png">seen</a>`) || !strings.Contains(page, "<h3>Heading</h3>") {
		t.Error("want images as links, and headings below the page's own")
	}
}

func TestNewRefuses(t *testing.T) {
	for name, change := range map[string]func(*reference.Document){
		"no title":             func(d *reference.Document) { d.Title = "" },
		"no path of the page":  func(d *reference.Document) { d.DocsPath = "" },
		"a path with a slash":  func(d *reference.Document) { d.DocsPath = "/docs/" },
		"a path without slash": func(d *reference.Document) { d.BasePath = "api" },
		"no document":          func(d *reference.Document) { d.SpecPath = "" },
	} {
		if _, err := reference.New(document(change)); err == nil || !strings.Contains(err.Error(), "Document") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Whoever adds a problem tells readers what to do about it.
func TestEveryProblemHasItsAdvice(t *testing.T) {
	source, err := os.ReadFile("../../problem/problem.go")
	if err != nil {
		t.Fatal(err)
	}
	codes := regexp.MustCompile(`\bCode\w+ += "([a-z-]+)"`).FindAllStringSubmatch(string(source), -1)
	if len(codes) < 15 {
		t.Fatalf("found %d codes in problem.go: has their form changed?", len(codes))
	}
	page := pageOf(t)
	for _, code := range codes {
		if shown := strings.Contains(page, `<div id="`+code[1]+`">`); shown == (code[1] == problem.CodeClientGone) {
			t.Errorf("%s: shown is %v; all are but the one that nobody is sent", code[1], shown)
		}
	}
}

// What is committed of npm's packages is what npm had.
func TestFilesOfTheViewerAreAsTheyWereTaken(t *testing.T) {
	for _, folder := range []string{"swagger-ui", "../../testing/browsertest/axe"} {
		sums, err := os.ReadFile(filepath.Join(folder, "SHA512SUMS"))
		if err != nil {
			t.Fatal(err)
		}
		listed := []string{"SHA512SUMS"}
		for lines := bufio.NewScanner(bytes.NewReader(sums)); lines.Scan(); {
			want, name, _ := strings.Cut(lines.Text(), "  ")
			content, err := os.ReadFile(filepath.Join(folder, name))
			if err != nil {
				t.Fatal(err)
			}
			if sum := sha512.Sum512(content); hex.EncodeToString(sum[:]) != want {
				t.Errorf("%s/%s is not what SHA512SUMS names: run make docs-assets", folder, name)
			}
			listed = append(listed, name)
		}
		entries, err := os.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) != len(listed) || len(listed) < 4 {
			t.Errorf("%s has %d files, SHA512SUMS lists %q", folder, len(entries), listed)
		}
	}
}

// The lock file is read by everyone, and names no registry.
func TestTheLockFileNamesNoRegistry(t *testing.T) {
	lock, err := os.ReadFile("../../../hack/tools/swagger-ui/package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(lock), `"resolved"`) || strings.Contains(string(lock), "://") {
		t.Error("it has URLs: npm was run without the .npmrc beside it")
	}
	if strings.Count(string(lock), `"integrity": "sha512-`) != 3 {
		t.Error("want the SHA-512 of each of three packages")
	}
}

func FuzzDocument(f *testing.F) {
	f.Add("# Title\n\nText with `code`.", "/api/v1/orders")
	f.Add("<script>alert(1)</script>\n\n![x](https://example.com/x.png)", "/api/v1/\"><script>")
	f.Add("[a]: javascript:alert(1)\n\n[a] <javascript:alert(1)>", "/$(id)")
	f.Add("| a | b |\n|---|---|\n| <img src=x> | ![](y) |", "/'")
	f.Fuzz(func(t *testing.T, description, path string) {
		r, err := reference.New(document(func(d *reference.Document) {
			d.Description, d.Example = description, &reference.Operation{Method: "GET", Path: path, Description: description}
			d.Operations = []reference.Operation{*d.Example}
		}))
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		if refused := r.Serve(w, &http.Request{Method: http.MethodGet, URL: &url.URL{Path: "/docs"}}, host); refused != nil {
			t.Fatal(refused.Cause)
		}
		page := strings.ToLower(w.Body.String())
		if strings.Count(page, "<script") != 2 || strings.Contains(page, "<img") || strings.Contains(page, "=\"javascript:") {
			t.Errorf("the page has a script or an image of the document's")
		}
	})
}
