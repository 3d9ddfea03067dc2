package selfservice

import (
	"net/http"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/audit"
	"github.com/latchkey-dev/latchkey/internal/policy"
	"github.com/latchkey-dev/latchkey/internal/portal/settings"
	"github.com/latchkey-dev/latchkey/internal/portal/tokens"
	"github.com/latchkey-dev/latchkey/internal/portal/wording"
	"github.com/latchkey-dev/latchkey/internal/problem"
	"github.com/latchkey-dev/latchkey/internal/session"
)

// token reads the token that the path names. One that only signs in has no page.
func (v *visit) token() (*v1alpha1.ApiToken, *problem.Problem) {
	t, err := v.handler.config.Tokens.Show(v.r.Context(), v.call(), v.name)
	switch {
	case err != nil:
		return nil, problem.Of(err)
	case policy.SignsIn(t.Spec.Scopes):
		return nil, problem.NotFound
	}
	return t, nil
}

// show is the page of a token.
func (v *visit) show() *problem.Problem {
	t, p := v.token()
	if p != nil {
		return p
	}
	now := v.now()
	page := settings.Token{
		Common: v.noticed(t), Row: v.row(t, now), AllowedCIDRs: t.Spec.AllowedCIDRs,
		Previous: previous(t, now), Activity: activity(t),
	}
	if overlap := policy.Overlap(&t.Spec); overlap > 0 {
		page.Overlap = wording.Span(overlap)
	}
	page.CanRotate = !t.Spec.Revoked && !v.Tenant.Suspended && v.may(tokens.VerbPatch, t.Name)
	page.CanRevoke = !t.Spec.Revoked && v.may(tokens.VerbDelete, t.Name)
	if page.State == settings.Waiting && page.CanRotate && v.session.Kind == session.Token {
		page.Command = "kubectl latchkey issue " + t.Name + " -n " + t.Namespace
	}
	return v.render(http.StatusOK, page)
}

// previous is the replaced credential, while it works.
func previous(t *v1alpha1.ApiToken, now time.Time) *settings.Credential {
	c := t.Status.PreviousCredential
	isDropped := c != nil && t.Spec.Rotation != nil && t.Spec.Rotation.DropPrevious == c.ID
	if c == nil || isDropped || t.Spec.Revoked || !now.Before(c.ExpiresAt.Time) {
		return nil
	}
	return &settings.Credential{
		ID: c.ID, ExpiresAt: c.ExpiresAt.Time, LastUsedAt: instant(c.LastUsedAt),
		UsedSinceRotation: audit.PreviousUse(t, now) != "",
		UsedLately:        c.LastUsedAt != nil && now.Sub(c.LastUsedAt.Time) <= audit.FreshUse,
	}
}

// presentID is the id of the credential that a rotation would replace: that of spec,
// which is the first to change.
func presentID(t *v1alpha1.ApiToken) string {
	if t.Spec.Credential == nil {
		return ""
	}
	return t.Spec.Credential.ID
}

func duration(d time.Duration) *metav1.Duration { return &metav1.Duration{Duration: d} }
