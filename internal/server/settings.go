package server

import (
	"net/netip"
	"time"

	"github.com/latchkey-dev/latchkey/internal/portal/selfservice"
	"github.com/latchkey-dev/latchkey/internal/problem"
)

// visit is a request for Settings, as they are told of it.
func (s *Server) visit(c *call) *selfservice.Call {
	address := clientAddress(c.r, s.config.TrustedProxies)
	return &selfservice.Call{
		Tenant: c.tenant, API: c.api, Origin: s.origin(c), Address: address,
		Attempts: attempts{s.badSignIns, s.countedAddress(c.r), s.config.Clock.Now()},
	}
}

// attempts are an address's sign-ins that failed.
type attempts struct {
	bad     *badTokens
	address netip.Addr
	now     time.Time
}

// Exhausted implements selfservice.Attempts.
func (a attempts) Exhausted() bool { return a.bad.exhausted(a.address, a.now) }

// Failed implements selfservice.Attempts.
func (a attempts) Failed() (permitted bool) { return a.bad.permits(a.address, a.now) }

// refuse sends a problem: at Settings as a page, since people read it there.
func (s *Server) refuse(c *call, p *problem.Problem) {
	if c.settings {
		s.config.Portal.RefuseSettings(c.w, c.r, s.visit(c), p)
		return
	}
	p.Write(c.w, s.config.ProblemBase, s.realm(c))
}

// readsSignedIn says whether documentation that is not for everyone is asked for by
// somebody who is signed in to Settings and may see the tenant's tokens there.
func (s *Server) readsSignedIn(c *call) bool {
	return c.docs && len(c.r.Header["Authorization"]) == 0 && s.config.Portal.IsMember(c.r, c.tenant, c.api)
}
