package portal_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

// newForm is the form for a token.
func newForm(name string) url.Values {
	return url.Values{"name": {name}, "description": {"for CI"}, "owner": {"ada@example.com"}, "scope": {"orders:read"}, "lifetime": {"720h"}, "addresses": {""}}
}

// The whole story without an identity provider: sign in with a token, create, use,
// rotate with both at work, revoke.
func TestSettingsStory(t *testing.T) {
	i := install(t)
	v := i.visitor("acme")
	v.get("/settings").leads("/settings/sign-in")
	v.get("/settings/tokens/ci?x=1").leads("/settings/sign-in?return=%2Fsettings%2Ftokens%2Fci%3Fx%3D1")
	v.get("/settings/sign-in").page(http.StatusOK, "Sign in")
	v.enter("ticket", "grace")
	err := env().Client.Get(t.Context(), client.ObjectKey{Namespace: namespaceOf(t, "acme"), Name: "ticket"}, &v1alpha1.ApiToken{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("the token that signed in is still there: %v", err)
	}
	v.get("/settings").page(http.StatusOK, "No tokens yet", "grace")
	v.get("/settings/tokens/new").page(http.StatusOK, "orders:read", "orders:write", `value="720h"`, `value="grace"`)

	created := v.post("/settings/tokens", newForm("ci"))
	first := created.reveals(i)
	created.page(http.StatusOK, `curl -X GET "https://acme.example.com/api/v1/token" -H "Authorization: token `+first+`"`)
	if a := i.call("acme", http.MethodGet, "/api/v1/orders", first); a.status != http.StatusOK {
		t.Fatalf("the new token does not work at once: %s", a.body)
	}
	stored := i.stored("acme", "ci")
	if a := stored.Annotations; a[v1alpha1.AnnotationCreatedBy] != "grace" || a[v1alpha1.AnnotationCreatedVia] != "settings" || a[v1alpha1.AnnotationIssuedBy] != "grace" {
		t.Errorf("annotations: %v", a)
	}
	v.post("/settings/tokens", newForm("ci")).revealsNothing().page(http.StatusConflict, "shown already", "/settings/tokens/ci")
	other := newForm("ci")
	other.Set("description", "something else")
	v.post("/settings/tokens", other).revealsNothing().page(http.StatusConflict, "There is a token of this name", `value="something else"`)
	v.get("/settings").revealsNothing().page(http.StatusOK, "/settings/tokens/ci", "ada@example.com", "orders:read")
	v.get("/settings/tokens/ci").revealsNothing().page(http.StatusOK, stored.Spec.Credential.ID, "grace", "On the Settings page.")

	// Rotated with an overlap both work; the same form again does nothing.
	v.get("/settings/tokens/ci/rotate").page(http.StatusOK, `value="`+stored.Spec.Credential.ID+`"`, `value="1h"`, `value="24h" checked`)
	rotate := url.Values{"credential": {stored.Spec.Credential.ID}, "overlap": {"1h"}}
	second := v.post("/settings/tokens/ci/rotate", rotate).reveals(i)
	for _, plaintext := range []string{first, second} {
		if a := i.call("acme", http.MethodGet, "/api/v1/orders", plaintext); a.status != http.StatusOK {
			t.Errorf("after the rotation: %d %s", a.status, a.body)
		}
	}
	v.post("/settings/tokens/ci/rotate", rotate).revealsNothing().page(http.StatusConflict, "done already")
	v.get("/settings?q="+strings.Split(first, "_")[1]).page(http.StatusOK, "/settings/tokens/ci")
	v.post("/settings/tokens/ci/rotate", url.Values{"credential": {i.stored("acme", "ci").Spec.Credential.ID}, "overlap": {"2h"}}).revealsNothing().page(http.StatusUnprocessableEntity, "Choose one of the times")
	v.post("/settings/tokens/ci/rotate", url.Values{"overlap": {"1h"}}).revealsNothing().page(http.StatusBadRequest)
	v.get("/settings/tokens/ci").page(http.StatusOK, stored.Spec.Credential.ID, "/settings/tokens/ci/drop-previous")
	v.post("/settings/tokens/ci/drop-previous", url.Values{"credential": {"0000000000"}}).page(http.StatusConflict)
	v.post("/settings/tokens/ci/drop-previous", url.Values{"credential": {stored.Spec.Credential.ID}}).leads("/settings/tokens/ci?done=dropped")
	i.ended("acme", first, "token-revoked")
	v.get("/settings/tokens/ci?done=dropped").page(http.StatusOK, "no longer works")
	v.get("/settings/tokens/ci?done=%3Cscript%3E").page(http.StatusOK)
	for _, lie := range []string{"/settings/tokens/ci?done=revoked", "/settings?done=revoked"} {
		if content := v.get(lie).page(http.StatusOK); strings.Contains(content, "The token is revoked") {
			t.Errorf("a link to %s says what is not so", lie)
		}
	}

	v.get("/settings/tokens/ci/revoke").page(http.StatusOK, "Revoke")
	v.post("/settings/tokens/ci/revoke", url.Values{"name": {"cd"}}).page(http.StatusUnprocessableEntity, "not the token's name", `value="cd"`)
	i.works("acme", second)
	v.post("/settings/tokens/ci/revoke", url.Values{"name": {"ci"}}).leads("/settings/tokens/ci?done=revoked")
	i.ended("acme", second, "token-revoked")
	v.post("/settings/tokens/ci/revoke", url.Values{"name": {"ci"}}).page(http.StatusConflict, "revoked")
	v.get("/settings/tokens/ci/rotate").page(http.StatusConflict, "revoked")

	for action, want := range map[string]int{"exchange": 1, "sign-in": 1, "create": 1, "rotate": 1, "change": 1, "revoke": 1} {
		lines := i.audited(action)
		if len(lines) != want || lines[0]["via"] != "settings" || lines[0]["actor"] != "grace" || lines[0]["tenant"] != "acme" {
			t.Errorf("the audit log has of %s: %v", action, lines)
		}
	}

	// Signed out nothing is left.
	v.post("/settings/sign-out", nil).page(http.StatusOK)
	if len(v.cookies) != 0 {
		t.Errorf("cookies are left: %v", v.cookies)
	}
	v.get("/settings").leads("/settings/sign-in")
}

// A token that awaits a credential is issued here, and one that has expired is
// regenerated.
func TestSettingsIssueAndRegenerate(t *testing.T) {
	i := install(t)
	v := i.visitor("acme")
	v.enter("ticket", "grace")
	must(t, env().Client.Create(t.Context(), &v1alpha1.ApiToken{ObjectMeta: metav1.ObjectMeta{Namespace: namespaceOf(t, "acme"), Name: "waiting"}}))
	testenv.Eventually(t, func() error {
		if a := v.get("/settings/tokens/waiting"); !strings.Contains(a.body, "kubectl latchkey issue waiting") {
			return fmt.Errorf("%s", a.body)
		}
		return nil
	})
	v.get("/settings/tokens/waiting/rotate").page(http.StatusOK, "Issue")
	issued := v.post("/settings/tokens/waiting/rotate", url.Values{"credential": {""}})
	i.works("acme", issued.reveals(i))
	v.post("/settings/tokens/waiting/rotate", url.Values{"credential": {""}}).revealsNothing().page(http.StatusConflict, "done already")

	end := time.Now().Add(10 * time.Second).UTC().Truncate(time.Second)
	brief := i.make("acme", "brief", v1alpha1.ApiTokenSpec{ExpiresAt: &metav1.Time{Time: end}})
	i.ended("acme", brief, "token-expired")
	v.get("/settings/tokens/brief").page(http.StatusOK, "Regenerate")
	again := v.post("/settings/tokens/brief/rotate", url.Values{"credential": {i.stored("acme", "brief").Spec.Credential.ID}}).reveals(i)
	i.works("acme", again)
	if left := time.Until(i.stored("acme", "brief").Status.Credential.ExpiresAt.Time); left < 89*24*time.Hour {
		t.Errorf("regenerated for %s", left)
	}
}

// What is wrong is said at the form, which keeps all that was typed.
func TestSettingsFormErrors(t *testing.T) {
	i := install(t, func(a *v1alpha1.PublicApi) {
		a.Spec.TokenPolicy.MaxLifetime, a.Spec.TokenPolicy.DefaultLifetime = lifetime(240*time.Hour), lifetime(time.Hour)
	})
	v := i.visitor("acme")
	v.enter("ticket", "grace")
	form := url.Values{"name": {"Nightly Export"}, "description": {"<b>for & CI</b>"}, "owner": {"a b"}, "scope": {"orders:read"}, "lifetime": {"custom"}, "expires-on": {"2099-01-01"}, "addresses": {"nonsense"}}
	v.post("/settings/tokens", form).revealsNothing().page(http.StatusUnprocessableEntity, `value="Nightly Export"`, `value="<b>for & CI</b>"`, `value="a b"`, `value="2099-01-01"`, "nonsense", "lower-case letters")
	form.Set("name", "nightly-export")
	form.Set("owner", "ada")
	form.Set("addresses", "")
	v.post("/settings/tokens", form).revealsNothing().page(http.StatusUnprocessableEntity, "at most 10 days from now", `value="nightly-export"`, `value="2099-01-01"`)
	if !apierrors.IsNotFound(env().Client.Get(t.Context(), client.ObjectKey{Namespace: namespaceOf(t, "acme"), Name: "nightly-export"}, &v1alpha1.ApiToken{})) {
		t.Error("the token was made")
	}
	form.Set("unknown", "1")
	v.post("/settings/tokens", form).page(http.StatusBadRequest, "unknown")
	v.post("/settings/tokens", newForm("ci"), "Content-Type", "application/json").page(http.StatusUnsupportedMediaType)
	v.post("/settings/tokens", newForm("ci"), "Content-Type", "text/plain").page(http.StatusUnsupportedMediaType)
	large := newForm("ci")
	large.Set("description", strings.Repeat("x", 65<<10))
	v.post("/settings/tokens", large).page(http.StatusRequestEntityTooLarge)
	for _, method := range []string{http.MethodPut, http.MethodDelete, http.MethodPatch, http.MethodOptions} {
		v.send(method, "/settings/tokens", "").page(http.StatusMethodNotAllowed)
	}
	v.get("/settings/tokens").page(http.StatusMethodNotAllowed)
	v.get("/settings/nothing").page(http.StatusNotFound, "no such page")
	v.get("/settings/tokens/missing").page(http.StatusNotFound)
	// What could be read in two ways is refused before it is known whose it is.
	i.call("acme", http.MethodGet, "/settings?a=1;b=2", "").refused(http.StatusBadRequest, "request-refused")
}

// Another site's forms do nothing, whatever cookies come along.
func TestSettingsCrossOrigin(t *testing.T) {
	i := install(t)
	v := i.visitor("acme")
	v.enter("ticket", "grace")
	i.make("acme", "victim", v1alpha1.ApiTokenSpec{})
	session := v.cookies["__Host-latchkey-session"]
	for name, headers := range map[string][]string{
		"another site":        {"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"},
		"another tenant":      {"Origin", "https://globex.example.com", "Sec-Fetch-Site", "same-site"},
		"an older browser":    {"Origin", "https://evil.example", "Sec-Fetch-Site", ""},
		"a neighbour's too":   {"Origin", "https://globex.example.com", "Sec-Fetch-Site", ""},
		"no origin to tell":   {"Origin", "null", "Sec-Fetch-Site", ""},
		"a sandboxed frame":   {"Origin", "null", "Sec-Fetch-Site", "cross-site"},
		"what fetch says":     {"Origin", "https://acme.example.com", "Sec-Fetch-Site", "cross-site"},
		"another port":        {"Origin", "https://acme.example.com:8443", "Sec-Fetch-Site", ""},
		"another spelling":    {"Origin", "https://acme.example.com.evil.example", "Sec-Fetch-Site", ""},
		"an unknown relation": {"Origin", "https://evil.example", "Sec-Fetch-Site", "sideways"},
	} {
		for target, form := range i.trespasses() {
			if a := v.post(target, form, headers...); a.status != http.StatusForbidden {
				t.Errorf("%s: POST %s is answered %d", name, target, a.status)
			}
		}
	}
	if v.cookies["__Host-latchkey-session"] != session {
		t.Error("the session has changed")
	}
	i.onlyVictim()
	v.post("/settings/tokens", newForm("own"), "Sec-Fetch-Site", "", "Sec-Fetch-Mode", "", "Sec-Fetch-Dest", "").reveals(i) // an older browser's own form
}

// trespasses are what others would have acme's member do, to the token victim among the
// rest, by path.
func (i *installation) trespasses() map[string]url.Values {
	return map[string]url.Values{
		"/settings/tokens":                      newForm("evil"),
		"/settings/tokens/victim/rotate":        {"credential": {i.stored("acme", "victim").Spec.Credential.ID}},
		"/settings/tokens/victim/revoke":        {"name": {"victim"}},
		"/settings/tokens/victim/drop-previous": {"credential": {""}},
		"/settings/sign-out":                    {},
		"/settings/sign-out-everywhere":         {},
	}
}

// onlyVictim wants that acme has no token but victim, which nobody revoked.
func (i *installation) onlyVictim() {
	i.t.Helper()
	var all v1alpha1.ApiTokenList
	must(i.t, env().Client.List(i.t.Context(), &all, client.InNamespace(namespaceOf(i.t, "acme"))))
	if len(all.Items) != 1 || all.Items[0].Spec.Revoked {
		i.t.Errorf("the tenant's tokens are now %+v", all.Items)
	}
}

// The product's own scripts, which are of the same origin, do nothing by fetch, nor unseen
// in a frame.
func TestSettingsByScript(t *testing.T) {
	i := install(t)
	v := i.visitor("acme")
	v.enter("ticket", "grace")
	i.make("acme", "victim", v1alpha1.ApiTokenSpec{})
	session := v.cookies["__Host-latchkey-session"]
	forms := i.trespasses()
	forms["/settings/sign-in/token"] = url.Values{"token": {"anything"}}
	for header, values := range map[string][]string{
		"Sec-Fetch-Mode": {"cors", "same-origin", "no-cors", "websocket", "Navigate"},
		"Sec-Fetch-Dest": {"empty", "iframe", "frame", "embed", "object", "fencedframe"},
	} {
		for _, value := range values {
			for target, form := range forms {
				v.post(target, form, header, value).revealsNothing().page(http.StatusForbidden, "A script sent the request")
			}
		}
	}
	if v.cookies["__Host-latchkey-session"] != session {
		t.Error("the session has changed")
	}
	i.onlyVictim()
	v.post("/settings/tokens", newForm("own"), "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document").reveals(i)
}

// Where the answer to the deletion is lost nobody is signed in: it may have been
// another's.
func TestSettingsLostAnswer(t *testing.T) {
	i := install(t)
	plaintext := i.ticket("acme", "ticket", "grace")
	lose := func(r *http.Request) *http.Response {
		if r.Method != http.MethodDelete {
			return nil
		}
		return &http.Response{StatusCode: http.StatusGatewayTimeout, Header: http.Header{}, Body: http.NoBody, Request: r}
	}
	i.afterWrite.Store(&lose)
	v := i.visitor("acme")
	testenv.Eventually(t, func() error { // the keys may not have been read yet
		a := v.post("/settings/sign-in/token", url.Values{"token": {plaintext}})
		if !strings.Contains(a.body, "Nobody was signed in by it") {
			return fmt.Errorf("%d %s", a.status, a.body)
		}
		if a.status != http.StatusServiceUnavailable {
			t.Errorf("status %d", a.status)
		}
		return nil
	})
	i.afterWrite.Store(nil)
	if len(v.cookies) != 0 {
		t.Errorf("cookies: %v", v.cookies)
	}
	v.post("/settings/sign-in/token", url.Values{"token": {plaintext}}).page(http.StatusForbidden)
}

// Two tabs of a browser do not reveal a token twice, nor undo what the other did.
func TestSettingsTwoTabs(t *testing.T) {
	i := install(t)
	v := i.visitor("acme")
	v.enter("ticket", "grace")
	first := v.post("/settings/tokens", newForm("ci")).reveals(i)
	credential := url.Values{"credential": {i.stored("acme", "ci").Spec.Credential.ID}, "overlap": {"1h"}}
	revealed := 0
	var mu sync.Mutex
	var tabs sync.WaitGroup
	for range 4 {
		tab := &visitor{i: i, tenant: "acme", cookies: map[string]string{"__Host-latchkey-session": v.cookies["__Host-latchkey-session"]}}
		tabs.Go(func() {
			a := tab.post("/settings/tokens/ci/rotate", credential)
			mu.Lock()
			defer mu.Unlock()
			if plaintextPattern.MatchString(a.body) {
				a.reveals(i)
				revealed++
			} else if a.status != http.StatusConflict {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
	tabs.Wait()
	if revealed != 1 {
		t.Errorf("%d tabs show a token", revealed)
	}
	i.works("acme", first)
}

// While the tenant is suspended people see that, and nothing is issued.
func TestSettingsSuspended(t *testing.T) {
	i := install(t)
	v := i.visitor("acme")
	v.enter("ticket", "grace")
	i.works("acme", v.post("/settings/tokens", newForm("ci")).reveals(i))
	testenv.Eventually(t, func() error {
		acme := &v1alpha1.Tenant{}
		must(t, env().Client.Get(t.Context(), client.ObjectKey{Name: "acme"}, acme))
		acme.Spec.Suspended = true
		return env().Client.Update(t.Context(), acme)
	})
	testenv.Eventually(t, func() error {
		if a := v.get("/settings"); a.status != http.StatusOK || !strings.Contains(a.body, "This account is suspended") {
			return fmt.Errorf("%d %s", a.status, a.body)
		}
		return nil
	})
	v.get("/settings/tokens/new").page(http.StatusForbidden, "suspended")
	v.post("/settings/tokens", newForm("other")).revealsNothing().page(http.StatusForbidden, "suspended")
	id := i.stored("acme", "ci").Spec.Credential.ID
	v.post("/settings/tokens/ci/rotate", url.Values{"credential": {id}}).revealsNothing().page(http.StatusForbidden, "suspended")
	v.get("/settings/tokens/ci").page(http.StatusOK)
	v.post("/settings/tokens/ci/revoke", url.Values{"name": {"ci"}}).leads("/settings/tokens/ci?done=revoked")
	if !i.stored("acme", "ci").Spec.Revoked {
		t.Error("it is not revoked")
	}
}
