package portal_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/proxy"
	"github.com/latchkey-dev/latchkey/internal/testing/signintest"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

// A session that ends while a form is filled in loses nothing of it.
func TestSettingsSessionEndsInTheMiddle(t *testing.T) {
	provider, change := withProvider(t, signintest.User{Name: "grace"})
	i := installWith(t, change)
	for name, passes := range map[string]time.Duration{"idle": 31 * time.Minute, "not recent": 16 * time.Minute} {
		v, b := i.visitor("acme"), provider.NewBrowser()
		v.signInAs(b, "grace")
		name := strings.ReplaceAll(name, " ", "-")
		v.get("/settings/tokens/new").page(http.StatusOK)
		i.clock.forward(passes)
		form := newForm(name)
		form.Set("description", `typed "by hand"`)
		content := v.post("/settings/tokens", form).revealsNothing().page(http.StatusForbidden, `name="name" value="`+name+`"`, `value="typed "by hand""`, `name="resume"`, "/settings/sign-in?recent=1&return=%2Fsettings%2Fsigned-in")
		if !strings.Contains(content, `action="/settings/tokens"`) {
			t.Errorf("%s: the form goes elsewhere:\n%s", name, content)
		}
		resumed := url.Values{"resume": {"1"}}
		maps.Copy(resumed, form)
		v.post("/settings/tokens", resumed).revealsNothing().page(http.StatusForbidden, `name="resume"`)
		v.get(v.begin(b, "grace", "?recent=1&return=/settings/signed-in")).leads("/settings/signed-in")
		v.get("/settings/signed-in").page(http.StatusOK)
		v.post("/settings/tokens", resumed).revealsNothing().page(http.StatusOK, `value="typed "by hand""`, `value="`+name+`"`)
		v.post("/settings/tokens", form).reveals(i)
	}
	// What can't be issued now is not filled in in vain.
	v := i.visitor("acme")
	v.signInAs(provider.NewBrowser(), "grace")
	i.clock.forward(16 * time.Minute)
	v.get("/settings/tokens/new").leads("/settings/sign-in?recent=1&return=%2Fsettings%2Ftokens%2Fnew")
	v.get("/settings/sign-in?recent=1&return=%2Fsettings%2Ftokens%2Fnew").page(http.StatusOK, "Confirm that it is you")
	v.get("/settings").page(http.StatusOK)
}

// A sign-out everywhere ends the sessions of other browsers.
func TestSettingsSignOutEverywhere(t *testing.T) {
	provider, change := withProvider(t, signintest.User{Name: "grace"})
	i := installWith(t, change)
	one, other := i.visitor("acme"), i.visitor("acme")
	one.signInAs(provider.NewBrowser(), "grace")
	other.signInAs(provider.NewBrowser(), "grace")
	copied := i.visitor("acme")
	copied.cookies = map[string]string{"__Host-latchkey-session": other.cookies["__Host-latchkey-session"]}
	one.post("/settings/sign-out-everywhere", nil).page(http.StatusOK)
	testenv.Eventually(t, func() error {
		if a := copied.get("/settings"); a.status != http.StatusSeeOther {
			return fmt.Errorf("%d", a.status)
		}
		return nil
	})
	for _, v := range []*visitor{one, other} {
		v.get("/settings").leads("/settings/sign-in")
	}
	one.signInAs(provider.NewBrowser(), "grace")
	one.get("/settings").page(http.StatusOK)
	one.post("/settings/sign-out", nil).page(http.StatusOK, provider.IssuerURL()+signintest.LogoutPath)
}

// Without the keys nobody is signed in and nobody gets in; the API goes on.
func TestSettingsWithoutKeys(t *testing.T) {
	i := installWith(t, func(i *installation) { i.keyless = true })
	plaintext := i.ticket("acme", "ticket", "grace")
	v := i.visitor("acme")
	v.post("/settings/sign-in/token", url.Values{"token": {plaintext}}).page(http.StatusServiceUnavailable)
	i.stored("acme", "ticket") // was not used up
	v.cookies["__Host-latchkey-session"] = "anything"
	for _, target := range []string{"/settings", "/settings/tokens/new", "/settings/sign-in"} {
		if a := v.get(target); a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
			t.Errorf("%s: %d", target, a.status)
		}
	}
	v.post("/settings/tokens", newForm("ci")).page(http.StatusServiceUnavailable)
	i.works("acme", i.make("acme", "api", v1alpha1.ApiTokenSpec{}))
}

// A browser sends its session to the product's paths as well: the backend does not see
// it, and it opens nothing there.
func TestSettingsCookieAndTheBackend(t *testing.T) {
	i := install(t)
	v := i.visitor("acme")
	v.enter("ticket", "grace")
	plaintext := i.make("acme", "api", v1alpha1.ApiTokenSpec{})
	cookie := "theme=dark; __Host-latchkey-session=" + v.cookies["__Host-latchkey-session"]
	i.call("acme", http.MethodGet, "/api/v1/orders", plaintext, "", "Cookie", cookie).decode(http.StatusOK, nil)
	last := i.reached[len(i.reached)-1]
	if !strings.Contains(last, "theme=dark") || strings.Contains(last, "latchkey-session") || !strings.Contains(last, proxy.HeaderTokenName) {
		t.Errorf("the backend was sent %s", last)
	}
	for _, target := range []string{"/api/v1/orders", "/api/v1/token", tokens} {
		i.call("acme", http.MethodGet, target, "", "", "Cookie", cookie).refused(http.StatusUnauthorized, "authorization-missing")
	}
}

// Documentation that is not for everyone opens for who is signed in and a member.
func TestSettingsSessionReadsDocumentation(t *testing.T) {
	provider, change := withProvider(t, signintest.User{Name: "grace"}, signintest.User{Name: "mallory"})
	i := installWith(t, change, publish(t, openDocument), func(a *v1alpha1.PublicApi) { a.Spec.Docs.Visibility = v1alpha1.DocsAuthenticated })
	grace, mallory, nobody := i.visitor("acme"), i.visitor("acme"), i.visitor("acme")
	grace.signInAs(provider.NewBrowser(), "grace")
	mallory.signInAs(provider.NewBrowser(), "mallory")
	for _, target := range []string{"/docs", specJSON} {
		testenv.Eventually(t, func() error { // the document may not have been read yet
			if a := grace.get(target); a.status != http.StatusOK {
				return fmt.Errorf("%d %s", a.status, a.body)
			}
			return nil
		})
		for _, v := range []*visitor{mallory, nobody} {
			if a := v.get(target); a.status != http.StatusUnauthorized {
				t.Errorf("%s: %d", target, a.status)
			}
		}
	}
	grace.get("/settings").page(http.StatusOK, `href="/docs"`)
}

// Whoever gets a name that was another customer's gets none of that one's people.
func TestSettingsOfATenantMadeAnew(t *testing.T) {
	i := install(t)
	v := i.visitor("acme")
	v.enter("ticket", "grace")
	v.get("/settings").page(http.StatusOK)

	acme := &v1alpha1.Tenant{}
	must(t, env().Client.Get(t.Context(), client.ObjectKey{Name: "acme"}, acme))
	must(t, env().Client.Delete(t.Context(), acme))
	must(t, env().Client.Create(t.Context(), &v1alpha1.Tenant{ObjectMeta: metav1.ObjectMeta{Name: "acme"}, Spec: acme.Spec}))
	cookie := "__Host-latchkey-session=" + v.cookies["__Host-latchkey-session"]
	testenv.Eventually(t, func() error {
		if a := i.call("acme", http.MethodGet, "/settings", "", "", "Cookie", cookie); a.status != http.StatusSeeOther {
			return fmt.Errorf("%d %s", a.status, a.body)
		}
		return nil
	})
	v.get("/settings").leads("/settings/sign-in")
}
