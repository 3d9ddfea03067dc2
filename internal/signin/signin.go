// Package signin signs people in at an OpenID provider: it makes the address that a
// browser is sent to, and from what the browser brings back it finds out who the person
// is in Kubernetes. It knows neither cookies nor pages, and keeps nothing of a person.
//
// Authorization code with PKCE (S256), state and nonce, as OpenID Connect Core 1.0 and
// RFC 9700 have it. An ID token is believed only if it came from the provider's token
// endpoint, for a code that the provider gave for this very sign-in; the claims come
// from the ID token alone, as kube-apiserver has it, and no other endpoint is asked.
//
// Times are by the given clock. An ID token is expired at its exp, with no leeway, like
// everything of Latchkey's that expires; iat, nbf and auth_time may be ahead of the clock
// by MaxClockSkew.
package signin

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"golang.org/x/oauth2"

	"github.com/latchkey-dev/latchkey/internal/session"
)

// What Begin and Finish fail with, by errors.Is. The error's text is for the log: it
// says what was wrong, and has neither code nor token, secret, state or verifier in it.
var (
	// ErrUnavailable: the provider could not be reached, did not answer in time, or
	// refuses this installation. The person can only try later.
	ErrUnavailable = errors.New("the identity provider is unavailable")
	// ErrRefused: what the browser or the provider brought does not fit. The person can
	// start again.
	ErrRefused = errors.New("the sign-in was refused")
	// ErrDenied: the provider says that the person, or a rule of its own, said no.
	ErrDenied = errors.New("the identity provider denied the sign-in")
	// ErrNotRecent is an ErrRefused: a sign-in was asked for anew, and the provider does
	// not say that there was one.
	ErrNotRecent = fmt.Errorf("%w: the identity provider did not authenticate anew", ErrRefused)
	// ErrAccount is an ErrRefused that starting again does not mend: the account has no
	// usable name, an unverified email, or too many groups.
	ErrAccount = fmt.Errorf("%w: the account can't be used", ErrRefused)
)

const (
	// MaxClockSkew is how far the provider's clock may be ahead of this one's.
	MaxClockSkew = time.Minute
	// MaxFlow is how long a person has at the provider.
	MaxFlow = 10 * time.Minute
)

// Flow is a sign-in that has begun. The caller keeps it for the browser, out of reach
// of every other one and of whoever has the browser, and gives it to Finish once.
type Flow struct {
	State       string    `json:"s"`
	Nonce       string    `json:"n"`
	Verifier    string    `json:"v"`
	RedirectURI string    `json:"r"`
	Again       bool      `json:"a,omitempty"`
	BegunAt     time.Time `json:"t"`
}

// Provider is the provider that people sign in at. Its methods may be called from any
// goroutine.
type Provider struct {
	config    Config
	logger    *slog.Logger
	discovery discovery
}

// New makes a Provider. It reads the files, so that a missing one is noticed at the
// start, and asks nothing of the network: that is done when somebody signs in.
func New(config Config, logger *slog.Logger) (*Provider, error) {
	if !config.Enabled() {
		return nil, errors.New("signin.Config: IssuerURL is required")
	}
	if logger == nil {
		return nil, errors.New("signin.New: a logger is required")
	}
	if err := config.Validate(); err != nil {
		return nil, err
	}
	p := &Provider{config: config.withDefaults(), logger: logger}
	if _, err := p.clientSecret(); err != nil {
		return nil, err
	}
	if _, err := newHTTPClient(p.config.CAFile, p.config.Timeout); err != nil {
		return nil, err
	}
	p.discovery.clock, p.discovery.logger, p.discovery.fetch = p.config.Clock, logger, p.fetchMetadata
	p.discovery.timeout = p.config.Timeout
	return p, nil
}

// Begin returns where to send the browser, and the flow to keep until it comes back to
// redirectURI, which the provider has to know exactly as it is. It fails with
// ErrUnavailable.
//
// With again the provider is asked to authenticate the person anew (prompt=login,
// max_age=0), which counts only if the ID token's auth_time says that it happened since:
// who uses somebody's signed-in browser can take prompt=login out of the address. A
// provider that has no auth_time, against OpenID Connect Core, section 3.1.2.1, can do
// that only with --oidc-trust-prompt.
func (p *Provider) Begin(ctx context.Context, redirectURI string, again bool) (string, Flow, error) {
	if _, err := parseSecure(redirectURI, true); err != nil {
		return "", Flow{}, fmt.Errorf("redirect URI %q: %w", redirectURI, err)
	}
	m, err := p.discovery.get(ctx)
	if err != nil {
		return "", Flow{}, err
	}
	flow := Flow{
		State: random(), Nonce: random(), Verifier: oauth2.GenerateVerifier(),
		RedirectURI: redirectURI, Again: again, BegunAt: p.config.Clock.Now().Round(0),
	}
	options := []oauth2.AuthCodeOption{
		oauth2.SetAuthURLParam("nonce", flow.Nonce),
		oauth2.S256ChallengeOption(flow.Verifier),
	}
	if again {
		options = append(options, oauth2.SetAuthURLParam("prompt", "login"), oauth2.SetAuthURLParam("max_age", "0"))
	}
	return p.oauth2Config(m, redirectURI, "").AuthCodeURL(flow.State, options...), flow, nil
}

// random has 256 bits, in characters that stand in addresses and cookies as they are.
func random() string {
	bytes := make([]byte, 32)
	_, _ = rand.Read(bytes) // never fails: it would end the program
	return base64.RawURLEncoding.EncodeToString(bytes)
}

// Finish finds out who signed in, from the query with which the browser came back to
// the flow's redirect URI. The flow must be forgotten before, so that nothing is
// finished twice. It fails with ErrUnavailable, ErrRefused or ErrDenied.
//
// The identity's AuthenticatedAt is the provider's auth_time. Without one it is the time
// of this sign-in if that was asked for anew and --oidc-trust-prompt is set, and else
// the start of 1970, which is never recent: the provider may have let in somebody who
// last typed a password weeks ago.
func (p *Provider) Finish(ctx context.Context, flow Flow, query url.Values) (session.Identity, error) {
	// All that is asked of the provider, together.
	ctx, cancel := context.WithTimeout(ctx, p.config.Timeout*3/2)
	defer cancel()
	now := p.config.Clock.Now()
	answer, err := parseAnswer(query)
	if err != nil {
		return session.Identity{}, err
	}
	if err := flow.matches(answer, now); err != nil {
		return session.Identity{}, err
	}
	m, err := p.discovery.get(ctx)
	if err != nil {
		return session.Identity{}, err
	}
	if err := answer.from(p.config.IssuerURL, m.namesItself, flow); err != nil {
		return session.Identity{}, err
	}
	if err := answer.failure(flow); err != nil {
		return session.Identity{}, err
	}
	raw, err := p.exchange(ctx, m, flow, answer.code)
	if err != nil {
		return session.Identity{}, err
	}
	token, err := p.verify(ctx, m, raw)
	if err != nil {
		return session.Identity{}, err
	}
	authenticatedAt, err := p.check(token, flow)
	if err != nil {
		return session.Identity{}, err
	}
	return p.identity(token, authenticatedAt)
}

// LogoutURL is where to send a browser so that the provider forgets the person as well,
// and then sends it to returnTo, which the provider has to know (RP-Initiated Logout
// 1.0). It is false where the provider can't do that, or can't be asked.
func (p *Provider) LogoutURL(ctx context.Context, returnTo string) (string, bool) {
	m, err := p.discovery.get(ctx)
	if err != nil || m.endSession == nil {
		return "", false
	}
	address := *m.endSession
	query := address.Query()
	query.Set("client_id", p.config.ClientID)
	query.Set("post_logout_redirect_uri", returnTo)
	address.RawQuery = query.Encode()
	return address.String(), true
}
