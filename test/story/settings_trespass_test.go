package story_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/testing/browsertest"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

// looks sees all, is offered nothing, and gets nothing by asking.
func (s *settings) looks(t *testing.T) {
	p := s.signIn(t, viewer)
	if text := p.Text("main"); !strings.Contains(text, "adas") {
		t.Errorf("the list is %s", text)
	}
	s.wantAccessible(p)
	for path, offers := range map[string][]string{"": {`a[href="/settings/tokens/new"]`}, "/tokens/adas": {`a[href$="/rotate"]`, `a[href$="/revoke"]`}} {
		p.Go(s.page + path)
		for _, offer := range offers {
			if browsertest.Eval[bool](p, fmt.Sprintf("document.querySelector(%q) !== null", offer)) {
				t.Errorf("is offered %s", offer)
			}
		}
	}
	for path, form := range map[string]url.Values{
		"/tokens":                    {"name": {"forged"}, "scope": {"orders:read"}, "lifetime": {"24h"}},
		"/tokens/adas/rotate":        {"credential": {strings.Split(s.adas, "_")[1]}},
		"/tokens/adas/revoke":        {"name": {"adas"}},
		"/tokens/adas/drop-previous": {"credential": {strings.Split(s.adas, "_")[1]}},
	} {
		if status := s.post(p, path, form); status != http.StatusForbidden {
			t.Errorf("%s is answered %d", path, status)
		}
	}
	s.calls(t, s.adas, "")
	p.Go(s.page + "/tokens/new")
	s.wantAccessible(p)
}

// post sends a form from the page with the session that it has, and returns the status
// of the answer. The page's own policy forbids that to scripts of the page: its forms
// are what it has, and one is sent here into a tab of its own.
func (s *settings) post(p *browsertest.Page, path string, form url.Values) int {
	tab := p.Tab(s.page)
	fields := []string{}
	for name, values := range form {
		for _, value := range values {
			fields = append(fields, fmt.Sprintf(`form.append(Object.assign(document.createElement("input"), {name: %q, value: %q}));`, name, value))
		}
	}
	browsertest.Eval[bool](tab, fmt.Sprintf(`(() => {
		const form = Object.assign(document.createElement("form"), {method: "post", action: %q, id: "made"});
		%s
		form.append(Object.assign(document.createElement("button"), {textContent: "Send"}));
		document.querySelector("main").append(form);
		return true;
	})()`, "/settings"+path, strings.Join(fields, "")))
	return tab.SubmitStatus("#made button")
}

// belongsElsewhere is signed in, and not a member here.
func (s *settings) belongsElsewhere(t *testing.T) {
	p := s.signIn(t, stranger)
	p.Go(s.page)
	if text := p.Text("main"); strings.Contains(text, "adas") || !strings.Contains(text, "403") {
		t.Errorf("sees %s", text)
	}
	s.wantAccessible(p)
	// The session is of the one host: nothing of it is sent to another, or believed there.
	p = p.Tab(strings.Replace(s.page, "acme.", "globex.", 1))
	p.Wait(`location.pathname === "/settings/sign-in"`)
}

// elsewhere serves a page of another origin. By the name that acme has on another port
// it is of the same site, and cookies are sent from there.
func (s *settings) elsewhere(t *testing.T, page string) (sameSite string, anotherSite string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, `<!DOCTYPE html><html lang="en"><title>Elsewhere</title><link rel="icon" href="data:,">`+page)
	}))
	t.Cleanup(server.Close)
	return strings.Replace(server.URL, "127.0.0.1", "acme.localhost", 1), server.URL
}

func (s *settings) crossOrigin(t *testing.T) {
	p := s.signIn(t, admin)
	forms := map[string]string{
		"/tokens":             `<input name="name" value="forged"><input name="lifetime" value="24h">`,
		"/tokens/adas/rotate": ``, "/tokens/adas/revoke": `<input name="name" value="adas">`,
		"/sign-out": ``, "/sign-out-everywhere": ``,
	}
	for path, fields := range forms {
		sameSite, anotherSite := s.elsewhere(t, fmt.Sprintf(`<form method="post" action="%s%s">%s<button>Win a prize</button></form>`, s.page, path, fields))
		for _, origin := range []string{sameSite, anotherSite} {
			tab := p.Tab(origin + "/")
			tab.Allow(s.origin)
			tab.Submit("button")
			if text := tab.Text("body"); !strings.Contains(text, "403") {
				t.Errorf("%s from %s is answered %s", path, origin, text)
			}
		}
	}
	p.Reload()
	if at := p.Address(); at != s.page {
		t.Errorf("the session has ended: %s", at)
	}
	if _, _, err := s.member(t, "", "kubectl", "get", "apitoken", "forged", "-n", "tenant-acme"); err == nil {
		t.Error("a token was made")
	}
	if revoked := must(t)(s.member(t, "", "kubectl", "get", "apitoken", "adas", "-n", "tenant-acme", "-o", "jsonpath={.spec.revoked}")); revoked == "true" {
		t.Error("a token was revoked")
	}
}

// framed is a page that shows Settings in a frame, for clicks that are not meant.
func (s *settings) framed(t *testing.T) {
	sameSite, _ := s.elsewhere(t, `<iframe title="Settings" src="`+s.page+`"></iframe>`)
	p := browsertest.Open(t, sameSite+"/", browsertest.Options{Tolerant: true})
	testenv.Eventually(t, func() error {
		if faults := strings.Join(p.Faults(), "\n"); !strings.Contains(faults, "frame-ancestors") {
			return fmt.Errorf("the browser says %q", faults)
		}
		return nil
	})
}

func (s *settings) suspended(t *testing.T) {
	p := s.signIn(t, admin)
	suspend := func(value bool) {
		must(t)(s.command(t, s.summary.Kubeconfig, "", "kubectl", "patch", "tenant", "acme", "--type=merge", "-p", fmt.Sprintf(`{"spec":{"suspended":%t}}`, value)))
	}
	suspend(true)
	defer suspend(false)
	testenv.Eventually(t, func() error {
		p.Go(s.page)
		if text := p.Text("main"); !strings.Contains(strings.ToLower(text), "suspended") {
			return fmt.Errorf("the page says %s", text)
		}
		return nil
	})
	s.wantAccessible(p)
}
