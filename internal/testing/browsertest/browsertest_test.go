package browsertest_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/testing/browsertest"
)

func TestMain(m *testing.M) { os.Exit(browsertest.Main(m)) }

// serve serves a page under a strict policy.
func serve(t *testing.T, head, body string) (address string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'self'; img-src * data:")
		switch r.URL.Path {
		case "/page.js":
			w.Header().Set("Content-Type", "text/javascript")
			_, _ = io.WriteString(w, r.URL.Query().Get("do"))
		default:
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = fmt.Fprintf(w, `<!DOCTYPE html><html lang="en"><head><title>Page</title><link rel="icon" href="data:,">%s</head><body><main><h1>Page</h1>%s</main></body></html>`, head, body)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL + "/"
}

// Each fault that a test of a page relies on is found, and a page without one has none.
func TestFaults(t *testing.T) {
	elsewhere := serve(t, "", "")
	for name, c := range map[string]struct{ head, body, want string }{
		"none":                      {"", `<script src="/page.js"></script>`, ""},
		"a script in the page":      {"<script>document.title = 1</script>", "", "Content Security Policy"},
		"a style in the page":       {"", `<p style="color: red">Red</p>`, "Content Security Policy"},
		"an exception":              {`<script src="/page.js?do=throw+new+Error('broken')"></script>`, "", "broken"},
		"an error that it logs":     {`<script src="/page.js?do=console.error('broken')"></script>`, "", "broken"},
		"a request to another host": {"", `<img alt="" src="` + elsewhere + `">`, "a request to another origin: " + elsewhere},
	} {
		t.Run(name, func(t *testing.T) {
			p := browsertest.Open(t, serve(t, c.head, c.body), browsertest.Options{Tolerant: true})
			faults := strings.Join(p.Faults(), "\n")
			if c.want == "" && faults != "" || !strings.Contains(faults, c.want) {
				t.Errorf("faults: %q, want %q", faults, c.want)
			}
		})
	}
}

func TestAxe(t *testing.T) {
	for name, c := range map[string]struct{ body, want string }{
		"nothing":                {"<p>Plain</p>", ""},
		"a button without name":  {"<button></button>", "button-name"},
		"headings out of order":  {"<h4>Deep</h4>", "heading-order"},
		"targets that are small": {strings.Repeat("<button>x</button>", 5), "target-size"},
	} {
		t.Run(name, func(t *testing.T) {
			found := browsertest.Open(t, serve(t, "", c.body), browsertest.Options{}).Axe()
			if c.want == "" && len(found) > 0 || c.want != "" && !slices.ContainsFunc(found, func(f string) bool { return strings.HasPrefix(f, c.want+":") }) {
				t.Errorf("axe finds %q, want %q", found, c.want)
			}
		})
	}
}

// Rules that are named are the only ones, and exist.
func TestAxeByRules(t *testing.T) {
	body := "<h4>Deep</h4>" + strings.Repeat("<button>x</button>", 5)
	found := browsertest.Open(t, serve(t, "", body), browsertest.Options{}).Axe(browsertest.Appearance...)
	if len(found) == 0 {
		t.Error("axe does not find the small targets")
	}
	for _, f := range found {
		if !strings.HasPrefix(f, "target-size:") {
			t.Errorf("axe finds %s", f)
		}
	}
}

func TestOptions(t *testing.T) {
	address := serve(t, "", `<noscript>Without</noscript>`)
	const seen = `innerWidth + " " + matchMedia("(prefers-color-scheme: dark)").matches`
	if got := browsertest.Eval[string](browsertest.Open(t, address, browsertest.Options{}), seen); got != "1280 false" {
		t.Errorf("by default: %s", got)
	}
	if got := browsertest.Eval[string](browsertest.Open(t, address, browsertest.Options{Dark: true, Width: 360}), seen); !strings.HasSuffix(got, " true") {
		t.Errorf("dark: %s", got)
	}
	p := browsertest.Open(t, address, browsertest.Options{NoScript: true})
	if got := p.Text("main"); !strings.Contains(got, "Without") {
		t.Errorf("without JavaScript: %q", got)
	}
}

// A page goes on and back, its tabs have its cookies, and other profiles have not.
func TestNavigation(t *testing.T) {
	address := serve(t, "", `<meta name="viewport" content="width=device-width"><form action="/second"><button>Go</button></form>`)
	p := browsertest.Open(t, address, browsertest.Options{})
	browsertest.Eval[string](p, `document.cookie = "mine=1"`)
	if status := p.SubmitStatus("button"); status != http.StatusOK || p.Address() != address+"second?" {
		t.Errorf("the form leads to %s, with status %d", p.Address(), status)
	}
	p.Reload()
	p.Back()
	if p.Address() != address {
		t.Errorf("back leads to %s", p.Address())
	}
	p.Go(address + "third")
	p.Emulate(browsertest.Options{Width: 360, Dark: true})
	if got := browsertest.Eval[string](p, `innerWidth + " " + matchMedia("(prefers-color-scheme: dark)").matches`); got != "360 true" {
		t.Errorf("emulated: %s", got)
	}
	if got := browsertest.Eval[string](p.Tab(address), "document.cookie"); got != "mine=1" {
		t.Errorf("the tab has the cookies %q", got)
	}
	if got := browsertest.Eval[string](browsertest.Open(t, address, browsertest.Options{}), "document.cookie"); got != "" {
		t.Errorf("another profile has the cookies %q", got)
	}
}

func TestPicturesAreWritten(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("SCREENSHOTS", dir)
	t.Setenv("PICTURES", dir)
	p := browsertest.Open(t, serve(t, "", strings.Repeat("<p>Line</p>", 100)), browsertest.Options{})
	p.Screenshot("whole")
	p.Picture("window")
	whole, err := os.ReadFile(filepath.Join(dir, "whole.png"))
	if err != nil {
		t.Fatal(err)
	}
	window, err := os.ReadFile(filepath.Join(dir, "window.png"))
	if err != nil {
		t.Fatal(err)
	}
	for _, image := range [][]byte{whole, window} {
		if !strings.HasPrefix(string(image), "\x89PNG") {
			t.Error("not a PNG")
		}
	}
	if len(whole) <= len(window) {
		t.Errorf("the whole page has %d bytes, its window %d", len(whole), len(window))
	}
}
