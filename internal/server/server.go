// Package server is the API server's front door: it decides which tenant a
// request is for, whether its token works, and passes it on. handle in this file
// is the way of a request from beginning to end.
package server

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/directory"
	"github.com/latchkey-dev/latchkey/internal/fault"
	"github.com/latchkey-dev/latchkey/internal/openapi"
	"github.com/latchkey-dev/latchkey/internal/portal"
	"github.com/latchkey-dev/latchkey/internal/portal/tokens"
	"github.com/latchkey-dev/latchkey/internal/problem"
	"github.com/latchkey-dev/latchkey/internal/proxy"
	"github.com/latchkey-dev/latchkey/internal/ratelimit"
	"github.com/latchkey-dev/latchkey/internal/surface"
	"github.com/latchkey-dev/latchkey/internal/token"
	"github.com/latchkey-dev/latchkey/internal/wallclock"
)

// Config is what a Server needs.
type Config struct {
	// BaseDomain is what every tenant's host ends with, in lower case.
	BaseDomain string
	// TokenPrefix is what tokens begin with.
	TokenPrefix string
	// ProblemBase begins the type URI of problems; problem.DefaultBase if empty.
	ProblemBase string
	// Surfaces are what this process serves; paths of the others are not found.
	// surface.All if zero.
	Surfaces surface.Set
	// PublicScheme is what clients use where a request arrives in plain HTTP and no
	// trusted proxy says more; https if empty. It is only shown.
	PublicScheme string
	// TrustedProxies are the peers whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix
	// Limits bound what clients can use up. Zero values mean no limit.
	Limits Limits
	// Replicas is how many ready replicas share the rate limits, this one included; one
	// if nil. It must not block.
	Replicas func() int
	// Directory knows tenants and tokens.
	Directory *directory.Directory
	// Proxy reaches the backends.
	Proxy *proxy.Proxy
	// Portal answers at Latchkey's own paths. If nil, the only one is the calling
	// token's.
	Portal *portal.Portal
	// Uses is told of every token that was accepted, and must not block; nobody is
	// if nil.
	Uses Uses
	// Clock tells the time; the system's if nil.
	Clock *wallclock.Clock
	// Logger gets the access log and faults.
	Logger *slog.Logger
	// Metrics is where the server's metrics are registered.
	Metrics prometheus.Registerer
	// TenantMetricsLimit is how many tenants get metrics of their own; the requests
	// of the others are counted together. Zero means no metrics by tenant.
	TenantMetricsLimit int
}

// Uses notes when tokens were used.
type Uses interface {
	// Use notes that the token was accepted.
	Use(t *directory.Token, now time.Time)
}

// Server answers requests on the tenants' hosts.
type Server struct {
	config    Config
	inflight  *inflight
	tenants   tenantGate
	badTokens *badTokens
	// badSignIns are the failed sign-ins at Settings. They count by themselves: whoever
	// sends bad tokens must not keep people behind the same address from signing in.
	badSignIns *badTokens
	// badReviews are the Kubernetes tokens that the cluster did not know. They count by
	// themselves: workloads must not be refused for others' bad API tokens.
	badReviews *badTokens
	rates      *ratelimit.Table
	metrics    *metrics
}

// New makes a server. It must be the only observer of its directory.
func New(config Config) (*Server, error) {
	if config.BaseDomain == "" || config.Directory == nil || config.Proxy == nil || config.Logger == nil || config.Metrics == nil {
		return nil, errors.New("server.Config: BaseDomain, Directory, Proxy, Logger and Metrics are required")
	}
	if err := token.ValidatePrefix(config.TokenPrefix); err != nil {
		return nil, err
	}
	config.BaseDomain = strings.ToLower(strings.Trim(config.BaseDomain, "."))
	if config.ProblemBase == "" {
		config.ProblemBase = problem.DefaultBase
	}
	if config.Surfaces == 0 {
		config.Surfaces = surface.All
	}
	if config.PublicScheme == "" {
		config.PublicScheme = "https"
	}
	if config.Clock == nil {
		config.Clock = wallclock.System()
	}
	s := &Server{
		config:    config,
		inflight:  newInflight(config.Clock),
		tenants:   tenantGate{limit: int64(config.Limits.RequestsPerTenant)},
		badTokens: newBadTokens(config.Limits.BadTokensPerMinute), badSignIns: newBadTokens(config.Limits.BadTokensPerMinute),
		badReviews: newBadTokens(config.Limits.BadTokensPerMinute),
		rates:      ratelimit.New(),
	}
	var err error
	if config.Portal == nil {
		if s.config.Portal, err = portal.New(portal.Config{Directory: config.Directory, ProblemBase: config.ProblemBase, Logger: config.Logger}); err != nil {
			return nil, err
		}
	}
	if s.metrics, err = newMetrics(s); err != nil {
		return nil, err
	}
	if len(config.TrustedProxies) == 0 {
		config.Logger.Warn(noTrustedProxies)
	}
	config.Directory.Observe(s.reviewInflight)
	return s, nil
}

// noTrustedProxies is logged at the start if there are none.
const noTrustedProxies = "no trusted proxy is configured (--trusted-proxies): if requests come by one, tokens with allowedCIDRs are refused, and failures are not counted by address"

// call is one request and what was found out about it.
type call struct {
	w *responseRecorder
	r *http.Request
	// tenant, api and token are nil until they are known.
	tenant *directory.Tenant
	api    *directory.API
	token  *directory.Token
	// generation is the directory's before anything was looked up in it.
	generation uint64
	// portal says that the path is one of Latchkey's own, docs that it is one of the
	// documentation's, and settings that it is one of Settings.
	portal, docs, settings bool
	// operation is the one of the OpenAPI document that the request asks for, or nil;
	// allowed are the methods that the document names for its path then.
	operation *openapi.Operation
	allowed   []string
	// user is who calls where no token does: at the portal's paths only.
	user *tokens.User
	// limits are the rate limits that the request has to keep, or nil.
	limits *rateLimits
	// place is the request's among its tenant's.
	place place
	// flight is the request as one that ends with its token; nil without one.
	flight *flight
	// stop ends the time that a request without a token may take at a backend; nil
	// for others.
	stop context.CancelFunc
}

// end closes a request that was admitted.
func (s *Server) end(c *call) {
	if c.flight != nil {
		s.inflight.end(c.flight)
	}
	if c.stop != nil {
		c.stop()
	}
	c.place.leave()
}

// handle serves a request, or says why not. What it returns has not been sent.
func (s *Server) handle(c *call) *problem.Problem {
	fault.InRequest(c.r, "received", c)
	if p := s.locate(c); p != nil {
		return p
	}
	if p := s.guardServerName(c.r); p != nil {
		return p
	}
	if p := guardUpgrade(c.r, c.api.WebSocket); p != nil {
		return p
	}
	if p := s.limitBody(c); p != nil {
		return p
	}
	if preflight := !c.settings && allowOrigin(c.w, c.r, c.api); preflight {
		return nil
	}
	admit := s.admit
	if c.anonymous() || s.readsSignedIn(c) {
		admit = s.admitAnonymous
	}
	if p := admit(c); p != nil {
		return p
	}
	defer s.end(c)
	p := s.serveAdmitted(c)
	if p != nil && context.Cause(c.r.Context()) == nil { // it is not about the token, which still works
		s.tellStanding(c.w.Header(), c)
	}
	return p
}

// serveAdmitted serves a request whose caller was accepted.
func (s *Server) serveAdmitted(c *call) *problem.Problem {
	fault.InRequest(c.r, "admitted", c.token)
	if !c.portal {
		if p := c.permit(); p != nil {
			return p
		}
	}
	if p := s.limitRate(c); p != nil {
		return p
	}
	if c.portal {
		return s.servePortal(c)
	}
	return s.forward(c)
}

// locate finds out what a request is for, if it is one that everybody understands
// in the same way.
func (s *Server) locate(c *call) *problem.Problem {
	if p := guard(c.r); p != nil {
		return p
	}
	c.generation = s.config.Directory.Generation()
	fresh := s.config.Directory.Fresh()
	p := s.resolve(c) // also of what may be old, so that people are told on a page
	if !fresh {
		return problem.Stale
	}
	return p
}

// resolve finds tenant and API by the request's host and path.
func (s *Server) resolve(c *call) *problem.Problem {
	name := subdomain(c.r.Host, s.config.BaseDomain)
	if name == "" {
		return problem.UnknownHost
	}
	var ok bool
	if c.tenant, ok = s.config.Directory.Tenant(name); !ok || c.tenant.Namespace == "" {
		c.tenant = nil
		return problem.UnknownHost
	}
	if c.api, ok = s.config.Directory.API(c.tenant.PublicApi); !ok {
		return problem.UnknownHost
	}
	return s.resolvePath(c, c.r.URL.EscapedPath())
}

// resolvePath finds out what serves a path of the tenant's host.
func (s *Server) resolvePath(c *call, path string) *problem.Problem {
	paths := surface.Paths{Base: c.api.BasePath, Docs: c.api.DocsPath, Settings: c.api.SettingsPath, Document: c.api.NeedsDocument}
	of := paths.Of(path)
	c.portal = of == surface.Portal
	c.docs = c.portal && paths.IsDocs(path)
	switch {
	case of == 0 || !s.config.Surfaces.Has(of):
		return problem.NotFound
	case paths.IsSettings(path):
		if c.settings = s.config.Portal.HasSettings(); !c.settings {
			return problem.NotFound
		}
		return nil
	case c.portal && !c.docs && path != c.api.BasePath+describePath && !s.config.Portal.Manages():
		return problem.NotFound
	case c.docs && !c.api.HasDocs():
		return problem.NotFound
	}
	if c.decidesAnonymity() {
		c.findOperation()
	}
	return nil
}

// describePath is where the calling token is described, below the base path.
const describePath = "/token"

// identify finds out which token calls and whether it works here and now.
func (s *Server) identify(c *call, now time.Time) (p *problem.Problem) {
	c.token, p = fault.Decision(s.authenticate(c.r, c.tenant, now))
	if p == problem.TokenInvalid && !s.badTokens.permits(s.countedAddress(c.r), now) {
		return problem.TooManyBadTokens
	}
	if p == nil && slices.Contains(c.token.Scopes, v1alpha1.ScopeSettings) {
		return problem.SignsInOnly
	}
	if p == nil && s.config.Uses != nil {
		s.config.Uses.Use(c.token, now)
	}
	return p
}

// admit authenticates the request and makes it end with its token.
func (s *Server) admit(c *call) *problem.Problem {
	if p := s.identifyCaller(c, s.config.Clock.Now()); p != nil {
		return p
	}
	var ok bool
	if c.place, ok = s.tenants.enter(c.tenant.Name); !ok {
		return problem.TooManyRequests
	}
	if c.user != nil {
		return nil
	}
	var ctx context.Context
	ctx, c.flight = s.inflight.begin(c.r.Context(), c.token)
	c.r = c.r.WithContext(ctx)
	// The observer may have missed what changed between the look-up and the
	// registration.
	if s.config.Directory.Generation() != c.generation || !s.config.Clock.Now().Before(c.token.NotAfter) {
		s.inflight.recheck(c.flight, s.currentToken)
	}
	var p *problem.Problem
	switch cause := context.Cause(ctx); {
	case cause == nil:
		return nil
	case errors.Is(cause, errTokenExpired) || errors.Is(cause, errTokenEnded):
		p = s.endedProblem(c)
	default:
		p = &problem.Problem{Code: problem.CodeClientGone, Status: statusClientClosedRequest, Cause: proxy.ErrClientGone}
	}
	s.end(c)
	return p
}

// currentToken asks the directory anew. No token works by one that is not fresh.
func (s *Server) currentToken(tenant string, digest token.Digest) (t *directory.Token, works bool) {
	t, ok := s.config.Directory.Token(tenant, digest)
	if !ok {
		return nil, false
	}
	current, ok := s.config.Directory.Tenant(tenant)
	return t, ok && s.config.Directory.Fresh() && verdictProblem(t, current, s.config.Clock.Now()) == nil
}

// reviewInflight is told by the directory that something of a tenant changed.
func (s *Server) reviewInflight(tenant string) {
	s.inflight.review(tenant, s.currentToken)
	if !s.isTenant(tenant) {
		s.config.Proxy.Retain(s.isTenant)
		s.metrics.tenants.forgetDeleted()
	}
}

// isTenant reports whether there is a Tenant of the name; "" is none.
func (s *Server) isTenant(name string) bool {
	_, ok := s.config.Directory.Tenant(name)
	return ok
}

// endedProblem says why a token stopped working while its request was under way.
func (s *Server) endedProblem(c *call) *problem.Problem {
	if !s.config.Directory.Fresh() {
		return problem.Stale
	}
	tenant, ok := s.config.Directory.Tenant(c.tenant.Name)
	if !ok {
		return problem.UnknownHost
	}
	_, p := s.authenticate(c.r, tenant, s.config.Clock.Now())
	if p == nil {
		p = problem.TokenInvalid // it ended and works again: the client may try again
	}
	return p
}

// forward passes the request to the tenant's backend.
func (s *Server) forward(c *call) *problem.Problem {
	err := s.config.Proxy.Serve(c.w, c.r, &proxy.Request{
		Backend:               c.api.Backend(c.tenant),
		ResponseHeaderTimeout: c.api.ResponseHeaderTimeout,
		BodyTimeout:           s.config.Limits.BodyTimeout,
		Identity:              c.identity(),
		ClientAddress:         clientAddress(c.r, s.config.TrustedProxies),
		Scheme:                clientScheme(c.r, s.config.TrustedProxies),
		WebSocket:             c.api.WebSocket && wantsWebSocket(c.r),
		OwnsCORS:              len(c.api.AllowedOrigins) > 0,
		OwnsRateLimit:         c.limits != nil,
		BeforeResponse:        func(h http.Header) { s.tellStanding(h, c) },
	})
	var tooLarge *http.MaxBytesError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &tooLarge):
		return problem.RequestTooLarge(tooLarge.Limit)
	case errors.Is(err, errTokenExpired) || errors.Is(err, errTokenEnded):
		return s.endedProblem(c)
	case errors.Is(err, proxy.ErrClientGone):
		return &problem.Problem{Code: problem.CodeClientGone, Status: statusClientClosedRequest, Cause: err}
	case errors.Is(err, proxy.ErrBodyTimeout):
		return problem.RequestTimeout
	case errors.Is(err, proxy.ErrRequestBody):
		return problem.RequestRefused("The body is not framed as its Content-Length or Transfer-Encoding says.")
	case errors.Is(err, proxy.ErrTimeout) || errors.Is(err, errAnonymousTime):
		return problem.BackendUnavailable(http.StatusGatewayTimeout, err)
	default:
		return problem.BackendUnavailable(http.StatusBadGateway, err)
	}
}

// tellStanding tells a client how its token and its limits stand.
func (s *Server) tellStanding(h http.Header, c *call) {
	if c.token != nil {
		s.tellExpiry(h, c)
	}
	tellLimits(h, c.limits)
}

// identity is who calls, as the backend is told. Without a token it is the tenant
// alone.
func (c *call) identity() proxy.Identity {
	identity := proxy.Identity{Tenant: c.tenant.Name}
	if t := c.token; t != nil {
		identity.ID, identity.Name, identity.Owner, identity.Scopes = t.ID, t.Name, t.Owner, t.Scopes
	}
	return identity
}

// statusClientClosedRequest is what access logs commonly show for a client that
// did not wait. Nobody receives it.
const statusClientClosedRequest = 499

// smallAnswer is how large an answer may be that takes no place of its tenant while it is
// written: a client that reads slowly must not fill the memory with more of them.
const smallAnswer = 64 << 10

// servePortal has the portal answer. It makes each answer as a whole before it writes the
// first byte, so that the place can be given back then. The documentation is in memory once,
// however many read it.
func (s *Server) servePortal(c *call) *problem.Problem {
	c.w.limitWrites(ownAnswerTimeout)
	c.w.beforeBody = func(size int) {
		if c.docs || size <= smallAnswer {
			c.place.leave()
		}
	}
	if c.settings {
		return s.config.Portal.ServeSettings(c.w, c.r, s.visit(c))
	}
	s.tellStanding(c.w.Header(), c)
	call := &portal.Call{Origin: s.origin(c), Call: tokens.Call{
		Tenant: c.tenant, API: c.api, Caller: tokens.Caller{Token: c.token, User: c.user}, Via: v1alpha1.ViaAPI,
	}}
	if c.docs {
		return s.config.Portal.ServeDocs(c.w, c.r, call)
	}
	return s.config.Portal.Serve(c.w, c.r, call)
}

// origin is where the client reaches the tenant's host, as far as that is known. The
// port is the one that the client named.
func (s *Server) origin(c *call) string {
	scheme := clientScheme(c.r, s.config.TrustedProxies)
	if scheme == "http" {
		scheme = s.config.PublicScheme
	}
	origin := scheme + "://" + s.realm(c)
	if i := strings.LastIndexByte(c.r.Host, ':'); i >= 0 && c.r.Host[i+1:] != "" {
		origin += c.r.Host[i:]
	}
	return origin
}

func rfc3339(t time.Time) string { return t.UTC().Format(time.RFC3339) }
