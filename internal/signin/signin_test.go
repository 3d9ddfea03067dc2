package signin_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-dev/latchkey/internal/session"
	"github.com/latchkey-dev/latchkey/internal/signin"
	"github.com/latchkey-dev/latchkey/internal/testing/signintest"
)

func TestSignIn(t *testing.T) {
	ada := session.Identity{
		User: "oidc:u-1", Groups: []string{"oidc:acme-admins", "oidc:staff"}, Display: "Ada Lovelace",
		Kind: session.OIDC, AuthenticatedAt: noon,
	}
	for name, options := range map[string]signintest.Options{
		"public client":       {},
		"confidential client": {ClientSecret: secret},
		"over TLS":            {ClientSecret: secret, TLS: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, options)
			for range 2 {
				identity, err := w.signIn(false)
				must(t, err)
				if diff := cmp.Diff(ada, identity); diff != "" {
					t.Error(diff)
				}
			}
			if n := w.idp.Requests(signintest.DiscoveryPath); n != 1 {
				t.Errorf("the provider was asked %d times what it is", n)
			}
			if n := w.idp.Requests(signintest.KeysPath); n != 1 {
				t.Errorf("the provider was asked %d times for its keys", n)
			}
		})
	}
}

// What goes by the browser is what OpenID Connect Core, section 3.1.2.1, and RFC 7636,
// section 4.3, ask for, and nothing secret.
func TestBegin(t *testing.T) {
	w := newWorld(t, signintest.Options{ClientSecret: secret})
	for _, again := range []bool{false, true} {
		location, flow := w.begin(again)
		address, err := url.Parse(location)
		must(t, err)
		digest := sha256.Sum256([]byte(flow.Verifier))
		want := url.Values{
			"response_type": {"code"}, "client_id": {"latchkey"}, "scope": {"openid profile email"},
			"redirect_uri": {callback}, "state": {flow.State}, "nonce": {flow.Nonce},
			"code_challenge": {base64.RawURLEncoding.EncodeToString(digest[:])}, "code_challenge_method": {"S256"},
		}
		if again {
			maps.Copy(want, url.Values{"prompt": {"login"}, "max_age": {"0"}})
		}
		if diff := cmp.Diff(want, address.Query()); diff != "" {
			t.Error(diff)
		}
		if address.Path != signintest.AuthorizePath || !strings.HasPrefix(location, w.idp.IssuerURL()) {
			t.Errorf("location %s", location)
		}
		if flow.RedirectURI != callback || flow.Again != again || !flow.BegunAt.Equal(noon) {
			t.Errorf("flow %+v", flow)
		}
	}
	_, one := w.begin(false)
	_, other := w.begin(false)
	for name, texts := range map[string][2]string{
		"state": {one.State, other.State}, "nonce": {one.Nonce, other.Nonce}, "verifier": {one.Verifier, other.Verifier},
	} {
		if texts[0] == texts[1] || len(texts[0]) < 43 {
			t.Errorf("%s: %q, %q: want 256 new bits each time", name, texts[0], texts[1])
		}
	}
	for _, bad := range []string{"", "/settings/callback", "http://acme.example.com/settings/callback", "https://u:p@acme.example.com/"} {
		if _, _, err := w.provider.Begin(t.Context(), bad, false); err == nil {
			t.Errorf("redirect URI %q is taken", bad)
		}
	}
}

// What the browser brings back can be anybody's.
func TestAnswersThatAreRefused(t *testing.T) {
	set := func(name, value string) func(*signin.Flow, url.Values) {
		return func(_ *signin.Flow, query url.Values) { query.Set(name, value) }
	}
	for name, c := range map[string]struct {
		change func(*signin.Flow, url.Values)
		kind   error
		says   string
	}{
		"another state":      {set("state", "another"), signin.ErrRefused, "state is another sign-in's"},
		"an empty state":     {set("state", ""), signin.ErrRefused, "no state"},
		"no state":           {func(_ *signin.Flow, q url.Values) { q.Del("state") }, signin.ErrRefused, "no state"},
		"two states":         {func(f *signin.Flow, q url.Values) { q.Add("state", f.State) }, signin.ErrRefused, "state more than once"},
		"two codes":          {func(_ *signin.Flow, q url.Values) { q.Add("code", "another") }, signin.ErrRefused, "code more than once"},
		"no code":            {func(_ *signin.Flow, q url.Values) { q.Del("code") }, signin.ErrRefused, "neither code nor error"},
		"another code":       {set("code", "another"), signin.ErrRefused, "invalid_grant"},
		"a huge code":        {set("code", strings.Repeat("x", 9<<10)), signin.ErrRefused, "longer than"},
		"another provider":   {set("iss", "https://id.example.net"), signin.ErrRefused, "from https://id.example.net"},
		"an empty provider":  {set("iss", ""), signin.ErrRefused, "the answer is from"},
		"no flow":            {func(f *signin.Flow, _ url.Values) { *f = signin.Flow{} }, signin.ErrRefused, "no sign-in under way"},
		"no flow, no state":  {func(f *signin.Flow, q url.Values) { *f = signin.Flow{}; q.Set("state", "") }, signin.ErrRefused, "no sign-in under way"},
		"a flow's remains":   {func(f *signin.Flow, _ url.Values) { f.Verifier = "" }, signin.ErrRefused, "no sign-in under way"},
		"another verifier":   {func(f *signin.Flow, _ url.Values) { f.Verifier = strings.Repeat("v", 43) }, signin.ErrRefused, "invalid_grant"},
		"another redirect":   {func(f *signin.Flow, _ url.Values) { f.RedirectURI = "https://globex.example.com/settings/callback" }, signin.ErrRefused, "invalid_grant"},
		"another nonce":      {func(f *signin.Flow, _ url.Values) { f.Nonce = "n-0815" }, signin.ErrRefused, "nonce"},
		"denied":             {set("error", "access_denied"), signin.ErrDenied, "access_denied"},
		"login required":     {set("error", "login_required"), signin.ErrRefused, "login_required"},
		"an unknown error":   {set("error", "\x1b[31m\nnope"), signin.ErrRefused, "nope"},
		"the provider fails": {set("error", "server_error"), signin.ErrUnavailable, "server_error"},
		"a wrong client":     {set("error", "unauthorized_client"), signin.ErrUnavailable, "unauthorized_client"},
		"a wrong scope":      {set("error", "invalid_scope"), signin.ErrUnavailable, "invalid_scope"},
		"an error that quotes": {func(f *signin.Flow, q url.Values) {
			q.Set("error", "nope")
			q.Set("error_description", "code "+q.Get("code")+", state "+f.State)
		}, signin.ErrRefused, "[secret]"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, signintest.Options{ClientSecret: secret})
			location, flow := w.begin(false)
			query := w.visit(location)
			c.change(&flow, query)
			identity, err := w.finish(flow, query)
			wantError(t, err, c.kind, c.says)
			if identity.User != "" {
				t.Errorf("got %+v", identity)
			}
			if strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Errorf("the error has control characters: %q", err)
			}
		})
	}
}

func TestACodeWorksOnce(t *testing.T) {
	w := newWorld(t, signintest.Options{})
	location, flow := w.begin(false)
	query := w.visit(location)
	_, err := w.finish(flow, query)
	must(t, err)
	_, err = w.finish(flow, query)
	wantError(t, err, signin.ErrRefused, "invalid_grant")
}

func TestAFlowEnds(t *testing.T) {
	for name, c := range map[string]struct {
		after time.Duration
		ok    bool
		says  string
	}{
		"just in time": {signin.MaxFlow - time.Nanosecond, true, ""},
		"too late":     {signin.MaxFlow, false, "more than 10m0s ago"},
		"a replica whose clock is behind a little": {-signin.MaxClockSkew, true, ""},
		"from the future":                          {-signin.MaxClockSkew - time.Nanosecond, false, "yet to come"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, signintest.Options{})
			location, flow := w.begin(false)
			w.clock.SetTime(noon.Add(c.after))
			_, err := w.finish(flow, w.visit(location))
			if c.ok {
				must(t, err)
				return
			}
			wantError(t, err, signin.ErrRefused, c.says)
		})
	}
}

func TestDenied(t *testing.T) {
	w := newWorld(t, signintest.Options{})
	w.idp.NameItself()
	location, flow := w.begin(false)
	back, err := w.browser.Deny(t.Context(), location)
	must(t, err)
	_, err = w.finish(flow, back.Query())
	wantError(t, err, signin.ErrDenied, "the person said no")
}

// A provider that says that it names itself does so in every answer: one without a name
// is another's (RFC 9207, section 2.4).
func TestAProviderThatNamesItself(t *testing.T) {
	w := newWorld(t, signintest.Options{})
	w.idp.NameItself()
	_, err := w.signIn(false)
	must(t, err)

	location, flow := w.begin(false)
	query := w.visit(location)
	query.Del("iss")
	_, err = w.finish(flow, query)
	wantError(t, err, signin.ErrRefused, "does not say whom it is from")
}

// What a provider's token can be wrong in.
func TestIDTokensThatAreRefused(t *testing.T) {
	at := func(d time.Duration) float64 { return float64(noon.Add(d).Unix()) }
	all := func(changes ...func(*signintest.IDToken)) func(*signintest.IDToken) {
		return func(t *signintest.IDToken) {
			for _, change := range changes {
				change(t)
			}
		}
	}
	set, sign := signintest.Set, signintest.Sign
	for name, c := range map[string]struct {
		change func(*signintest.IDToken)
		kind   error
		says   string
	}{
		"expired":                     {signintest.Expired, signin.ErrRefused, "expired"},
		"expired long ago":            {set("exp", at(-time.Hour)), signin.ErrRefused, "expired"},
		"never expires":               {set("exp", nil), signin.ErrRefused, "expired"},
		"expires at a text":           {set("exp", "tomorrow"), signin.ErrRefused, "ID token"},
		"expires after all time":      {set("exp", 1e300), signin.ErrRefused, "ID token"},
		"without a time":              {set("iat", nil), signin.ErrRefused, "no valid iat"},
		"from the future":             {set("iat", at(61*time.Second)), signin.ErrRefused, "both clocks"},
		"for the future":              {set("nbf", at(61*time.Second)), signin.ErrRefused, "valid from"},
		"nbf is a text":               {set("nbf", "now"), signin.ErrRefused, "ID token"},
		"authenticated in the future": {set("auth_time", at(61*time.Second)), signin.ErrRefused, "auth_time"},
		"auth_time is a list":         {set("auth_time", []int{1}), signin.ErrRefused, "auth_time"},
		"another audience":            {signintest.OtherAudience, signin.ErrRefused, "audience"},
		"no audience":                 {set("aud", nil), signin.ErrRefused, "audience"},
		"an empty audience":           {set("aud", []string{}), signin.ErrRefused, "audience"},
		"several, none of them named": {all(set("aud", []string{"latchkey", "other"}), set("azp", nil)), signin.ErrRefused, "azp"},
		"several, another named":      {all(set("aud", []string{"latchkey", "other"}), set("azp", "other")), signin.ErrRefused, "azp"},
		"issued to another":           {set("azp", "other"), signin.ErrRefused, "azp"},
		"issued to a number":          {set("azp", 1), signin.ErrRefused, "azp"},
		"another nonce":               {signintest.OtherNonce, signin.ErrRefused, "nonce"},
		"no nonce":                    {set("nonce", nil), signin.ErrRefused, "nonce"},
		"an empty nonce":              {set("nonce", ""), signin.ErrRefused, "nonce"},
		"a nonce of another case":     {all(func(t *signintest.IDToken) { t.Claims["Nonce"] = t.Claims["nonce"] }, set("nonce", nil)), signin.ErrRefused, "nonce"},
		"another issuer":              {signintest.OtherIssuer, signin.ErrRefused, "different provider"},
		"no issuer":                   {set("iss", nil), signin.ErrRefused, "different provider"},
		"not signed":                  {sign(signintest.ByNobody), signin.ErrRefused, "none"},
		"signed with the secret":      {sign(signintest.BySecret), signin.ErrRefused, "HS256"},
		"signed by a stranger":        {sign(signintest.ByStranger), signin.ErrRefused, "signature"},
		"missing":                     {func(t *signintest.IDToken) { t.Missing = true }, signin.ErrUnavailable, "no ID token"},
		"nobody's":                    {set("sub", nil), signin.ErrRefused, "no sub"},
		"a number's":                  {set("sub", 7), signin.ErrRefused, "ID token"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, signintest.Options{ClientSecret: secret})
			w.idp.Tamper(c.change)
			identity, err := w.signIn(false)
			wantError(t, err, c.kind, c.says)
			if identity.User != "" {
				t.Errorf("got %+v", identity)
			}
			// It was the token, and nothing stays behind.
			w.idp.Tamper(nil)
			_, err = w.signIn(false)
			must(t, err)
		})
	}
}

func TestIDTokensThatAreUnusual(t *testing.T) {
	at := func(d time.Duration) float64 { return float64(noon.Add(d).Unix()) }
	for name, change := range map[string]func(*signintest.IDToken){
		"expires in a second":           signintest.Set("exp", at(time.Second)),
		"a clock that is a minute off":  signintest.Set("iat", at(signin.MaxClockSkew)),
		"valid in a minute":             signintest.Set("nbf", at(signin.MaxClockSkew)),
		"one audience in a list":        signintest.Set("aud", []string{"latchkey"}),
		"several, this client is named": signintest.Set("aud", []string{"other", "latchkey"}),
		"one audience, nobody named":    signintest.Set("azp", nil),
		"fractions of a second":         signintest.Set("iat", at(0)+0.5),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, signintest.Options{})
			w.idp.Tamper(change)
			_, err := w.signIn(false)
			must(t, err)
		})
	}
}

func TestKeysRotate(t *testing.T) {
	w := newWorld(t, signintest.Options{})
	for range 3 {
		_, err := w.signIn(false)
		must(t, err)
		w.idp.RotateKey()
	}
	if n := w.idp.Requests(signintest.KeysPath); n != 3 {
		t.Errorf("asked %d times for keys, want once for each", n)
	}
}

// A sign-in in which the provider lets in whom it knows is as old as what it knows.
func TestWhenSomebodyAuthenticated(t *testing.T) {
	authTime := signintest.Set
	later := noon.Add(8 * time.Hour)
	for name, c := range map[string]struct {
		again, trust bool
		change       func(*signintest.IDToken)
		want         time.Time
		says         string
	}{
		"known from this morning":      {want: noon},
		"asked anew":                   {again: true, want: later},
		"asked anew, the clock is off": {again: true, change: authTime("auth_time", later.Add(time.Minute).Unix()), want: later},
		"asked anew, and let in as known": {
			again: true, change: authTime("auth_time", later.Add(-61*time.Second).Unix()), says: "before this sign-in began"},
		"asked anew, and trusted, and let in as known": {
			again: true, trust: true, change: authTime("auth_time", later.Add(-61*time.Second).Unix()), says: "before this sign-in began"},
		"asked anew, and nothing said":              {again: true, change: authTime("auth_time", nil), says: "no auth_time"},
		"asked anew, and nothing said, and trusted": {again: true, trust: true, change: authTime("auth_time", nil), want: later},
		"nothing said":              {change: authTime("auth_time", nil), want: time.Unix(0, 0)},
		"nothing said, and trusted": {trust: true, change: authTime("auth_time", nil), want: time.Unix(0, 0)},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, signintest.Options{}, func(c2 *signin.Config) { c2.TrustPrompt = c.trust })
			_, err := w.signIn(false)
			must(t, err)
			w.clock.SetTime(later)
			w.idp.Tamper(c.change)
			identity, err := w.signIn(c.again)
			if c.says != "" {
				wantError(t, err, signin.ErrNotRecent, c.says)
				return
			}
			must(t, err)
			if !identity.AuthenticatedAt.Equal(c.want) {
				t.Errorf("authenticated at %s, want %s", identity.AuthenticatedAt, c.want)
			}
		})
	}
}

// Who uses somebody's signed-in browser can take out of the address that the provider
// shall ask again.
func TestPromptTakenOutOfTheAddress(t *testing.T) {
	w := newWorld(t, signintest.Options{}, func(c *signin.Config) { c.TrustPrompt = true })
	_, err := w.signIn(false)
	must(t, err)
	w.clock.SetTime(noon.Add(time.Hour))
	location, flow := w.begin(true)
	address, err := url.Parse(location)
	must(t, err)
	query := address.Query()
	query.Del("prompt")
	query.Del("max_age")
	address.RawQuery = query.Encode()
	back, err := w.browser.Visit(t.Context(), address.String())
	must(t, err)
	_, err = w.finish(flow, back.Query())
	wantError(t, err, signin.ErrNotRecent, "before this sign-in began")
}

func TestTheProviderFailsWhenAskedForATokenOrKeys(t *testing.T) {
	huge := document(`{"access_token": "a", "id_token": "` + strings.Repeat("x", 1<<20) + `"}`)
	redirect := func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	}
	for _, path := range []string{signintest.TokenPath, signintest.KeysPath} {
		for name, c := range map[string]struct {
			handler http.HandlerFunc
			says    string
		}{
			"down":            {signintest.Down, ""},
			"out of order":    {status(http.StatusBadGateway), "502"},
			"elsewhere":       {redirect, "not followed"},
			"huge":            {huge, "too large"},
			"not JSON":        {document("<html>"), ""},
			"an empty answer": {document(""), ""},
		} {
			t.Run(path+" "+name, func(t *testing.T) {
				w := newWorld(t, signintest.Options{ClientSecret: secret})
				location, flow := w.begin(false)
				query := w.visit(location)
				w.idp.Intercept(path, c.handler)
				_, err := w.finish(flow, query)
				wantError(t, err, signin.ErrUnavailable, c.says)
				if n := w.idp.Requests("/elsewhere"); n != 0 {
					t.Errorf("a redirect was followed %d times", n)
				}
				w.idp.Intercept(path, nil)
				_, err = w.signIn(false)
				must(t, err)
			})
		}
	}
}

func TestATokenEndpointThatRefuses(t *testing.T) {
	refuse := func(code int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(code)
			_, _ = w.Write([]byte(text))
		}
	}
	quote := func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		_, given, _ := r.BasicAuth()
		given, _ = url.QueryUnescape(given)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprintf(w, `{"error": "invalid_request", "error_description": %q}`,
			fmt.Sprint("code ", r.Form.Get("code"), " verifier ", r.Form.Get("code_verifier"), " secret ", given))
	}
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		kind    error
		says    string
	}{
		"a code that is over": {refuse(400, `{"error": "invalid_grant"}`), signin.ErrRefused, "invalid_grant"},
		"a wrong client":      {refuse(400, `{"error": "invalid_client"}`), signin.ErrUnavailable, "check --oidc-client-id"},
		"a wrong secret":      {refuse(401, `{}`), signin.ErrUnavailable, "check --oidc-client-id"},
		"too many":            {refuse(429, `slow down`), signin.ErrUnavailable, "429"},
		"a quote":             {quote, signin.ErrUnavailable, "[secret]"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, signintest.Options{ClientSecret: secret})
			location, flow := w.begin(false)
			query := w.visit(location)
			w.idp.Intercept(signintest.TokenPath, c.handler)
			_, err := w.finish(flow, query)
			wantError(t, err, c.kind, c.says)
			if n := w.idp.Requests(signintest.TokenPath); n != 1 {
				t.Errorf("the code was sent %d times", n)
			}
		})
	}
}

func TestSomebodyWhoDoesNotWait(t *testing.T) {
	for _, path := range []string{signintest.TokenPath, signintest.KeysPath} {
		t.Run(path, func(t *testing.T) {
			w := newWorld(t, signintest.Options{})
			location, flow := w.begin(false)
			query := w.visit(location)
			ctx, leave := context.WithCancel(t.Context())
			w.idp.Intercept(path, func(w http.ResponseWriter, r *http.Request) {
				leave()
				signintest.Stalled(w, r)
			})
			_, err := w.provider.Finish(ctx, flow, query)
			wantError(t, err, signin.ErrUnavailable, "cancel")
		})
	}
}

func TestTheProviderIsSlow(t *testing.T) {
	const timeout = 2 * time.Second
	slow := func(c *signin.Config) { c.Timeout = timeout }
	for _, path := range []string{signintest.TokenPath, signintest.KeysPath, signintest.DiscoveryPath} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, signintest.Options{}, slow)
			if path == signintest.DiscoveryPath {
				w.idp.Intercept(path, signintest.Stalled)
				_, _, err := w.provider.Begin(t.Context(), callback, false)
				wantError(t, err, signin.ErrUnavailable, "")
				return
			}
			location, flow := w.begin(false)
			query := w.visit(location)
			w.idp.Intercept(path, signintest.Stalled)
			_, err := w.finish(flow, query)
			wantError(t, err, signin.ErrUnavailable, "exceeded")
		})
	}
}

func TestTheClientSecretChanges(t *testing.T) {
	var file string
	w := newWorld(t, signintest.Options{ClientSecret: secret}, func(c *signin.Config) { file = c.ClientSecretFile })
	_, err := w.signIn(false)
	must(t, err)
	writeFile(t, file, "another")
	_, err = w.signIn(false)
	wantError(t, err, signin.ErrUnavailable, "--oidc-client-secret-file")
	writeFile(t, file, "")
	_, err = w.signIn(false)
	wantError(t, err, signin.ErrUnavailable, "is empty")
	writeFile(t, file, secret)
	_, err = w.signIn(false)
	must(t, err)
}

// A provider says how it takes the client's secret; it is sent in that one way.
func TestHowTheSecretIsSent(t *testing.T) {
	for name, c := range map[string]struct {
		methods any
		header  bool
	}{
		"nothing said":  {nil, true},
		"both":          {[]string{"client_secret_post", "client_secret_basic"}, true},
		"post alone":    {[]string{"client_secret_post"}, false},
		"post and more": {[]string{"private_key_jwt", "client_secret_post"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, signintest.Options{ClientSecret: secret})
			w.idp.Describe(func(d map[string]any) {
				if d["token_endpoint_auth_methods_supported"] = c.methods; c.methods == nil {
					delete(d, "token_endpoint_auth_methods_supported")
				}
			})
			got := make(chan [2]bool, 1)
			location, flow := w.begin(false)
			query := w.visit(location)
			w.idp.Intercept(signintest.TokenPath, func(_ http.ResponseWriter, r *http.Request) {
				_, _, header := r.BasicAuth()
				got <- [2]bool{header, r.PostFormValue("client_secret") == secret}
			})
			_, err := w.finish(flow, query)
			wantError(t, err, signin.ErrUnavailable, "")
			if sent := <-got; sent != [2]bool{c.header, !c.header} {
				t.Errorf("sent in the header %t, in the body %t", sent[0], sent[1])
			}
		})
	}
}

func TestLogout(t *testing.T) {
	w := newWorld(t, signintest.Options{})
	_, err := w.signIn(false)
	must(t, err)
	const home = "https://acme.example.com/settings"
	location, ok := w.provider.LogoutURL(t.Context(), home)
	if !ok {
		t.Fatal("no logout")
	}
	back, err := w.browser.Visit(t.Context(), location)
	must(t, err)
	if back.String() != home {
		t.Errorf("sent to %s", back)
	}
	// The provider has forgotten the person, and asks.
	location, _ = w.begin(false)
	if back, err := w.browser.Visit(t.Context(), location); err == nil {
		t.Errorf("let in as known: %s", back.Host)
	}
}

func TestNoLogout(t *testing.T) {
	for name, value := range map[string]any{"none": "", "not https": "http://id.example.com/bye", "no address": "javascript:alert(1)"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, signintest.Options{})
			w.idp.Describe(func(d map[string]any) { d["end_session_endpoint"] = value })
			if location, ok := w.provider.LogoutURL(t.Context(), callback); ok {
				t.Errorf("got %s", location)
			}
		})
	}
	w := newWorld(t, signintest.Options{})
	w.idp.Intercept("", signintest.Down)
	if location, ok := w.provider.LogoutURL(t.Context(), callback); ok {
		t.Errorf("got %s", location)
	}
}

// The kinds of errors that pages tell apart.
func TestErrors(t *testing.T) {
	for _, err := range []error{signin.ErrNotRecent, signin.ErrAccount} {
		if !errors.Is(err, signin.ErrRefused) {
			t.Errorf("%v is no ErrRefused", err)
		}
	}
	if slices.ContainsFunc([]error{signin.ErrUnavailable, signin.ErrDenied}, func(err error) bool { return errors.Is(err, signin.ErrRefused) }) {
		t.Error("unavailable or denied is refused as well")
	}
}
