package selfservice

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/fault"
	"github.com/latchkey-dev/latchkey/internal/portal/settings"
	"github.com/latchkey-dev/latchkey/internal/portal/tokens"
	"github.com/latchkey-dev/latchkey/internal/problem"
)

// newToken shows the form that creates a token.
func (v *visit) newToken() *problem.Problem {
	if p := v.mayIssue(tokens.VerbCreate); p != nil {
		return p
	}
	if !v.isRecent() {
		return v.askAgain()
	}
	form := settings.Form{Lifetime: value(v.API.Policy.DefaultLifetime)}
	if tokens.IsOwner(v.session.User) {
		form.Owner = v.session.User
	}
	return v.render(http.StatusOK, v.createPage(form, nil, ""))
}

// createPage is the form with what was typed.
func (v *visit) createPage(form settings.Form, wrong map[string]string, general string) settings.Create {
	page := settings.Create{
		Common: v.common(), Form: form, Lifetimes: v.lifetimes(v.now()), MaxLifetime: v.API.Policy.MaxLifetime,
		Errors: wrong, Problem: general,
	}
	for _, scope := range v.API.Scopes {
		page.Scopes = append(page.Scopes, settings.ScopeChoice(scope))
	}
	return page
}

// create creates a token and shows it, this once.
func (v *visit) create() *problem.Problem {
	form := settings.FormOf(v.form)
	if p := v.mayIssue(tokens.VerbCreate); p != nil {
		if p.Status == http.StatusTooManyRequests || p.Status >= http.StatusInternalServerError {
			return v.refused(p.Status, v.createPage(form, nil, sentence(p.Title)+" "+p.Detail), p) // nothing typed is lost
		}
		return p
	}
	switch {
	case !v.isRecent():
		return v.keep(http.StatusForbidden)
	case v.isResumed():
		return v.render(http.StatusOK, v.createPage(form, nil, ""))
	}
	now := v.now()
	asked, wrong := requestOf(form, v.API, v.lifetimes(now), now)
	v.noteSecrets(wrong)
	if len(wrong) > 0 {
		return v.refused(http.StatusUnprocessableEntity, v.createPage(form, wrong, ""), problem.Invalid("The form has fields that are wrong."))
	}
	issued, err := v.handler.config.Tokens.Create(v.r.Context(), v.call(), asked)
	if err != nil {
		return v.refuseCreate(form, asked, problem.Of(err))
	}
	return v.reveal(issued, false)
}

// noteSecrets notes the fields that hold a token: what they hold others could read.
func (v *visit) noteSecrets(wrong map[string]string) {
	for field, values := range v.form {
		if slices.ContainsFunc(values, v.handler.config.Tokens.HoldsSecret) {
			wrong[field] = textSecret
		}
	}
}

// refuseCreate shows the form again with what the tokens' service found wrong.
func (v *visit) refuseCreate(form settings.Form, asked *tokens.Request, p *problem.Problem) *problem.Problem {
	switch p.Code {
	case problem.CodeConflict:
		existing, err := v.handler.config.Tokens.Show(v.r.Context(), v.call(), asked.Name)
		switch {
		case err != nil:
			return v.refused(p.Status, v.createPage(form, nil, sentence(p.Detail)), p)
		case v.isOwn(existing, asked):
			return v.refused(http.StatusConflict, v.shownAlready(asked.Name), p)
		}
		return v.refused(http.StatusConflict, v.createPage(form, map[string]string{settings.FieldName: textNameTaken}, ""), p)
	case problem.CodePolicyViolation, problem.CodeRequestInvalid:
		return v.refused(p.Status, v.createPage(form, nil, sentence(p.Detail)), p)
	case problem.CodeStale, problem.CodeNotConfirmed, problem.CodeRateLimited:
		v.w.Header().Set("Retry-After", "5")
		return v.refused(p.Status, v.createPage(form, nil, sentence(p.Title)+" "+p.Detail), p)
	}
	return p
}

// resentWithin is for how long a form that was sent is taken for one sent again.
const resentWithin = time.Hour

// isOwn says whether the token that has the name is what this very form made a while
// ago: the browser sent it again.
func (v *visit) isOwn(t *v1alpha1.ApiToken, asked *tokens.Request) bool {
	return t.Annotations[v1alpha1.AnnotationCreatedBy] == v.session.User && t.Annotations[v1alpha1.AnnotationCreatedVia] == v1alpha1.ViaSettings &&
		v.now().Sub(t.CreationTimestamp.Time).Abs() < resentWithin &&
		t.Spec.Description == asked.Description && t.Spec.Owner == *asked.Owner && slices.Equal(t.Spec.Scopes, asked.Scopes)
}

// shownAlready says of a token that it was shown, and what there is to do.
func (v *visit) shownAlready(name string) settings.Failure {
	return settings.Failure{
		Common: v.common(), Status: http.StatusConflict, Title: "The token was shown already",
		Detail:   "The token " + name + " was created when this form was sent first. It was shown once, and nobody can show it again.",
		Advice:   "If you have not copied it, go to the token and rotate it: you get a new one.",
		BackPath: v.tokenPath(name, ""), BackText: textToToken,
	}
}

// reveal shows a token. It is the answer to the form itself, so that no address leads
// to it, and is kept by nobody (no-store).
func (v *visit) reveal(issued *tokens.Issued, isRotated bool) *problem.Problem {
	t := issued.Object
	fault.ForToken(t.Name, "shown", issued)
	page := settings.Reveal{
		Common: v.common(), Name: t.Name, ID: issued.ID(), Plaintext: issued.Plaintext(),
		Curl:    `curl -X GET "` + v.Origin + v.API.BasePath + `/token" -H "Authorization: token ` + issued.Plaintext() + `"`,
		Rotated: isRotated, Unconfirmed: !issued.Confirmed,
	}
	switch current := t.Status.Credential; {
	case current != nil && current.ID == issued.ID():
		page.ExpiresAt = current.ExpiresAt.Time
	default:
		page.ExpiresAt = v.API.Policy.Expiry(&t.Spec, t.Spec.Credential.IssuedAt.Time, v.now())
	}
	if before := previous(t, v.now()); before != nil && issued.Confirmed {
		page.PreviousWorksUntil = &before.ExpiresAt
	}
	return v.render(http.StatusOK, page)
}

// sentence makes one of what a problem says.
func sentence(text string) string {
	if text == "" {
		return text
	}
	return strings.ToUpper(text[:1]) + strings.TrimRight(text[1:], ".") + "."
}
