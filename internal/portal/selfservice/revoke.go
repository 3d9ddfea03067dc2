package selfservice

import (
	"net/http"
	"strings"

	"github.com/latchkey-dev/latchkey/internal/portal/settings"
	"github.com/latchkey-dev/latchkey/internal/portal/tokens"
	"github.com/latchkey-dev/latchkey/internal/problem"
)

// revocation shows the form that revokes a token.
func (v *visit) revocation() *problem.Problem {
	page, p := v.revokePage()
	if p != nil {
		return p
	}
	return v.render(http.StatusOK, page)
}

func (v *visit) revokePage() (page settings.Revoke, p *problem.Problem) {
	if err := v.handler.config.Tokens.Authorize(v.r.Context(), v.call(), tokens.VerbDelete, v.name); err != nil {
		return page, problem.Of(err)
	}
	t, p := v.token()
	switch {
	case p != nil:
		return page, p
	case t.Spec.Revoked:
		return page, revokedForGood
	}
	return settings.Revoke{Common: v.common(), Row: v.row(t, v.now())}, nil
}

// revoke revokes a token whose name was typed. It takes no recent sign-in: a leak must
// not wait for one.
func (v *visit) revoke() *problem.Problem {
	page, p := v.revokePage()
	if p != nil {
		return p
	}
	page.Typed = v.form.Get(settings.FieldName)
	switch {
	case v.isResumed():
		return v.render(http.StatusOK, page)
	case strings.TrimSpace(page.Typed) != v.name:
		page.Problem = textRevokeName
		return v.refused(http.StatusUnprocessableEntity, page, problem.Invalid(textRevokeName))
	}
	if err := v.handler.config.Tokens.Revoke(v.r.Context(), v.call(), v.name, nil); err != nil {
		return problem.Of(err)
	}
	return v.redirect(v.tokenPath(v.name, "?"+paramDone+"="+doneRevoked))
}
