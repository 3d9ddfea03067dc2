package signintest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"net/url"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// storage is what the library asks for. Of the methods that it does not implement none
// is reached: they belong to endpoints that are not served and grants that are not
// offered.
type storage struct {
	op.Storage
	p *Provider
}

// request is somebody on the way to sign in.
type request struct {
	*oidc.AuthRequest
	id, subject string
	authTime    time.Time
}

func (r *request) GetID() string          { return r.id }
func (r *request) GetACR() string         { return "" }
func (r *request) GetAMR() []string       { return []string{"pwd"} }
func (r *request) GetAudience() []string  { return []string{r.ClientID} }
func (r *request) GetAuthTime() time.Time { return r.authTime }
func (r *request) GetClientID() string    { return r.ClientID }
func (r *request) GetNonce() string       { return r.Nonce }
func (r *request) GetScopes() []string    { return r.Scopes }
func (r *request) GetSubject() string     { return r.subject }
func (r *request) Done() bool             { return r.subject != "" }

func (r *request) GetCodeChallenge() *oidc.CodeChallenge {
	if r.CodeChallenge == "" {
		return nil
	}
	return &oidc.CodeChallenge{Challenge: r.CodeChallenge, Method: r.CodeChallengeMethod}
}

func (s *storage) CreateAuthRequest(_ context.Context, asked *oidc.AuthRequest, _ string) (op.AuthRequest, error) {
	r := &request{AuthRequest: asked, id: rand.Text()}
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	s.p.flows[r.id] = r
	return r, nil
}

func (s *storage) AuthRequestByID(_ context.Context, id string) (op.AuthRequest, error) {
	if r := s.p.flow(id); r != nil {
		return r, nil
	}
	return nil, errors.New("no such request")
}

func (p *Provider) flow(id string) *request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.flows[id]
}

func (s *storage) SaveAuthCode(_ context.Context, id, code string) error {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	s.p.codes[code] = id
	return nil
}

// AuthRequestByCode uses the code up, whatever comes of it. The library would leave one
// that came with a wrong verifier for another try.
func (s *storage) AuthRequestByCode(_ context.Context, code string) (op.AuthRequest, error) {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	id, ok := s.p.codes[code]
	delete(s.p.codes, code)
	if r := s.p.flows[id]; ok && r != nil {
		return r, nil
	}
	return nil, errors.New("no such code")
}

func (s *storage) DeleteAuthRequest(_ context.Context, id string) error {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	delete(s.p.flows, id)
	return nil
}

// CreateAccessToken makes one that opens nothing. The library takes its end off the
// system's clock.
func (s *storage) CreateAccessToken(context.Context, op.TokenRequest) (string, time.Time, error) {
	return rand.Text(), time.Now().Add(idTokenLifetime), nil
}

func (s *storage) TerminateSession(context.Context, string, string) error { return nil }

func (s *storage) GetClientByClientID(_ context.Context, id string) (op.Client, error) {
	if id != s.p.options.ClientID {
		return nil, errors.New("no such client")
	}
	return client{s.p}, nil
}

func (s *storage) AuthorizeClientIDSecret(_ context.Context, id, secret string) error {
	if id != s.p.options.ClientID || secret != s.p.options.ClientSecret {
		return errors.New("wrong client id or secret")
	}
	return nil
}

// SetUserinfoFromScopes leaves all claims but one to Provider.token.
func (s *storage) SetUserinfoFromScopes(_ context.Context, claims *oidc.UserInfo, user, _ string, _ []string) error {
	claims.Subject = user
	return nil
}

func (s *storage) Health(context.Context) error { return nil }

// signingKey is a key of the provider's, private or, in its JWKS, public.
type signingKey struct {
	id  string
	key any
}

func newKey() signingKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err) // there is no randomness: nothing can be tested
	}
	return signingKey{rand.Text(), key}
}

func (k signingKey) ID() string                                  { return k.id }
func (k signingKey) Key() any                                    { return k.key }
func (k signingKey) Use() string                                 { return "sig" }
func (k signingKey) Algorithm() jose.SignatureAlgorithm          { return jose.ES256 }
func (k signingKey) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.ES256 }

// RotateKey makes a new signing key and withdraws the previous one.
func (p *Provider) RotateKey() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.key = newKey()
}

func (p *Provider) signingKey() signingKey {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.key
}

func (s *storage) SigningKey(context.Context) (op.SigningKey, error) { return s.p.signingKey(), nil }

func (s *storage) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{jose.ES256}, nil
}

func (s *storage) KeySet(context.Context) ([]op.Key, error) {
	k := s.p.signingKey()
	if private, ok := k.key.(*ecdsa.PrivateKey); ok {
		k.key = &private.PublicKey
	}
	return []op.Key{k}, nil
}

// idTokenLifetime is that of ID tokens and access tokens.
const idTokenLifetime = 5 * time.Minute

// client is the only client.
type client struct{ p *Provider }

func (c client) GetID() string                        { return c.p.options.ClientID }
func (c client) RedirectURIs() []string               { return nil }
func (c client) RedirectURIGlobs() []string           { return c.p.options.RedirectURIs }
func (c client) PostLogoutRedirectURIs() []string     { return nil }
func (c client) PostLogoutRedirectURIGlobs() []string { return c.p.options.LogoutURIs }
func (c client) ApplicationType() op.ApplicationType  { return op.ApplicationTypeWeb }
func (c client) ResponseTypes() []oidc.ResponseType {
	return []oidc.ResponseType{oidc.ResponseTypeCode}
}
func (c client) GrantTypes() []oidc.GrantType         { return []oidc.GrantType{oidc.GrantTypeCode} }
func (c client) LoginURL(id string) string            { return LoginPath + "?id=" + url.QueryEscape(id) }
func (c client) AccessTokenType() op.AccessTokenType  { return op.AccessTokenTypeBearer }
func (c client) IDTokenLifetime() time.Duration       { return idTokenLifetime }
func (c client) DevMode() bool                        { return true }
func (c client) IsScopeAllowed(string) bool           { return true }
func (c client) IDTokenUserinfoClaimsAssertion() bool { return false }
func (c client) ClockSkew() time.Duration             { return 0 }

func (c client) AuthMethod() oidc.AuthMethod {
	if c.p.options.ClientSecret == "" {
		return oidc.AuthMethodNone
	}
	return oidc.AuthMethodBasic
}

//nolint:revive // the name is the interface's
func (c client) RestrictAdditionalIdTokenScopes() func([]string) []string { return keep }

func (c client) RestrictAdditionalAccessTokenScopes() func([]string) []string { return keep }

func keep(scopes []string) []string { return scopes }
