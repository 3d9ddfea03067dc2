package selfservice

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/portal/settings"
	"github.com/latchkey-dev/latchkey/internal/portal/tokens"
	"github.com/latchkey-dev/latchkey/internal/problem"
	"github.com/latchkey-dev/latchkey/internal/session"
)

// visit is a request on its way.
type visit struct {
	*Call
	handler *Handler
	w       http.ResponseWriter
	r       *http.Request

	// session is nil where nobody is signed in; user is its person, as the cluster
	// knows it.
	session *session.Session
	user    *tokens.User
	// name is the token's that the path names.
	name string
	// form is what was sent, and foreign says that another origin sent it.
	form    url.Values
	foreign bool
	// again says that the sign-in, if one is needed, has to be a recent one.
	again bool
	// answered says that the answer has begun.
	answered bool
}

// sessionsUnavailable answers while nobody can say who is signed in.
var sessionsUnavailable = &problem.Problem{Code: problem.CodeStale, Status: http.StatusServiceUnavailable, RetryAfter: 5 * time.Second,
	Title: "The service can't check who is signed in at the moment", Detail: "You stay signed in. Try again shortly."}

func unavailable(cause error) *problem.Problem {
	p := *sessionsUnavailable
	p.Cause = cause
	return &p
}

// open finds out who is signed in, if anybody.
func (v *visit) open() *problem.Problem {
	found, err := v.handler.config.Sessions.Of(v.r, string(v.Tenant.UID))
	switch {
	case errors.Is(err, session.ErrUnavailable):
		return unavailable(err)
	case err != nil:
		return nil //nolint:nilerr // nobody is signed in
	case found.Kind == session.Token && !v.API.TokenSignIn:
		return nil // it is not permitted any more
	}
	v.admit(found)
	return nil
}

// admit makes the request the session's.
func (v *visit) admit(s *session.Session) {
	v.session = s
	if s.Kind == session.Token {
		v.user = tokens.Maker(s.User)
		return
	}
	v.user = tokens.Member(s.User, s.Groups)
}

// renew notes that the session is used.
func (v *visit) renew() *problem.Problem {
	err := v.handler.config.Sessions.Renew(v.w, v.session)
	switch {
	case errors.Is(err, session.ErrUnavailable):
		return unavailable(err)
	case err != nil: // it ended this moment
		v.session, v.user = nil, nil
	}
	return nil
}

// call is what the tokens' service is told.
func (v *visit) call() *tokens.Call {
	return &tokens.Call{Tenant: v.Tenant, API: v.API, Caller: tokens.Caller{User: v.user}, Via: v1alpha1.ViaSettings}
}

// may says whether the person may do something, as far as that can be found out.
func (v *visit) may(verb, name string) bool {
	return v.session != nil && v.handler.config.Tokens.Authorize(v.r.Context(), v.call(), verb, name) == nil
}

// now is the time by which everything of the request is judged.
func (v *visit) now() time.Time { return v.handler.config.Clock.Now() }

// path is a path below Settings.
func (v *visit) path(below string) string { return v.API.SettingsPath + below }

// tokenPath is the path of a token, or below it.
func (v *visit) tokenPath(name, below string) string { return v.path(pathTokens + "/" + name + below) }

// common is what all pages show.
func (v *visit) common() settings.Common {
	_, host, _ := strings.Cut(v.Origin, "://")
	c := settings.Common{
		Product: "API", Host: host, Origin: v.Origin, SettingsPath: v.API.SettingsPath,
		APIBasePath: v.API.BasePath, Now: v.now(),
	}
	if v.API.Document != nil {
		if v.API.Document.Title != "" {
			c.Product = v.API.Document.Title
		}
		if v.API.HasDocs() {
			c.DocsPath = v.API.DocsPath
		}
	}
	if v.session != nil {
		c.Person = v.session.Display
		if c.Person == "" {
			c.Person = v.session.User
		}
	}
	if v.Tenant.Suspended {
		c.Warning = textSuspended
	} else {
		c.CanCreate = v.may(tokens.VerbCreate, "")
	}
	return c
}

// noticed is common with what was just done, which the page before said in its address:
// as far as it is so, since anybody can make up a link.
func (v *visit) noticed(t *v1alpha1.ApiToken) settings.Common {
	c := v.common()
	switch done := v.r.URL.Query().Get(paramDone); {
	case done == doneRevoked && t.Spec.Revoked:
		c.Notice = textRevoked
	case done == doneDropped && t.Spec.Rotation != nil && t.Spec.Rotation.DropPrevious != "":
		c.Notice = textDropped
	}
	return c
}

// paramDone names, in the address of a page, what was just done.
const (
	paramDone   = "done"
	doneRevoked = "revoked"
	doneDropped = "dropped"
)

// render answers with a page.
func (v *visit) render(status int, view settings.View) *problem.Problem {
	v.answered = true
	err := v.handler.pages.Render(v.w, v.r, status, view)
	if err == nil || v.r.Context().Err() != nil {
		return nil //nolint:nilerr // nobody is there to be told
	}
	http.Error(v.w, textBroken, http.StatusInternalServerError) // nothing was sent yet
	return problem.Fault(err)
}

// refused is render for what was not done, for the reason given.
func (v *visit) refused(status int, view settings.View, p *problem.Problem) *problem.Problem {
	if broken := v.render(status, view); broken != nil {
		return broken
	}
	return p
}

// redirect sends the browser to an address, by GET.
func (v *visit) redirect(address string) *problem.Problem {
	v.answered = true
	h := v.w.Header()
	h.Set("Cache-Control", settings.Uncached)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Location", address)
	v.w.WriteHeader(http.StatusSeeOther)
	return nil
}

// fail answers with what is wrong as a page.
func (v *visit) fail(p *problem.Problem) {
	h := v.w.Header()
	if p.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(p.RetryAfter.Seconds())))
	}
	if p.Closes {
		h.Set("Connection", "close")
	}
	if p.Allow != "" {
		h.Set("Allow", p.Allow)
	}
	_ = v.render(p.Status, v.failure(p)) // what is wrong with the page is nothing beside what it is about
}

// askToSignIn sends who is not signed in to the sign-in; what was typed is kept.
func (v *visit) askToSignIn() *problem.Problem {
	if v.r.Method == http.MethodPost {
		return v.keep(http.StatusForbidden)
	}
	return v.redirect(v.signInPath(v.here(), false))
}

// here is the present page's address, below this host.
func (v *visit) here() string { return v.returnTo(v.r.URL.RequestURI()) }

// returnTo is where to go after a sign-in, if a page that somebody wants is one of ours. A
// token that was pasted into its address goes no further.
func (v *visit) returnTo(wanted string) string {
	if v.handler.config.Tokens.HoldsSecret(wanted) {
		return v.API.SettingsPath
	}
	return returnPath(v.API.SettingsPath, wanted)
}

// The parameters of the sign-in's address.
const (
	paramReturn = settings.FieldReturn
	paramRecent = "recent"
)

// signInPath is the address of the sign-in, after which a page is to be shown.
func (v *visit) signInPath(after string, again bool) string {
	query := url.Values{}
	if after != v.API.SettingsPath {
		query.Set(paramReturn, after)
	}
	if again {
		query.Set(paramRecent, "1")
	}
	if len(query) == 0 {
		return v.path(pathSignIn)
	}
	return v.path(pathSignIn) + "?" + query.Encode()
}

// signInNeeded answers who has to sign in, or to do so again, before a form counts.
var signInNeeded = &problem.Problem{Code: problem.CodeAuthorizationMissing, Status: http.StatusForbidden,
	Title: "A sign-in is needed", Detail: "The session has ended, or the sign-in is not recent enough."}

// keep answers a form that can't be heeded before a sign-in with a page that holds what
// was typed.
func (v *visit) keep(status int) *problem.Problem {
	fields := url.Values{}
	for name, values := range v.form {
		if name != settings.FieldResume {
			fields[name] = slices.Clone(values)
		}
	}
	return v.refused(status, settings.Resume{
		Common: v.common(), Action: v.r.URL.EscapedPath(), Fields: fields, What: v.what(),
		SignInPath: v.signInPath(v.path(pathSignedIn), v.again),
	}, signInNeeded)
}

// isResumed says whether a form is sent to be shown again, not to be heeded.
func (v *visit) isResumed() bool { return v.form.Has(settings.FieldResume) }

// isRecent says whether the person signed in so recently that a token may be shown.
func (v *visit) isRecent() bool { return v.handler.config.Sessions.IsRecent(v.session) }

// mayIssue says why no token can be shown to the person: it may not do what takes the
// verb, or the tenant is suspended.
func (v *visit) mayIssue(verb string) *problem.Problem {
	if err := v.handler.config.Tokens.Authorize(v.r.Context(), v.call(), verb, v.name); err != nil {
		return problem.Of(err)
	}
	if v.Tenant.Suspended {
		return problem.TenantSuspended
	}
	return nil
}

// askAgain sends who signed in too long ago to the sign-in before a form is filled in.
func (v *visit) askAgain() *problem.Problem { return v.redirect(v.signInPath(v.here(), true)) }
