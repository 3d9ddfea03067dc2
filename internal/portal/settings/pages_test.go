package settings_test

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/latchkey-dev/latchkey/internal/portal/settings"
)

// wantSaid wants a page to say all of some texts.
func wantSaid(t *testing.T, d *document, texts ...string) {
	t.Helper()
	said := d.text()
	for _, want := range texts {
		if !strings.Contains(said, want) {
			t.Errorf("not said: %q in\n%s", want, said)
		}
	}
}

func wantUnsaid(t *testing.T, d *document, texts ...string) {
	t.Helper()
	said := d.text()
	for _, unwanted := range texts {
		if strings.Contains(said, unwanted) {
			t.Errorf("said: %q in\n%s", unwanted, said)
		}
	}
}

// linked says whether a page links to a path.
func linked(d *document, path string) bool { return len(d.with("a", "href", path)) > 0 }

func TestTitlesSayTheState(t *testing.T) {
	views := everything()
	for name, want := range map[string]string{
		"list": "API tokens", "list-many": "API tokens, page 3 of 101", "list-empty": "No API tokens yet", "list-nothing": "Expiring soon: API tokens",
		"create": "New token", "create-errors": "Error: New token", "reveal": "Copy your token now: nightly-export",
		"token": "nightly-export: Active", "token-expired": "old-integration: Expired", "token-waiting": "ci: Not issued yet",
		"rotate": "Rotate nightly-export", "rotate-again": "Error: Rotate nightly-export", "regenerate": "Regenerate old-integration", "issue": "Issue ci",
		"revoke": "Revoke nightly-export", "revoke-error": "Error: Revoke nightly-export", "sign-in": "Sign in", "sign-in-token": "Error: Sign in",
		"sign-in-oidc": "Confirm that it is you", "failure": "You may not create tokens", "resume": "Sign in again to go on", "signed-out": "Signed out",
	} {
		if got := render(t, views[name]).title(); got != want+" · Orders API on acme.example.com" {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestTheListShowsEveryToken(t *testing.T) {
	d := render(t, list())
	body := below(d.named("tbody")[0], "tr")
	want := map[string]string{
		"billing-sync":    "billing-sync Id Q3vd81KsPz Sends paid orders to bookkeeping | Expires soon | 3 days left 28 Nov 2026 | 3 hours ago | ana@acme.example | 16 Oct 2026 | orders:read invoices:write",
		"ci":              "ci Deploys from the main branch | Not issued yet | Not issued yet | – | ana@acme.example | 16 Oct 2026 | orders:write",
		"dashboard":       "dashboard Id pL0sWn44Tr | Active | 78 days left 11 Feb 2027 | Never | sam@acme.example | 13 Nov 2026 | orders:read",
		"nightly-export":  "nightly-export Id 7Hq2LmX0aB Copies new orders into the warehouse every night | Active | 50 days left 14 Jan 2027 | 3 hours ago | ana@acme.example | 16 Oct 2026 | orders:read customers:read and 1 more",
		"old-integration": "old-integration Id Aa19Bb28Cc | Expired | 35 days ago 21 Oct 2026 | 36 days ago | No owner | 21 Oct 2025 | orders:read orders:write",
		"partner-shop":    "partner-shop Id u7Yt65Re4W Lost laptop, 20 November | Revoked | No longer works 27 Aug 2027 | 5 days ago | partners@acme.example | 27 Aug 2026 | orders:read",
		"webhooks":        "webhooks Id Kk2Jj3Hh4G Copies new orders into the warehouse every night | Suspended | 50 days left 14 Jan 2027 | Not recorded | ana@acme.example | 16 Oct 2026 | orders:read customers:read and 1 more",
	}
	seen := map[string]string{}
	for _, tr := range body {
		var cells []string
		for cell := range tr.ChildNodes() {
			if cell.Type == html.ElementNode {
				cells = append(cells, text(cell))
			}
		}
		seen[strings.Fields(cells[0])[0]] = strings.Join(cells, " | ")
	}
	for name, row := range want {
		if seen[name] != row {
			t.Errorf("%s:\ngot  %s\nwant %s", name, seen[name], row)
		}
		if !linked(d, "/settings/tokens/"+name) {
			t.Errorf("no link to %s", name)
		}
	}
	if len(body) != 9 {
		t.Errorf("%d rows", len(body))
	}
}

// The last day is told in hours.
func TestTheLastDay(t *testing.T) {
	for d, want := range map[string]settings.Row{
		"5 hours left":            {ExpiresAt: at(5*3600e9 + 1), DaysLeft: 1},
		"less than a minute left": {ExpiresAt: at(59e9), DaysLeft: 1},
		"just now":                {ExpiresAt: now, State: settings.Expired},
	} {
		l := list()
		want.Name, want.ID = "x", "y"
		l.Rows = []settings.Row{want}
		wantSaid(t, render(t, l), d)
	}
}

// Filters, orders and pages keep what else was asked for.
func TestTheListsLinks(t *testing.T) {
	l := many()
	l.Query, l.Show, l.Sort = "a&b", settings.ShowIdle, "-"+settings.SortUsed
	d := render(t, l)
	for _, path := range []string{
		"/settings?q=a%26b&sort=-used",                  // all of them
		"/settings?q=a%26b&show=mine&sort=-used",        // another filter
		"/settings?q=a%26b&show=idle",                   // by name
		"/settings?q=a%26b&show=idle&sort=used",         // the other way around
		"/settings?page=2&q=a%26b&show=idle&sort=-used", // the page before
		"/settings?page=4&q=a%26b&show=idle&sort=-used", // the next one
		"/settings/tokens/new", "/settings", "/docs",
	} {
		if !linked(d, path) {
			t.Errorf("no link to %s", path)
		}
	}
	sorted := d.with("th", "aria-sort", "descending")
	if len(sorted) != 1 || text(sorted[0]) != "Last used" {
		t.Errorf("%d columns say that they are sorted by", len(sorted))
	}
	chosen := d.with("a", "aria-current", "true")
	if len(chosen) != 1 || text(chosen[0]) != "Idle for 90 days 1,204" {
		t.Errorf("%d filters say that they are chosen", len(chosen))
	}
	search := d.one("form", "role", "search")
	sent := url.Values{}
	for _, n := range append(below(search, "input"), below(search, "option")...) {
		if n.Data == "input" || has(n, "selected") {
			name := attribute(n, "name")
			if n.Data == "option" {
				name = "sort"
			}
			sent.Set(name, attribute(n, "value"))
		}
	}
	if got := sent.Encode(); got != "q=a%26b&show=idle&sort=-used" {
		t.Errorf("a search sends %s", got)
	}
	wantSaid(t, d, "101–150 of 5,031 tokens", "Page 3 of 101")
}

// Every order that the list knows can be kept by a search.
func TestEveryOrderCanBeChosen(t *testing.T) {
	d := render(t, list())
	offered := map[string]bool{}
	for _, n := range below(d.one("select", "id", "sort"), "option") {
		offered[attribute(n, "value")] = true
	}
	for _, sort := range settings.Sorts() {
		for _, order := range []string{sort, "-" + sort} {
			if !offered[order] {
				t.Errorf("%s is not offered: a search would forget it", order)
			}
		}
	}
}

func TestFirstAndLastPage(t *testing.T) {
	for page, want := range map[int][2]bool{1: {false, true}, 2: {true, true}, 3: {true, false}} {
		l := list()
		l.Page, l.Pages, l.Total, l.Matching = page, 3, 27, 27
		d := render(t, l)
		if got := [2]bool{len(d.with("a", "rel", "prev")) == 1, len(d.with("a", "rel", "next")) == 1}; got != want {
			t.Errorf("page %d: previous and next are %t, want %t", page, got, want)
		}
	}
	l := list()
	l.Rows, l.Page, l.Pages, l.Total, l.Matching = l.Rows[:4], 3, 3, 104, 104
	wantSaid(t, render(t, l), "101–104 of 104 tokens")
}

func TestWhatAnEmptyListSays(t *testing.T) {
	views := everything()
	d := render(t, views["list-empty"])
	wantSaid(t, d, "No tokens yet", "It is a password that you can take back", `curl -X GET "https://acme.example.com/api/v1/token"`, "Authorization: token YOUR_API_TOKEN")
	if !linked(d, "/settings/tokens/new") || len(d.named("table")) != 0 || len(d.named("input")) != 0 {
		t.Error("want a link to create one, and neither a table nor a search")
	}
	viewer := render(t, views["list-empty-viewer"])
	wantSaid(t, viewer, "Ask an administrator")
	if linked(viewer, "/settings/tokens/new") {
		t.Error("who may not create is offered to")
	}
	nothing := render(t, views["list-nothing"])
	wantSaid(t, nothing, "Nothing matches", "No token under “Expiring soon” has lable in its name")
	if !linked(nothing, "/settings?show=expiring") || !linked(nothing, "/settings?q=lable") {
		t.Error("want ways out: without the search, and without the filter")
	}
	for _, show := range settings.Shows()[1:] {
		l := list()
		l.Rows, l.Show = nil, show
		said := render(t, l).text()
		if !strings.Contains(said, "No token expires") && !strings.Contains(said, "Every token") && !strings.Contains(said, "You own no token") {
			t.Errorf("%s: nothing is said of why: %s", show, said)
		}
	}
}

func TestTheFormIsFilledInAgain(t *testing.T) {
	d := render(t, wrong())
	for id, want := range map[string]string{"name": "Nightly Export", "description": "Copies orders", "owner": "ana@acme.example", "expires-on": "2031-01-01"} {
		if got := attribute(d.one("input", "id", id), "value"); got != want {
			t.Errorf("%s is %q, want %q", id, got, want)
		}
	}
	if got := d.one("textarea", "id", "addresses").FirstChild.Data; got != "192.0.2.0/24\n10.0.0.300" {
		t.Errorf("addresses are %q", got)
	}
	var checked []string
	for _, n := range d.all(func(n *html.Node) bool { return has(n, "checked") }) {
		checked = append(checked, attribute(n, "value"))
	}
	if want := []string{"orders:read", "orders:erase", "custom"}; !slices.Equal(checked, want) {
		t.Errorf("checked are %q, want %q", checked, want)
	}
}

// Errors stand in a summary that has the focus, and beside their fields.
func TestErrorsOfTheForm(t *testing.T) {
	c := wrong()
	d := render(t, c)
	summary := d.one("div", "role", "alert")
	if !has(summary, "autofocus") {
		t.Error("the summary does not get the focus")
	}
	links := below(summary, "a")
	var said []string
	for _, a := range links {
		said = append(said, attribute(a, "href")+" "+text(a))
	}
	want := []string{"#name " + c.Errors["name"], "#scope-0 " + c.Errors["scope"], "#expires-on " + c.Errors["expires-on"], "#addresses " + c.Errors["addresses"]}
	if !slices.Equal(said, want) {
		t.Errorf("the summary says %q, want %q", said, want)
	}
	for field, message := range c.Errors {
		if got := text(d.one("p", "id", field+"-error")); got != "Error: "+message {
			t.Errorf("beside %s: %q", field, got)
		}
		described := d.all(func(n *html.Node) bool {
			return slices.Contains(strings.Fields(attribute(n, "aria-describedby")), field+"-error")
		})
		if len(described) != 1 {
			t.Errorf("%d fields are described by the error of %s", len(described), field)
		}
	}
	for _, id := range []string{"name", "expires-on"} {
		if attribute(d.one("input", "id", id), "aria-invalid") != "true" {
			t.Errorf("%s does not count as invalid", id)
		}
	}
	if has(d.one("input", "id", "name"), "autofocus") {
		t.Error("two elements want the focus")
	}
}

func TestAProblemOfNoField(t *testing.T) {
	c := create()
	c.Problem = "The tenant has 100 tokens, which is as many as it may have."
	wantSaid(t, render(t, c), "The token was not created", c.Problem)
}

// From the list to a token it is four clicks: New token, a scope, Create, Copy. So the
// name has the focus, a lifetime is chosen, and nothing else is required.
func TestFourClicks(t *testing.T) {
	if !linked(render(t, list()), "/settings/tokens/new") {
		t.Error("the list has no link to the form")
	}
	d := render(t, create())
	if !has(d.one("input", "id", "name"), "autofocus") {
		t.Error("the name has to be clicked on")
	}
	if got := d.with("input", "value", "2160h"); len(got) != 1 || !has(got[0], "checked") {
		t.Error("no lifetime is chosen")
	}
	required := d.all(func(n *html.Node) bool { return has(n, "required") })
	if len(required) != 1 || attribute(required[0], "name") != "name" {
		t.Errorf("%d fields are required, want the name alone", len(required))
	}
	form := d.one("form", "action", "/settings/tokens")
	if attribute(form, "method") != "post" || len(below(form, "button")) != 1 {
		t.Error("want one button that creates it")
	}
}

func TestTheFormOffersWhatThePolicyPermits(t *testing.T) {
	d := render(t, create())
	wantSaid(t, d, "90 days until 23 Feb 2027", "At most 365 days from now", "See orders.", "192.0.2.0/24")
	date := d.one("input", "id", "expires-on")
	if attribute(date, "min") != "2026-11-26" || attribute(date, "max") != "2027-11-25" {
		t.Errorf("dates from %s to %s", attribute(date, "min"), attribute(date, "max"))
	}
	c := create()
	c.Scopes, c.MaxLifetime = nil, 0
	d = render(t, c)
	wantSaid(t, d, "This API knows no scopes")
	if has(d.one("input", "id", "expires-on"), "max") {
		t.Error("there is a last date without a longest lifetime")
	}
}

// The form reads back what it sends.
func TestFormOf(t *testing.T) {
	d := render(t, wrong())
	sent := url.Values{}
	for _, n := range below(d.one("form", "action", "/settings/tokens"), "input") {
		if kind := attribute(n, "type"); kind != "checkbox" && kind != "radio" || has(n, "checked") {
			sent.Add(attribute(n, "name"), attribute(n, "value"))
		}
	}
	area := d.named("textarea")[0]
	sent.Add(attribute(area, "name"), text(area))
	want := wrong().Form
	want.Addresses = strings.ReplaceAll(want.Addresses, "\n", " ")
	got := settings.FormOf(sent)
	if got.Name != want.Name || got.Description != want.Description || got.Owner != want.Owner || got.Lifetime != want.Lifetime ||
		got.ExpiresOn != want.ExpiresOn || got.Addresses != want.Addresses || !slices.Equal(got.Scopes, want.Scopes) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestTheReveal(t *testing.T) {
	d := render(t, reveal())
	wantSaid(t, d, "Copy it now", "This is the only time", plaintext, "A token is a password", reveal().Curl, "23 Feb 2027, 14:30 UTC")
	wantUnsaid(t, d, "Previous token", "Not active yet")
	if !linked(d, "/settings/tokens/nightly-export") {
		t.Error("no way on")
	}
	secrets := d.all(func(n *html.Node) bool { return has(n, "data-secret") })
	for n := range d.root.Descendants() {
		if n.Type == html.TextNode && strings.Contains(n.Data, plaintext) && !slices.Contains(secrets, n.Parent) {
			t.Errorf("the token stands in a <%s>, where it stays when the page is left", n.Parent.Data)
		}
		for _, a := range n.Attr {
			if strings.Contains(a.Val, plaintext) {
				t.Errorf("the token stands in an attribute %s", a.Key)
			}
		}
	}
	for _, n := range d.named("button") {
		if has(n, "data-copy") && !has(n, "hidden") {
			t.Error("a button is seen that does nothing without JavaScript")
		}
	}
	wantSaid(t, render(t, rotated()), "New credential of nightly-export", "works until 26 Nov 2026, 14:30 UTC", "Not active yet")
	r := rotated()
	r.PreviousWorksUntil = nil
	wantSaid(t, render(t, r), "no longer works")
}

// What can be done with a token depends on its state and on who looks.
func TestWhatCanBeDone(t *testing.T) {
	for state, want := range map[settings.State][2]string{
		settings.Active: {"Rotate", "Revoke"}, settings.ExpiringSoon: {"Rotate", "Revoke"}, settings.Expired: {"Regenerate", "Revoke"},
		settings.Revoked: {"", ""}, settings.Waiting: {"Issue", "Revoke"}, settings.Refused: {"Issue", "Revoke"}, settings.Suspended: {"Rotate", "Revoke"},
	} {
		for _, may := range []bool{true, false} {
			view := token(in(state, nil))
			view.CanRotate, view.CanRevoke = may, may
			d := render(t, view)
			for i, path := range []string{"/settings/tokens/nightly-export/rotate", "/settings/tokens/nightly-export/revoke"} {
				found := d.with("a", "href", path)
				switch {
				case want[i] == "" || !may:
					if len(found) != 0 {
						t.Errorf("state %d, may %t: there is a link to %s", state, may, path)
					}
				case len(found) != 1 || text(found[0]) != want[i]:
					t.Errorf("state %d: want one link %s", state, want[i])
				}
			}
		}
	}
}

func TestATokensPage(t *testing.T) {
	views := everything()
	d := render(t, views["token"])
	wantSaid(t, d, "7Hq2LmX0aB", "14 Jan 2027, 10:30 UTC (50 days left)", "192.0.2.0/24", "The previous one works for 1 day more",
		"0oldCred77 still works, until 26 Nov 2026, 10:30 UTC", "Still used Last 25 minutes ago", "Rotated by sam@acme.example", "Last used", "Previous token stops working", "Expires")
	drop := d.one("form", "action", "/settings/tokens/nightly-export/drop-previous")
	if hidden := below(drop, "input"); len(hidden) != 1 || attribute(hidden[0], "name") != settings.FieldCredential || attribute(hidden[0], "value") != "0oldCred77" {
		t.Error("the form does not say which credential it drops")
	}
	wantSaid(t, render(t, views["token-waiting"]), "Nobody has this token yet.", "kubectl latchkey issue ci -n tenant-acme", "Its lifetime begins when it is issued", "Any address")
	wantSaid(t, render(t, views["token-refused"]), "It was refused. lifetime 8760h is longer than the policy's 2160h.")
	wantSaid(t, render(t, views["token-revoked"]), "partner-shop is revoked.", "It is revoked, for good.", "Revoked by ana@acme.example")
	wantSaid(t, render(t, views["token-suspended"]), "Not recorded", "Your account is suspended")
	stalled := exporter()
	stalled.StateDetail = "Its new credential was refused."
	wantSaid(t, render(t, token(stalled)), "Something is to be mended. Its new credential was refused.")
	quiet := token(exporter(), withPrevious)
	quiet.Previous.UsedSinceRotation, quiet.CanRotate, quiet.Activity = false, false, nil
	d = render(t, quiet)
	wantSaid(t, d, "Not used since", "Nothing is known yet.")
	if len(d.with("form", "action", "/settings/tokens/nightly-export/drop-previous")) != 0 {
		t.Error("who may not rotate is offered to drop")
	}
}

func TestRotateAndRevokeSayWhatTheyDo(t *testing.T) {
	views := everything()
	for name, want := range map[string][]string{
		"rotate":       {"It was last used 3 hours ago", "1 day until 26 Nov 2026, 14:30 UTC", "The new token works until 23 Feb 2027, 14:30 UTC", "Rotate and show the token"},
		"rotate-again": {"Choose one of the times below.", "Rotating again stops it at once", "Not used since"},
		"regenerate":   {"The old one does not work any more", "Regenerate and show the token"},
		"issue":        {"nobody has it yet", "Issue and show the token"},
		"revoke":       {"Every call with this token fails from the moment", "Type nightly-export to confirm", "3 hours ago"},
		"revoke-error": {"That is not the token’s name"},
	} {
		wantSaid(t, render(t, views[name]), want...)
	}
	for name, credential := range map[string]string{"rotate": "7Hq2LmX0aB", "issue": "", "regenerate": "Aa19Bb28Cc"} {
		if got := attribute(render(t, views[name]).one("input", "name", settings.FieldCredential), "value"); got != credential {
			t.Errorf("%s replaces %q, want %q", name, got, credential)
		}
	}
	if got := attribute(render(t, views["revoke-error"]).one("input", "id", "name"), "value"); got != "nightly" {
		t.Errorf("what was typed is %q", got)
	}
	if len(render(t, views["issue"]).with("input", "name", settings.FieldOverlap)) != 0 {
		t.Error("an overlap is asked for where nothing is replaced")
	}
}

func TestSigningIn(t *testing.T) {
	views := everything()
	d := render(t, views["sign-in"])
	wantSaid(t, d, "kubectl latchkey settings", "Sign in with your account")
	if !linked(d, "/settings/sign-in/oidc") || len(d.with("form", "action", "/settings/sign-in/token")) != 1 {
		t.Error("want a link to the identity provider, and a form for a token")
	}
	again := render(t, views["sign-in-oidc"])
	if !linked(again, "/settings/sign-in/oidc?recent=1&return=%2Fsettings%2Ftokens%2Fnew") || len(again.with("input", "id", "token")) != 0 {
		t.Error("want to come back to where somebody was, and no field for a token")
	}
	withReturn := &settings.SignIn{Common: signedOut(), Token: true, Return: "/settings/tokens/new"}
	if got := attribute(render(t, withReturn).one("input", "name", settings.FieldReturn), "value"); got != "/settings/tokens/new" {
		t.Errorf("the form returns to %q", got)
	}
	wantSaid(t, render(t, views["sign-in-none"]), "Nobody can sign in here.")
	confirm := render(t, views["confirm-sign-in"])
	wantSaid(t, confirm, "Sign in as acme-admin ?", "close this page")
	token := confirm.one("input", "name", settings.FieldToken)
	if attribute(token, "type") != "hidden" || attribute(token, "value") != plaintext {
		t.Error("the token is not sent on, or is seen")
	}
	if n := len(render(t, views["sign-in"]).with("form", "action", "/settings/sign-out")); n != 0 {
		t.Error("nobody is signed in, and can sign out")
	}
	if n := len(render(t, list()).with("form", "action", "/settings/sign-out")); n != 1 {
		t.Error("there is no way to sign out")
	}
	if !linked(render(t, views["signed-out"]), "https://id.example.com/logout") {
		t.Error("no link to the provider's logout")
	}
	wantSaid(t, render(t, &settings.SignedOut{Common: signedOut(), Everywhere: true}), "All your sessions")
}

// Whatever was typed comes back when the sign-in is done, and is shown before it counts.
func TestResumeKeepsEveryField(t *testing.T) {
	fields := url.Values{"name": {"x"}, "scope": {"a", "b"}, "addresses": {"192.0.2.0/24\r\n198.51.100.0/24"}, `o"<dd`: {`v"<>`}, "empty": {""}}
	d := render(t, &settings.Resume{Common: common(), Action: "/settings/tokens", Fields: fields, SignInPath: "/settings/sign-in?recent=1"})
	got := url.Values{}
	for _, n := range below(d.one("form", "id", "resume"), "input") {
		if attribute(n, "type") != "hidden" {
			t.Errorf("%s is seen", attribute(n, "name"))
		}
		got.Add(attribute(n, "name"), attribute(n, "value"))
	}
	want := maps.Clone(fields)
	want["resume"] = []string{"1"}
	want["addresses"] = []string{"192.0.2.0/24\n198.51.100.0/24"} // a browser sends CRLF again
	if got.Encode() != want.Encode() {
		t.Errorf("got %v, want %v", got, want)
	}
	link := d.one("a", "href", "/settings/sign-in?recent=1")
	if attribute(link, "target") != "_blank" || !strings.Contains(text(link), "opens a new tab") {
		t.Error("the sign-in takes the page away, or does not say that it opens a tab")
	}
	wantSaid(t, d, "Your session has ended.")
}

func TestFailures(t *testing.T) {
	views := everything()
	d := render(t, views["failure"])
	wantSaid(t, d, "403 Forbidden", "You may not create tokens", "Ask an administrator")
	if !linked(d, "/settings") {
		t.Error("no way on")
	}
	d = render(t, views["failure-conflict"])
	if back := d.one("a", "href", "/settings/tokens/nightly-export"); text(back) != "Go back" {
		t.Errorf("the way back is called %q", text(back))
	}
	f := &settings.Failure{Common: common(), Title: "You are no member", BackPath: "/settings/sign-in", BackText: "Sign in as somebody else"}
	wantSaid(t, render(t, f), f.BackText)
}

// Times are there for programs and people, in UTC until a script knows better.
func TestTimes(t *testing.T) {
	for name, view := range everything() {
		for _, n := range render(t, view).named("time") {
			iso, exact := attribute(n, "datetime"), attribute(n, "title")
			if !strings.HasSuffix(iso, "Z") || exact != strings.NewReplacer("T", " ", "Z", " UTC").Replace(iso) || text(n) == "" {
				t.Errorf("%s: %s is titled %q and reads %q", name, iso, exact, text(n))
			}
		}
	}
}

// Without Now the current time counts.
func TestNowByDefault(t *testing.T) {
	l := list()
	l.Now = settings.Common{}.Now
	l.Rows = []settings.Row{{Name: "x", ID: "y", CreatedAt: now.AddDate(-1000, 0, 0), ExpiresAt: now.AddDate(-1000, 0, 0), State: settings.Expired}}
	wantSaid(t, render(t, l), "years ago")
}
