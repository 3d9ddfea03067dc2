package selfservice

import (
	"net/http"
	"time"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/policy"
	"github.com/latchkey-dev/latchkey/internal/portal/settings"
	"github.com/latchkey-dev/latchkey/internal/portal/tokens"
	"github.com/latchkey-dev/latchkey/internal/problem"
)

// revokedForGood answers who wants more of a revoked token.
var revokedForGood = &problem.Problem{Code: problem.CodeConflict, Status: http.StatusConflict,
	Title: "The token is revoked", Detail: "It is so for good. If its work goes on, create another token."}

// rotation shows the form that replaces a token's credential, gives it its first, or
// regenerates one that has expired.
func (v *visit) rotation() *problem.Problem {
	t, p := v.mayRotate()
	if p != nil {
		return p
	}
	if !v.isRecent() {
		return v.askAgain()
	}
	return v.render(http.StatusOK, v.rotatePage(t, value(v.suggestedOverlap(t)), ""))
}

// suggestedOverlap is the token's own. Where it has none it is a day, as far as the policy
// permits: who has just been given a new token has not put it in place yet.
func (v *visit) suggestedOverlap(t *v1alpha1.ApiToken) time.Duration {
	if t.Spec.Rotation != nil && t.Spec.Rotation.Overlap != nil {
		return policy.Overlap(&t.Spec)
	}
	return min(day, v.API.Policy.MaxOverlap)
}

// mayRotate reads the token, unless it or the person is such that it can't be rotated.
func (v *visit) mayRotate() (*v1alpha1.ApiToken, *problem.Problem) {
	if p := v.mayIssue(tokens.VerbPatch); p != nil {
		return nil, p
	}
	t, p := v.token()
	if p == nil && t.Spec.Revoked {
		p = revokedForGood
	}
	return t, p
}

func (v *visit) rotatePage(t *v1alpha1.ApiToken, overlap, general string) settings.Rotate {
	now := v.now()
	page := settings.Rotate{
		Common: v.common(), Row: v.row(t, now), Problem: general, Chosen: overlap,
		Issue: t.Status.Credential == nil && t.Spec.Credential == nil, Previous: previous(t, now),
	}
	if works(page.State) {
		page.Overlaps = v.overlaps(v.suggestedOverlap(t), now)
	}
	page.ID = presentID(t) // which the form sends back
	wanted := t.Spec.DeepCopy()
	wanted.Credential = nil
	tokens.Renew(wanted, now)
	page.Ends = v.API.Policy.Expiry(wanted, now, now)
	return page
}

// works says whether there is a credential that an overlap would be for.
func works(s settings.State) bool { return s == settings.Active || s == settings.ExpiringSoon }

// rotate replaces the credential and shows the new one, this once.
func (v *visit) rotate() *problem.Problem {
	t, p := v.mayRotate()
	if p != nil {
		return p
	}
	sent := v.form.Get(settings.FieldOverlap)
	switch {
	case !v.form.Has(settings.FieldCredential):
		return problem.Invalid("The form does not say which credential is to be replaced. Reload the page it came from.")
	case !v.isRecent():
		return v.keep(http.StatusForbidden)
	case v.isResumed():
		return v.render(http.StatusOK, v.rotatePage(t, sent, ""))
	}
	how := tokens.Rotation{Replaces: new(v.form.Get(settings.FieldCredential)), Renew: true}
	if v.form.Has(settings.FieldOverlap) {
		overlap, ok := chosen(v.overlaps(v.suggestedOverlap(t), v.now()), sent)
		if !ok {
			return v.refused(http.StatusUnprocessableEntity, v.rotatePage(t, sent, textOverlap), problem.Invalid(textOverlap))
		}
		how.Overlap = duration(overlap)
	}
	isFirst := presentID(t) == ""
	issued, err := v.handler.config.Tokens.Rotate(v.r.Context(), v.call(), v.name, how)
	if err != nil {
		return v.refuseRotate(t, sent, problem.Of(err))
	}
	return v.reveal(issued, !isFirst)
}

// refuseRotate shows the form again with what the tokens' service found wrong.
func (v *visit) refuseRotate(t *v1alpha1.ApiToken, sent string, p *problem.Problem) *problem.Problem {
	if p == tokens.Replaced {
		return p
	}
	switch p.Code {
	case problem.CodePolicyViolation, problem.CodeRequestInvalid, problem.CodeConflict:
		return v.refused(p.Status, v.rotatePage(t, sent, sentence(p.Detail)), p)
	}
	return p
}

// dropPrevious stops the replaced credential before its time.
func (v *visit) dropPrevious() *problem.Problem {
	t, p := v.token()
	if p != nil {
		return p
	}
	if v.isResumed() {
		return v.redirect(v.tokenPath(t.Name, ""))
	}
	if err := v.handler.config.Tokens.Authorize(v.r.Context(), v.call(), tokens.VerbPatch, t.Name); err != nil {
		return problem.Of(err) // who may not is not told how it stands
	}
	before := previous(t, v.now())
	if before == nil || before.ID != v.form.Get(settings.FieldCredential) {
		return &problem.Problem{Code: problem.CodeConflict, Status: http.StatusConflict,
			Title: "There is no such credential any more", Detail: "It has stopped working already, or the token was rotated again."}
	}
	if _, err := v.handler.config.Tokens.Change(v.r.Context(), v.call(), t.Name, nil, &tokens.Change{DropPrevious: &before.ID}); err != nil {
		return problem.Of(err)
	}
	return v.redirect(v.tokenPath(t.Name, "?"+paramDone+"="+doneDropped))
}
