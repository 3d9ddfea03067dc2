package settings_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/latchkey-dev/latchkey/internal/portal/settings"
)

var protection = map[string]string{
	"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
		"form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
	"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin",
	"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
}

func TestEveryPageIsProtected(t *testing.T) {
	for name, view := range everything() {
		response := respond(t, http.MethodGet, http.StatusTeapot, view)
		if response.StatusCode != http.StatusTeapot {
			t.Errorf("%s: %s", name, response.Status)
		}
		for header, want := range protection {
			if got := response.Header.Get(header); got != want {
				t.Errorf("%s: %s is %q, want %q", name, header, got, want)
			}
		}
		for header, want := range map[string]string{
			"Cache-Control": "private, no-store", "Content-Type": "text/html; charset=utf-8", "Content-Encoding": "",
		} {
			if got := response.Header.Get(header); got != want {
				t.Errorf("%s: %s is %q, want %q", name, header, got, want)
			}
		}
	}
}

func TestHeadHasNoBody(t *testing.T) {
	whole, _ := io.ReadAll(respond(t, http.MethodGet, http.StatusOK, list()).Body)
	response := respond(t, http.MethodHead, http.StatusOK, list())
	if content, _ := io.ReadAll(response.Body); len(content) != 0 || response.ContentLength != int64(len(whole)) {
		t.Errorf("%d bytes, announced as %d, want none and %d", len(content), response.ContentLength, len(whole))
	}
}

// brokenWriter is a client that has hung up.
type brokenWriter struct{ http.ResponseWriter }

var errHungUp = errors.New("hung up")

func (brokenWriter) Write([]byte) (int, error) { return 0, errHungUp }

func TestAClientThatHungUpIsTold(t *testing.T) {
	err := newPages(t).Render(brokenWriter{httptest.NewRecorder()}, httptest.NewRequest(http.MethodGet, "/settings", nil), http.StatusOK, reveal())
	if !errors.Is(err, errHungUp) || strings.Contains(err.Error(), plaintext) {
		t.Errorf("%v", err)
	}
}

func TestAssets(t *testing.T) {
	pages := newPages(t)
	hash := regexp.MustCompile(`-[0-9a-f]{16}\.`)
	var got []string
	for _, path := range pages.AssetPaths("/settings") {
		got = append(got, hash.ReplaceAllString(path, "-HASH."))
		w := httptest.NewRecorder()
		if refused := pages.ServeAsset(w, httptest.NewRequest(http.MethodGet, path, nil), "/settings"); refused != nil {
			t.Errorf("%s: %s", path, refused.Title)
		}
		for header, want := range protection {
			if w.Header().Get(header) != want {
				t.Errorf("%s: %s is %q, want %q", path, header, w.Header().Get(header), want)
			}
		}
		if got, want := w.Header().Get("Cache-Control"), "public, max-age=31536000, immutable"; got != want {
			t.Errorf("%s: Cache-Control is %q, want %q", path, got, want)
		}
	}
	want := []string{"/settings/assets/latchkey-HASH.css", "/settings/assets/settings-HASH.css", "/settings/assets/settings-HASH.js"}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// What is spelled otherwise than it is served is another path.
func TestOtherAssetsAreRefused(t *testing.T) {
	pages := newPages(t)
	path := pages.AssetPaths("/settings")[0]
	for _, c := range []struct {
		method, path string
		status       int
	}{
		{http.MethodGet, "/settings/assets/", 404}, {http.MethodGet, "/settings/assets/latchkey.css", 404}, {http.MethodGet, path + "/", 404},
		{http.MethodGet, strings.Replace(path, "latchkey", "%6catchkey", 1), 404}, {http.MethodGet, strings.Replace(path, "/settings", "", 1), 404},
		{http.MethodGet, strings.Replace(path, "/assets", "", 1), 404}, {http.MethodPost, path, 405}, {http.MethodPut, "/settings/assets/x", 404},
	} {
		refused := pages.ServeAsset(httptest.NewRecorder(), httptest.NewRequest(c.method, c.path, nil), "/settings")
		if refused == nil || refused.Status != c.status {
			t.Errorf("%s %s: %v, want %d", c.method, c.path, refused, c.status)
		}
	}
}

// What every page has to have, whatever it shows.
func TestEveryPageIsWellFormed(t *testing.T) {
	titles := map[string]string{}
	for name, view := range everything() {
		t.Run(name, func(t *testing.T) {
			d := render(t, view)
			title := d.title()
			if other, twice := titles[title]; twice && !strings.HasPrefix(other, "sign") && !strings.HasPrefix(name, "list-empty") && !strings.HasPrefix(other, "list-empty") {
				t.Errorf("%q is the title of %s too", title, other)
			}
			titles[title] = name
			if !strings.HasSuffix(title, " · Orders API on acme.example.com") || strings.Contains(title, plaintext) {
				t.Errorf("the title is %q", title)
			}
			if lang := attribute(d.named("html")[0], "lang"); lang != "en" {
				t.Errorf("lang is %q", lang)
			}
			if n := len(d.named("h1")); n != 1 {
				t.Errorf("%d h1", n)
			}
			for _, n := range d.all(func(n *html.Node) bool {
				return n.Data == "script" && attribute(n, "src") == "" || n.Data == "style" || has(n, "style")
			}) {
				t.Errorf("<%s> in the page, which its policy does not permit", n.Data)
			}
			for _, n := range d.all(func(*html.Node) bool { return true }) {
				for _, a := range n.Attr {
					if strings.HasPrefix(a.Key, "on") || strings.Contains(a.Val, "ZgotmplZ") {
						t.Errorf("<%s %s=%q>", n.Data, a.Key, a.Val)
					}
				}
			}
			wantLabels(t, d)
			wantIDs(t, d)
			wantOwnPaths(t, d)
		})
	}
}

// wantLabels wants a name for everything that is filled in.
func wantLabels(t *testing.T, d *document) {
	t.Helper()
	for _, n := range d.all(func(n *html.Node) bool {
		return n.Data == "input" && attribute(n, "type") != "hidden" || n.Data == "select" || n.Data == "textarea"
	}) {
		if labels := d.with("label", "for", attribute(n, "id")); len(labels) != 1 || text(labels[0]) == "" {
			t.Errorf("%d labels for %s", len(labels), attribute(n, "id"))
		}
	}
}

// wantIDs wants every id once, and one for every reference.
func wantIDs(t *testing.T, d *document) {
	t.Helper()
	ids := map[string]int{}
	for _, n := range d.all(func(n *html.Node) bool { return has(n, "id") }) {
		ids[attribute(n, "id")]++
	}
	for id, n := range ids {
		if n > 1 {
			t.Errorf("id %s is there %d times", id, n)
		}
	}
	for _, n := range d.all(func(*html.Node) bool { return true }) {
		for _, name := range []string{"aria-describedby", "aria-labelledby", "data-copy", "for"} {
			for id := range strings.FieldsSeq(attribute(n, name)) {
				if ids[id] == 0 {
					t.Errorf("<%s %s=%q>: no such id", n.Data, name, id)
				}
			}
		}
		if id, ok := strings.CutPrefix(attribute(n, "href"), "#"); ok && ids[id] == 0 {
			t.Errorf("a link to #%s, which is not there", id)
		}
	}
}

// wantOwnPaths wants links and forms to stay on the host, below the settings' path or
// at the documentation. Only a provider's logout is elsewhere.
func wantOwnPaths(t *testing.T, d *document) {
	t.Helper()
	for _, n := range d.all(func(n *html.Node) bool { return has(n, "href") || has(n, "action") || has(n, "src") }) {
		target := attribute(n, "href") + attribute(n, "action") + attribute(n, "src")
		own := strings.HasPrefix(target, "/settings") || target == "/docs" || strings.HasPrefix(target, "#") || target == "data:,"
		if !own && target != "https://id.example.com/logout" {
			t.Errorf("<%s> leads to %q", n.Data, target)
		}
		if has(n, "action") && attribute(n, "method") == "get" && attribute(n, "role") != "search" {
			t.Errorf("a form is sent to %s by GET", target)
		}
	}
}

// hostile are texts that break pages which do not escape them.
var hostile = []string{
	`</script><script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `'"` + "`" + `{{.}}`, "\u202egnp.exe", `javascript:alert(1)`,
	strings.Repeat("W", 253), "a\x00b\r\nc", `<!-- --><textarea>`, `&lt;b&gt;`,
}

// Nothing that somebody typed becomes an element, an attribute or a link.
func TestHostileTextsStayTexts(t *testing.T) {
	for _, evil := range hostile {
		row := settings.Row{Name: evil, ID: evil, Owner: evil, Description: evil, Scopes: []string{evil, evil + "2"}, StateDetail: evil, State: settings.Refused, CreatedAt: now}
		c := common()
		c.Product, c.Person, c.Notice = evil, evil, evil
		event := settings.Event{At: now, What: settings.Occurrence(evil), Who: evil, Detail: evil}
		choices := []settings.LifetimeChoice{{Value: evil, Label: evil}}
		views := []settings.View{
			&settings.List{Common: c, Rows: []settings.Row{row}, Query: evil, Show: settings.ShowMine, Sort: settings.SortName, Page: 1, Pages: 2, Total: 60, Matching: 60},
			&settings.List{Common: c, Query: evil, Show: settings.ShowMine, Sort: settings.SortName, Page: 1, Pages: 1, Total: 60},
			&settings.Create{Common: c, Form: settings.FormOf(url.Values{"name": {evil}, "description": {evil}, "owner": {evil}, "addresses": {evil}, "expires-on": {evil}, "scope": {evil}}),
				Scopes: []settings.ScopeChoice{{Name: "x", Description: evil}}, Lifetimes: choices, Errors: map[string]string{"name": evil, "scope": evil}, Problem: evil},
			&settings.Reveal{Common: c, Name: evil, ID: evil, Plaintext: evil, Curl: evil, ExpiresAt: now},
			&settings.Token{Common: c, Row: row, AllowedCIDRs: []string{evil}, Overlap: evil, Previous: &settings.Credential{ID: evil}, Activity: []settings.Event{event}, CanRotate: true, CanRevoke: true, Command: evil},
			&settings.Rotate{Common: c, Row: row, Overlaps: choices, Chosen: evil, Problem: evil},
			&settings.Revoke{Common: c, Row: row, Typed: evil, Problem: evil},
			&settings.Resume{Common: c, Action: "/settings/tokens", Fields: url.Values{evil: {evil}}, What: evil, SignInPath: "/settings/sign-in"},
			&settings.Failure{Common: c, Title: evil, Detail: evil, Advice: evil},
			&settings.SignIn{Common: c, OIDC: true, Token: true, Return: evil, Problem: evil}, &settings.ConfirmSignIn{Common: c, Token: evil, Name: evil},
		}
		for _, view := range views {
			d := render(t, view)
			if n := len(d.named("script")); n != 1 {
				t.Errorf("%T %.20q: %d scripts", view, evil, n)
			}
			for _, n := range d.all(func(*html.Node) bool { return true }) {
				if n.Data == "img" || has(n, "onerror") {
					t.Errorf("%T %.20q: <%s>", view, evil, n.Data)
				}
			}
			wantOwnPaths(t, d)
		}
	}
}

// What is typed by people is isolated, so that it can't turn the text around it.
func TestTextsOfPeopleAreIsolated(t *testing.T) {
	const evil = "\u202eevil"
	row := exporter()
	row.Owner, row.Description, row.StateDetail = evil, evil, evil
	l := list()
	l.Rows = []settings.Row{row}
	tok := token(row)
	tok.Activity[0].Who, tok.Activity[0].Detail = evil, evil
	for _, view := range []settings.View{l, tok, &settings.Revoke{Common: common(), Row: row}} {
		for n := range render(t, view).root.Descendants() {
			if n.Type == html.TextNode && strings.Contains(n.Data, evil) && n.Parent.Data != "bdi" {
				t.Errorf("%T: %q stands in a <%s>", view, n.Data, n.Parent.Data)
			}
		}
	}
}

// The plaintext is on the page that reveals it, and on no other.
func TestThePlaintextIsOnOnePageOnly(t *testing.T) {
	for name, view := range everything() {
		content, err := io.ReadAll(respond(t, http.MethodGet, http.StatusOK, view).Body)
		if err != nil {
			t.Fatal(err)
		}
		shown := bytes.Contains(content, []byte(plaintext))
		if want := strings.HasPrefix(name, "reveal") || name == "confirm-sign-in"; shown != want {
			t.Errorf("%s: shown is %t", name, shown)
		}
	}
}
