package signin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"k8s.io/utils/clock"
)

const (
	// metadataTTL is how long the provider's description is believed. With it go the
	// keys that were fetched, so that a key which the provider withdrew is forgotten,
	// and the CAs.
	metadataTTL = time.Hour
	// minRetry and maxRetry bound the wait after a failed look at the provider: it
	// doubles with each, and callers meanwhile get the failure at once.
	minRetry, maxRetry = time.Second, 15 * time.Second
)

// metadata is what the provider says of itself (OpenID Connect Discovery 1.0).
type metadata struct {
	endpoint   oauth2.Endpoint
	endSession *url.URL
	// namesItself: every answer has iss (RFC 9207).
	namesItself bool
	algorithms  []string
	keys        oidc.KeySet
	// context carries the HTTP client, as both libraries want it.
	context func(context.Context) context.Context
}

// discovery asks for the metadata when somebody needs it, once for all who do.
type discovery struct {
	clock   clock.PassiveClock
	logger  *slog.Logger
	timeout time.Duration
	fetch   func(context.Context) (*metadata, error)

	mu       sync.Mutex
	current  *metadata
	freshTo  time.Time
	flight   *flight
	failure  error
	failures int
	retryAt  time.Time
}

// flight is a look at the provider that is under way.
type flight struct {
	done     chan struct{}
	metadata *metadata
	err      error
}

// get returns the metadata, or ErrUnavailable. Where there is some already, nobody waits
// for newer.
func (d *discovery) get(ctx context.Context) (*metadata, error) {
	current, f, err := d.look(ctx)
	if current != nil || err != nil {
		return current, err
	}
	select {
	case <-f.done:
		return f.metadata, f.err
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: its description did not come in time: %w", ErrUnavailable, context.Cause(ctx))
	}
}

// look returns what is there at once, or the flight to wait for.
func (d *discovery) look(ctx context.Context) (*metadata, *flight, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.clock.Now()
	fresh, waits := d.current != nil && now.Before(d.freshTo), now.Before(d.retryAt)
	if !fresh && !waits && d.flight == nil {
		d.flight = &flight{done: make(chan struct{})}
		// Whoever asked first may go away; the others wait on.
		go d.fly(context.WithoutCancel(ctx), d.flight)
	}
	switch {
	case d.current != nil:
		return d.current, nil, nil
	case d.flight != nil:
		return nil, d.flight, nil
	}
	return nil, nil, d.failure
}

func (d *discovery) fly(ctx context.Context, f *flight) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	f.metadata, f.err = d.fetch(ctx)
	if f.err != nil {
		f.err = fmt.Errorf("%w: %w", ErrUnavailable, f.err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.clock.Now()
	d.flight, d.failure = nil, f.err
	if f.err == nil {
		d.current, d.freshTo, d.failures, d.retryAt = f.metadata, now.Add(metadataTTL), 0, time.Time{}
	} else {
		d.retryAt = now.Add(min(minRetry<<min(d.failures, 10), maxRetry))
		d.failures++
		if d.current != nil {
			d.logger.Warn("the identity provider's description can't be renewed; the previous one is used on", "error", f.err)
		}
	}
	close(f.done)
}

// fetchMetadata asks the provider, and checks that it can do what is needed of it.
func (p *Provider) fetchMetadata(ctx context.Context) (*metadata, error) {
	client, err := newHTTPClient(p.config.CAFile, p.config.Timeout)
	if err != nil {
		return nil, err
	}
	withClient := func(ctx context.Context) context.Context { return oidc.ClientContext(ctx, client) }
	found, err := oidc.NewProvider(withClient(ctx), p.config.IssuerURL)
	if err != nil {
		return nil, p.describe(err)
	}
	var said struct {
		JWKS           string   `json:"jwks_uri"`
		EndSession     string   `json:"end_session_endpoint"`
		NamesItself    bool     `json:"authorization_response_iss_parameter_supported"`
		Algorithms     []string `json:"id_token_signing_alg_values_supported"`
		ChallengeKinds []string `json:"code_challenge_methods_supported"`
		Authentication []string `json:"token_endpoint_auth_methods_supported"`
	}
	if err := found.Claims(&said); err != nil {
		return nil, p.describe(err)
	}
	m := &metadata{endpoint: found.Endpoint(), namesItself: said.NamesItself, context: withClient}
	if m.algorithms = algorithms(said.Algorithms); len(m.algorithms) == 0 {
		return nil, p.describe(fmt.Errorf("it signs ID tokens with none of %v, only with %v", acceptedAlgorithms, clean(fmt.Sprint(said.Algorithms))))
	}
	if said.ChallengeKinds != nil && !slices.Contains(said.ChallengeKinds, "S256") {
		return nil, p.describe(errors.New("it does not do PKCE with S256: allow that for the client"))
	}
	if m.endpoint.AuthStyle, err = p.authStyle(said.Authentication); err != nil {
		return nil, p.describe(err)
	}
	for name, address := range map[string]string{"authorization_endpoint": m.endpoint.AuthURL, "token_endpoint": m.endpoint.TokenURL, "jwks_uri": said.JWKS} {
		if _, err := p.secure(address); err != nil {
			return nil, p.describe(fmt.Errorf("its %s %s: %w", name, clean(address), err))
		}
	}
	if m.endSession, err = p.secure(said.EndSession); err != nil {
		m.endSession = nil // it has none, or none that a browser should be sent to
	}
	m.keys = oidc.NewRemoteKeySet(withClient(context.Background()), said.JWKS)
	return m, nil
}

// describe says which provider it is about, in one line.
func (p *Provider) describe(err error) error {
	if mismatch := (*oidc.IssuerMismatchError)(nil); errors.As(err, &mismatch) {
		return fmt.Errorf("%s calls itself %s: set --oidc-issuer-url to exactly that, if it is the right one", p.config.IssuerURL, clean(mismatch.Discovered))
	}
	return fmt.Errorf("%s: %s", p.config.IssuerURL, clean(err.Error()))
}

// secure parses one of the provider's addresses. Only a provider on loopback may have
// one that is not https, and only there.
func (p *Provider) secure(address string) (*url.URL, error) {
	issuer, err := url.Parse(p.config.IssuerURL)
	return parseSecure(address, err == nil && issuer.Scheme == "http")
}

// acceptedAlgorithms are those with a public key. HS256 and its like would make the
// client's secret a signing key, and none is no signature (RFC 8725, section 3.1).
var acceptedAlgorithms = []string{
	oidc.RS256, oidc.RS384, oidc.RS512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.EdDSA,
}

// algorithms are those that the provider names and that are accepted. RS256 is what a
// provider that names none has to have.
func algorithms(named []string) []string {
	if named == nil {
		return []string{oidc.RS256}
	}
	return slices.DeleteFunc(slices.Clone(named), func(name string) bool { return !slices.Contains(acceptedAlgorithms, name) })
}

// authStyle chooses how the client says who it is, once and for all: by trying one way
// after the other, as oauth2 does by itself, a code could be used up.
func (p *Provider) authStyle(supported []string) (oauth2.AuthStyle, error) {
	switch {
	case p.config.ClientSecretFile == "":
		return oauth2.AuthStyleInParams, nil
	case supported == nil, slices.Contains(supported, "client_secret_basic"):
		return oauth2.AuthStyleInHeader, nil
	case slices.Contains(supported, "client_secret_post"):
		return oauth2.AuthStyleInParams, nil
	}
	return 0, fmt.Errorf("it takes a client's secret neither by client_secret_basic nor by client_secret_post, only by %s", clean(fmt.Sprint(supported)))
}
