package signintest

import (
	"cmp"
	"crypto/rand"
	"html/template"
	"net/http"
	"net/http/httptest"
	"slices"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// sessionCookie is by which the provider knows a browser again.
const sessionCookie = "signintest-session"

// session is somebody who has signed in at the provider itself.
type session struct {
	user string
	at   time.Time
}

// page is the login page. Its fields have the names and ids username and password, its
// buttons the ids sign-in and deny.
var page = template.Must(template.New("login").Parse(`<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Sign in</title>
<body style="font-family: system-ui, sans-serif; max-width: 20rem; margin: 4rem auto">
<h1>Sign in</h1>
{{with .Problem}}<p role="alert">{{.}}</p>{{end}}
<form method="post" action="{{.Action}}">
<input type="hidden" name="id" value="{{.ID}}">
<p><label for="username">User</label><br><input id="username" name="username" autocomplete="username" autofocus></p>
<p><label for="password">Password</label><br><input id="password" name="password" type="password" autocomplete="current-password"></p>
<p><button id="sign-in" name="answer" value="sign-in">Sign in</button> <button id="deny" name="answer" value="deny">Deny</button></p>
</form>
</body>
</html>
`))

// login asks who it is, unless the provider knows the browser and nobody wants it to ask
// again.
func (p *Provider) login(w http.ResponseWriter, r *http.Request) {
	flow := p.flow(r.FormValue("id"))
	if flow == nil {
		http.Error(w, "no such request", http.StatusBadRequest)
		return
	}
	if known, ok := p.session(r); ok && !flow.asksAgain(p.now().Sub(known.at)) {
		p.finish(w, r, flow, known)
		return
	}
	showLogin(w, http.StatusOK, flow.id, "")
}

func (r *request) asksAgain(since time.Duration) bool {
	return slices.Contains(r.Prompt, oidc.PromptLogin) || r.MaxAge != nil && since > time.Duration(*r.MaxAge)*time.Second
}

func showLogin(w http.ResponseWriter, status int, id, problem string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_ = page.Execute(w, map[string]string{"ID": id, "Problem": problem, "Action": LoginPath})
}

func (p *Provider) loggedIn(w http.ResponseWriter, r *http.Request) {
	flow := p.flow(r.PostFormValue("id"))
	if flow == nil {
		http.Error(w, "no such request", http.StatusBadRequest)
		return
	}
	if r.PostFormValue("answer") == "deny" {
		recorder := httptest.NewRecorder()
		op.AuthRequestError(recorder, r, flow, oidc.ErrAccessDenied().WithDescription("the person said no"), p.provider)
		p.sendBack(w, recorder)
		return
	}
	user, ok := p.user(r.PostFormValue("username"))
	if !ok || r.PostFormValue("password") != cmp.Or(user.Password, Password) {
		showLogin(w, http.StatusUnauthorized, flow.id, "User or password are wrong.")
		return
	}
	signedIn, id := session{user.Name, p.now()}, rand.Text()
	p.mu.Lock()
	p.sessions[id] = signedIn
	p.mu.Unlock()
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // a test may do without TLS
		Name: sessionCookie, Value: id, Path: "/", HttpOnly: true, Secure: p.options.TLS, SameSite: http.SameSiteLaxMode,
	})
	p.finish(w, r, flow, signedIn)
}

func (p *Provider) session(r *http.Request) (session, bool) {
	cookie, err := r.Cookie(sessionCookie)
	if err != nil {
		return session{}, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	known, ok := p.sessions[cookie.Value]
	return known, ok
}

func (p *Provider) finish(w http.ResponseWriter, r *http.Request, flow *request, who session) {
	p.mu.Lock()
	flow.subject, flow.authTime = who.user, who.at
	p.mu.Unlock()
	http.Redirect(w, r, AuthorizePath+"/callback?id="+flow.id, http.StatusSeeOther)
}

// logout forgets the browser, and sends it where it wants to be if that is allowed.
func (p *Provider) logout(w http.ResponseWriter, r *http.Request) {
	if cookie, err := r.Cookie(sessionCookie); err == nil {
		p.mu.Lock()
		delete(p.sessions, cookie.Value)
		p.mu.Unlock()
	}
	p.provider.ServeHTTP(w, r)
}
