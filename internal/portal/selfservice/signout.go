package selfservice

import (
	"net/http"
	"time"

	"github.com/latchkey-dev/latchkey/internal/portal/settings"
	"github.com/latchkey-dev/latchkey/internal/problem"
	"github.com/latchkey-dev/latchkey/internal/session"
)

// notEverywhere answers a sign-out that other replicas do not know of yet.
var notEverywhere = &problem.Problem{Code: problem.CodeStale, Status: http.StatusServiceUnavailable, RetryAfter: 5 * time.Second,
	Title: "You are signed out here, and maybe not everywhere yet", Detail: "The service can't reach its cluster at the moment, and goes on trying. This browser has no session any more."}

// signOut ends the session. Who has none is told the same.
func (v *visit) signOut() *problem.Problem { return v.endSession(false) }

// signOutEverywhere ends all of the person's sessions with this tenant.
func (v *visit) signOutEverywhere() *problem.Problem { return v.endSession(true) }

func (v *visit) endSession(everywhere bool) *problem.Problem {
	page := settings.SignedOut{Everywhere: everywhere && v.session != nil}
	if v.session == nil {
		page.Common = v.common()
		return v.render(http.StatusOK, page)
	}
	ended, end, action := v.session, v.handler.config.Sessions.End, "sign-out"
	if everywhere {
		end, action = v.handler.config.Sessions.EndAll, "sign-out-everywhere"
	}
	err := end(v.r.Context(), v.w, ended)
	v.audit(action, ended.User, "sessionID", ended.ID)
	v.session, v.user = nil, nil
	if err != nil {
		p := *notEverywhere
		p.Cause = err
		return &p
	}
	if provider := v.handler.config.Provider; provider != nil && ended.Kind == session.OIDC {
		page.ProviderLogout, _ = provider.LogoutURL(v.r.Context(), v.Origin+v.path(pathSignIn))
	}
	page.Common = v.common()
	return v.render(http.StatusOK, page)
}
