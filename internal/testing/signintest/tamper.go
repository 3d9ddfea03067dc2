package signintest

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// Signature is how an ID token is signed.
type Signature int

// The ways in which an ID token is signed. All but the first are an attacker's.
const (
	// ByProvider is with the provider's key.
	ByProvider Signature = iota
	// ByStranger is with a key of the same id that is not the provider's.
	ByStranger
	// BySecret is HS256 with the client's secret, or a well-known one without it.
	BySecret
	// ByNobody has the algorithm none, and no signature.
	ByNobody
)

// IDToken is one that the provider is about to give away.
type IDToken struct {
	// Claims are as JSON has them: numbers are float64.
	Claims map[string]any
	// Signature is how it is signed.
	Signature Signature
	// Missing leaves it out of the answer.
	Missing bool
}

// Tamper changes every ID token; nil ends that.
func (p *Provider) Tamper(change func(*IDToken)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tampering = change
}

// Set is for Tamper: it sets a claim, or removes it where value is nil.
func Set(claim string, value any) func(*IDToken) {
	return func(t *IDToken) {
		if t.Claims[claim] = value; value == nil {
			delete(t.Claims, claim)
		}
	}
}

// Sign is for Tamper: it signs in another way.
func Sign(by Signature) func(*IDToken) { return func(t *IDToken) { t.Signature = by } }

// Expired is for Tamper: an ID token whose time is just over.
func Expired(t *IDToken) { t.Claims["exp"] = t.Claims["iat"] }

// OtherAudience is for Tamper: an ID token for another client of the same provider.
func OtherAudience(t *IDToken) { t.Claims["aud"], t.Claims["azp"] = "another-client", "another-client" }

// OtherNonce is for Tamper: the ID token of another sign-in.
func OtherNonce(t *IDToken) { t.Claims["nonce"] = "another" }

// OtherIssuer is for Tamper: the ID token of another provider.
func OtherIssuer(t *IDToken) { t.Claims["iss"] = "https://id.example.net" }

// token gives tokens for a code. The library makes them by the system's clock, and knows
// few claims: the ID token is made anew with those of the user and the provider's clock.
func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	recorder := httptest.NewRecorder()
	p.provider.ServeHTTP(recorder, r)
	answer := map[string]any{}
	if err := json.Unmarshal(recorder.Body.Bytes(), &answer); err != nil {
		http.Error(w, recorder.Body.String(), http.StatusInternalServerError)
		return
	}
	if raw, ok := answer["id_token"].(string); ok {
		made, err := p.remake(raw)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		if answer["id_token"] = made; made == "" {
			delete(answer, "id_token")
		}
	}
	writeJSON(w, recorder.Code, answer)
}

func (p *Provider) remake(raw string) (string, error) {
	token := IDToken{Claims: map[string]any{}}
	_, rest, _ := strings.Cut(raw, ".")
	payload, _, _ := strings.Cut(rest, ".")
	content, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return "", err
	}
	if err := json.Unmarshal(content, &token.Claims); err != nil {
		return "", err
	}
	subject, _ := token.Claims["sub"].(string)
	user, ok := p.user(subject)
	if !ok {
		return "", errors.New("no such user: " + subject)
	}
	now := p.now()
	token.Claims["iat"], token.Claims["exp"] = float64(now.Unix()), float64(now.Add(idTokenLifetime).Unix())
	user.addTo(token.Claims)
	p.mu.Lock()
	tamper := p.tampering
	p.mu.Unlock()
	if tamper != nil {
		tamper(&token)
	}
	if token.Missing {
		return "", nil
	}
	return p.sign(token)
}

func (u User) addTo(claims map[string]any) {
	claims["preferred_username"] = u.Name
	if u.FullName != "" {
		claims["name"] = u.FullName
	}
	if u.Email != "" {
		claims["email"], claims["email_verified"] = u.Email, u.EmailVerified
	}
	if u.Groups != nil {
		claims["groups"] = u.Groups
	}
	for name, value := range u.Claims {
		if claims[name] = value; value == nil {
			delete(claims, name)
		}
	}
}

func (p *Provider) sign(token IDToken) (string, error) {
	payload, err := json.Marshal(token.Claims)
	if err != nil {
		return "", err
	}
	key := p.signingKey()
	how := jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key.key, KeyID: key.id}}
	switch token.Signature {
	case ByProvider:
	case ByStranger:
		how.Key = jose.JSONWebKey{Key: newKey().key, KeyID: key.id}
	case BySecret:
		secret := []byte(p.options.ClientSecret + strings.Repeat("0", 32))
		how = jose.SigningKey{Algorithm: jose.HS256, Key: jose.JSONWebKey{Key: secret, KeyID: key.id}}
	case ByNobody:
		header := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`))
		return header + "." + base64.RawURLEncoding.EncodeToString(payload) + ".", nil
	}
	signer, err := jose.NewSigner(how, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}
