package server

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/latchkey-dev/latchkey/internal/directory"
	"github.com/latchkey-dev/latchkey/internal/policy"
)

const (
	// HeaderTokenExpires tells on every answer to an accepted token when the token
	// expires, as RFC 3339 has it, in UTC.
	HeaderTokenExpires = "Latchkey-Token-Expires"
	// HeaderTokenDaysLeft warns, within the days of notice of the PublicApi's token
	// policy, how many days are left until then, a begun day counted whole: an
	// Integer of RFC 9651. Sunset (RFC 8594) and Deprecation (RFC 9745) would be
	// wrong: they tell of the resource, which stays, and the backend may send them.
	HeaderTokenDaysLeft = "Latchkey-Token-Days-Left"
)

const preflightMaxAge = "600"

// allowOrigin grants a page's origin what the PublicApi allows it, and says
// whether the request was a preflight, which is then answered.
func allowOrigin(w http.ResponseWriter, r *http.Request, api *directory.API) (preflight bool) {
	if len(api.AllowedOrigins) == 0 {
		return false
	}
	h := w.Header()
	h.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	everybody := slices.Contains(api.AllowedOrigins, "*")
	if origin == "" || !everybody && !slices.Contains(api.AllowedOrigins, origin) {
		return false
	}
	if everybody {
		origin = "*"
	}
	h.Set("Access-Control-Allow-Origin", origin)
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	h.Set("Access-Control-Allow-Methods", strings.Join(allowedMethods, ", "))
	// A wildcard does not cover Authorization (Fetch standard, section 3.3.5).
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Accept, If-Match, If-None-Match, Idempotency-Key")
	h.Set("Access-Control-Max-Age", preflightMaxAge)
	w.WriteHeader(http.StatusNoContent)
	return true
}

// tellExpiry tells a client when its token expires, also scripts of other origins.
func (s *Server) tellExpiry(h http.Header, c *call) {
	exposed := HeaderTokenExpires
	h.Set(HeaderTokenExpires, rfc3339(c.token.NotAfter))
	if left := s.daysLeft(c); left > 0 {
		h.Set(HeaderTokenDaysLeft, strconv.Itoa(left))
		exposed += ", " + HeaderTokenDaysLeft
	}
	h.Add("Access-Control-Expose-Headers", exposed)
}

// daysLeft is how many days the token has left, or 0 before the time of notice.
func (s *Server) daysLeft(c *call) int {
	now := s.config.Clock.Now()
	if now.Before(c.token.NotAfter.Add(-c.api.Notice)) {
		return 0
	}
	return policy.DaysLeft(c.token.NotAfter, now)
}
