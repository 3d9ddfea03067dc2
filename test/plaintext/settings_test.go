package plaintext_test

import (
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

const settingsPath = "/settings"

// browser is somebody's on a tenant's host, as far as cookies and forms go. Several
// goroutines may use it, as tabs.
type browser struct {
	w      *world
	tenant string
	// since is when somebody signed in with it.
	since time.Time

	mu      sync.Mutex
	cookies map[string]string
}

func (w *world) newBrowser(tenant string) *browser {
	return &browser{w: w, tenant: tenant, since: time.Now(), cookies: map[string]string{}}
}

// signIn signs the admin in by a ticket that the plugin prints and that is pasted.
func (w *world) signIn(tenant string) *browser {
	w.t.Helper()
	b := w.newBrowser(tenant)
	b.enter(w.plugin("settings", tenant, "--no-browser").token())
	return b
}

// enter redeems a ticket.
func (b *browser) enter(ticket string) {
	b.w.t.Helper()
	testenv.Eventually(b.w.t, func() error { // the keys of sessions may not have been read yet
		if a := b.post("/sign-in/token", url.Values{"token": {ticket}}); a.status != http.StatusSeeOther {
			return fmt.Errorf("nobody is signed in: %d %.300s", a.status, withoutToken(a.body))
		}
		return nil
	})
}

// signInByPage signs the admin in by a ticket that the plugin hands to a browser, which is
// a program that keeps the page. The page posts it from another origin, and so the sign-in
// has to be confirmed.
func (w *world) signInByPage(tenant string) *browser {
	w.t.Helper()
	page := filepath.Join(w.t.TempDir(), "page")
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() {
		if r := w.run(command{args: []string{"settings", tenant}, env: []string{"BROWSER=curl --silent --show-error --output " + page + " %s"}}); r.err != nil {
			w.t.Errorf("kubectl latchkey settings: %v; see plugin.log", r.err)
		}
	})
	ticket := ""
	testenv.Eventually(w.t, func() error {
		content, err := os.ReadFile(page)
		if ticket = tokenPattern.FindString(string(content)); err == nil && ticket == "" {
			err = errors.New("the page that the browser got has no ticket")
		}
		return err
	})
	must(w.t, os.Remove(page))
	b := w.newBrowser(tenant)
	a := b.send(http.MethodPost, "/sign-in/token", url.Values{"token": {w.remember(ticket)}}.Encode(), "Origin", "http://127.0.0.1:1", "Sec-Fetch-Site", "cross-site")
	if a.status != http.StatusOK || !strings.Contains(a.body, ticket) {
		w.t.Errorf("no confirmation is asked for: %d %.300s", a.status, withoutToken(a.body))
	}
	b.enter(ticket)
	return b
}

// settledFor is for how long a browser is used before somebody signs in anew: a token is
// shown for a quarter of an hour.
const settledFor = 10 * time.Minute

// atSettings is a browser in which a tenant's admin is signed in.
func (w *world) atSettings(tenant string) *browser {
	w.t.Helper()
	w.signingIn.Lock()
	defer w.signingIn.Unlock()
	b := w.browsers[tenant]
	if b == nil || time.Since(b.since) > settledFor {
		b = w.signIn(tenant)
		w.browsers[tenant] = b
	}
	return b
}

// get asks for a page below Settings.
func (b *browser) get(target string) answer {
	b.w.t.Helper()
	return b.send(http.MethodGet, target, "")
}

// post sends a form of the host's own.
func (b *browser) post(target string, form url.Values, headers ...string) answer {
	b.w.t.Helper()
	return b.send(http.MethodPost, target, form.Encode(), append([]string{"Origin", "https://" + b.tenant + "." + baseDomain, "Sec-Fetch-Site", "same-origin"}, headers...)...)
}

// unled goes nowhere by itself.
var unled = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

// send sends the cookies and keeps those that the answer sets; headers are pairs. No
// answer may have a token in an address, which would be in the browser's history.
func (b *browser) send(method, target, form string, headers ...string) answer {
	t := b.w.t
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+b.w.front+settingsPath+target, strings.NewReader(form))
	must(t, err)
	r.Host = b.tenant + "." + baseDomain
	r.Header.Set("X-Forwarded-Proto", "https")
	if form != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	b.mu.Lock()
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	b.mu.Unlock()
	response, err := unled.Do(r)
	must(t, err)
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	must(t, err)
	if location := response.Header.Get("Location"); tokenPattern.MatchString(location) {
		t.Errorf("%s %s leads to %s", method, withoutToken(target), withoutToken(location))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range response.Cookies() {
		b.cookies[c.Name] = c.Value
	}
	return answer{response.StatusCode, html.UnescapeString(string(content))}
}

// newForm is the form of a new token.
func newForm(name string) url.Values {
	return url.Values{"name": {name}, "scope": {"orders:read"}, "lifetime": {"168h"}, "owner": {"ada@example.com"}, "description": {"made by a form"}}
}

// create makes a token by the form.
func (b *browser) create(name string) string {
	b.w.t.Helper()
	return b.reveal("/tokens", newForm(name))
}

var (
	replacedField = regexp.MustCompile(`name="credential" value="([^"]*)"`)
	overlapField  = regexp.MustCompile(`name="overlap" value="([^"]*)" checked`)
)

// rotateForm is the form that replaces a token's credential, as its page fills it in.
func (b *browser) rotateForm(name string) url.Values {
	b.w.t.Helper()
	page := b.get("/tokens/" + name + "/rotate")
	replaced := replacedField.FindStringSubmatch(page.body)
	if page.status != http.StatusOK || replaced == nil {
		b.w.t.Errorf("no form rotates %s: %d %.300s", name, page.status, page.body)
		return nil
	}
	form := url.Values{"credential": {replaced[1]}}
	if overlap := overlapField.FindStringSubmatch(page.body); overlap != nil {
		form.Set("overlap", overlap[1])
	}
	return form
}

// rotate gives a token its first credential, or another one.
func (b *browser) rotate(name string) string {
	b.w.t.Helper()
	return b.reveal("/tokens/"+name+"/rotate", b.rotateForm(name))
}

// reveal wants a page with a plaintext in it.
func (b *browser) reveal(target string, form url.Values) string {
	b.w.t.Helper()
	a := b.post(target, form)
	plaintext := tokenPattern.FindString(a.body)
	if a.status != http.StatusOK || plaintext == "" {
		b.w.t.Errorf("POST %s: %d %.300s", target, a.status, withoutToken(a.body))
		return ""
	}
	return b.w.remember(plaintext)
}

// revoke revokes a token by the form.
func (b *browser) revoke(name string) {
	b.w.t.Helper()
	if a := b.post("/tokens/"+name+"/revoke", url.Values{"name": {name}}); a.status != http.StatusSeeOther {
		b.w.t.Errorf("revoke %s by the form: %d %.300s", name, a.status, a.body)
	}
}

// awaitExpired waits until the page of a token offers to regenerate it.
func (b *browser) awaitExpired(name string) {
	b.w.t.Helper()
	testenv.Eventually(b.w.t, func() error {
		if page := b.get("/tokens/" + name + "/rotate"); !strings.Contains(page.body, "Regenerate") {
			return fmt.Errorf("%s is not to be regenerated: %d", name, page.status)
		}
		return nil
	})
}
