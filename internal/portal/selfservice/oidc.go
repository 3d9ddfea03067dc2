package selfservice

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/latchkey-dev/latchkey/internal/problem"
	"github.com/latchkey-dev/latchkey/internal/session"
	"github.com/latchkey-dev/latchkey/internal/signin"
)

const (
	// flowCookie begins the names of the cookies that keep sign-ins under way, one each,
	// so that several tabs do not get in each other's way.
	flowCookie = session.CookiePrefix + "sign-in-"
	// flowName is how many characters of the state follow: enough that two differ.
	flowName = 8
	// maxFlows is how many a browser may have under way. Who has begun more has given
	// them up, and their cookies would fill the requests' headers.
	maxFlows = 5
	// purposeFlow is what the cookies are sealed for.
	purposeFlow = "sign-in"
)

// flow is a sign-in under way, as its cookie keeps it.
type flow struct {
	signin.Flow
	// After is the page to go to afterwards.
	After string `json:"p"`
}

// redirectURI is where the identity provider sends people back to. It has to know it
// exactly as it is.
func (v *visit) redirectURI() string { return v.Origin + v.path(pathCallback) }

// beginOIDC sends the browser to the identity provider.
func (v *visit) beginOIDC() *problem.Problem {
	query := v.r.URL.Query()
	after := v.returnTo(query.Get(paramReturn))
	v.again = query.Get(paramRecent) != ""
	provider := v.handler.config.Provider
	if provider == nil {
		return v.refuseSignIn(http.StatusNotFound, after, textNoProvider, problem.NotFound)
	}
	location, begun, err := provider.Begin(v.r.Context(), v.redirectURI(), v.again)
	if err != nil {
		return v.refuseProvider(after, err)
	}
	// Nothing is sealed for longer than a session may live.
	longest := min(signin.MaxFlow, v.handler.config.Sessions.Lifetimes().Absolute)
	sealed, err := v.handler.config.Sessions.Seal(purposeFlow, string(v.Tenant.UID), flow{begun, after}, begun.BegunAt.Add(longest))
	if err != nil {
		return unavailable(err)
	}
	v.forgetFlows()
	v.setFlow(flowCookie+begun.State[:flowName], sealed, signin.MaxFlow)
	return v.redirect(location)
}

// setFlow keeps a flow, or forgets one where age is negative. Lax lets the cookie come
// along when the provider sends the browser back, which a Strict one would not.
func (v *visit) setFlow(name, value string, age time.Duration) {
	http.SetCookie(v.w, &http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: int(age.Seconds()), Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// forgetFlows forgets the sign-ins under way, should they have become too many.
func (v *visit) forgetFlows() {
	var names []string
	for _, cookie := range v.r.Cookies() {
		if strings.HasPrefix(cookie.Name, flowCookie) {
			names = append(names, cookie.Name)
		}
	}
	if len(names) < maxFlows {
		return
	}
	for _, name := range names {
		v.setFlow(name, "", -time.Second)
	}
}

// openFlow returns the sign-in that the state belongs to, in this browser.
func (v *visit) openFlow(state string) (begun flow, err error) {
	if len(state) < flowName {
		return begun, session.ErrNone
	}
	cookie, err := v.r.Cookie(flowCookie + state[:flowName])
	if err != nil {
		return begun, session.ErrNone
	}
	err = v.handler.config.Sessions.Open(purposeFlow, string(v.Tenant.UID), cookie.Value, &begun)
	return begun, err
}

// finishOIDC signs in whom the identity provider sent back.
func (v *visit) finishOIDC() *problem.Problem {
	provider := v.handler.config.Provider
	if provider == nil {
		return problem.NotFound
	}
	query := v.r.URL.Query()
	state := query.Get("state")
	begun, err := v.openFlow(state)
	switch {
	case errors.Is(err, session.ErrUnavailable):
		return unavailable(err)
	case err != nil || begun.RedirectURI != v.redirectURI():
		// Not counted: any page can send a browser here.
		return v.refuseSignIn(http.StatusForbidden, v.API.SettingsPath, textSignInRefused, refusedSignIn(err))
	}
	after := returnPath(v.API.SettingsPath, begun.After)
	v.again = begun.Again
	// A sign-in that the provider confirms is honoured however many others failed: anybody
	// can make an address fail. What is bounded is how many wait for the provider.
	leave, ok := func() {}, true
	if query.Get("error") == "" { // otherwise the provider is asked nothing
		leave, ok = v.handler.exchanges.enter(v.r.Context(), v.Tenant.Name, v.Attempts.Exhausted())
	}
	if !ok {
		// The sign-in is still under way: the browser tries once more with the same answer.
		v.w.Header().Set("Retry-After", "1")
		v.w.Header().Set("Refresh", "1")
		return v.refuseSignIn(http.StatusServiceUnavailable, after, textProviderBusy, &problem.Problem{
			Code: problem.CodeRateLimited, Status: http.StatusServiceUnavailable, Title: textProviderBusy,
		})
	}
	defer leave()
	v.setFlow(flowCookie+state[:flowName], "", -time.Second) // nothing is finished twice
	identity, err := provider.Finish(v.r.Context(), begun.Flow, query)
	if err != nil {
		return v.refuseProvider(after, err)
	}
	return v.start(identity, after)
}

// refuseFlow counts a sign-in that was refused, and shows the sign-in again.
func (v *visit) refuseFlow(after, text string, cause error) *problem.Problem {
	v.handler.config.Logger.Warn("a sign-in was refused", "tenant", v.Tenant.Name, "client", v.Address.String(), "error", cause)
	if !v.Attempts.Failed() {
		return problem.TooManyBadTokens
	}
	return v.refuseSignIn(http.StatusForbidden, after, text, refusedSignIn(cause))
}

func refusedSignIn(cause error) *problem.Problem {
	return &problem.Problem{Code: problem.CodeForbidden, Status: http.StatusForbidden, Title: "The sign-in was refused", Cause: cause}
}

// refuseProvider says why the identity provider signed nobody in.
func (v *visit) refuseProvider(after string, err error) *problem.Problem {
	switch {
	case errors.Is(err, signin.ErrNotRecent):
		return v.refuseFlow(after, textNotRecent, err)
	case errors.Is(err, signin.ErrAccount):
		return v.refuseFlow(after, textAccount, err)
	case errors.Is(err, signin.ErrDenied):
		return v.refuseFlow(after, textProviderNo, err)
	case errors.Is(err, signin.ErrRefused):
		return v.refuseFlow(after, textSignInRefused, err)
	}
	v.handler.config.Logger.Error("the identity provider can't be used", "tenant", v.Tenant.Name, "error", err)
	v.w.Header().Set("Retry-After", "5")
	return v.refuseSignIn(http.StatusServiceUnavailable, after, textProviderDown, &problem.Problem{
		Code: problem.CodeStale, Status: http.StatusServiceUnavailable, Title: textProviderDown, Cause: err,
	})
}
