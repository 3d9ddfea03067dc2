package server

import (
	"net/http"
	"strings"
	"time"

	"github.com/latchkey-dev/latchkey/internal/directory"
	"github.com/latchkey-dev/latchkey/internal/policy"
	"github.com/latchkey-dev/latchkey/internal/portal/tokens"
	"github.com/latchkey-dev/latchkey/internal/problem"
	"github.com/latchkey-dev/latchkey/internal/token"
)

// authenticate finds the token that a request carries, and says whether it works
// for the tenant now. The tenant comes first: a token of another tenant is looked
// up under this one's digest, and so is as unknown as one that never was
// (OpenBao CVE-2026-40264).
func (s *Server) authenticate(r *http.Request, tenant *directory.Tenant, now time.Time) (*directory.Token, *problem.Problem) {
	plaintext, p := credentials(r)
	if p != nil {
		return nil, p
	}
	if _, err := token.Parse(s.config.TokenPrefix, plaintext); err != nil {
		return nil, problem.TokenInvalid
	}
	found, ok := s.config.Directory.Token(tenant.Name, token.DigestOf(tenant.Name, plaintext))
	if !ok {
		return nil, problem.TokenInvalid
	}
	if p := verdictProblem(found, tenant, now); p != nil {
		return found, p
	}
	if len(found.AllowedCIDRs) > 0 && !contains(found.AllowedCIDRs, clientAddress(r, s.config.TrustedProxies)) {
		return found, problem.AddressNotAllowed
	}
	return found, nil
}

// identifyCaller finds out who calls. At the portal's paths that may be a user of
// the cluster; elsewhere a Kubernetes token is as invalid as any garbage, and is
// never passed on.
func (s *Server) identifyCaller(c *call, now time.Time) (p *problem.Problem) {
	text, ok := s.kubernetesToken(c)
	if !ok {
		return s.identify(c, now)
	}
	address := s.countedAddress(c.r)
	c.user, p = s.config.Portal.Authenticate(c.r.Context(), c.tenant.Name, text, !s.badReviews.exhausted(address, now))
	switch {
	case p == problem.TokenInvalid && !s.badReviews.permits(address, now):
		return problem.TooManyBadTokens
	case p == nil && c.tenant.Suspended:
		return problem.TenantSuspended
	}
	return p
}

// kubernetesToken takes what looks like one from a request for the portal.
func (s *Server) kubernetesToken(c *call) (text string, ok bool) {
	if !c.portal || c.docs || !s.config.Portal.Manages() || !hasScheme(c.r, "Bearer") {
		return "", false
	}
	text, p := credentials(c.r)
	return text, p == nil && tokens.IsKubernetesToken(text)
}

func hasScheme(r *http.Request, scheme string) bool {
	sent, _, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return equalFoldASCII(sent, scheme)
}

// verdictProblem is the answer to a token that does not work, or nil.
func verdictProblem(t *directory.Token, tenant *directory.Tenant, now time.Time) *problem.Problem {
	switch policy.Decide(t.State(tenant), now) {
	case policy.Works:
		return nil
	case policy.Revoked:
		return problem.TokenRevoked
	case policy.Expired:
		return problem.TokenExpired(t.NotAfter)
	case policy.Suspended:
		return problem.TenantSuspended
	default:
		return problem.TokenInvalid
	}
}

// credentials takes the token from the one Authorization header: a scheme, one
// space, and the token (RFC 9110, section 11.4). It is never taken from the query
// or a cookie.
func credentials(r *http.Request) (string, *problem.Problem) {
	values := r.Header["Authorization"]
	switch {
	case len(values) == 0 || len(values) == 1 && values[0] == "":
		return "", problem.AuthorizationMissing
	case len(values) > 1:
		return "", problem.AuthorizationMalformed("It was sent more than once.")
	}
	scheme, plaintext, ok := strings.Cut(values[0], " ")
	if !equalFoldASCII(scheme, "token") && !equalFoldASCII(scheme, "Bearer") {
		return "", problem.AuthorizationMalformed("Its scheme must be token (or Bearer).")
	}
	if !ok || plaintext == "" || strings.ContainsAny(plaintext, " \t,") {
		return "", problem.AuthorizationMalformed("After the scheme it must have one space and then the token.")
	}
	return plaintext, nil
}

// equalFoldASCII compares with an ASCII word, whatever the case. Of the same
// length in bytes, no other letter can fold to one of ASCII's, as the Kelvin sign
// does to k.
func equalFoldASCII(s, word string) bool { return len(s) == len(word) && strings.EqualFold(s, word) }
