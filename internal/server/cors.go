package server

import (
	"net/http"
	"slices"
	"strings"

	"github.com/latchkey-dev/latchkey/internal/directory"
)

// HeaderTokenExpires tells on every answer that an accepted token gets from the
// backend, or about itself, when the token expires, as RFC 3339 has it, in UTC.
const HeaderTokenExpires = "Latchkey-Token-Expires"

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

// exposeExpiry tells the expiry, also to scripts of other origins.
func exposeExpiry(h http.Header, t *directory.Token) {
	h.Set(HeaderTokenExpires, rfc3339(t.NotAfter))
	h.Add("Access-Control-Expose-Headers", HeaderTokenExpires)
}
