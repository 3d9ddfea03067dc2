// Package portal answers the requests for Latchkey's own paths on a tenant's host:
// the documentation, the API for tokens, and Settings. The server decides first whose
// host it is and, but for Settings, who calls. What is done to ApiTokens is
// internal/portal/tokens'.
package portal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/internal/directory"
	"github.com/latchkey-dev/latchkey/internal/fairqueue"
	"github.com/latchkey-dev/latchkey/internal/portal/selfservice"
	"github.com/latchkey-dev/latchkey/internal/portal/tokenapi"
	"github.com/latchkey-dev/latchkey/internal/portal/tokens"
	"github.com/latchkey-dev/latchkey/internal/problem"
	"github.com/latchkey-dev/latchkey/internal/session"
	"github.com/latchkey-dev/latchkey/internal/signin"
)

// Config is what a Portal needs.
type Config struct {
	// Client reads from and writes to the Kubernetes API server, without a cache;
	// NewClient makes it. Without one the portal only describes the calling token.
	Client client.Client
	// Directory says when a token that was made works on this replica.
	Directory *directory.Directory
	// TokenPrefix is what tokens begin with.
	TokenPrefix string
	// ProblemBase begins the type URI of problems; problem.DefaultBase if empty.
	ProblemBase string
	// ConfirmTimeout is how long the manager may take to confirm a token;
	// DefaultConfirmTimeout if zero.
	ConfirmTimeout time.Duration
	// Sessions say who is signed in to Settings. Without them, or without a Client,
	// there are none.
	Sessions *session.Store
	// Provider is where people sign in to Settings, beside ApiTokens; nil for nowhere.
	Provider *signin.Provider
	// Clock tells the time; the system's if nil.
	Clock clock.Clock
	// Logger gets the audit log and faults.
	Logger *slog.Logger
}

// DefaultConfirmTimeout is how long a caller waits for the manager.
const DefaultConfirmTimeout = 10 * time.Second

// Portal answers requests for the portal's paths.
type Portal struct {
	config       Config
	mux          *http.ServeMux
	tokens       *tokens.Service
	publications publications
	settings     *selfservice.Handler
}

// Call is a request and what the server found out about it. Its Caller was
// authenticated; without a Token and a User it is anyone.
type Call struct {
	tokens.Call
	// Origin is where the client reaches the host, such as https://acme.example.com.
	Origin string
}

// New makes a portal.
func New(config Config) (*Portal, error) {
	if config.Logger == nil || config.Directory == nil {
		return nil, errors.New("portal.Config: Logger and Directory are required")
	}
	if config.Clock == nil {
		config.Clock = clock.RealClock{}
	}
	if config.ProblemBase == "" {
		config.ProblemBase = problem.DefaultBase
	}
	if config.ConfirmTimeout == 0 {
		config.ConfirmTimeout = DefaultConfirmTimeout
	}
	p := &Portal{
		config: config, mux: http.NewServeMux(),
		tokens: tokens.New(tokens.Config{
			Client: config.Client, Directory: config.Directory, TokenPrefix: config.TokenPrefix,
			ConfirmTimeout: config.ConfirmTimeout, Clock: config.Clock, Logger: config.Logger,
		}),
		publications: publications{api: config.Directory.API},
	}
	strict := tokenapi.NewStrictHandlerWithOptions(&handlers{p}, nil, tokenapi.StrictHTTPServerOptions{
		RequestErrorHandlerFunc:  keepProblem,
		ResponseErrorHandlerFunc: keepProblem,
	})
	tokenapi.HandlerWithOptions(strict, tokenapi.StdHTTPServerOptions{
		BaseRouter:       &router{p.mux, p.Manages()},
		ErrorHandlerFunc: keepProblem,
	})
	if config.Sessions == nil || config.Client == nil {
		return p, nil
	}
	var err error
	p.settings, err = selfservice.New(selfservice.Config{
		Tokens: p.tokens, Sessions: config.Sessions, Provider: config.Provider, Clock: config.Clock, Logger: config.Logger,
	})
	return p, err
}

// Manages says whether the portal can read and write ApiTokens.
func (p *Portal) Manages() bool { return p.config.Client != nil }

// Authenticate finds out whom a Kubernetes token belongs to that was sent to a tenant's host.
// mayAsk permits to ask the cluster; otherwise only what is remembered counts.
func (p *Portal) Authenticate(ctx context.Context, tenant, text string, mayAsk bool) (*tokens.User, *problem.Problem) {
	if !p.Manages() {
		return nil, problem.TokenInvalid
	}
	return p.tokens.Authenticate(fairqueue.With(ctx, tenant), text, mayAsk)
}

// router registers, of a portal that manages nothing, only the endpoint that needs
// no cluster.
type router struct {
	*http.ServeMux
	all bool
}

func (r *router) HandleFunc(pattern string, handler func(http.ResponseWriter, *http.Request)) {
	if r.all || pattern == "GET /token" {
		r.ServeMux.HandleFunc(pattern, handler)
	}
}

// exchange is a call on its way through the generated code.
type exchange struct {
	*Call
	problem *problem.Problem
}

type exchangeKey struct{}

func exchangeOf(ctx context.Context) *exchange { return ctx.Value(exchangeKey{}).(*exchange) }

// Serve answers a request that the server admitted, or returns why not, which the
// server then sends.
func (p *Portal) Serve(w http.ResponseWriter, r *http.Request, c *Call) *problem.Problem {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Add("Access-Control-Expose-Headers", "ETag")
	e := &exchange{Call: c}
	shared := fairqueue.With(r.Context(), c.Tenant.Name)
	ctx, cancel := context.WithTimeout(context.WithValue(shared, exchangeKey{}, e), tokens.RequestTimeout)
	defer cancel()
	below := r.WithContext(ctx)
	target := *r.URL
	target.Path = strings.TrimPrefix(target.Path, c.API.BasePath)
	target.RawPath = strings.TrimPrefix(target.RawPath, c.API.BasePath)
	below.URL = &target
	pattern, refused := p.match(below)
	if refused != nil {
		return refused
	}
	if refused := checkQuery(pattern, target.Query()); refused != nil {
		return refused
	}
	if refused := p.checkBody(w, below, pattern); refused != nil {
		return refused
	}
	p.mux.ServeHTTP(w, below)
	return e.problem
}

// match finds the endpoint of a request.
func (p *Portal) match(r *http.Request) (pattern string, refused *problem.Problem) {
	if _, pattern := p.mux.Handler(r); pattern != "" {
		return pattern, nil
	}
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPatch, http.MethodDelete} {
		probe := *r
		probe.Method = method
		if _, pattern := p.mux.Handler(&probe); pattern != "" {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) == 0 {
		return "", problem.NotFound
	}
	return "", problem.MethodNotAllowed(strings.Join(allowed, ", "))
}

// keepProblem takes what the generated code found wrong, or what a handler
// returned.
func keepProblem(_ http.ResponseWriter, r *http.Request, err error) {
	e := exchangeOf(r.Context())
	var malformed *tokenapi.InvalidParamFormatError
	var several *tokenapi.TooManyValuesForParamError
	if errors.As(err, &e.problem) {
		return
	}
	switch {
	case errors.As(err, &malformed):
		e.problem = problem.Invalid(fmt.Sprintf("The parameter %s is malformed.", malformed.ParamName))
	case errors.As(err, &several):
		e.problem = problem.Invalid(fmt.Sprintf("The parameter %s was sent more than once.", several.ParamName))
	default:
		e.problem = problem.Fault(err)
	}
}
