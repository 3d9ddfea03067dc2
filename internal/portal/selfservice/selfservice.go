// Package selfservice answers the requests for Settings: the pages on a tenant's host
// where its members sign in, and make, rotate, revoke and review API tokens. It decides
// who is signed in and what is shown; what is done to tokens, and whether it may be, is
// internal/portal/tokens', and what pages look like internal/portal/settings'.
//
// A request is believed to be a person's by its session alone. Whatever changes something
// is a POST by which the browser goes to the answer (Sec-Fetch-Mode, Sec-Fetch-Dest), of
// our own origin (http.CrossOriginProtection), with one exception: a token to sign in with may come from
// elsewhere, and then only leads to a page that asks for the sign-in to be confirmed.
package selfservice

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"

	"k8s.io/utils/clock"

	"github.com/latchkey-dev/latchkey/internal/directory"
	"github.com/latchkey-dev/latchkey/internal/fairqueue"
	"github.com/latchkey-dev/latchkey/internal/portal/settings"
	"github.com/latchkey-dev/latchkey/internal/portal/tokens"
	"github.com/latchkey-dev/latchkey/internal/problem"
	"github.com/latchkey-dev/latchkey/internal/session"
	"github.com/latchkey-dev/latchkey/internal/signin"
)

// Config is what a Handler needs.
type Config struct {
	// Tokens does what is asked for.
	Tokens *tokens.Service
	// Sessions say who is signed in.
	Sessions *session.Store
	// Provider is the identity provider, or nil.
	Provider *signin.Provider
	// Clock tells the time.
	Clock clock.PassiveClock
	// Logger gets the audit log and faults.
	Logger *slog.Logger
}

// Handler answers requests for Settings. Its methods may be called from any goroutine.
type Handler struct {
	config     Config
	pages      *settings.Pages
	protection *http.CrossOriginProtection
	exchanges  exchanges
}

// New makes a Handler.
func New(config Config) (*Handler, error) {
	if config.Tokens == nil || config.Sessions == nil || config.Clock == nil || config.Logger == nil {
		return nil, errors.New("selfservice.Config: Tokens, Sessions, Clock and Logger are required")
	}
	pages, err := settings.New()
	if err != nil {
		return nil, err
	}
	return &Handler{
		config: config, pages: pages, protection: http.NewCrossOriginProtection(),
		exchanges: newExchanges(),
	}, nil
}

// Call is a request for Settings and what the server found out about it.
type Call struct {
	// Tenant is the one that the host belongs to, and API what is served on it.
	Tenant *directory.Tenant
	API    *directory.API
	// Origin is where the client reaches the host, such as https://acme.example.com.
	Origin string
	// Address is the client's.
	Address netip.Addr
	// Attempts counts the address's sign-ins that failed.
	Attempts Attempts
}

// Attempts counts the sign-ins of an address that failed.
type Attempts interface {
	// Exhausted reports whether so many have failed that the next one waits behind
	// others.
	Exhausted() bool
	// Failed counts one, and says whether it was one too few to be told to stop.
	Failed() (permitted bool)
}

// Serve answers a request. The problem that it returns is for log and metrics: whoever
// asked was sent a page.
func (h *Handler) Serve(w http.ResponseWriter, r *http.Request, c *Call) *problem.Problem {
	ctx, cancel := context.WithTimeout(fairqueue.With(r.Context(), c.Tenant.Name), tokens.RequestTimeout)
	defer cancel()
	v := &visit{Call: c, handler: h, w: w, r: r.WithContext(ctx)}
	p := v.serve()
	if p != nil && !v.answered {
		v.fail(p)
	}
	return p
}

// Refuse answers a request that the server did not admit.
func (h *Handler) Refuse(w http.ResponseWriter, r *http.Request, c *Call, p *problem.Problem) {
	(&visit{Call: c, handler: h, w: w, r: r}).fail(p)
}

// IsMember says whether a request is somebody's who is signed in and may see the
// tenant's tokens.
func (h *Handler) IsMember(r *http.Request, tenant *directory.Tenant, api *directory.API) bool {
	v := &visit{Call: &Call{Tenant: tenant, API: api}, handler: h, r: r}
	return v.open() == nil && v.session != nil && v.may(tokens.VerbList, "")
}

// AssetPaths are the paths of the pages' files, for Settings at a path.
func (h *Handler) AssetPaths(settingsPath string) []string { return h.pages.AssetPaths(settingsPath) }
