package portal_test

import (
	"errors"
	"fmt"
	"html"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/signin"
	"github.com/latchkey-dev/latchkey/internal/testing/signintest"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
	"github.com/latchkey-dev/latchkey/internal/token"
)

// aheadClock is the system's, and can be put forward.
type aheadClock struct {
	clock.RealClock
	ahead atomic.Int64
}

func (c *aheadClock) Now() time.Time { return c.RealClock.Now().Add(time.Duration(c.ahead.Load())) }

// forward puts the clock forward.
func (c *aheadClock) forward(d time.Duration) { c.ahead.Add(int64(d)) }

// visitor is a browser on a tenant's host, as far as cookies and forms go.
type visitor struct {
	i       *installation
	tenant  string
	cookies map[string]string
}

func (i *installation) visitor(tenant string) *visitor {
	return &visitor{i: i, tenant: tenant, cookies: map[string]string{}}
}

// get goes to a page; headers are pairs.
func (v *visitor) get(target string, headers ...string) answer {
	v.i.t.Helper()
	return v.send(http.MethodGet, target, "", headers...)
}

// post sends a form of the host's own.
func (v *visitor) post(target string, form url.Values, headers ...string) answer {
	v.i.t.Helper()
	return v.send(http.MethodPost, target, form.Encode(), append([]string{
		"Content-Type", "application/x-www-form-urlencoded",
		"Origin", "https://" + v.tenant + "." + v.i.site.domain, "Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document",
	}, headers...)...)
}

// send sends the cookies, keeps those that the answer sets, and checks what every
// answer of Settings has to have.
func (v *visitor) send(method, target, body string, headers ...string) answer {
	t := v.i.t
	t.Helper()
	var cookies []string
	for name, value := range v.cookies {
		cookies = append(cookies, name+"="+value)
	}
	if len(cookies) > 0 {
		headers = append(headers, "Cookie", strings.Join(cookies, "; "))
	}
	a := v.i.call(v.tenant, method, target, "", append([]string{body}, headers...)...)
	for _, line := range a.header["Set-Cookie"] {
		c, err := http.ParseSetCookie(line)
		must(t, err)
		if !strings.HasPrefix(c.Name, "__Host-latchkey-") || !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" {
			t.Errorf("%s %s sets the cookie %s", method, target, line)
		}
		if v.cookies[c.Name] = c.Value; c.MaxAge < 0 {
			delete(v.cookies, c.Name)
		}
	}
	if !strings.HasPrefix(target, "/settings") {
		return a
	}
	contentType := a.header.Get("Content-Type")
	if a.status != http.StatusSeeOther && !strings.HasPrefix(contentType, "text/html") {
		t.Errorf("%s %s: %d is no page: %s", method, target, a.status, contentType)
	}
	if csp := a.header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") {
		t.Errorf("%s %s: Content-Security-Policy: %s", method, target, csp)
	}
	for name, want := range map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "-"} {
		if got := a.header.Get(name); want != "-" && !strings.Contains(got, want) || got == "" {
			t.Errorf("%s %s: %s: %q", method, target, name, got)
		}
	}
	if a.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("%s %s can be read by other origins", method, target)
	}
	return a
}

// page wants a page with a status and texts, of which it returns the HTML.
func (a answer) page(status int, texts ...string) string {
	a.t.Helper()
	content := html.UnescapeString(a.body)
	if a.status != status {
		a.t.Fatalf("status %d, want %d: %s %s", a.status, status, a.header.Get("Location"), content)
	}
	for _, text := range texts {
		if !strings.Contains(content, text) {
			a.t.Fatalf("the page lacks %q:\n%s", text, content)
		}
	}
	return content
}

// leads wants a redirect.
func (a answer) leads(to string) {
	a.t.Helper()
	if got := a.header.Get("Location"); a.status != http.StatusSeeOther || got != to {
		a.t.Fatalf("%d to %q, want %q: %s", a.status, got, to, a.body)
	}
}

var plaintextPattern = regexp.MustCompile(`lk_[0-9A-Za-z]{10}_[0-9A-Za-z]{49}`)

// reveals wants a token on the page.
func (a answer) reveals(i *installation) (plaintext string) {
	a.t.Helper()
	content := a.page(http.StatusOK)
	if plaintext = plaintextPattern.FindString(content); plaintext == "" {
		a.t.Fatalf("no token is shown:\n%s", content)
	}
	i.remember(plaintext)
	return plaintext
}

// revealsNothing wants no token in the answer.
func (a answer) revealsNothing() answer {
	a.t.Helper()
	if plaintextPattern.MatchString(a.body) {
		a.t.Fatalf("a token is shown:\n%s", a.body)
	}
	return a
}

// ticket makes an ApiToken that signs its maker in, as kubectl latchkey settings does,
// and waits until it works.
func (i *installation) ticket(tenant, name, user string) (plaintext string) {
	i.t.Helper()
	minted, err := token.Mint(v1alpha1.DefaultTokenPrefix)
	must(i.t, err)
	i.remember(minted.Reveal())
	must(i.t, env().Client.Create(i.t.Context(), &v1alpha1.ApiToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespaceOf(i.t, tenant), Name: name, Annotations: map[string]string{
			v1alpha1.AnnotationCreatedBy: user, v1alpha1.AnnotationCreatedVia: v1alpha1.ViaSettings,
		}},
		Spec: v1alpha1.ApiTokenSpec{
			Scopes: []string{v1alpha1.ScopeSettings}, Lifetime: lifetime(10 * time.Minute),
			Credential: &v1alpha1.Credential{ID: minted.ID(), Digest: minted.Digest(tenant).String(), IssuedAt: metav1.NewTime(time.Now().Add(-5 * time.Second).UTC().Truncate(time.Second))},
		},
	}))
	testenv.Eventually(i.t, func() error {
		if a := i.call(tenant, http.MethodGet, "/api/v1/token", minted.Reveal()); a.status != http.StatusForbidden {
			return errors.New(a.body)
		}
		return nil
	})
	return minted.Reveal()
}

// enter signs a visitor in by a token.
func (v *visitor) enter(name, user string) {
	t := v.i.t
	t.Helper()
	plaintext := v.i.ticket(v.tenant, name, user)
	testenv.Eventually(t, func() error { // the keys may not have been read yet
		if a := v.post("/settings/sign-in/token", url.Values{"token": {plaintext}}); a.status != http.StatusSeeOther {
			return fmt.Errorf("%d %s", a.status, a.body)
		}
		return nil
	})
	if v.cookies["__Host-latchkey-session"] == "" {
		t.Fatal("a sign-in sets no cookie")
	}
}

// withProvider has people sign in at a provider that runs as long as the test.
func withProvider(t *testing.T, users ...signintest.User) (provider *signintest.Provider, change func(*installation)) {
	t.Helper()
	ahead := &aheadClock{}
	provider = signintest.Start(t, signintest.Options{Users: users, Clock: ahead})
	return provider, func(i *installation) {
		i.clock = ahead
		config := provider.Config(t)
		config.UsernamePrefix, config.GroupsPrefix = signin.NoPrefix, "id:"
		var err error
		i.provider, err = signin.New(config, slog.New(slog.DiscardHandler))
		must(t, err)
	}
}

// begin goes to the provider, and returns where that sends the browser back to.
func (v *visitor) begin(b *signintest.Browser, user, query string) (callback string) {
	t := v.i.t
	t.Helper()
	var location string
	testenv.Eventually(t, func() error { // the keys may not have been read yet
		a := v.get("/settings/sign-in/oidc" + query)
		if location = a.header.Get("Location"); a.status != http.StatusSeeOther {
			return fmt.Errorf("%d %s", a.status, a.body)
		}
		return nil
	})
	back, err := b.SignIn(t.Context(), location, user)
	must(t, err)
	if origin := "https://" + v.tenant + "." + v.i.site.domain; !strings.HasPrefix(back.String(), origin+"/settings/callback?") {
		t.Fatalf("the provider sends the browser to %s", back.Redacted())
	}
	return back.RequestURI()
}

// signInAs signs a visitor in at the provider.
func (v *visitor) signInAs(b *signintest.Browser, user string) {
	v.i.t.Helper()
	v.get(v.begin(b, user, "")).leads("/settings")
}
