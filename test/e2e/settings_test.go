//go:build e2e

package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/testing/browsertest"
)

// settingsPages is the Settings page as a customer's admin has it: in Chromium, over
// HTTPS, through the Ingress, at whichever replica answers.
func settingsPages(t *testing.T, w *world) {
	browsertest.Reach(t, w.host("acme"), net.JoinHostPort(w.ingress, "443"), w.ca.pool)

	p := w.signedIn(t)
	t.Run("a token", func(t *testing.T) { w.makesToken(t, p) })
	t.Run("every replica knows the session", func(t *testing.T) { w.restartsPortal(t, p) })
	t.Run("signed out everywhere", func(t *testing.T) {
		other := w.signedIn(t)
		other.Click(".account summary")
		other.Submit(`form[action="/settings/sign-out-everywhere"] button`)
		w.wantSignedOut(t, p)
	})
	t.Run("what the backend is told", func(t *testing.T) {
		seen := w.curl(t, "acme", "/api/v1/headers", w.token, "--header", "Cookie: __Host-latchkey-session=x; theirs=y").seen(t)
		if got := strings.Join(seen["Cookie"], ""); got != "theirs=y" {
			t.Errorf("the backend is sent the cookies %q", got)
		}
	})
	t.Run("without a session", func(t *testing.T) {
		a := w.curl(t, "acme", "/settings", "")
		if a.status != 303 || !strings.Contains(strings.ToLower(a.header), "location: /settings/sign-in") {
			t.Errorf("the answer is %d %s", a.status, a.header)
		}
	})
}

// signedIn runs the plugin as acme's admin, with a browser that hands its address to
// Chromium.
func (w *world) signedIn(t *testing.T) *browsertest.Page {
	t.Helper()
	dir := t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\necho \"$1\" >%[1]s/partial && mv %[1]s/partial %[1]s/address\n", dir)
	if err := os.WriteFile(filepath.Join(dir, "browser"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	plugin := exec.CommandContext(t.Context(), "kubectl-latchkey", "settings", "acme", "--as", "acme-admin")
	plugin.Env = append(os.Environ(), "BROWSER="+filepath.Join(dir, "browser"))
	var said strings.Builder
	plugin.Stdout, plugin.Stderr = &said, &said
	if err := plugin.Start(); err != nil {
		t.Fatal(err)
	}
	address := ""
	eventually(t, within, func() error {
		content, err := os.ReadFile(filepath.Join(dir, "address"))
		address = strings.TrimSpace(string(content))
		return err
	})
	p := browsertest.Open(t, address, browsertest.Options{Origins: []string{"https://" + w.host("acme")}})
	p.Wait(`location.pathname === "/settings/sign-in/token" && document.querySelector("main form button")`)
	p.Submit("main form button")
	p.Wait(`location.pathname === "/settings"`)
	if err := plugin.Wait(); err != nil {
		t.Fatalf("the plugin: %v\n%s", err, &said)
	}
	return p
}

// makesToken makes a token, uses it, and revokes it.
func (w *world) makesToken(t *testing.T, p *browsertest.Page) {
	p.Submit(`a[href="/settings/tokens/new"]`)
	p.Type("#name", "by-browser")
	p.Click(`input[name=scope][value="orders:read"]`)
	p.Submit(`form[action="/settings/tokens"] button`)
	plaintext := p.Text("#plaintext")
	w.tokens = append(w.tokens, plaintext)
	p.WantAccessible()
	if curl := p.Text("#curl"); !strings.Contains(curl, "https://"+w.host("acme")+"/api/v1/") || !strings.Contains(curl, plaintext) {
		t.Errorf("the line to try is %s", curl)
	}
	p.Click("[data-copy=plaintext]")
	w.answered(t, plaintext, 200, "")
	p.Reload()
	if html := browsertest.Eval[string](p, "document.documentElement.outerHTML"); strings.Contains(html, plaintext) {
		t.Error("reloaded, the page shows the token again")
	}
	p.Go("https://" + w.host("acme") + "/settings/tokens/by-browser/revoke")
	p.Type("#name", "by-browser")
	p.Submit(`form[action="/settings/tokens/by-browser/revoke"] button`)
	w.answered(t, plaintext, 401, "token-revoked")
}

// restartsPortal replaces every replica: a session is none of theirs.
func (w *world) restartsPortal(t *testing.T, p *browsertest.Page) {
	w.kubectl(t, "-n", system, "rollout", "restart", "deployment/latchkey-portal")
	w.available(t, "latchkey-portal")
	p.Go("https://" + w.host("acme") + "/settings")
	if at := p.Address(); strings.Contains(at, "sign-in") {
		t.Errorf("the session has ended: %s", at)
	}
}

// wantSignedOut asks until every replica has heard that the session was ended.
func (w *world) wantSignedOut(t *testing.T, p *browsertest.Page) {
	t.Helper()
	took := eventually(t, within, func() error {
		for range 6 { // the Ingress controller balances them
			p.Go("https://" + w.host("acme") + "/settings")
			if at := p.Address(); !strings.Contains(at, "/settings/sign-in") {
				return fmt.Errorf("the other browser is at %s", at)
			}
		}
		return nil
	})
	t.Logf("signed out at every replica within %s", took)
}
