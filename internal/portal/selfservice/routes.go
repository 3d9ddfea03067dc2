package selfservice

import (
	"net/http"
	"strings"

	"github.com/latchkey-dev/latchkey/internal/portal/settings"
	"github.com/latchkey-dev/latchkey/internal/problem"
)

// The paths below Settings that others than this file name.
const (
	pathList       = ""
	pathSignIn     = "/sign-in"
	pathOIDC       = "/sign-in/oidc"
	pathTokenEntry = "/sign-in/token"
	pathCallback   = "/callback"
	pathSignedIn   = "/signed-in"
	pathTokens     = "/tokens"
	pathNew        = "/tokens/new"
)

// endpoint is what answers at a path.
type endpoint struct {
	get, post func(*visit) *problem.Problem
	// fields are those that its form may have. Others are refused: what a form of ours
	// would not send is not ours, or is from a page of another version.
	fields []string
	// issues shows a token, which takes a recent sign-in.
	issues bool
	// open is for everyone; all else takes a session.
	open bool
	// once changes something by GET, as a protocol has it: a HEAD does not.
	once bool
	// foreign takes forms of other origins, and treats them as such.
	foreign bool
}

// endpoints are all there are, but for the files.
var endpoints = map[string]endpoint{
	pathList:                 {get: (*visit).list},
	pathSignIn:               {get: (*visit).signIn, open: true},
	pathOIDC:                 {get: (*visit).beginOIDC, open: true, once: true},
	pathCallback:             {get: (*visit).finishOIDC, open: true, once: true},
	pathTokenEntry:           {post: (*visit).signInByToken, open: true, foreign: true, fields: []string{settings.FieldToken, settings.FieldReturn}},
	"/sign-out":              {post: (*visit).signOut, open: true},
	"/sign-out-everywhere":   {post: (*visit).signOutEverywhere, open: true},
	pathSignedIn:             {get: (*visit).signedIn},
	pathNew:                  {get: (*visit).newToken},
	pathTokens:               {post: (*visit).create, issues: true, fields: createFields},
	named:                    {get: (*visit).show},
	named + "/rotate":        {get: (*visit).rotation, post: (*visit).rotate, issues: true, fields: []string{settings.FieldCredential, settings.FieldOverlap, settings.FieldResume}},
	named + "/revoke":        {get: (*visit).revocation, post: (*visit).revoke, fields: []string{settings.FieldName, settings.FieldResume}},
	named + "/drop-previous": {post: (*visit).dropPrevious, fields: []string{settings.FieldCredential, settings.FieldResume}},
}

// named stands, in what finds an endpoint, for a token's name.
const named = "/tokens/{name}"

// pattern is what finds the endpoint of a path below Settings, and the token's name that
// is in the path. Paths are compared as they were sent: a name needs no escape.
func pattern(below string) (pattern, name string) {
	rest, ok := strings.CutPrefix(below, pathTokens+"/")
	if !ok || below == pathNew {
		return below, ""
	}
	name, action := rest, ""
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		name, action = rest[:i], rest[i:]
	}
	if !isName(name) {
		return named + "/", "" // which is no endpoint's
	}
	return named + action, name
}

// serve answers the request, or says why not.
func (v *visit) serve() *problem.Problem {
	below := strings.TrimPrefix(v.r.URL.EscapedPath(), v.API.SettingsPath)
	if strings.HasPrefix(below, "/assets/") {
		v.answered = true
		p := v.handler.pages.ServeAsset(v.w, v.r, v.API.SettingsPath)
		v.answered = p == nil
		return p
	}
	found, name := pattern(below)
	e, ok := endpoints[found]
	if !ok {
		return problem.NotFound
	}
	v.name, v.again = name, e.issues
	handle, p := v.method(e)
	if p != nil {
		return p
	}
	if p := v.readForm(e); p != nil {
		return p
	}
	if p := v.open(); p != nil {
		return p
	}
	if v.session != nil {
		if p := v.renew(); p != nil {
			return p
		}
	}
	if v.session == nil && !e.open {
		return v.askToSignIn()
	}
	return handle(v)
}

// method picks what answers the request's method.
func (v *visit) method(e endpoint) (func(*visit) *problem.Problem, *problem.Problem) {
	var allowed []string
	if e.get != nil {
		allowed = append(allowed, http.MethodGet)
		if !e.once {
			allowed = append(allowed, http.MethodHead)
		}
	}
	if e.post != nil {
		allowed = append(allowed, http.MethodPost)
	}
	switch method := v.r.Method; {
	case method == http.MethodPost && e.post != nil:
		return e.post, nil
	case method == http.MethodGet && e.get != nil, method == http.MethodHead && e.get != nil && !e.once:
		return e.get, nil
	}
	return nil, problem.MethodNotAllowed(strings.Join(allowed, ", "))
}
