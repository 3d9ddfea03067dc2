package signin

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

// claims are those of an ID token, by their exact names. encoding/json fills a struct
// whatever the case: a claim "Sub" that a person may edit at the provider would become
// the user.
type claims map[string]json.RawMessage

// verify checks the signature, by a key of the provider's, and that the token is of this
// provider for this client.
func (p *Provider) verify(ctx context.Context, m *metadata, raw string) (claims, error) {
	keys := &keySet{KeySet: m.keys}
	verifier := oidc.NewVerifier(p.config.IssuerURL, keys, &oidc.Config{
		ClientID: p.config.ClientID, SupportedSigningAlgs: m.algorithms, Now: p.config.Clock.Now,
	})
	token, err := verifier.Verify(m.context(ctx), raw)
	switch {
	case keys.unavailable != nil:
		return nil, fmt.Errorf("%w: %s's keys: %s", ErrUnavailable, p.config.IssuerURL, clean(keys.unavailable.Error()))
	case err != nil:
		return nil, fmt.Errorf("%w: the ID token: %s", ErrRefused, redact(err.Error(), []string{raw}))
	}
	var found claims
	if err := token.Claims(&found); err != nil {
		return nil, fmt.Errorf("%w: the ID token's claims are no JSON object", ErrRefused)
	}
	return found, nil
}

// keySet knows whether it failed for want of keys. The verifier keeps of an error its
// text alone.
type keySet struct {
	oidc.KeySet
	unavailable error
}

func (k *keySet) VerifySignature(ctx context.Context, jwt string) ([]byte, error) {
	payload, err := k.KeySet.VerifySignature(ctx, jwt)
	if err != nil && strings.HasPrefix(err.Error(), "fetching keys") {
		k.unavailable = err
	}
	return payload, err
}

// check checks what the signature vouches for (OpenID Connect Core, section 3.1.3.7),
// and returns when the person authenticated, as far as that can be known.
func (p *Provider) check(c claims, flow Flow) (time.Time, error) {
	now := p.config.Clock.Now()
	for _, check := range []func() error{
		func() error { return c.isFor(p.config.IssuerURL, p.config.ClientID) },
		func() error { return c.isCurrent(now) },
		func() error { return c.answers(flow.Nonce) },
	} {
		if err := check(); err != nil {
			return time.Time{}, err
		}
	}
	return p.authenticatedAt(c, flow, now)
}

// isFor checks who made the token and for whom. With an audience besides this client,
// the provider has to say that it is this client's (azp).
func (c claims) isFor(issuer, clientID string) error {
	if found, err := c.text("iss"); err != nil || found != issuer {
		return fmt.Errorf("%w: the ID token is by %q, not by %s", ErrRefused, clean(found), issuer)
	}
	audience, ok := c.texts("aud")
	if !ok || !slices.Contains(audience, clientID) {
		return fmt.Errorf("%w: the ID token is for %q, not for client %s", ErrRefused, clean(strings.Join(audience, " ")), clientID)
	}
	party, err := c.text("azp")
	switch {
	case err != nil:
		return err
	case c.has("azp") && party != clientID:
		return fmt.Errorf("%w: the ID token was issued to %q (azp), not to client %s", ErrRefused, clean(party), clientID)
	case len(audience) > 1 && !c.has("azp"):
		return fmt.Errorf("%w: the ID token is for %d clients and does not say which it was issued to (azp)", ErrRefused, len(audience))
	}
	return nil
}

// isCurrent checks the token's times. exp has no leeway: `now < exp`.
func (c claims) isCurrent(now time.Time) error {
	expiry, issued := time.Time{}, time.Time{}
	for name, into := range map[string]*time.Time{"exp": &expiry, "iat": &issued} {
		found, ok, err := c.time(name)
		if err != nil || !ok {
			return fmt.Errorf("%w: the ID token has no valid %s", ErrRefused, name)
		}
		*into = found
	}
	notBefore, _, err := c.time("nbf")
	switch latest := now.Add(MaxClockSkew); {
	case err != nil:
		return fmt.Errorf("%w: the ID token's nbf: %w", ErrRefused, err)
	case !now.Before(expiry):
		return fmt.Errorf("%w: the ID token expired at %s, and it is %s", ErrRefused, stamp(expiry), stamp(now))
	case issued.After(latest):
		return fmt.Errorf("%w: the ID token was issued at %s, and it is %s: are both clocks right?", ErrRefused, stamp(issued), stamp(now))
	case notBefore.After(latest):
		return fmt.Errorf("%w: the ID token is valid from %s on, and it is %s: are both clocks right?", ErrRefused, stamp(notBefore), stamp(now))
	}
	return nil
}

// answers checks that the token is of this sign-in.
func (c claims) answers(nonce string) error {
	found, err := c.text("nonce")
	if err != nil || subtle.ConstantTimeCompare([]byte(found), []byte(nonce)) != 1 {
		return fmt.Errorf("%w: the ID token's nonce is another sign-in's", ErrRefused)
	}
	return nil
}

// authenticatedAt is when the person proved who it is; see Finish.
func (p *Provider) authenticatedAt(c claims, flow Flow, now time.Time) (time.Time, error) {
	at, ok, err := c.time("auth_time")
	switch {
	case err != nil:
		return time.Time{}, fmt.Errorf("%w: the ID token's auth_time: %w", ErrRefused, err)
	case !ok && flow.Again && !p.config.TrustPrompt:
		return time.Time{}, fmt.Errorf("%w: the ID token has no auth_time, which max_age demands: have the provider add it, or set --oidc-trust-prompt", ErrNotRecent)
	case !ok && flow.Again:
		return now.Round(0), nil
	case !ok:
		return unknown, nil
	case at.After(now.Add(MaxClockSkew)):
		return time.Time{}, fmt.Errorf("%w: the person authenticated at %s (auth_time), and it is %s: are both clocks right?", ErrRefused, stamp(at), stamp(now))
	case flow.Again && at.Before(flow.BegunAt.Add(-MaxClockSkew)):
		return time.Time{}, fmt.Errorf("%w: the person authenticated at %s (auth_time), before this sign-in began at %s", ErrNotRecent, stamp(at), stamp(flow.BegunAt))
	case at.After(now):
		return now.Round(0), nil
	}
	return at, nil
}

// unknown is the time of an authentication that nobody told of: never recent. It is not
// the zero time, which a session takes for its start.
var unknown = time.Unix(0, 0).UTC()

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// has says whether there is a claim, other than null.
func (c claims) has(name string) bool {
	value, ok := c[name]
	return ok && string(value) != "null"
}

// text is a claim that is a text; empty where there is none.
func (c claims) text(name string) (string, error) {
	var text string
	if err := c.read(name, &text); err != nil {
		return "", fmt.Errorf("%w: the ID token's %s is no text", ErrRefused, clean(name))
	}
	return text, nil
}

// texts is a claim that is a text or a list of them; none where there is none.
func (c claims) texts(name string) ([]string, bool) {
	var one string
	if c.has(name) && c.read(name, &one) == nil {
		return []string{one}, true
	}
	var several []string
	return several, c.read(name, &several) == nil
}

// lastTime is the end of the year 9999, the last that RFC 3339 can write.
const lastTime = 253402300799

// time is a claim that is a NumericDate (RFC 7519, section 2), and whether there is one.
func (c claims) time(name string) (time.Time, bool, error) {
	if !c.has(name) {
		return time.Time{}, false, nil
	}
	var seconds float64
	if err := c.read(name, &seconds); err != nil || seconds < 0 || seconds > lastTime {
		return time.Time{}, false, fmt.Errorf("%q is no time in seconds since 1970", clean(string(c[name])))
	}
	return time.Unix(int64(seconds), 0).UTC(), true, nil
}

func (c claims) read(name string, into any) error {
	if !c.has(name) {
		return nil
	}
	return json.Unmarshal(c[name], into)
}
