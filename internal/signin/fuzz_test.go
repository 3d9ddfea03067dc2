package signin_test

import (
	"encoding/json"
	"errors"
	"maps"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/latchkey-dev/latchkey/internal/session"
	"github.com/latchkey-dev/latchkey/internal/signin"
	"github.com/latchkey-dev/latchkey/internal/testing/signintest"
)

// FuzzAnswer brings any query back from the provider: nobody is signed in by it, since
// the provider gave no code, and what goes wrong is told in one line without the flow's
// secrets.
func FuzzAnswer(f *testing.F) {
	for _, query := range []string{
		"", "state=STATE", "state=STATE&code=c", "state=STATE&code=c&code=d", "state=STATE&state=STATE&code=c", "state=x&code=c",
		"state=STATE&error=access_denied&error_description=no", "state=STATE&error=server_error", "state=STATE&error=%0a%1b&error_description=NONCE",
		"state=STATE&code=c&iss=https%3A%2F%2Fid.example.net", "state=STATE&code=VERIFIER", "state=STATE&code=%ff&error=", "state=STATE&code=c&iss=ISSUER",
	} {
		f.Add(query)
	}
	w := newWorld(f, signintest.Options{})
	_, flow := w.begin(false)
	replace := strings.NewReplacer("STATE", flow.State, "NONCE", flow.Nonce, "VERIFIER", flow.Verifier, "ISSUER", url.QueryEscape(w.idp.IssuerURL()))
	f.Fuzz(func(t *testing.T, text string) {
		query, err := url.ParseQuery(replace.Replace(text))
		if err != nil {
			return // the server answers such a query by itself
		}
		identity, err := w.provider.Finish(t.Context(), flow, query)
		if err == nil || identity.User != "" {
			t.Fatalf("signed in as %q", identity.User)
		}
		if !errors.Is(err, signin.ErrRefused) && !errors.Is(err, signin.ErrDenied) && !errors.Is(err, signin.ErrUnavailable) {
			t.Errorf("an error of no kind: %v", err)
		}
		if strings.Join(query["state"], "\n") != flow.State && !errors.Is(err, signin.ErrRefused) {
			t.Errorf("with another state: %v", err)
		}
		wantLogLine(t, err)
		for _, secret := range []string{flow.State, flow.Nonce, flow.Verifier} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("a secret is told: %v", err)
			}
		}
	})
}

func wantLogLine(t *testing.T, err error) {
	t.Helper()
	text := err.Error()
	if !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) || len(text) > 2000 {
		t.Errorf("not one short line: %q", text)
	}
}

// FuzzClaims signs in with any claims. Without prefixes, so that only what the package
// itself refuses is refused: whoever gets in has a name that is his and not one of
// Kubernetes' own.
func FuzzClaims(f *testing.F) {
	for _, claims := range []string{
		`{}`, `{"sub": "system:admin"}`, `{"sub": ""}`, `{"sub": "a\u0000"}`, `{"SUB": "root"}`, `{"sub": null}`, `{"sub": ["a"]}`,
		`{"groups": "system:masters"}`, `{"groups": ["a", "system:masters", "a", ""]}`, `{"groups": [1]}`, `{"groups": {}}`, `{"Groups": ["b"]}`,
		`{"name": "\u202eeva"}`, `{"name": {}}`, `{"exp": 1e99}`, `{"exp": -1}`, `{"iat": "1"}`, `{"nbf": 99999999999999}`, `{"auth_time": 1.5}`,
		`{"aud": ["latchkey", "x"]}`, `{"aud": [], "azp": "latchkey"}`, `{"azp": "x"}`, `{"nonce": "x"}`, `{"iss": "x"}`,
		`{"_claim_names": {"groups": "s"}}`, `{"_claim_names": {"groups": "s"}, "_claim_sources": {"s": {"endpoint": "https://x"}}}`,
	} {
		f.Add(claims)
	}
	w := newWorld(f, signintest.Options{}, func(c *signin.Config) { c.UsernamePrefix, c.GroupsPrefix = "-", "-" })
	f.Fuzz(func(t *testing.T, text string) {
		var claims map[string]any
		if json.Unmarshal([]byte(text), &claims) != nil {
			return
		}
		w.idp.Tamper(func(token *signintest.IDToken) {
			maps.Copy(token.Claims, claims)
		})
		w := w.in(t)
		location, flow := w.begin(false)
		identity, err := w.finish(flow, w.visit(location))
		if err != nil {
			wantLogLine(t, err)
			return
		}
		wantOwn(t, identity)
		for name, must := range map[string]any{"iss": w.idp.IssuerURL(), "nonce": flow.Nonce, "sub": identity.User} {
			if value, ok := claims[name]; ok && value != must {
				t.Errorf("signed in with %s %v", name, value)
			}
		}
	})
}

// wantOwn wants an identity that can be used, and that is nobody's of Kubernetes.
func wantOwn(t *testing.T, identity session.Identity) {
	t.Helper()
	seen := map[string]bool{}
	for _, name := range append([]string{identity.User}, identity.Groups...) {
		if name == "" || strings.HasPrefix(name, "system:") || len(name) > 253 || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
			t.Errorf("the name %q", name)
		}
	}
	for _, group := range identity.Groups {
		if seen[group] {
			t.Errorf("the group %q twice", group)
		}
		seen[group] = true
	}
	if identity.Display == "" || len(identity.Display) > 100 || strings.ContainsFunc(identity.Display, unicode.IsControl) {
		t.Errorf("the name to show %q", identity.Display)
	}
	if identity.Kind != session.OIDC || identity.AuthenticatedAt.IsZero() || identity.AuthenticatedAt.After(noon.Add(time.Second)) {
		t.Errorf("%s at %s", identity.Kind, identity.AuthenticatedAt)
	}
}
