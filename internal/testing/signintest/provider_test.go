package signintest_test

import (
	"fmt"
	"html"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/latchkey-dev/latchkey/internal/signin"
	"github.com/latchkey-dev/latchkey/internal/testing/browsertest"
	"github.com/latchkey-dev/latchkey/internal/testing/check"
	"github.com/latchkey-dev/latchkey/internal/testing/signintest"
)

func TestMain(m *testing.M) { os.Exit(browsertest.Main(m)) }

func start(t *testing.T) (*signintest.Provider, *signin.Provider) {
	t.Helper()
	idp := signintest.Start(t, signintest.Options{Users: []signintest.User{{Name: "ada", Groups: []string{"acme-admins"}}}})
	provider, err := signin.New(idp.Config(t), slog.New(slog.DiscardHandler))
	must(t, err)
	return idp, provider
}

var must = check.Must

// A person says no, signs in, and is let in as known the next time.
func TestInABrowser(t *testing.T) {
	_, provider := start(t)
	var mu sync.Mutex
	var flow signin.Flow
	product := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		if r.URL.Path != "/settings/callback" {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		identity, err := provider.Finish(r.Context(), flow, r.URL.Query())
		_, _ = fmt.Fprintf(w, "<p id=result>%s %v %s", identity.User, identity.Groups, html.EscapeString(fmt.Sprint(err)))
	}))
	t.Cleanup(product.Close)
	begin := func() string {
		location, begun, err := provider.Begin(t.Context(), product.URL+"/settings/callback", false)
		must(t, err)
		mu.Lock()
		defer mu.Unlock()
		flow = begun
		return location
	}

	page := browsertest.Open(t, begin(), browsertest.Options{Tolerant: true})
	wantResult := func(want string) {
		t.Helper()
		page.Do(chromedp.WaitVisible("#result"))
		if got := page.Text("#result"); !strings.Contains(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	page.Click("#deny")
	wantResult("access_denied")

	page.Do(chromedp.Navigate(begin()))
	page.Type("#username", "ada")
	page.Type("#password", "wrong")
	page.Click("#sign-in")
	page.Do(chromedp.WaitVisible("[role=alert]"))
	page.Type("#username", "ada")
	page.Type("#password", signintest.Password)
	page.Click("#sign-in")
	wantResult("oidc:ada [oidc:acme-admins] <nil>")

	page.Do(chromedp.Navigate(begin()))
	wantResult("oidc:ada [oidc:acme-admins] <nil>")
}

// The library leaves a code that came with a wrong verifier for another try.
func TestACodeIsUsedUpByAWrongVerifier(t *testing.T) {
	idp, provider := start(t)
	location, flow, err := provider.Begin(t.Context(), "https://acme.example.com/settings/callback", false)
	must(t, err)
	back, err := idp.NewBrowser().SignIn(t.Context(), location, "ada")
	must(t, err)
	wrong := flow
	wrong.Verifier = strings.Repeat("v", 43)
	for _, f := range []signin.Flow{wrong, flow} {
		if _, err := provider.Finish(t.Context(), f, back.Query()); err == nil {
			t.Error("signed in")
		}
	}
}

func TestWhoTheProviderDoesNotLetIn(t *testing.T) {
	idp, provider := start(t)
	browser := idp.NewBrowser()
	if _, err := browser.SignIn(t.Context(), idp.IssuerURL(), "nobody"); err == nil {
		t.Error("nobody is somebody")
	}
	location, _, err := provider.Begin(t.Context(), "https://acme.example.com/elsewhere", false)
	must(t, err)
	if back, err := browser.SignIn(t.Context(), location, "ada"); err == nil {
		t.Errorf("sent to %s", back)
	}
}
