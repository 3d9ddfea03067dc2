package signin_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/internal/signin"
	"github.com/latchkey-dev/latchkey/internal/testing/signintest"
)

// Nothing is asked before somebody signs in, and then once for all.
func TestDiscoveryIsSharedAndLazy(t *testing.T) {
	w := newWorld(t, signintest.Options{})
	arrived, goOn := make(chan struct{}), make(chan struct{})
	w.idp.Intercept(signintest.DiscoveryPath, func(rw http.ResponseWriter, r *http.Request) {
		close(arrived) // a second one would panic
		<-goOn
		w.idp.Intercept(signintest.DiscoveryPath, nil)
		w.idp.ServeHTTP(rw, r)
	})
	if n := w.idp.Requests(signintest.DiscoveryPath); n != 0 {
		t.Fatalf("asked %d times before anybody signed in", n)
	}
	var all sync.WaitGroup
	begin := func() {
		if _, _, err := w.provider.Begin(t.Context(), callback, false); err != nil {
			t.Error(err)
		}
	}
	all.Go(begin)
	<-arrived
	for range 20 {
		all.Go(begin)
	}
	// Whoever goes away takes nobody else's answer with it.
	if _, _, err := w.provider.Begin(impatient(t), callback, false); err == nil {
		t.Error("no error for a caller that has gone")
	} else {
		wantError(t, err, signin.ErrUnavailable, "in time")
	}
	close(goOn)
	all.Wait()
	// The one that was held, and the same passed on by the test.
	if n := w.idp.Requests(signintest.DiscoveryPath); n != 2 {
		t.Errorf("asked %d times", n-1)
	}
}

func TestDiscoveryIsTriedAgain(t *testing.T) {
	w := newWorld(t, signintest.Options{})
	w.idp.Intercept("", signintest.Down)
	fails := func(requests int) {
		t.Helper()
		_, _, err := w.provider.Begin(t.Context(), callback, false)
		wantError(t, err, signin.ErrUnavailable, w.idp.IssuerURL())
		if n := w.idp.Requests(signintest.DiscoveryPath); n != requests {
			t.Fatalf("asked %d times, want %d", n, requests)
		}
	}
	fails(1)
	for i, wait := range []int{1, 2, 4, 8, 15, 15, 15} {
		w.clock.SetTime(w.clock.Now().Add(time.Duration(wait)*time.Second - time.Nanosecond))
		fails(i + 1) // not yet: by what is remembered
		w.clock.SetTime(w.clock.Now().Add(time.Nanosecond))
		fails(i + 2)
	}
	w.idp.Intercept("", nil)
	w.clock.SetTime(w.clock.Now().Add(15 * time.Second))
	_, err := w.signIn(false)
	must(t, err)
}

// The description is renewed every hour, and nobody waits for it.
func TestDiscoveryIsRenewed(t *testing.T) {
	w := newWorld(t, signintest.Options{})
	_, err := w.signIn(false)
	must(t, err)
	renewed := make(chan struct{}, 1)
	w.clock.SetTime(noon.Add(time.Hour))
	w.idp.Intercept(signintest.DiscoveryPath, func(rw http.ResponseWriter, r *http.Request) {
		signintest.Down(rw, r)
		renewed <- struct{}{}
	})
	// While it fails the previous one is used.
	_, err = w.signIn(false)
	must(t, err)
	<-renewed
	eventually(t, func() bool { return strings.Contains(w.logs.String(), "previous one is used") })

	w.clock.SetTime(noon.Add(time.Hour + time.Minute))
	w.idp.Intercept(signintest.DiscoveryPath, nil)
	w.idp.Describe(func(d map[string]any) { d["authorization_endpoint"] = w.idp.IssuerURL() + "/moved" })
	eventually(t, func() bool {
		location, _ := w.begin(false)
		return strings.Contains(location, "/moved?")
	})
	if n := w.idp.Requests(signintest.DiscoveryPath); n != 3 {
		t.Errorf("asked %d times, want 3", n)
	}
}

// A key that the provider withdrew is forgotten with the description.
func TestAWithdrawnKeyIsForgotten(t *testing.T) {
	w := newWorld(t, signintest.Options{})
	_, err := w.signIn(false)
	must(t, err)
	// The key that signs is none of those that are published.
	w.idp.Intercept(signintest.KeysPath, document(`{"keys": []}`))
	_, err = w.signIn(false)
	must(t, err) // known
	w.clock.SetTime(noon.Add(time.Hour))
	before := w.idp.Requests(signintest.DiscoveryPath)
	w.begin(false)
	eventually(t, func() bool { return w.idp.Requests(signintest.DiscoveryPath) > before })
	eventually(t, func() bool { _, err = w.signIn(false); return err != nil })
	wantError(t, err, signin.ErrRefused, "signature")
}

func TestDescriptionsThatAreRefused(t *testing.T) {
	set := func(name string, value any) func(map[string]any) {
		return func(d map[string]any) {
			if d[name] = value; value == nil {
				delete(d, name)
			}
		}
	}
	for name, c := range map[string]struct {
		change func(map[string]any)
		says   string
	}{
		"another issuer":          {set("issuer", "https://id.example.net"), "calls itself https://id.example.net"},
		"no issuer":               {set("issuer", nil), "calls itself"},
		"an issuer with a slash":  {func(d map[string]any) { d["issuer"] = d["issuer"].(string) + "/" }, "set --oidc-issuer-url to exactly that"},
		"only HS256":              {set("id_token_signing_alg_values_supported", []string{"HS256", "none"}), "[HS256 none]"},
		"no algorithm":            {set("id_token_signing_alg_values_supported", []string{}), "none of"},
		"PKCE plain alone":        {set("code_challenge_methods_supported", []string{"plain"}), "S256"},
		"no PKCE":                 {set("code_challenge_methods_supported", []string{}), "S256"},
		"no way for a secret":     {set("token_endpoint_auth_methods_supported", []string{"private_key_jwt"}), "private_key_jwt"},
		"no token endpoint":       {set("token_endpoint", nil), "token_endpoint"},
		"a token endpoint nearby": {set("token_endpoint", "/token"), "token_endpoint"},
		"codes in the clear":      {set("token_endpoint", "http://id.example.com/token"), "must be https"},
		"keys in the clear":       {set("jwks_uri", "http://id.example.com/keys"), "must be https"},
		"people in the clear":     {set("authorization_endpoint", "http://id.example.com/authorize"), "must be https"},
		"a script for people":     {set("authorization_endpoint", "javascript:alert(1)"), "absolute address"},
		"a number":                {set("token_endpoint", 7), "decode"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, signintest.Options{ClientSecret: secret})
			w.idp.Describe(c.change)
			_, _, err := w.provider.Begin(t.Context(), callback, false)
			wantError(t, err, signin.ErrUnavailable, c.says)
		})
	}
}

// A provider that is not on loopback may not send anybody there in the clear.
func TestLoopbackIsForLoopback(t *testing.T) {
	w := newWorld(t, signintest.Options{TLS: true})
	w.idp.Describe(func(d map[string]any) { d["token_endpoint"] = "http://127.0.0.1:1/token" })
	_, _, err := w.provider.Begin(t.Context(), callback, false)
	wantError(t, err, signin.ErrUnavailable, "must be https")
}

// RS256 is what a provider that names no algorithm signs with: this one doesn't.
func TestNoAlgorithmNamed(t *testing.T) {
	w := newWorld(t, signintest.Options{})
	w.idp.Describe(func(d map[string]any) { delete(d, "id_token_signing_alg_values_supported") })
	_, err := w.signIn(false)
	wantError(t, err, signin.ErrRefused, "RS256")
}

func TestDiscoveryFails(t *testing.T) {
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		says    string
	}{
		"down":         {signintest.Down, "EOF"},
		"out of order": {status(http.StatusServiceUnavailable), "503"},
		"not found":    {status(http.StatusNotFound), "404"},
		"not JSON":     {document("<html>\n<h1>"), "JSON"},
		"huge":         {document(`{"issuer": "` + strings.Repeat("x", 1<<20) + `"}`), "too large"},
		"elsewhere": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://id.example.net/", http.StatusFound)
		}, "id.example.net, which is not followed"},
		"long headers": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Long", strings.Repeat("x", 100<<10))
		}, "header"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, signintest.Options{})
			w.idp.Intercept(signintest.DiscoveryPath, c.handler)
			_, _, err := w.provider.Begin(t.Context(), callback, false)
			wantError(t, err, signin.ErrUnavailable, c.says)
			if strings.Contains(err.Error(), "\n") || len(err.Error()) > 600 {
				t.Errorf("not one short line: %q", err)
			}
		})
	}
}

func TestCAs(t *testing.T) {
	unknown := newWorld(t, signintest.Options{TLS: true}, func(c *signin.Config) { c.CAFile = "" })
	_, _, err := unknown.provider.Begin(t.Context(), callback, false)
	wantError(t, err, signin.ErrUnavailable, "certificate")

	// A file that changes counts from the next look at the provider on.
	var file string
	w := newWorld(t, signintest.Options{TLS: true}, func(c *signin.Config) { file = c.CAFile })
	writeFile(t, file, "")
	_, _, err = w.provider.Begin(t.Context(), callback, false)
	wantError(t, err, signin.ErrUnavailable, "--oidc-ca-file")
	writeFile(t, file, string(w.idp.CA()))
	w.clock.SetTime(noon.Add(time.Second))
	_, err = w.signIn(false)
	must(t, err)
}

// eventually waits until a condition holds.
func eventually(t *testing.T, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); <-tick.C {
		if condition() {
			return
		}
	}
	t.Fatal("it did not happen within a minute")
}
