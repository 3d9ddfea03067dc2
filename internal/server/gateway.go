package server

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey-dev/latchkey/internal/fault"
	"github.com/latchkey-dev/latchkey/internal/problem"
	"github.com/latchkey-dev/latchkey/internal/proxy"
)

// HeaderProblem tells a gateway the code of the problem with the request that it
// asked about.
const HeaderProblem = "Latchkey-Problem"

// gateways are the ways in which gateways describe the request that they ask
// about, by the first segment below /auth. Each has an endpoint of its own, which
// looks at that gateway's headers and at no other's: those of another the gateway
// would pass on as its client sent them (oauth2-proxy CVE-2026-40575).
var gateways = map[string]gateway{
	"nginx":         {describe: describeNginx, only401And403: true, private: []string{"X-Original-Method", "X-Original-Uri"}},
	"ingress-nginx": {describe: describeIngressNginx, only401And403: true, private: []string{"X-Original-Method", "X-Original-Url"}},
	"traefik":       {describe: describeTraefik, private: []string{"X-Forwarded-Method", "X-Forwarded-Uri", "X-Forwarded-Host"}},
	"envoy":         {describe: describeEnvoy},
}

type gateway struct {
	// describe says what is asked about. rest is what follows the gateway's name in
	// the target of its own request, from the slash or question mark on.
	describe func(r *http.Request, rest string) (described, bool)
	// only401And403 says that the gateway takes every other status for a fault of
	// this server's.
	only401And403 bool
	// private are the headers by which the request is described; they are not part
	// of it.
	private []string
}

// described is the request that a gateway asks about.
type described struct{ method, host, target string }

// describeNginx reads what the guide has proxy_set_header set for auth_request.
func describeNginx(r *http.Request, _ string) (described, bool) {
	method, ok := only(r, "X-Original-Method")
	target, ok2 := only(r, "X-Original-Uri")
	return described{method, r.Host, target}, ok && ok2
}

// describeIngressNginx reads what ingress-nginx sends for the annotation auth-url:
// the whole URL. Its host is the client's word, which in the absolute form is not
// the host that nginx routes by: the annotation has to say that one too, as
// ?host=$host, and the two must agree.
func describeIngressNginx(r *http.Request, rest string) (described, bool) {
	method, ok := only(r, "X-Original-Method")
	whole, ok2 := only(r, "X-Original-Url")
	routed, ok3 := strings.CutPrefix(rest, "?host=")
	_, afterScheme, ok4 := strings.Cut(whole, "://")
	host, target, ok5 := strings.Cut(afterScheme, "/")
	ok6 := strings.EqualFold(withoutPort(host), routed) && routed != ""
	return described{method, host, "/" + target}, ok && ok2 && ok3 && ok4 && ok5 && ok6
}

func withoutPort(host string) string {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && digits(host[i+1:]) {
		return host[:i]
	}
	return host
}

// describeTraefik reads what the ForwardAuth middleware sends.
func describeTraefik(r *http.Request, _ string) (described, bool) {
	method, ok := only(r, "X-Forwarded-Method")
	target, ok2 := only(r, "X-Forwarded-Uri")
	host, ok3 := only(r, "X-Forwarded-Host")
	return described{method, host, target}, ok && ok2 && ok3
}

// describeEnvoy reads what the HTTP service of ext_authz sends: the request's own
// method, host and path, the path after path_prefix.
func describeEnvoy(r *http.Request, rest string) (described, bool) {
	return described{r.Method, r.Host, rest}, strings.HasPrefix(rest, "/")
}

func only(r *http.Request, name string) (string, bool) {
	values := r.Header[name]
	return strings.Join(values, ""), len(values) == 1 && values[0] != ""
}

// GatewayHandler answers gateways that ask, for each request to them, whether it
// may pass: at /auth/nginx, /auth/ingress-nginx, /auth/traefik and /auth/envoy.
// The decision is that of ServeHTTP. The answer has an empty body, since nginx
// would open a connection per request for one with a body; who calls, and what was
// wrong, is in its headers. What is under way at the gateway does not end with the
// token: only who carries a request can end it.
func (s *Server) GatewayHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		started := time.Now()
		recorder := &responseRecorder{ResponseWriter: w}
		c := &call{w: recorder, r: watchBody(r, recorder)}
		var p *problem.Problem
		defer func() {
			if cause := recover(); cause != nil {
				p = s.recovered(c, recorder, false, cause)
			}
			if recorder.status == 0 {
				recorder.WriteHeader(http.StatusOK)
			}
			recorder.limitLinger()
			s.account(c, recorder, p, time.Since(started))
		}()
		p = s.judge(c)
	})
}

// judge answers a gateway. c.r becomes the request that it asks about.
func (s *Server) judge(c *call) *problem.Problem {
	fault.InRequest(c.r, "asked", c)
	name, below := strings.CutPrefix(c.r.RequestURI, "/auth/")
	rest := ""
	if i := strings.IndexAny(name, "/?"); i >= 0 {
		name, rest = name[:i], name[i:]
	}
	g, known := gateways[name]
	if !known || !below {
		c.w.WriteHeader(http.StatusNotFound)
		return problem.NotFound
	}
	asked, ok := g.asked(c.r, rest)
	if !ok {
		c.w.WriteHeader(http.StatusBadRequest)
		return problem.RequestRefused("The gateway did not describe one request.")
	}
	c.r = asked
	p := s.locate(c)
	if p == nil && c.portal && asked.URL.EscapedPath() != c.api.BasePath+describePath {
		p = problem.NotFound // a gateway's backend has no business with these
	}
	if p == nil {
		p = guardGatewayUpgrade(c)
	}
	if p == nil {
		p = s.judgeCaller(c)
	}
	if p == nil {
		p = s.limitRate(c)
		tellLimits(c.w.Header(), c.limits)
	}
	if p != nil {
		g.refuse(c.w, p, s.realm(c))
		return p
	}
	h := c.w.Header()
	// All five, empty where no token called: Envoy only replaces what the answer names,
	// and would pass on what its client sent otherwise.
	identity := c.identity()
	h.Set(proxy.HeaderTenant, identity.Tenant)
	h.Set(proxy.HeaderTokenID, identity.ID)
	h.Set(proxy.HeaderTokenName, identity.Name)
	h.Set(proxy.HeaderTokenOwner, identity.Owner)
	h.Set(proxy.HeaderTokenScopes, strings.Join(identity.Scopes, " "))
	if c.token == nil {
		return nil
	}
	h.Set(HeaderTokenExpires, rfc3339(c.token.NotAfter))
	if left := s.daysLeft(c); left > 0 {
		h.Set(HeaderTokenDaysLeft, strconv.Itoa(left))
	}
	return nil
}

// judgeCaller finds out who calls, if that matters, and whether he may.
func (s *Server) judgeCaller(c *call) *problem.Problem {
	switch {
	case c.anonymous() && c.tenant.Suspended:
		return problem.TenantSuspended
	case !c.anonymous():
		if p := s.identify(c, s.config.Clock.Now()); p != nil {
			return p
		}
	}
	if c.portal {
		return nil
	}
	return c.permit()
}

// guardGatewayUpgrade refuses a request to switch protocols where the PublicApi does
// not allow it. Gateways keep the header Connection to themselves; what a client
// needs for a WebSocket they pass on.
func guardGatewayUpgrade(c *call) *problem.Problem {
	if c.api.WebSocket || len(c.r.Header["Upgrade"]) == 0 && len(c.r.Header["Sec-Websocket-Key"]) == 0 {
		return nil
	}
	return problem.RequestRefused("This API does not switch protocols.")
}

// asked is the request that the gateway asks about. Its headers are those that the
// gateway passed on.
func (g *gateway) asked(r *http.Request, rest string) (*http.Request, bool) {
	d, ok := g.describe(r, rest)
	if !ok {
		return nil, false
	}
	target, err := url.ParseRequestURI(d.target)
	if err != nil {
		return nil, false
	}
	asked := r.Clone(r.Context())
	asked.Method, asked.Host, asked.RequestURI, asked.URL = d.method, d.host, d.target, target
	asked.TLS = nil // was the gateway's connection
	for _, name := range append(g.private, "Connection") {
		asked.Header.Del(name)
	}
	return asked, true
}

// refuse sends the problem in headers alone.
func (g *gateway) refuse(w http.ResponseWriter, p *problem.Problem, realm string) {
	h := w.Header()
	h.Set(HeaderProblem, p.Code)
	h.Set("Cache-Control", "no-store")
	if p.Challenge {
		h["Www-Authenticate"] = problem.Challenges(realm)
	}
	if p.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(p.RetryAfter.Seconds())))
	}
	status := p.Status
	if g.only401And403 && status != http.StatusUnauthorized && status < http.StatusInternalServerError {
		status = http.StatusForbidden
	}
	w.WriteHeader(status)
}
