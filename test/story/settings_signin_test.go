package story_test

import (
	"crypto/x509"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/testing/browsertest"
	"github.com/latchkey-dev/latchkey/internal/testing/signintest"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

// handedOver runs the plugin, and returns the address that it would open in a browser.
// Where the plugin's token is exchanged by the end of the test, it succeeds.
func (s *settings) handedOver(t *testing.T) (address string) {
	t.Helper()
	dir := t.TempDir()
	browser := filepath.Join(dir, "browser")
	script := fmt.Sprintf("#!/bin/sh\necho \"$1\" >%[1]s/partial && mv %[1]s/partial %[1]s/address\n", dir)
	if err := os.WriteFile(browser, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	plugin := exec.Command(filepath.Join(s.dir, "bin", "kubectl-latchkey"), "settings", "acme")
	plugin.Env = append(os.Environ(), "KUBECONFIG="+s.summary.MemberKubeconfig, "BROWSER="+browser)
	var output buffer
	plugin.Stdout, plugin.Stderr = &output, &output
	if err := plugin.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- plugin.Wait() }()
	t.Cleanup(func() {
		if t.Failed() {
			_ = plugin.Process.Kill()
		}
		if err := <-ended; err != nil {
			t.Errorf("the plugin: %v\n%s", err, &output)
		}
	})
	testenv.Eventually(t, func() error {
		content, err := os.ReadFile(filepath.Join(dir, "address"))
		if err != nil {
			return fmt.Errorf("%w\n%s", err, &output)
		}
		address = strings.TrimSpace(string(content))
		return nil
	})
	return address
}

// byThePlugin is the whole story of a token, from the sign-in to its end.
func (s *settings) byThePlugin(t *testing.T) {
	p := browsertest.Open(t, s.handedOver(t), browsertest.Options{Origins: []string{s.origin}})
	p.Wait(`location.pathname === "/settings/sign-in/token" && document.querySelector("main form button")`)
	if text := p.Text("main"); !strings.Contains(text, "acme-admin") {
		t.Errorf("the page asks: %s", text)
	}
	p.WantAccessible()
	p.Submit("main form button")
	p.Wait(`location.pathname === "/settings"`)
	s.wantAccessible(p)

	first := s.create(t, p, "browsers")
	s.runsItsLine(t, p)
	s.isGone(t, p, first)
	s.calls(t, first, "")
	s.rotates(t, p, first)
	s.revokes(t, p)
	p.Go(s.page + "?show=inactive")
	if text := p.Text("main"); !strings.Contains(text, "browsers") {
		t.Errorf("it is not among the inactive ones: %s", text)
	}
	p.Click(".account summary")
	p.Submit(`form[action="/settings/sign-out"] button`)
	p.Go(s.page)
	p.Wait(`location.pathname === "/settings/sign-in"`)
}

// authorities has the development CA.
func (s *settings) authorities(t *testing.T) *x509.CertPool {
	t.Helper()
	certificate, err := os.ReadFile(s.summary.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(certificate) {
		t.Fatalf("%s has no certificate", s.summary.CAFile)
	}
	return pool
}

// byPasting signs in with what the plugin prints where it opens no browser. It works
// once.
func (s *settings) byPasting(t *testing.T) {
	plaintext := must(t)(s.member(t, "", "kubectl-latchkey", "settings", "acme", "--no-browser"))
	s.calls(t, plaintext, "insufficient-scope") // it signs in, and opens nothing else
	page := fmt.Sprintf("https://acme.localhost:%d/settings", s.summary.HTTPSPort)
	p := browsertest.Open(t, page, browsertest.Options{})
	s.wantAccessible(p)
	p.Type("#token", plaintext)
	p.Submit(`form[action="/settings/sign-in/token"] button`)
	p.Wait(`location.pathname === "/settings"`)
	s.calls(t, plaintext, "token-invalid")

	again := browsertest.Open(t, page, browsertest.Options{})
	again.Type("#token", plaintext)
	again.Submit(`form[action="/settings/sign-in/token"] button`)
	if at := again.Address(); !strings.Contains(at, "/settings/sign-in") {
		t.Errorf("the token signs in twice: %s", at)
	}
	s.wantAccessible(again)
	s.shown = append(s.shown, plaintext)
}

// signIn opens Settings in a browser of its own, and signs in at the provider.
func (s *settings) signIn(t *testing.T, who string) *browsertest.Page {
	t.Helper()
	p := browsertest.Open(t, s.page, browsertest.Options{Origins: []string{s.provider(t)}})
	p.Wait(`location.pathname === "/settings/sign-in"`)
	s.atTheProvider(p, who)
	return p
}

// provider is the identity provider's origin, as the API server was told.
func (s *settings) provider(t *testing.T) string {
	t.Helper()
	for _, pid := range s.processes(t, "programs/apiserver") {
		content, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil {
			t.Fatal(err)
		}
		if found := regexp.MustCompile(`--oidc-issuer-url=([^\x00]*)`).FindSubmatch(content); found != nil {
			return string(found[1])
		}
	}
	t.Fatal("no API server was told of a provider")
	return ""
}

// atTheProvider goes from the page that asks to sign in to where that leads. A browser
// that the provider knows is not asked.
func (s *settings) atTheProvider(p *browsertest.Page, who string) {
	p.Submit(`a[href^="/settings/sign-in/oidc"]`)
	p.Wait(`document.querySelector("#username, .account")`)
	if browsertest.Eval[bool](p, `document.querySelector("#username") !== null`) {
		p.Type("#username", who)
		p.Type("#password", signintest.Password)
		p.Submit("#sign-in")
	}
	p.Wait(`document.querySelector(".account")`)
}

func (s *settings) byTheProvider(t *testing.T) {
	p := s.signIn(t, admin)
	if text := p.Text(".account"); !strings.Contains(text, "Ada Admin") {
		t.Errorf("signed in is %s", text)
	}
	s.adas = s.create(t, p, "adas")
	s.calls(t, s.adas, "")
	if by := must(t)(s.member(t, "", "kubectl", "get", "apitoken", "adas", "-n", "tenant-acme", "-o", `jsonpath={.metadata.annotations.latchkey\.dev/created-by}`)); by != "oidc:"+admin {
		t.Errorf("created by %s", by)
	}
	for _, request := range p.Requests() {
		if strings.Contains(request.URL, s.adas) {
			t.Errorf("the token is in an address: %s", request.URL)
		}
	}
}

// resumes signs out in one tab what another has a form of, signs in in a third, and
// goes on with what was typed.
func (s *settings) resumes(t *testing.T) {
	p := s.signIn(t, admin)
	p.Go(s.page + "/tokens/new")
	p.Type("#name", "kept")
	p.Type("#description", "typed with care")
	p.Click(`input[name=scope][value="orders:write"]`)
	other := p.Tab(s.page)
	other.Click(".account summary")
	other.Submit(`form[action="/settings/sign-out"] button`)
	p.Submit(`form[action="/settings/tokens"] button`)
	p.Wait(`document.querySelector("#resume")`)
	s.wantAccessible(p)
	third := p.Tab(s.origin + browsertest.Eval[string](p, `document.querySelector("#sign-in").getAttribute("href")`))
	s.atTheProvider(third, admin)
	third.Wait(`document.querySelector("[data-signed-in]")`)
	p.Submit("#resume button")
	for field, want := range map[string]string{"#name": "kept", "#description": "typed with care"} {
		if got := browsertest.Eval[string](p, fmt.Sprintf("document.querySelector(%q).value", field)); got != want {
			t.Errorf("%s is %q, want %q", field, got, want)
		}
	}
	if !browsertest.Eval[bool](p, `document.querySelector('input[name=scope][value="orders:write"]').checked`) {
		t.Error("the scope is not chosen any more")
	}
	if _, _, err := s.member(t, "", "kubectl", "get", "apitoken", "kept", "-n", "tenant-acme"); err == nil {
		t.Error("the token was made without being asked for again")
	}
	p.Submit(`form[action="/settings/tokens"] button`)
	s.shown = append(s.shown, p.Text("#plaintext"))
	p.Click("[data-copy=plaintext]")
}

// twoTabs has two forms that rotate the same token: who comes second is shown what has
// happened, and ends nothing.
func (s *settings) twoTabs(t *testing.T) {
	p := s.signIn(t, admin)
	plaintext := s.create(t, p, "shared")
	p.Go(s.page + "/tokens/shared/rotate")
	other := p.Tab(s.page + "/tokens/shared/rotate")
	p.Submit(`form[action="/settings/tokens/shared/rotate"] button`)
	second := p.Text("#plaintext")
	s.shown = append(s.shown, second)
	p.Click("[data-copy=plaintext]")
	other.Submit(`form[action="/settings/tokens/shared/rotate"] button`)
	if browsertest.Eval[bool](other, `document.querySelector("#plaintext") !== null`) || second == plaintext {
		t.Errorf("both tabs have rotated: %s", other.Text("main"))
	}
	other.WantAccessible()
	s.calls(t, second, "")
}

func (s *settings) signOutEverywhere(t *testing.T) {
	desk, phone := s.signIn(t, admin), s.signIn(t, admin)
	globex := s.signIn(t, stranger) // has a session of acme's host, though nothing to see there
	desk.Go(s.page)
	desk.Click(".account summary")
	desk.Submit(`form[action="/settings/sign-out-everywhere"] button`)
	desk.WantAccessible()
	testenv.Eventually(t, func() error {
		phone.Go(s.page)
		if at := phone.Address(); !strings.Contains(at, "/settings/sign-in") {
			return fmt.Errorf("the other browser is at %s", at)
		}
		return nil
	})
	globex.Go(s.page)
	if at := globex.Address(); strings.Contains(at, "/settings/sign-in") {
		t.Error("somebody else was signed out too")
	}
}
