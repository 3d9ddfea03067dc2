package examplebackend

import (
	"net/http"
	"slices"
	"strings"
)

// maxTenantLength is the length of the longest tenant's name, a DNS label. It
// bounds what an entry of the store can weigh.
const maxTenantLength = 63

// caller is who Latchkey says is calling.
type caller struct {
	tenant    string
	TokenID   string   `json:"tokenId"`
	TokenName string   `json:"tokenName"`
	Owner     string   `json:"owner"`
	Scopes    []string `json:"scopes"`
}

// callerHandler answers a request of a known caller. A returned error becomes a
// problem, so it must be returned before anything is written.
type callerHandler func(http.ResponseWriter, *http.Request, caller) error

// withCaller serves only requests that came through Latchkey and whose token has
// the scope.
func withCaller(scope string, h callerHandler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		// What is answered depends on who asks, so no cache may keep it.
		w.Header().Set("Cache-Control", "no-store")
		c, ok := callerOf(r.Header)
		if !ok {
			w.Header().Set("WWW-Authenticate", "token")
			writeProblem(w, newProblem(http.StatusUnauthorized,
				"The header Latchkey-Tenant is missing or does not name one tenant. This backend is meant to be reached "+
					"through Latchkey, which checks the API token and sets that header: send the request to the tenant's host."))
			return
		}
		if scope != noScope && !slices.Contains(c.Scopes, scope) {
			writeProblem(w, newProblem(http.StatusForbidden,
				"The API token lacks the scope %s, which this operation needs; use a token that has it.", scope))
			return
		}
		if err := h(w, r, c); err != nil {
			writeProblem(w, problemOf(err))
		}
	}
}

// callerOf reports false unless the headers name exactly one tenant: of two it
// could not tell which one Latchkey set.
func callerOf(h http.Header) (caller, bool) {
	tenants := h.Values("Latchkey-Tenant")
	if len(tenants) != 1 || tenants[0] == "" || len(tenants[0]) > maxTenantLength {
		return caller{}, false
	}
	return caller{
		tenant:    tenants[0],
		TokenID:   h.Get("Latchkey-Token-Id"),
		TokenName: h.Get("Latchkey-Token-Name"),
		Owner:     h.Get("Latchkey-Token-Owner"),
		Scopes:    strings.Fields(h.Get("Latchkey-Token-Scopes")),
	}, true
}
