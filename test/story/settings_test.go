package story_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/testing/browsertest"
	"github.com/latchkey-dev/latchkey/internal/testing/signintest"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

// The people who sign in by the identity provider.
const (
	admin    = "ada"
	viewer   = "vera"
	stranger = "gus"
)

// settings is the story of the Settings page, as far as it was told.
type settings struct {
	*installation
	// origin is acme's, and page the address of its Settings.
	origin, page string
	// shown are the tokens that were shown, and adas is the one of that name.
	shown []string
	adas  string
}

// The Settings page, told in Chromium with all that make run starts, and an identity
// provider.
func TestSettings(t *testing.T) {
	provider := signintest.Start(t, signintest.Options{Users: []signintest.User{
		{Name: admin, FullName: "Ada Admin", Groups: []string{"acme-admins"}},
		{Name: viewer, FullName: "Vera Viewer", Groups: []string{"acme-viewers"}},
		{Name: stranger, FullName: "Gus Globex", Groups: []string{"globex-admins"}},
	}})
	s := &settings{installation: startAt(t, "localhost",
		"APISERVER_ARGS=--oidc-issuer-url="+provider.IssuerURL()+" --oidc-client-id=latchkey")}
	s.page = s.summary.Settings
	s.origin = strings.TrimSuffix(s.page, "/settings")
	browsertest.Reach(t, "acme.localhost", fmt.Sprintf("127.0.0.1:%d", s.summary.HTTPSPort), s.authorities(t))
	s.admit(t, "acme", "acme-admins", "Admin")
	s.admit(t, "acme", "acme-viewers", "Viewer")
	s.admit(t, "globex", "globex-admins", "Admin")

	t.Run("by the plugin", s.byThePlugin)
	t.Run("by a token that is pasted, over HTTPS", s.byPasting)
	t.Run("by the identity provider", s.byTheProvider)
	t.Run("a session that ends in the middle of a form", s.resumes)
	t.Run("two tabs", s.twoTabs)
	t.Run("everywhere", s.signOutEverywhere)
	t.Run("who may only look", s.looks)
	t.Run("who belongs to another tenant", s.belongsElsewhere)
	t.Run("from another origin", s.crossOrigin)
	t.Run("framed", s.framed)
	t.Run("suspended meanwhile", s.suspended)
	t.Run("no token was written down", func(t *testing.T) {
		if len(s.shown) == 0 {
			t.Fatal("none was shown")
		}
		for _, plaintext := range s.shown {
			s.searchFor(t, plaintext)
		}
	})
}

// admit makes a group of the identity provider's a member of a tenant.
func (s *settings) admit(t *testing.T, tenant, group, role string) {
	t.Helper()
	patch := fmt.Sprintf(`[{"op": "add", "path": "/spec/members/-", "value": {"kind": "Group", "name": "oidc:%s", "role": %q}}]`, group, role)
	must(t)(s.command(t, s.summary.Kubeconfig, "", "kubectl", "patch", "tenant", tenant, "--type=json", "-p", patch))
	testenv.Eventually(t, func() error {
		_, _, err := s.command(t, s.summary.Kubeconfig, "", "kubectl", "auth", "can-i", "list", "apitokens.latchkey.dev",
			"-n", "tenant-"+tenant, "--as=oidc:anybody", "--as-group=oidc:"+group, "--quiet")
		return err
	})
}

// wantAccessible looks at the page as it is on a phone by night, and on a desk by day.
func (s *settings) wantAccessible(p *browsertest.Page) {
	for _, o := range []browsertest.Options{{Dark: true, Width: 360}, {}} {
		p.Emulate(o)
		p.WantAccessible()
		p.WantNoSidewaysScrolling()
	}
}

// create makes a token as its admin does: new, its scope, create, copy.
func (s *settings) create(t *testing.T, p *browsertest.Page, name string) (plaintext string) {
	t.Helper()
	p.Submit(`a[href="/settings/tokens/new"]`)
	s.wantAccessible(p)
	p.Type("#name", name)
	p.Click(`input[name=scope][value="orders:read"]`)
	p.Submit(`form[action="/settings/tokens"] button`)
	plaintext = p.Text("#plaintext")
	if !strings.HasPrefix(plaintext, "lk_") {
		t.Fatalf("no token is shown: %s", p.Text("main"))
	}
	s.shown = append(s.shown, plaintext)
	s.wantAccessible(p)
	p.Click("[data-copy=plaintext]")
	return plaintext
}

// runsItsLine runs the line that is shown beside the token.
func (s *settings) runsItsLine(t *testing.T, p *browsertest.Page) {
	t.Helper()
	line := p.Text("#curl")
	out, err := exec.CommandContext(t.Context(), "bash", "-c", line+" --silent --show-error --fail-with-body --max-time 20").CombinedOutput()
	if err != nil || !json.Valid(out) || !bytes.Contains(out, []byte("acme")) {
		t.Errorf("%v: %s\n%s", err, out, line)
	}
}

// isGone leaves the page in the ways that there are, and comes back to it.
func (s *settings) isGone(t *testing.T, p *browsertest.Page, plaintext string) {
	t.Helper()
	gone := func(how string) {
		t.Helper()
		if html := browsertest.Eval[string](p, "document.documentElement.outerHTML"); strings.Contains(html, plaintext) {
			t.Errorf("%s, the token is shown again", how)
		}
	}
	p.Reload()
	gone("reloaded")
	p.Go(s.page)
	gone("in the list")
	p.Back()
	gone("gone back to")
	p.Back()
	gone("gone back twice")
	p.Go(s.page)
}

// rotates replaces the token with an overlap, and issues none twice.
func (s *settings) rotates(t *testing.T, p *browsertest.Page, first string) {
	t.Helper()
	p.Go(s.page + "/tokens/browsers")
	s.wantAccessible(p)
	p.Submit(`a[href="/settings/tokens/browsers/rotate"]`)
	s.wantAccessible(p)
	p.Click("input[name=overlap][value='1h']")
	p.Submit(`form[action="/settings/tokens/browsers/rotate"] button`)
	second := p.Text("#plaintext")
	if second == first || !strings.HasPrefix(second, "lk_") {
		t.Fatalf("no new token is shown: %s", p.Text("main"))
	}
	s.shown = append(s.shown, second)
	p.Click("[data-copy=plaintext]")
	s.calls(t, first, "")
	s.calls(t, second, "")
	p.Reload()
	s.isGone(t, p, second)
	p.Go(s.page + "/tokens/browsers")
	if text := p.Text("main"); !strings.Contains(text, strings.Split(first, "_")[1]) {
		t.Errorf("the previous credential is not shown: %s", text)
	}
	s.wantAccessible(p)
	p.Click("details.confirm summary")
	p.Submit(`form[action="/settings/tokens/browsers/drop-previous"] button`)
	s.calls(t, first, "token-revoked")
	s.calls(t, second, "")
}

// revokes asks for the name, and means it.
func (s *settings) revokes(t *testing.T, p *browsertest.Page) {
	t.Helper()
	p.Go(s.page + "/tokens/browsers/revoke")
	p.Type("#name", "browser")
	p.Submit(`form[action="/settings/tokens/browsers/revoke"] button`)
	s.wantAccessible(p)
	s.calls(t, s.shown[len(s.shown)-1], "")
	p.Go(s.page + "/tokens/browsers/revoke")
	p.Type("#name", "browsers")
	p.Submit(`form[action="/settings/tokens/browsers/revoke"] button`)
	s.calls(t, s.shown[len(s.shown)-1], "token-revoked")
	s.wantAccessible(p)
}

// calls is that of the installation, over HTTP: the name is one of localhost's.
func (s *settings) calls(t *testing.T, plaintext, problem string) {
	t.Helper()
	testenv.Eventually(t, func() error {
		out, err := exec.CommandContext(t.Context(), "curl", "--silent", "--show-error", "--max-time", "20",
			"-H", "Authorization: token "+plaintext, s.origin+"/api/v1/orders").CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		var answer struct{ Type string }
		if err := json.Unmarshal(out, &answer); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		if _, code, _ := strings.Cut(answer.Type, "#"); code != problem {
			return fmt.Errorf("the answer is %s, want %q", out, problem)
		}
		return nil
	})
}
