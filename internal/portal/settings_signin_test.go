package portal_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/testing/signintest"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

// A token from another page signs nobody in before that is confirmed.
func TestSettingsSignInFromElsewhere(t *testing.T) {
	i := install(t)
	plaintext := i.ticket("acme", "ticket", "grace")
	v := i.visitor("acme")
	elsewhere := []string{"Origin", "http://127.0.0.1:40000", "Sec-Fetch-Site", "cross-site"}
	v.post("/settings/sign-in/token", url.Values{"token": {plaintext}}, elsewhere...).page(http.StatusOK, "grace", plaintext)
	if len(v.cookies) != 0 {
		t.Fatalf("cookies: %v", v.cookies)
	}
	i.stored("acme", "ticket") // is there still
	for name, c := range map[string]struct {
		token, says string
		status      int
	}{
		"nonsense":    {"nonsense", "not one that signs in here", http.StatusForbidden},
		"an API's":    {i.make("acme", "api", v1alpha1.ApiTokenSpec{}), "does not sign in", http.StatusForbidden},
		"of globex":   {i.ticket("globex", "ticket", "grace"), "not one that signs in here", http.StatusForbidden},
		"none at all": {"", "not one that signs in here", http.StatusForbidden},
	} {
		for _, headers := range [][]string{nil, elsewhere} {
			a := v.post("/settings/sign-in/token", url.Values{"token": {c.token}, "return": {"//evil.example"}}, headers...)
			if content := a.page(c.status, c.says); strings.Contains(content, "evil.example") || c.token != "" && strings.Contains(content, c.token) {
				t.Errorf("%s: the page repeats what was sent:\n%s", name, content)
			}
		}
	}
	// Of those who try at the same time one is signed in.
	var signedIn, refused int
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			a := i.visitor("acme").post("/settings/sign-in/token", url.Values{"token": {plaintext}, "return": {"/settings/tokens/new"}})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case a.status == http.StatusSeeOther && a.header.Get("Location") == "/settings/tokens/new":
				signedIn++
			case a.status == http.StatusForbidden && a.header.Get("Set-Cookie") == "":
				refused++
			}
		})
	}
	all.Wait()
	if signedIn != 1 || refused != 7 {
		t.Errorf("%d were signed in, %d refused", signedIn, refused)
	}
	v.post("/settings/sign-in/token", url.Values{"token": {plaintext}}).page(http.StatusForbidden)
}

// A token that was pasted into the address of a page does not come back after the sign-in:
// it would be in the browser's history, and in the log of an Ingress, once more.
func TestSettingsSignInForgetsAPastedToken(t *testing.T) {
	i := install(t)
	pasted := i.make("acme", "api", v1alpha1.ApiTokenSpec{})
	v := i.visitor("acme")
	target := "/settings?q=" + pasted
	v.get(target).leads("/settings/sign-in")
	signIn := "/settings/sign-in?return=" + url.QueryEscape(target)
	if content := v.get(signIn).page(http.StatusOK); strings.Contains(content, pasted) {
		t.Errorf("the sign-in has the token:\n%s", content)
	}
	v.post("/settings/sign-in/token", url.Values{"token": {i.ticket("acme", "ticket", "grace")}, "return": {target}}).leads("/settings")
	v.get(signIn).leads("/settings")
	v.get("/settings/sign-in?return=" + url.QueryEscape("/settings?q=ci")).leads("/settings?q=ci")
}

// Guessing tokens ends soon, and does not end what others do.
func TestSettingsBadTokensAreCounted(t *testing.T) {
	i := install(t)
	v := i.visitor("acme")
	v.enter("ticket", "grace")
	guesser := i.visitor("acme")
	stopped := 0
	for n := range 40 {
		if a := guesser.post("/settings/sign-in/token", url.Values{"token": {fmt.Sprintf("guess-%d", n)}}); a.status == http.StatusTooManyRequests && a.header.Get("Retry-After") != "" {
			stopped++
		}
	}
	if stopped < 8 || stopped > 12 {
		t.Errorf("of 40 guesses %d were stopped", stopped)
	}
	v.get("/settings").page(http.StatusOK)
}

// However many sign-ins at the provider an address fails, one that the provider confirms is
// honoured: anybody can make an address fail.
func TestSettingsFailedSignInsKeepNobodyOut(t *testing.T) {
	provider, change := withProvider(t, signintest.User{Name: "grace"})
	i := installWith(t, change)
	stranger, stopped := i.visitor("acme"), false
	for range 40 { // more than the installation's limit of 30
		location := stranger.get("/settings/sign-in/oidc").header.Get("Location")
		authorize, err := url.Parse(location)
		must(t, err)
		refused := url.Values{"state": {authorize.Query().Get("state")}, "error": {"access_denied"}, "iss": {provider.IssuerURL()}}
		stopped = stranger.get("/settings/callback?"+refused.Encode()).status == http.StatusTooManyRequests
	}
	if !stopped {
		t.Fatal("failed sign-ins are not counted")
	}
	i.visitor("acme").signInAs(provider.NewBrowser(), "grace")
}

// Bad API tokens do not use up the count of Kubernetes tokens, nor the other way round.
func TestKubernetesTokensAreCountedByThemselves(t *testing.T) {
	i := install(t)
	i.works("acme", i.make("acme", "known", v1alpha1.ApiTokenSpec{}))
	jwt := i.workload("acme", "ci", "latchkey.dev", "list")
	for range 40 {
		i.call("acme", http.MethodGet, tokens, "lk_nonsense")
	}
	i.call("acme", http.MethodGet, tokens, "lk_nonsense").refused(http.StatusTooManyRequests, "rate-limited")
	testenv.Eventually(t, func() error { // the cluster may not know its rights yet
		a := i.call("acme", http.MethodGet, tokens, "Bearer "+jwt)
		if a.status == http.StatusTooManyRequests { // a minute later it would be over
			t.Fatalf("a Kubernetes token is refused for bad API tokens: %s", a.body)
		}
		if a.status != http.StatusOK {
			return fmt.Errorf("%d %s", a.status, a.body)
		}
		return nil
	})
}

// A token that signs in opens neither the backend nor what is Latchkey's.
func TestSettingsTokensOpenNothingElse(t *testing.T) {
	i := install(t, publish(t, openDocument), func(a *v1alpha1.PublicApi) { a.Spec.Docs.Visibility = v1alpha1.DocsAuthenticated })
	plaintext := i.ticket("acme", "ticket", "grace")
	reached := len(i.reached)
	for _, c := range []struct{ method, target, body string }{
		{http.MethodGet, "/api/v1/orders", ""}, {http.MethodGet, "/api/v1/status", ""}, {http.MethodPost, "/api/v1/orders", "{}"},
		{http.MethodGet, "/api/v1/token", ""}, {http.MethodDelete, "/api/v1/token", ""}, {http.MethodPost, "/api/v1/token/rotate", ""},
		{http.MethodGet, tokens, ""}, {http.MethodPost, tokens, `{"name":"x"}`}, {http.MethodPatch, tokens + "/ticket", "{}"},
		{http.MethodGet, "/docs", ""}, {http.MethodGet, specJSON, ""},
	} {
		i.call("acme", c.method, c.target, plaintext, c.body).refused(http.StatusForbidden, "insufficient-scope")
	}
	if len(i.reached) != reached {
		t.Errorf("the backend was sent %v", i.reached[reached:])
	}
	i.visitor("acme").get("/settings", "Authorization", "token "+plaintext).leads("/settings/sign-in")
}

// People come from an identity provider, and RBAC says what they may do.
func TestSettingsByProvider(t *testing.T) {
	provider, change := withProvider(t, signintest.User{Name: "grace", FullName: "Grace Hopper"}, signintest.User{Name: "victor"}, signintest.User{Name: "mallory"}, signintest.User{Name: "team", Groups: []string{"admins"}})
	i := installWith(t, change)
	grant := func(name, role string, subject rbacv1.Subject) {
		must(t, client.IgnoreAlreadyExists(env().Client.Create(t.Context(), &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespaceOf(t, "acme"), Name: name},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role}, Subjects: []rbacv1.Subject{subject},
		})))
	}
	grant("viewer", v1alpha1.TenantViewerClusterRole, rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: "User", Name: "victor"})
	grant("team", v1alpha1.TenantAdminClusterRole, rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: "Group", Name: "id:admins"})

	grace := i.visitor("acme")
	grace.signInAs(provider.NewBrowser(), "grace")
	grace.get("/settings").page(http.StatusOK, "Grace Hopper", "/settings/tokens/new")
	i.works("acme", grace.post("/settings/tokens", newForm("ci")).reveals(i))

	team := i.visitor("acme")
	team.signInAs(provider.NewBrowser(), "team")
	team.get("/settings").page(http.StatusOK, "/settings/tokens/new")

	victor := i.visitor("acme")
	victor.signInAs(provider.NewBrowser(), "victor")
	if content := victor.get("/settings").page(http.StatusOK, "/settings/tokens/ci"); strings.Contains(content, "/settings/tokens/new") {
		t.Error("a viewer is offered to create a token")
	}
	if content := victor.get("/settings/tokens/ci").page(http.StatusOK); strings.Contains(content, "/ci/rotate") || strings.Contains(content, "/ci/revoke") {
		t.Error("a viewer is offered to change a token")
	}
	victor.get("/settings/tokens/new").page(http.StatusForbidden, "You may not do this")
	id := i.stored("acme", "ci").Spec.Credential.ID
	victor.post("/settings/tokens", newForm("forged")).revealsNothing().page(http.StatusForbidden, "You may not do this")
	victor.post("/settings/tokens/ci/rotate", url.Values{"credential": {id}}).revealsNothing().page(http.StatusForbidden)
	victor.post("/settings/tokens/ci/revoke", url.Values{"name": {"ci"}}).page(http.StatusForbidden)
	if got := i.stored("acme", "ci"); got.Spec.Revoked || got.Spec.Credential.ID != id {
		t.Errorf("a viewer changed the token to %+v", got.Spec)
	}

	// Whoever belongs to another tenant, or to none, sees nothing; and a session is its
	// host's alone.
	mallory := i.visitor("acme")
	mallory.signInAs(provider.NewBrowser(), "mallory")
	for _, target := range []string{"/settings", "/settings/tokens/ci", "/settings/tokens/new"} {
		if content := mallory.get(target).page(http.StatusForbidden); strings.Contains(content, "ada@example.com") {
			t.Errorf("%s tells a stranger of tokens", target)
		}
	}
	crossed := i.visitor("globex")
	crossed.cookies = grace.cookies
	crossed.get("/settings").leads("/settings/sign-in")
	crossed.post("/settings/tokens", newForm("crossed")).revealsNothing().page(http.StatusForbidden, "Sign in again")
}

// No answer of the provider's signs in but the one that this browser waits for, once.
func TestSettingsProviderAnswers(t *testing.T) {
	provider, change := withProvider(t, signintest.User{Name: "grace"})
	i := installWith(t, change)
	v, b := i.visitor("acme"), provider.NewBrowser()
	signsNobodyIn := func(name string, a answer, status int) {
		t.Helper()
		if a.status != status || v.cookies["__Host-latchkey-session"] != "" {
			t.Errorf("%s: %d, cookies %v: %s", name, a.status, v.cookies, a.body)
		}
	}
	callback := v.begin(b, "grace", "")
	signsNobodyIn("another state", v.get(strings.Replace(callback, "state=", "state=x", 1)), http.StatusForbidden)
	kept := v.cookies
	v.cookies = map[string]string{}
	signsNobodyIn("another browser", v.get(callback), http.StatusForbidden)
	v.cookies = kept
	elsewhere := i.visitor("globex")
	elsewhere.cookies = maps.Clone(kept)
	signsNobodyIn("another tenant", elsewhere.get(callback), http.StatusForbidden)
	signsNobodyIn("HEAD", v.send(http.MethodHead, callback, ""), http.StatusMethodNotAllowed)
	v.begin(b, "grace", "?return=/settings/tokens/new") // in another tab
	v.get(callback).leads("/settings")
	signedIn := v.cookies["__Host-latchkey-session"]
	v.get(callback).page(http.StatusForbidden, "finished already")
	if signedIn == "" || v.cookies["__Host-latchkey-session"] != signedIn {
		t.Error("a replayed answer changes who is signed in")
	}

	v = i.visitor("acme")
	a := v.get("/settings/sign-in/oidc")
	back, err := provider.NewBrowser().Deny(t.Context(), a.header.Get("Location"))
	must(t, err)
	signsNobodyIn("denied", v.get(back.RequestURI()), http.StatusForbidden)
	callback = v.begin(provider.NewBrowser(), "grace", "")
	provider.Intercept(signintest.TokenPath, signintest.Down)
	a = v.get(callback)
	signsNobodyIn("down", a, http.StatusServiceUnavailable)
	a.page(http.StatusServiceUnavailable, "does not answer")
	provider.Intercept(signintest.TokenPath, nil)

	for name, change := range map[string]func(*signintest.IDToken){
		"an expired ID token": signintest.Expired, "another client's": signintest.OtherAudience,
		"another sign-in's": signintest.OtherNonce, "another provider's": signintest.OtherIssuer,
	} {
		v = i.visitor("acme")
		callback = v.begin(provider.NewBrowser(), "grace", "")
		provider.Tamper(change)
		a = v.get(callback)
		provider.Tamper(nil)
		if signsNobodyIn(name, a, a.status); a.status < 400 {
			t.Errorf("%s: answered %d", name, a.status)
		}
		v.get("/settings").leads("/settings/sign-in")
	}

	// Whatever a link to sign in says, it leads back to a page of this host.
	for _, after := range []string{"//evil.example", "https://evil.example/settings", `/\evil.example`, "/docs", "/settings/callback"} {
		v = i.visitor("acme")
		v.get(v.begin(provider.NewBrowser(), "grace", "?return="+url.QueryEscape(after))).leads("/settings")
		v.get("/settings/sign-in?return=" + url.QueryEscape(after)).leads("/settings")
	}
}

// Many sign-ins that were begun and given up do not pile up in the browser.
func TestSettingsSignInsUnderWay(t *testing.T) {
	provider, change := withProvider(t, signintest.User{Name: "grace"})
	i := installWith(t, change)
	v := i.visitor("acme")
	for range 20 {
		v.begin(provider.NewBrowser(), "grace", "")
		if len(v.cookies) > 6 {
			t.Fatalf("%d sign-ins are under way", len(v.cookies))
		}
	}
}

// Sign-ins by token can be forbidden, which ends the sessions that began so.
func TestSettingsTokenSignInDenied(t *testing.T) {
	i := install(t)
	v := i.visitor("acme")
	v.enter("ticket", "grace")
	second := i.ticket("acme", "second", "grace")
	testenv.Eventually(t, func() error {
		must(t, env().Client.Get(t.Context(), client.ObjectKeyFromObject(i.api), i.api))
		i.api.Spec.Settings.TokenSignIn = v1alpha1.TokenSignInDeny
		return env().Client.Update(t.Context(), i.api)
	})
	testenv.Eventually(t, func() error {
		if a := v.get("/settings"); a.status != http.StatusSeeOther {
			return fmt.Errorf("%d", a.status)
		}
		return nil
	})
	v.post("/settings/sign-in/token", url.Values{"token": {second}}).page(http.StatusForbidden, "not permitted")
	v.get("/settings/sign-in").page(http.StatusOK, "Nobody can sign in here")
}
