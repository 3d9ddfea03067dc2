package server

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/problem"
)

// findOperation finds the operation of the API's OpenAPI document that a request asks
// for. It takes the path as it was sent, which is how it is forwarded (Traefik
// CVE-2025-66490).
func (c *call) findOperation() {
	if !c.portal && c.api.Routes != nil {
		c.operation, c.allowed = c.api.Routes.Match(c.r.Method, c.r.URL.EscapedPath())
	}
}

// decidesAnonymity reports whether the operation has to be known before the caller is:
// because a public one needs no token. Otherwise a stranger's path is not worth a search.
func (c *call) decidesAnonymity() bool {
	return c.api.AllowAnonymous && len(c.r.Header["Authorization"]) == 0
}

// anonymous says whether a request needs no token: it reads documentation that is for
// everyone, or asks for a public operation where such are open. Who sends a token all
// the same is told whether it works.
func (c *call) anonymous() bool {
	switch {
	case c.settings: // which has sessions, and looks at nothing else
		return true
	case c.docs:
		return c.api.DocsVisibility != v1alpha1.DocsAuthenticated
	case len(c.r.Header["Authorization"]) > 0:
		return false
	}
	return c.api.AllowAnonymous && c.operation != nil && c.operation.Public
}

// admitAnonymous lets a request in that needs no token.
func (s *Server) admitAnonymous(c *call) *problem.Problem {
	if c.tenant.Suspended && !c.docs && !c.settings {
		return problem.TenantSuspended
	}
	// Apart from those with a token, so that nobody without one can use up the tenant's;
	// and documentation and Settings apart again from public operations, whose streams may
	// last. No tenant's name has a space.
	gate := c.tenant.Name + " anonymous"
	switch {
	case c.settings:
		gate = c.tenant.Name + " settings"
	case c.docs:
		gate = c.tenant.Name + " docs"
	}
	var ok bool
	if c.place, ok = s.tenants.enter(gate); !ok {
		return problem.TooManyRequests
	}
	s.limitAnonymous(c)
	return nil
}

// limitAnonymous bounds the time of a request that ends with no token.
func (s *Server) limitAnonymous(c *call) {
	timeout := s.config.Limits.AnonymousTimeout
	if c.portal || timeout == 0 {
		return
	}
	var ctx context.Context
	ctx, c.stop = context.WithTimeoutCause(c.r.Context(), timeout, errAnonymousTime)
	c.r = c.r.WithContext(ctx)
}

var errAnonymousTime = errors.New("a request without a token took longer than --anonymous-timeout")

// permit says whether the caller may use the operation.
func (c *call) permit() *problem.Problem {
	if !c.decidesAnonymity() {
		c.findOperation()
	}
	switch {
	case !c.api.NeedsDocument:
		return nil
	case c.api.Document == nil:
		return problem.DocumentUnavailable
	case c.operation != nil:
		return c.permitScopes()
	case c.api.AllowUnknown && (len(c.allowed) > 0 || !c.api.Routes.Resembles(c.r.URL.EscapedPath())):
		return nil // otherwise a backend might take it for an operation that needs scopes
	case len(c.allowed) > 0:
		return problem.MethodNotAllowed(strings.Join(c.allowed, ", "))
	}
	return problem.UnknownOperation
}

// permitScopes compares what the token has with what the operation needs. Where there
// are alternatives, the one that lacks least is named.
func (c *call) permitScopes() *problem.Problem {
	if c.token == nil || len(c.operation.Scopes) == 0 {
		return nil // it was let in without, or any token will do
	}
	var lacking []string
	for _, alternative := range c.operation.Scopes {
		missing := missingScopes(alternative, c.token.Scopes)
		if len(missing) == 0 {
			return nil
		}
		if lacking == nil || len(missing) < len(lacking) {
			lacking = missing
		}
	}
	return problem.InsufficientScope(lacking...)
}

// missingScopes allocates only where something is missing.
func missingScopes(needed, has []string) (missing []string) {
	for _, scope := range needed {
		if !slices.Contains(has, scope) {
			missing = append(missing, scope)
		}
	}
	return missing
}
