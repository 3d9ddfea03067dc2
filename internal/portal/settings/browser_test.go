package settings_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/latchkey-dev/latchkey/internal/portal/settings"
	"github.com/latchkey-dev/latchkey/internal/testing/browsertest"
)

// looks are the ways in which people see the pages. Where rules are named, the document
// and its style rules are those of a look before, and only they can find more.
var looks = []struct {
	name    string
	options browsertest.Options
	rules   []string
}{
	{name: "light"},
	{name: "dark", options: browsertest.Options{Dark: true}, rules: browsertest.Appearance},
	{name: "wide", options: browsertest.Options{Width: 1600}, rules: browsertest.Appearance},
	{name: "tablet", options: browsertest.Options{Width: 800, Dark: true}},
	{name: "phone", options: browsertest.Options{Width: 360}},
}

// viewed are all views, each at a path of its own.
func viewed() map[string]settings.View {
	views := map[string]settings.View{}
	for name, view := range everything() {
		views["GET /settings/view/"+name] = view
	}
	return views
}

func TestEveryLookIsAccessible(t *testing.T) {
	s := newSite(t, viewed())
	address := func(name string) string { return s.origin + "/settings/view/" + name }
	names := slices.Sorted(maps.Keys(everything()))
	check := func(t *testing.T, p *browsertest.Page, name, look string, rules []string) {
		t.Helper()
		if violations := p.Axe(rules...); len(violations) > 0 {
			t.Errorf("%s, %s: axe finds:\n%s", name, look, strings.Join(violations, "\n"))
		}
		p.WantNoSidewaysScrolling()
		p.Screenshot("settings-" + name + "-" + look)
	}
	t.Run("with script", func(t *testing.T) {
		p := browsertest.Open(t, address(names[0]), browsertest.Options{})
		for _, name := range names {
			p.Go(address(name))
			for _, look := range looks {
				p.Emulate(look.options)
				check(t, p, name, look.name, look.rules)
			}
		}
	})
	t.Run("plain", func(t *testing.T) {
		p := browsertest.Open(t, address(names[0]), browsertest.Options{NoScript: true})
		for _, name := range names {
			p.Go(address(name))
			check(t, p, name, "plain", nil)
		}
	})
}

// open opens one of everything.
func open(t *testing.T, name string, o browsertest.Options) *browsertest.Page {
	t.Helper()
	return browsertest.Open(t, newSite(t, viewed()).origin+"/settings/view/"+name, o)
}

const focused = `(e => e.id || e.dataset.copy || e.className || e.tagName)(document.activeElement)`

func TestTimesAreTheReaders(t *testing.T) {
	p := open(t, "token", browsertest.Options{TimeZone: "Asia/Tokyo"})
	for datetime, want := range map[string][2]string{
		// A moment, and a relative one, which stays as it is.
		"2027-01-14T10:30:00Z": {"14 Jan 2027, 19:30 GMT+9", "Thursday 14 January 2027 at 19:30:00 GMT+9, that is 2027-01-14 10:30:00 UTC"},
		"2026-11-25T14:05:00Z": {"25 minutes ago", "Wednesday 25 November 2026 at 23:05:00 GMT+9, that is 2026-11-25 14:05:00 UTC"},
	} {
		got := browsertest.Eval[[]string](p, `(e => [e.textContent, e.title])(document.querySelector("time[datetime='`+datetime+`']"))`)
		if got[0] != want[0] || strings.Replace(got[1], ",", "", strings.Count(got[1], ",")-1) != want[1] {
			t.Errorf("%s reads %q, titled %q, want %q", datetime, got[0], got[1], want)
		}
	}
	// A day is that of the reader, which may be another one.
	p = open(t, "create", browsertest.Options{TimeZone: "Pacific/Kiritimati"})
	if got := p.Text("label[for=lifetime-2] time"); got != "24 Feb 2027" {
		t.Errorf("90 days end on %s", got)
	}
}

// story is the way from the form to the token, with answers as a server would give.
func story(t *testing.T) *site {
	t.Helper()
	return newSite(t, map[string]settings.View{
		"GET /settings": list(), "GET /settings/tokens/new": create(), "POST /settings/tokens": reveal(),
		"GET /settings/tokens/nightly-export": token(exporter(), withPrevious),
	})
}

const tokensPage = `location.pathname === "/settings/tokens/nightly-export" && document.querySelector("#activity")`

// createToken goes from the list to the reveal, and counts clicks.
func createToken(p *browsertest.Page) (clicks int) {
	p.Submit(".head-actions .button-primary")
	p.Wait(`document.activeElement?.id === "name"`)
	p.Press("nightly-export")
	p.Click("label[for=scope-0]")
	p.Submit("form.form .button-primary")
	p.Wait(`document.querySelector("#plaintext")`)
	return 3
}

// watchClipboard takes down what the page copies.
func watchClipboard(p *browsertest.Page) {
	browsertest.Eval[bool](p, `(write => {
		navigator.clipboard.writeText = async text => { window.copied = text; await write(text); };
		return true;
	})(navigator.clipboard.writeText.bind(navigator.clipboard))`)
}

func TestATokenInFourClicks(t *testing.T) {
	s := story(t)
	p := browsertest.Open(t, s.origin+"/settings", browsertest.Options{})
	clicks := createToken(p)
	watchClipboard(p)
	p.Click("[data-copy=plaintext]")
	if clicks++; clicks > 4 {
		t.Errorf("%d clicks", clicks)
	}
	p.Wait(`document.querySelector("#announcement").textContent === "Copied"`)
	if got := browsertest.Eval[string](p, `window.copied`); got != plaintext {
		t.Errorf("copied is %q", got)
	}
	forms := s.forms()
	if len(forms) != 1 {
		t.Fatalf("%d forms were sent", len(forms))
	}
	got := settings.FormOf(forms[0].PostForm)
	if got.Name != "nightly-export" || !slices.Equal(got.Scopes, []string{"orders:read"}) || got.Lifetime != "2160h" || got.Owner != "ana@acme.example" {
		t.Errorf("sent was %+v", got)
	}
	// What http.CrossOriginProtection asks of a browser without Sec-Fetch-Site.
	if origin := forms[0].Header.Get("Origin"); origin != s.origin {
		t.Errorf("the form's Origin is %q, want %q", origin, s.origin)
	}
	// It is kept: nobody is asked.
	p.Click(".done .button")
	p.Wait(tokensPage)
	if dialogs := p.Dialogs(); len(dialogs) != 0 {
		t.Errorf("dialogs: %q", dialogs)
	}
}

// wantGone wants the token nowhere in the page.
func wantGone(t *testing.T, p *browsertest.Page, when string) {
	t.Helper()
	if strings.Contains(browsertest.Eval[string](p, `document.documentElement.outerHTML`), plaintext) {
		t.Errorf("%s shows the token", when)
	}
}

func TestATokenIsRevealedOnce(t *testing.T) {
	for name, leave := range map[string]func(*browsertest.Page){
		"reload": func(p *browsertest.Page) { p.Press(kb.Tab); p.Reload() },
		"done":   func(p *browsertest.Page) { p.Click(".done .button") },
	} {
		t.Run(name, func(t *testing.T) {
			s := story(t)
			p := browsertest.Open(t, s.origin+"/settings", browsertest.Options{})
			createToken(p)
			leave(p)
			p.Wait(tokensPage)
			wantGone(t, p, name)
			if got := p.Dialogs(); !slices.Equal(got, []string{"beforeunload"}) {
				t.Errorf("who leaves without a copy is asked %q", got)
			}
			p.Back()
			wantGone(t, p, "back")
			p.Forward()
			wantGone(t, p, "forward")
			if n := len(s.forms()); n != 1 {
				t.Errorf("the form was sent %d times", n)
			}
		})
	}
}

// The page's policy permits a download of what only the page knows.
func TestATokenIsDownloaded(t *testing.T) {
	s := story(t)
	p := browsertest.Open(t, s.origin+"/settings", browsertest.Options{})
	createToken(p)
	name, content := p.Download(func() { p.Click("[data-download]") })
	if name != "nightly-export-7Hq2LmX0aB.token" || string(content) != plaintext+"\n" {
		t.Errorf("%s has %q", name, content)
	}
	p.Wait(`document.querySelector("#announcement").textContent === "Downloaded"`)
	p.Click(".done .button")
	p.Wait(tokensPage)
	if dialogs := p.Dialogs(); len(dialogs) != 0 {
		t.Errorf("dialogs: %q", dialogs)
	}
	for _, r := range p.Requests() {
		if strings.Contains(fmt.Sprint(r.URL, r.Headers), plaintext) {
			t.Errorf("the token was sent to %s", r.URL)
		}
	}
}

// Nothing keeps the token: no storage, no history.
func TestATokenIsNotStored(t *testing.T) {
	p := open(t, "reveal", browsertest.Options{})
	kept := browsertest.Eval[string](p, `JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, history.state, document.title])`)
	if strings.Contains(kept, plaintext) || !strings.HasPrefix(kept, `[{},{},"",null,`) {
		t.Errorf("the page keeps %s", kept)
	}
	if got := browsertest.Eval[string](p, `location.pathname`); got != "/settings/tokens/nightly-export" {
		t.Errorf("the page's address is %s", got)
	}
}

// Where the clipboard is not to be had, the token is selected, and copying it by hand
// counts.
func TestCopyingByHand(t *testing.T) {
	s := story(t)
	p := browsertest.Open(t, s.origin+"/settings", browsertest.Options{})
	createToken(p)
	browsertest.Eval[bool](p, `(navigator.clipboard.writeText = () => Promise.reject(new Error("refused")), true)`)
	p.Click("[data-copy=plaintext]")
	p.Wait(`getSelection().toString() === "` + plaintext + `"`)
	p.Wait(`document.querySelector("#announcement").textContent.startsWith("Copying is not allowed here.")`)
	browsertest.Eval[bool](p, `document.execCommand("copy")`)
	p.Click(".done .button")
	p.Wait(tokensPage)
	if dialogs := p.Dialogs(); len(dialogs) != 0 {
		t.Errorf("dialogs: %q", dialogs)
	}
}

func TestCommandsAreCopied(t *testing.T) {
	for name, want := range map[string]string{"reveal": reveal().Curl, "token-waiting": "kubectl latchkey issue ci -n tenant-acme"} {
		p := open(t, name, browsertest.Options{})
		watchClipboard(p)
		p.Click(".code [data-copy]")
		p.Wait(`window.copied`)
		if got := browsertest.Eval[string](p, `window.copied`); got != want {
			t.Errorf("%s: copied is %q", name, got)
		}
	}
}

func TestFocusIsWhereItIsNeeded(t *testing.T) {
	s := newSite(t, viewed())
	for _, noScript := range []bool{false, true} {
		p := browsertest.Open(t, s.origin+"/settings/view/list", browsertest.Options{NoScript: noScript})
		for view, want := range map[string]string{
			"create": "name", "create-errors": "summary", "revoke": "name", "revoke-error": "name", "sign-in-token": "callout-problem", "list": "BODY", "reveal": "BODY",
		} {
			p.Go(s.origin + "/settings/view/" + view)
			p.Wait(`document.readyState === "complete"`)
			if got := browsertest.Eval[string](p, focused); !strings.Contains(got, want) {
				t.Errorf("%s, without script %t: the focus is on %q, want %q", view, noScript, got, want)
			}
		}
	}
}

func TestNoticesAreAnnounced(t *testing.T) {
	p := open(t, "token-revoked", browsertest.Options{})
	p.Wait(`document.querySelector("#announcement").textContent === "partner-shop is revoked."`)
}

func TestADateIsMeant(t *testing.T) {
	p := open(t, "create", browsertest.Options{})
	p.Do(chromedp.Focus("#expires-on"))
	p.Press("03042027")
	p.Wait(`document.querySelector("#expires-on").value !== "" && document.querySelector("#lifetime-custom").checked`)
}

// However often a button is pressed, a form is sent once; and again when the page is
// shown again.
func TestAFormIsSentOnce(t *testing.T) {
	p := open(t, "create", browsertest.Options{})
	sent := browsertest.Eval[[]int](p, `(form => {
		let sent = 0;
		form.addEventListener("submit", event => { if (!event.defaultPrevented) sent++; event.preventDefault(); });
		document.querySelector("#name").value = "x";
		form.requestSubmit(); form.requestSubmit();
		const first = sent;
		window.dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true }));
		form.requestSubmit();
		return [first, sent];
	})(document.querySelector("form.form"))`)
	if !slices.Equal(sent, []int{1, 2}) {
		t.Errorf("sent %v times, want once, and once more", sent)
	}
}

func TestTheAccountsMenuCloses(t *testing.T) {
	p := open(t, "list", browsertest.Options{})
	const shown = `document.querySelector(".account-menu .button").checkVisibility()`
	p.Click(".account summary")
	p.Wait(shown)
	p.WantAccessible()
	p.Screenshot("settings-menu")
	p.Press(kb.Escape)
	p.Wait("!" + shown)
	if !browsertest.Eval[bool](p, `document.activeElement === document.querySelector(".account summary")`) {
		t.Error("the focus is lost")
	}
	p.Click(".account summary")
	p.Wait(shown)
	p.Click("h1")
	p.Wait("!" + shown)
}

// On a phone the order is chosen from a list, and counts at once.
func TestTheOrderIsApplied(t *testing.T) {
	s := newSite(t, map[string]settings.View{"GET /settings": list()})
	p := browsertest.Open(t, s.origin+"/settings", browsertest.Options{Width: 360})
	browsertest.Eval[bool](p, `(e => { e.value = "-used"; return e.dispatchEvent(new Event("change", {bubbles: true})); })(document.querySelector("#sort"))`)
	p.Wait(`location.search === "?q=&sort=-used"`)
}

// A page that waits for a sign-in in another tab learns of it, and loses nothing.
func TestASignInInAnotherTab(t *testing.T) {
	views := viewed()
	views["GET /settings/sign-in"] = &settings.SignedIn{Common: common()}
	views["POST /settings/tokens"] = create()
	s := newSite(t, views)
	p := browsertest.Open(t, s.origin+"/settings/view/resume", browsertest.Options{})
	p.Click("#sign-in")
	p.Wait(`document.querySelector("#announcement").textContent === "You are signed in. Continue."`)
	p.Front()
	p.Wait(`document.activeElement === document.querySelector("#resume button")`)
	p.Click("#resume button")
	p.Wait(`document.title.startsWith("New token")`)
	forms := s.forms()
	if len(forms) != 1 || forms[0].PostForm.Encode() != "description=Copies+%22orders%22&name=nightly-export&resume=1&scope=orders%3Aread&scope=orders%3Awrite" {
		t.Errorf("%d forms: %v", len(forms), forms)
	}
}

// Whoever uses the keys sees where the focus is, and comes by everything.
func TestKeyboardOnly(t *testing.T) {
	for view, last := range map[string]string{"create": "Cancel", "list": "webhooks", "token": "Stop it now…", "reveal": "Done"} {
		p := open(t, view, browsertest.Options{})
		browsertest.Eval[any](p, `document.activeElement.blur()`)
		reached := false
		for range 60 {
			p.Press(kb.Tab)
			at := browsertest.Eval[[]string](p, `(e => { const s = getComputedStyle(e);
				return [e.innerText ?? "", s.outlineStyle + " " + s.outlineWidth, e.tagName + "#" + e.id] })(document.activeElement)`)
			if at[2] == "BODY#" {
				break
			}
			if strings.HasPrefix(at[1], "none") || strings.HasSuffix(at[1], " 0px") {
				t.Errorf("%s: the focus on %s %q is not seen: outline %s", view, at[2], at[0], at[1])
			}
			reached = reached || at[0] == last
		}
		if !reached {
			t.Errorf("%s: Tab does not reach %q", view, last)
		}
	}
}

// Without JavaScript everything that is seen works.
func TestWithoutJavaScript(t *testing.T) {
	p := open(t, "reveal", browsertest.Options{NoScript: true})
	if seen := p.Text("main"); !strings.Contains(seen, plaintext) || !strings.Contains(seen, "Select the whole token") || strings.Contains(seen, "Download") {
		t.Errorf("seen:\n%s", seen)
	}
	if got := p.Text(".facts time"); got != "23 Feb 2027, 14:30 UTC" {
		t.Errorf("it works until %s", got)
	}
	s := story(t)
	p = browsertest.Open(t, s.origin+"/settings", browsertest.Options{NoScript: true})
	createToken(p)
	p.Click(".done .button")
	p.Wait(tokensPage)
}

// The pictures that the guide shows.
func TestPictures(t *testing.T) {
	s := newSite(t, viewed())
	for name, c := range map[string]struct {
		view    string
		options browsertest.Options
	}{
		"settings":        {"list", browsertest.Options{}},
		"settings-create": {"create", browsertest.Options{}},
		"settings-reveal": {"reveal", browsertest.Options{}},
		"settings-token":  {"token", browsertest.Options{}},
		"settings-phone":  {"list", browsertest.Options{Width: 390, Dark: true}},
	} {
		c.options.TimeZone = "UTC"
		browsertest.Open(t, s.origin+"/settings/view/"+c.view, c.options).Picture(name)
	}
}
