package settings_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/latchkey-dev/latchkey/internal/portal/settings"
	"github.com/latchkey-dev/latchkey/internal/testing/browsertest"
)

func TestMain(m *testing.M) { os.Exit(browsertest.Main(m)) }

// plaintext is the token that the pages of the tests reveal.
const plaintext = "lk_7Hq2LmX0aB_notASecretButInTheTests0123456789abcdefghijklmn"

const day = 24 * time.Hour

// now is when the pages are made.
var now = time.Date(2026, 11, 25, 14, 30, 0, 0, time.UTC)

func at(d time.Duration) time.Time   { return now.Add(d) }
func atp(d time.Duration) *time.Time { return new(now.Add(d)) }

func common() settings.Common {
	return settings.Common{
		Product: "Orders API", Host: "acme.example.com", Origin: "https://acme.example.com",
		SettingsPath: "/settings", DocsPath: "/docs", APIBasePath: "/api/v1",
		Person: "ana@acme.example", CanCreate: true, Now: now,
	}
}

func signedOut() settings.Common {
	c := common()
	c.Person, c.CanCreate = "", false
	return c
}

// exporter is a token that works.
func exporter() settings.Row {
	return settings.Row{
		Name: "nightly-export", ID: "7Hq2LmX0aB", Owner: "ana@acme.example", Description: "Copies new orders into the warehouse every night",
		Scopes: []string{"orders:read", "customers:read", "invoices:read"}, CreatedAt: at(-40*day - 3*time.Hour), ExpiresAt: at(50*day - 4*time.Hour),
		LastUsedAt: atp(-3 * time.Hour), UsedSince: atp(-200 * day), DaysLeft: 50,
	}
}

func in(state settings.State, change func(*settings.Row)) settings.Row {
	r := exporter()
	r.State = state
	if change != nil {
		change(&r)
	}
	return r
}

func waiting() settings.Row {
	return in(settings.Waiting, func(r *settings.Row) {
		r.Name, r.ID, r.ExpiresAt, r.LastUsedAt, r.DaysLeft = "ci", "", time.Time{}, nil, 0
		r.Description, r.Scopes = "Deploys from the main branch", []string{"orders:write"}
	})
}

func rows() []settings.Row {
	since := atp(-200 * day)
	return []settings.Row{
		in(settings.ExpiringSoon, func(r *settings.Row) {
			r.Name, r.ID, r.Description, r.ExpiresAt, r.DaysLeft = "billing-sync", "Q3vd81KsPz", "Sends paid orders to bookkeeping", at(3*day-2*time.Hour), 3
			r.Scopes = []string{"orders:read", "invoices:write"}
		}),
		waiting(),
		{Name: "dashboard", ID: "pL0sWn44Tr", Owner: "sam@acme.example", Scopes: []string{"orders:read"}, CreatedAt: at(-12 * day), ExpiresAt: at(78 * day), DaysLeft: 78, UsedSince: since},
		{Name: "label-printer", ID: "zX81mmC0de", Description: "Hall 3", Owner: "warehouse@acme.example", Scopes: []string{"labels:print"}, CreatedAt: at(-300 * day), ExpiresAt: at(65 * day), DaysLeft: 65, LastUsedAt: atp(-121 * day), UsedSince: since},
		exporter(),
		{Name: "old-integration", ID: "Aa19Bb28Cc", Scopes: []string{"orders:read", "orders:write"}, CreatedAt: at(-400 * day), ExpiresAt: at(-35 * day), LastUsedAt: atp(-36 * day), UsedSince: since, State: settings.Expired},
		{Name: "partner-shop", ID: "u7Yt65Re4W", Owner: "partners@acme.example", Description: "Lost laptop, 20 November", Scopes: []string{"orders:read"}, CreatedAt: at(-90 * day), ExpiresAt: at(275 * day), DaysLeft: 275, LastUsedAt: atp(-5 * day), UsedSince: since, State: settings.Revoked},
		in(settings.Refused, func(r *settings.Row) {
			r.Name, r.ID, r.ExpiresAt, r.LastUsedAt, r.Description = "too-long", "", time.Time{}, nil, ""
			r.StateDetail = "lifetime 8760h is longer than the policy's 2160h."
		}),
		in(settings.Suspended, func(r *settings.Row) { r.Name, r.ID, r.UsedSince, r.LastUsedAt = "webhooks", "Kk2Jj3Hh4G", nil, nil }),
	}
}

func list() *settings.List {
	return &settings.List{
		Common: common(), Rows: rows(), Show: settings.ShowAll, Sort: settings.SortName, Page: 1, Pages: 1, Total: 9, Matching: 9,
		Counts: map[string]int{
			settings.ShowAll: 9, settings.ShowExpiring: 1, settings.ShowIdle: 1, settings.ShowNeverUsed: 1,
			settings.ShowWithoutOwner: 1, settings.ShowMine: 5, settings.ShowInactive: 5,
		},
	}
}

func many() *settings.List {
	l := list()
	l.Rows = nil
	for len(l.Rows) < 50 {
		l.Rows = append(l.Rows, rows()...)
	}
	l.Rows = l.Rows[:50]
	l.Page, l.Pages, l.Total, l.Matching = 3, 101, 5031, 5031
	l.Counts = map[string]int{settings.ShowAll: 5031, settings.ShowExpiring: 112, settings.ShowIdle: 1204, settings.ShowMine: 3}
	return l
}

func lifetimes() []settings.LifetimeChoice {
	return []settings.LifetimeChoice{
		{Value: "168h", Label: "7 days", Ends: at(7 * day)}, {Value: "720h", Label: "30 days", Ends: at(30 * day)},
		{Value: "2160h", Label: "90 days", Ends: at(90 * day)}, {Value: "8760h", Label: "1 year", Ends: at(365 * day)},
	}
}

func create() *settings.Create {
	return &settings.Create{
		Common: common(), Form: settings.Form{Lifetime: "2160h", Owner: "ana@acme.example"},
		Scopes: []settings.ScopeChoice{
			{Name: "orders:read", Description: "See orders."}, {Name: "orders:write", Description: "Make, change and delete orders."},
			{Name: "invoices:read", Description: "See invoices, with the addresses and bank accounts of customers."}, {Name: "labels:print"},
			{Name: "tokens:read", Description: "List the API tokens of your account."},
		},
		Lifetimes: lifetimes(), MaxLifetime: 365 * day,
	}
}

func wrong() *settings.Create {
	c := create()
	c.Form = settings.Form{
		Name: "Nightly Export", Description: "Copies orders", Owner: "ana@acme.example", Lifetime: settings.LifetimeCustom, ExpiresOn: "2031-01-01",
		Addresses: "192.0.2.0/24\n10.0.0.300", Scopes: []string{"orders:read", "orders:erase"},
	}
	c.Errors = map[string]string{
		settings.FieldName:      "A name has lower-case letters, digits and hyphens only, such as nightly-export.",
		settings.FieldScope:     "orders:erase is not a scope of this API.",
		settings.FieldExpiresOn: "Choose a date before 25 Nov 2027: tokens live for at most 365 days.",
		settings.FieldAddresses: "10.0.0.300 is not a network such as 192.0.2.0/24.",
	}
	return c
}

func reveal() *settings.Reveal {
	return &settings.Reveal{
		Common: common(), Name: "nightly-export", ID: "7Hq2LmX0aB", Plaintext: plaintext, ExpiresAt: at(90 * day),
		Curl: `curl -X GET "https://acme.example.com/api/v1/token" -H "Authorization: token ` + plaintext + `"`,
	}
}

func rotated() *settings.Reveal {
	r := reveal()
	r.Rotated, r.PreviousWorksUntil, r.Unconfirmed = true, atp(day), true
	return r
}

func token(row settings.Row, change ...func(*settings.Token)) *settings.Token {
	t := &settings.Token{
		Common: common(), Row: row, CanRotate: true, CanRevoke: true, Overlap: "1 day",
		Activity: []settings.Event{
			{At: row.CreatedAt, What: settings.EventCreated, Who: "ana@acme.example", Detail: "On the Settings page."},
		},
	}
	if row.ID != "" {
		t.Activity = append([]settings.Event{
			{At: row.ExpiresAt, What: settings.EventExpires},
			{At: at(-3 * time.Hour), What: settings.EventUsed},
			{At: at(-20 * day), What: settings.EventRotated, Who: "sam@acme.example"},
		}, t.Activity...)
	}
	for _, c := range change {
		c(t)
	}
	return t
}

// withPrevious is a token that was rotated, and whose predecessor is still used.
func withPrevious(t *settings.Token) {
	t.AllowedCIDRs = []string{"192.0.2.0/24", "2001:db8:85a3::/48"}
	t.Previous = &settings.Credential{ID: "0oldCred77", ExpiresAt: at(20 * time.Hour), LastUsedAt: atp(-25 * time.Minute), UsedSinceRotation: true, UsedLately: true}
	t.Activity = slices.Insert(t.Activity, 1, settings.Event{At: at(20 * time.Hour), What: settings.EventPreviousEnds})
}

func rotate() *settings.Rotate {
	return &settings.Rotate{
		Common: common(), Row: exporter(), Chosen: "24h", Ends: at(90 * day),
		Overlaps: []settings.LifetimeChoice{
			{Value: "0s", Label: "It stops at once"}, {Value: "1h", Label: "1 hour", Ends: at(time.Hour)},
			{Value: "24h", Label: "1 day", Ends: at(day)}, {Value: "168h", Label: "7 days", Ends: at(7 * day)},
		},
	}
}

// everything is a view of every kind and state, by the name of its picture.
func everything() map[string]settings.View {
	empty := &settings.List{Common: common(), Show: settings.ShowAll, Sort: settings.SortName, Page: 1, Pages: 1}
	viewer := &settings.List{Common: common(), Show: settings.ShowAll, Sort: settings.SortName, Page: 1, Pages: 1}
	viewer.CanCreate = false
	nothing := list()
	nothing.Rows, nothing.Query, nothing.Show, nothing.Matching = nil, "lable", settings.ShowExpiring, 0
	revokedToken := token(rows()[6], func(t *settings.Token) {
		t.Activity = append([]settings.Event{{At: at(-5 * day), What: settings.EventRevoked, Who: "ana@acme.example"}}, t.Activity[1:]...)
		t.Notice = "partner-shop is revoked."
	})
	rotateAgain := rotate()
	rotateAgain.Problem = "Choose one of the times below."
	rotateAgain.Previous = &settings.Credential{ID: "0oldCred77", ExpiresAt: at(20 * time.Hour)}
	return map[string]settings.View{
		"list": list(), "list-many": many(), "list-empty": empty, "list-empty-viewer": viewer, "list-nothing": nothing,
		"create": create(), "create-errors": wrong(),
		"reveal": reveal(), "reveal-rotated": rotated(),
		"token": token(exporter(), withPrevious), "token-expiring": token(rows()[0]), "token-expired": token(rows()[5]),
		"token-revoked": revokedToken, "token-suspended": token(rows()[8]), "token-refused": token(rows()[7]),
		"token-waiting": token(waiting(), func(t *settings.Token) { t.Command = "kubectl latchkey issue ci -n tenant-acme" }),
		"rotate":        rotate(), "rotate-again": rotateAgain,
		"regenerate": &settings.Rotate{Common: common(), Row: rows()[5], Ends: at(90 * day)},
		"issue":      &settings.Rotate{Common: common(), Row: waiting(), Issue: true, Ends: at(90 * day)},
		"revoke":     &settings.Revoke{Common: common(), Row: exporter()},
		"revoke-error": &settings.Revoke{Common: common(), Row: exporter(), Typed: "nightly",
			Problem: "That is not the token’s name. Nothing was revoked."},
		"sign-in":         &settings.SignIn{Common: signedOut(), OIDC: true, Token: true},
		"sign-in-oidc":    &settings.SignIn{Common: common(), OIDC: true, Again: true, Return: "/settings/tokens/new"},
		"sign-in-token":   &settings.SignIn{Common: signedOut(), Token: true, Problem: "This token was used already, or its ten minutes are over. Run the command again."},
		"sign-in-none":    &settings.SignIn{Common: signedOut()},
		"confirm-sign-in": &settings.ConfirmSignIn{Common: signedOut(), Token: plaintext, Name: "acme-admin"},
		"signed-in":       &settings.SignedIn{Common: common()},
		"signed-out":      &settings.SignedOut{Common: signedOut(), ProviderLogout: "https://id.example.com/logout"},
		"resume": &settings.Resume{Common: common(), Action: "/settings/tokens", What: "create the token nightly-export", SignInPath: "/settings/sign-in?recent=1",
			Fields: url.Values{"name": {"nightly-export"}, "scope": {"orders:read", "orders:write"}, "description": {"Copies \"orders\""}, "resume": {"1"}}},
		"failure": &settings.Failure{Common: common(), Status: http.StatusForbidden, Title: "You may not create tokens", Detail: "In acme you can see tokens, and nothing else.",
			Advice: "Ask an administrator of your account for the right to create tokens."},
		"failure-conflict": &settings.Failure{Common: common(), Status: http.StatusConflict, Title: "This token was shown already", Detail: "It is shown once, and nobody can read it again.",
			Advice: "If you did not copy it, regenerate it: you get a new one, and the one that was lost stops working.", BackPath: "/settings/tokens/nightly-export"},
	}
}

func newPages(t *testing.T) *settings.Pages {
	t.Helper()
	p, err := settings.New()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// respond renders a view as the answer to a request.
func respond(t *testing.T, method string, status int, view settings.View) *http.Response {
	t.Helper()
	w := httptest.NewRecorder()
	if err := newPages(t).Render(w, httptest.NewRequest(method, "/settings", nil), status, view); err != nil {
		t.Fatal(err)
	}
	return w.Result()
}

// render is the document of a view.
func render(t *testing.T, view settings.View) *document {
	t.Helper()
	root, err := html.Parse(respond(t, http.MethodGet, http.StatusOK, view).Body)
	if err != nil {
		t.Fatal(err)
	}
	return &document{t, root}
}

// document is a page as a browser parses it.
type document struct {
	t    *testing.T
	root *html.Node
}

// all are the elements for which is says so, in their order.
func (d *document) all(is func(*html.Node) bool) []*html.Node {
	var found []*html.Node
	for n := range d.root.Descendants() {
		if n.Type == html.ElementNode && is(n) {
			found = append(found, n)
		}
	}
	return found
}

// named are the elements with a tag.
func (d *document) named(tag string) []*html.Node {
	return d.all(func(n *html.Node) bool { return n.Data == tag })
}

// with are the elements of a tag that have an attribute of a value.
func (d *document) with(tag, name, value string) []*html.Node {
	return d.all(func(n *html.Node) bool { return n.Data == tag && attribute(n, name) == value })
}

// one is the only element of a tag that has an attribute of a value.
func (d *document) one(tag, name, value string) *html.Node {
	d.t.Helper()
	found := d.with(tag, name, value)
	if len(found) != 1 {
		d.t.Fatalf("%d elements <%s %s=%q>, want one", len(found), tag, name, value)
	}
	return found[0]
}

// text is what the page says.
func (d *document) text() string { return text(d.named("main")[0]) }

// title is the page's title.
func (d *document) title() string { return text(d.named("title")[0]) }

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func has(n *html.Node, name string) bool {
	for _, a := range n.Attr {
		if a.Key == name {
			return true
		}
	}
	return false
}

// text is what an element says, with single spaces.
func text(n *html.Node) string {
	var b strings.Builder
	for c := range n.Descendants() {
		if c.Type != html.TextNode {
			continue
		}
		b.WriteString(c.Data)
		if c.NextSibling == nil || c.NextSibling.Data != "wbr" {
			b.WriteByte(' ')
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// below are the elements of a tag below another one.
func below(n *html.Node, tag string) []*html.Node {
	var found []*html.Node
	for c := range n.Descendants() {
		if c.Type == html.ElementNode && c.Data == tag {
			found = append(found, c)
		}
	}
	return found
}

// site serves views by their paths, and takes down what is posted to it.
type site struct {
	*httptest.Server
	origin string

	mu     sync.Mutex
	views  map[string]settings.View
	posted []*http.Request
}

// newSite serves everything at /view/NAME, and views at their own paths.
func newSite(t *testing.T, views map[string]settings.View) *site {
	t.Helper()
	pages := newPages(t)
	s := &site{views: views}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/settings/assets/") {
			if refused := pages.ServeAsset(w, r, "/settings"); refused != nil {
				http.Error(w, refused.Title, refused.Status)
			}
			return
		}
		if r.Method == http.MethodPost {
			_ = r.ParseForm() // a form that is none has no field
			s.mu.Lock()
			s.posted = append(s.posted, r)
			s.mu.Unlock()
		}
		view, there := s.views[r.Method+" "+r.URL.Path]
		if !there {
			http.NotFound(w, r)
			return
		}
		if err := pages.Render(w, r, http.StatusOK, view); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(s.Close)
	s.origin = strings.Replace(s.URL, "127.0.0.1", "acme.localhost", 1)
	return s
}

// forms are what was posted so far.
func (s *site) forms() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*http.Request(nil), s.posted...)
}
