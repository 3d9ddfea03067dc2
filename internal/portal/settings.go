package portal

import (
	"net/http"

	"github.com/latchkey-dev/latchkey/internal/directory"
	"github.com/latchkey-dev/latchkey/internal/portal/selfservice"
	"github.com/latchkey-dev/latchkey/internal/problem"
)

// HasSettings says whether the portal has Settings. The methods below need them.
func (p *Portal) HasSettings() bool { return p.settings != nil }

// ServeSettings answers a request for Settings. The problem that it returns is for log
// and metrics: it was told on a page.
func (p *Portal) ServeSettings(w http.ResponseWriter, r *http.Request, c *selfservice.Call) *problem.Problem {
	return p.settings.Serve(w, r, c)
}

// RefuseSettings tells on a page why a request for Settings was not let in.
func (p *Portal) RefuseSettings(w http.ResponseWriter, r *http.Request, c *selfservice.Call, why *problem.Problem) {
	p.settings.Refuse(w, r, c, why)
}

// IsMember says whether a request is of somebody who is signed in to the tenant's
// Settings and may see its tokens. Without Settings nobody is.
func (p *Portal) IsMember(r *http.Request, tenant *directory.Tenant, api *directory.API) bool {
	return p.settings != nil && p.settings.IsMember(r, tenant, api)
}
