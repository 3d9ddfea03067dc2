package reference_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/latchkey-dev/latchkey/internal/testing/browsertest"
)

const (
	viewerShown = `!document.querySelector("#viewer").hidden && document.querySelectorAll("#viewer .opblock").length > 5`

	// Operations of the viewer.
	example    = `#viewer [id$="-get_api_v1_example_endpoint"]`
	listOrders = `#viewer [id$="-get_api_v1_orders"]`
	makeOrder  = `#viewer [id$="-post_api_v1_orders"]`
	status     = `#viewer [id$="-get_api_v1_status"]`
)

// looks are the ways in which people see the page. Where rules are named, the document and
// its style rules are those of the look before, and only they can find more.
var looks = []struct {
	name    string
	options browsertest.Options
	rules   []string
}{
	{name: "light"},
	{name: "dark", options: browsertest.Options{Dark: true}, rules: browsertest.Appearance},
	{name: "phone", options: browsertest.Options{Width: 360}},
}

// open opens the page and waits for the viewer.
func open(t *testing.T, s *site, o browsertest.Options) *browsertest.Page {
	t.Helper()
	p := browsertest.Open(t, s.docs, o)
	p.Wait(viewerShown)
	return p
}

// expand opens an operation of the viewer.
func expand(p *browsertest.Page, operation string) {
	p.Click(operation + " .opblock-summary-control")
	p.Wait("document.querySelector(`" + operation + ".is-open`)")
}

// prepare opens an operation and lets it be tried.
func prepare(p *browsertest.Page, operation string) {
	expand(p, operation)
	p.Click(operation + " .try-out__btn")
}

// execute calls an operation that was prepared, and waits for the status.
func execute(p *browsertest.Page, operation string, status int) {
	p.Click(operation + " .execute")
	p.Wait(fmt.Sprintf("document.querySelector(`%s .live-responses-table tbody .response-col_status`)?.innerText.startsWith(`%d`)", operation, status))
}

// enter puts a token into the page's field.
func enter(p *browsertest.Page, token string) {
	p.Click("#api-token-forget")
	p.Type("#api-token", token)
}

func TestEveryLookIsAccessible(t *testing.T) {
	p := open(t, newSite(t), browsertest.Options{})
	check := func(when string) {
		t.Helper()
		for _, look := range looks {
			p.Emulate(look.options)
			if violations := p.Axe(look.rules...); len(violations) > 0 {
				t.Errorf("%s%s: axe finds:\n%s", look.name, when, strings.Join(violations, "\n"))
			}
			p.WantNoSidewaysScrolling()
			p.Screenshot("docs-" + look.name + when)
		}
		p.Emulate(browsertest.Options{})
	}
	check("")
	expand(p, listOrders)
	p.Click("#viewer .models-control")
	prepare(p, makeOrder)
	check("-expanded")
	prepare(p, example)
	enter(p, goodToken)
	execute(p, example, 200)
	check("-tried")
	enter(p, "lk_wrong")
	execute(p, example, 401)
	check("-refused")
}

// What is seen first says how to begin.
func TestThePageInAWindow(t *testing.T) {
	p := open(t, newSite(t), browsertest.Options{})
	if below := browsertest.Eval[float64](p, `document.querySelector("#sample-curl").getBoundingClientRect().bottom - innerHeight`); below > 0 {
		t.Errorf("the first call is %.0f px below the window", below)
	}
	p.Picture("docs")
}

// Whoever has no JavaScript reads all of it.
func TestWithoutJavaScript(t *testing.T) {
	p := browsertest.Open(t, newSite(t).docs, browsertest.Options{NoScript: true})
	p.Screenshot("docs-noscript")
	seen := p.Text("body")
	for _, want := range []string{
		"Python", "JavaScript", `curl -X GET "https://acme.example.com/api/v1/example_endpoint"`,
		"/api/v1/orders/{id}", "Delete an order", "orders:write", "OpenAPI in JSON",
	} {
		if !strings.Contains(seen, want) {
			t.Errorf("not seen: %q", want)
		}
	}
	if strings.Contains(seen, "Your API token, to try") {
		t.Error("a field is seen that does nothing")
	}
	p.WantAccessible()
	p.WantNoSidewaysScrolling()
}

// A document that can't be read leaves the plain list where it is, and says so.
func TestWithoutTheDocument(t *testing.T) {
	s := newSite(t)
	s.spec = ""
	p := browsertest.Open(t, s.docs, browsertest.Options{})
	p.Wait(`document.querySelector("#viewer-status").innerText.includes("answered with 503")`)
	if !strings.Contains(p.Text("#operations"), "Delete an order") {
		t.Error("the plain list is gone")
	}
}

func TestATokenIsSentToThisHost(t *testing.T) {
	s := newSite(t)
	p := open(t, s, browsertest.Options{})
	browsertest.Eval[any](p, `document.cookie = "session=of-the-product"`)
	prepare(p, example)
	enter(p, goodToken)
	execute(p, example, 200)
	call := s.lastCall(t)
	if got := call.Header.Values("Authorization"); len(got) != 1 || got[0] != "token "+goodToken {
		t.Errorf("Authorization is %d values", len(got))
	}
	if len(call.Cookies()) != 0 {
		t.Errorf("cookies went along: %v", call.Cookies())
	}
	browsertest.Eval[any](p, `document.querySelector("#reference").scrollIntoView({behavior: "instant"})`)
	p.Picture("docs-try")
	seen := p.Text("#viewer")
	if !strings.Contains(seen, "'Authorization: token YOUR_API_TOKEN'") || !strings.Contains(seen, `"tenant": "acme"`) {
		t.Errorf("want the answer, and a curl line with a stand-in:\n%s", seen)
	}
	if strings.Contains(browsertest.Eval[string](p, `document.documentElement.outerHTML`), goodToken) {
		t.Error("the token stands in the page, where screenshots and extensions read it")
	}
}

func TestAWrongTokenIsExplained(t *testing.T) {
	s := newSite(t)
	p := open(t, s, browsertest.Options{})
	prepare(p, example)
	for _, c := range []struct{ token, title, detail string }{
		{"lk_wrong", "The API token is not valid", "Check that it was copied whole"},
		{"", "No API token was sent", "Send the header"},
	} {
		enter(p, c.token)
		execute(p, example, 401)
		p.Wait(fmt.Sprintf(`document.querySelector("[role=alert]")?.innerText.startsWith(%q)`, c.title))
		if got := p.Text("#viewer [role=alert]"); !strings.Contains(got, c.detail) {
			t.Errorf("%q: the advice is %q, want %q", c.token, got, c.detail)
		}
	}
	enter(p, goodToken)
	execute(p, example, 200)
	p.Wait(`!document.querySelector("#viewer [role=alert]")`)
}

// An operation that needs no token gets none.
func TestPublicOperationsGetNoToken(t *testing.T) {
	s := newSite(t)
	p := open(t, s, browsertest.Options{})
	enter(p, goodToken)
	prepare(p, status)
	execute(p, status, 200)
	if got := s.lastCall(t).Header.Get("Authorization"); got != "" {
		t.Error("the token was sent")
	}
	if got := p.Text(status + " .needs"); got != "Needs no token." {
		t.Errorf("the operation says %q", got)
	}
}

// The document says where its servers are: not even then does a token go elsewhere.
// The Content-Security-Policy then stops the call itself, for which Chromium logs
// an error.
func TestATokenIsNotSentToAnotherHost(t *testing.T) {
	s, other := newSite(t), newSite(t)
	s.spec = strings.Replace(spec, `"servers": [{ "url": "/" }]`, `"servers": [{ "url": "`+other.URL+`" }]`, 1)
	p := browsertest.Open(t, s.docs, browsertest.Options{Tolerant: true})
	p.Wait(viewerShown)
	enter(p, goodToken)
	prepare(p, example)
	p.Click(example + " .execute")
	p.Wait(`document.querySelector("#viewer .live-responses-table")?.innerText.includes("Failed to fetch")`)
	for _, r := range p.Requests() {
		if !strings.HasPrefix(r.URL, strings.TrimSuffix(s.docs, "/docs")) && strings.Contains(fmt.Sprint(r.Headers), goodToken) {
			t.Errorf("sent to %s", r.URL)
		}
	}
	if other.count() != 0 {
		t.Error("the other host was called")
	}
}

// The token is in memory alone: nothing stores it, and a reload ends it.
func TestATokenIsForgotten(t *testing.T) {
	s := newSite(t)
	p := open(t, s, browsertest.Options{})
	enter(p, goodToken)
	prepare(p, example)
	execute(p, example, 200)
	kept := browsertest.Eval[string](p, `JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href, history.state])`)
	if kept != `[{},{},"",`+fmt.Sprintf("%q", s.docs)+`,null]` {
		t.Errorf("the page keeps %s", kept)
	}
	if databases := browsertest.Eval[int](p, `indexedDB.databases().then(d => d.length)`); databases != 0 {
		t.Errorf("the page has %d databases", databases)
	}
	p.Do(chromedp.Reload())
	p.Wait(viewerShown)
	prepare(p, example)
	execute(p, example, 401)
	if got := browsertest.Eval[string](p, `document.querySelector("#api-token").value`); got != "" {
		t.Error("the field is filled in again")
	}
	if got := s.lastCall(t).Header.Get("Authorization"); got != "" {
		t.Error("the token was sent after a reload")
	}
	enter(p, goodToken)
	p.Click("#api-token-forget")
	execute(p, example, 401)
}

// Whoever looks over a shoulder sees dots, until the reader asks for the token.
func TestATokenIsShownOnDemand(t *testing.T) {
	p := open(t, newSite(t), browsertest.Options{})
	kind := func() string {
		return browsertest.Eval[string](p, `document.querySelector("#api-token").type + " " + document.querySelector("#api-token-show").getAttribute("aria-pressed")`)
	}
	if got := kind(); got != "password false" {
		t.Errorf("at first: %s", got)
	}
	p.Click("#api-token-show")
	if got := kind(); got != "text true" {
		t.Errorf("shown: %s", got)
	}
	p.Click("#api-token-show")
	if got := kind(); got != "password false" {
		t.Errorf("hidden again: %s", got)
	}
}

// focused describes what has the focus, and wants it to be seen.
func focused(t *testing.T, p *browsertest.Page) string {
	t.Helper()
	t.Helper()
	what := browsertest.Eval[[]string](p, `(() => { const e = document.activeElement, s = getComputedStyle(e);
		return [e.id || e.className || e.tagName, s.outlineStyle + " " + s.outlineWidth] })()`)
	if strings.HasPrefix(what[1], "none") || strings.HasSuffix(what[1], " 0px") {
		t.Errorf("the focus on %s is not seen: outline %s", what[0], what[1])
	}
	return what[0]
}

// From the top of the page to an answer of the API, without a pointer.
func TestKeyboardOnly(t *testing.T) {
	s := newSite(t)
	p := open(t, s, browsertest.Options{})
	tabTo := func(part string) {
		t.Helper()
		for range 80 {
			p.Press(kb.Tab)
			switch got := focused(t, p); {
			case strings.Contains(got, part):
				return
			case got == "BODY":
				t.Fatalf("Tab goes past %s", part)
			}
		}
		t.Fatalf("Tab does not reach %s", part)
	}
	p.Press(kb.Tab)
	if got := focused(t, p); got != "skip" {
		t.Errorf("the first stop is %q, want the link past the navigation", got)
	}
	p.Press(kb.Enter)
	tabTo("sample-curl-tab")
	p.Press(kb.ArrowRight)
	if got := focused(t, p); got != "sample-python-tab" || !strings.Contains(p.Text("#sample-python"), "import requests") {
		t.Errorf("an arrow leads to %q", got)
	}
	p.Press(kb.End)
	if got := focused(t, p); got != "sample-javascript-tab" {
		t.Errorf("End leads to %q", got)
	}
	tabTo("api-token")
	p.Press(goodToken)
	tabTo("opblock-summary-control")
	p.Press(kb.Enter)
	p.Wait("document.querySelector(`" + example + " .try-out__btn`)")
	tabTo("try-out__btn")
	p.Press(kb.Enter)
	p.Wait("document.querySelector(`" + example + " .execute`)")
	tabTo("execute")
	p.Press(kb.Enter)
	p.Wait("document.querySelector(`" + example + " .live-responses-table`)?.innerText.includes(`acme`)")
	if got := s.lastCall(t).Header.Get("Authorization"); got != "token "+goodToken {
		t.Error("the token was not sent")
	}
}

// A link from a problem's type leads to its advice, also where that is folded away.
func TestALinkToAProblemShowsIt(t *testing.T) {
	p := browsertest.Open(t, newSite(t).docs+"#not-confirmed", browsertest.Options{})
	p.Wait(`document.querySelector("#not-confirmed").checkVisibility()`)
}
