package selfservice

import (
	"errors"
	"net/http"
	"time"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/fault"
	"github.com/latchkey-dev/latchkey/internal/portal/settings"
	"github.com/latchkey-dev/latchkey/internal/portal/tokens"
	"github.com/latchkey-dev/latchkey/internal/problem"
	"github.com/latchkey-dev/latchkey/internal/session"
)

// signIn shows the ways to sign in. Who is signed in well enough is not asked to.
func (v *visit) signIn() *problem.Problem {
	query := v.r.URL.Query()
	after := v.returnTo(query.Get(paramReturn))
	v.again = query.Get(paramRecent) != ""
	if v.session != nil && (!v.again && v.may(tokens.VerbList, "") || v.again && v.isRecent()) {
		return v.redirect(after)
	}
	return v.render(http.StatusOK, v.signInPage(after, ""))
}

// signInPage is the sign-in, which says why the last one failed.
func (v *visit) signInPage(after, wrong string) settings.SignIn {
	page := settings.SignIn{
		Common: v.common(), OIDC: v.handler.config.Provider != nil, Token: v.API.TokenSignIn,
		Problem: wrong, Again: v.again,
	}
	if after != v.API.SettingsPath {
		page.Return = after
	}
	return page
}

// refuseSignIn shows the sign-in again after one that failed. p is the reason for log
// and metrics.
func (v *visit) refuseSignIn(status int, after, wrong string, p *problem.Problem) *problem.Problem {
	return v.refused(status, v.signInPage(after, wrong), p)
}

// signedIn is where a sign-in in a second tab ends.
func (v *visit) signedIn() *problem.Problem {
	return v.render(http.StatusOK, settings.SignedIn{Common: v.common()})
}

// signInByToken exchanges an ApiToken that signs in for a session. Where another origin
// sent it, somebody might want a person to work in an account of theirs (login CSRF):
// nothing is done before the person has seen whose it is and has confirmed it.
func (v *visit) signInByToken() *problem.Problem {
	after := v.returnTo(v.form.Get(settings.FieldReturn))
	if !v.API.TokenSignIn {
		return v.refuseSignIn(http.StatusForbidden, after, textTokenDenied, &problem.Problem{Code: problem.CodeForbidden, Status: http.StatusForbidden, Title: textTokenDenied})
	}
	if err := v.handler.config.Sessions.Ready(); err != nil {
		return unavailable(err) // before the token is used up
	}
	service := v.handler.config.Tokens
	// A token that works is heeded however many others failed: others' guesses from the
	// same address are no reason to keep somebody out. They are not waited for, though.
	ticket, err := service.Ticket(v.r.Context(), v.Tenant, v.form.Get(settings.FieldToken), v.Address, !v.Attempts.Exhausted())
	if err != nil {
		return v.refuseTicket(after, problem.Of(err))
	}
	fault.InRequest(v.r, "found", ticket)
	if v.foreign {
		return v.render(http.StatusOK, settings.ConfirmSignIn{Common: v.common(), Token: v.form.Get(settings.FieldToken), Name: ticket.User})
	}
	if err := service.Redeem(v.r.Context(), ticket); err != nil {
		return v.refuseTicket(after, problem.Of(err))
	}
	v.audit("exchange", ticket.User, "credentialID", ticket.ID())
	return v.start(session.Identity{User: ticket.User, Display: ticket.User, Kind: session.Token, AuthenticatedAt: v.now()}, after)
}

// refuseTicket shows the sign-in again, and says what was wrong with the token.
func (v *visit) refuseTicket(after string, p *problem.Problem) *problem.Problem {
	text := map[string]string{
		problem.CodeTokenInvalid:      textBadToken,
		problem.CodeTokenExpired:      textTokenExpired,
		problem.CodeTokenRevoked:      textTokenUsed,
		problem.CodeInsufficientScope: textNoTicket,
		problem.CodeAddressNotAllowed: textOtherAddress,
	}[p.Code]
	if p == tokens.TicketUncertain {
		return v.refuseSignIn(p.Status, after, textUncertain, p)
	}
	if text == "" {
		return p
	}
	if p.Code == problem.CodeTokenInvalid && !v.Attempts.Failed() {
		return problem.TooManyBadTokens
	}
	return v.refuseSignIn(http.StatusForbidden, after, text, p)
}

// start signs somebody in and goes on to a page. The session that the browser had ends:
// a new one has a new id (ASVS 5.0, 7.2.4).
func (v *visit) start(identity session.Identity, after string) *problem.Problem {
	sessions := v.handler.config.Sessions
	if v.session != nil {
		if err := sessions.End(v.r.Context(), v.w, v.session); err != nil {
			v.handler.config.Logger.Warn("a session that was replaced could not be ended everywhere yet", "tenant", v.Tenant.Name, "sessionID", v.session.ID, "error", err)
		}
	}
	if identity.AuthenticatedAt.IsZero() {
		identity.AuthenticatedAt = time.Unix(0, 0) // never recent: the provider does not say when
	}
	started, err := sessions.Start(v.w, string(v.Tenant.UID), identity)
	switch {
	case errors.Is(err, session.ErrTooLarge):
		return v.refuseSignIn(http.StatusForbidden, after, textTooManyGroups, &problem.Problem{Code: problem.CodeForbidden, Status: http.StatusForbidden, Title: textTooManyGroups, Cause: err})
	case err != nil:
		return unavailable(err)
	}
	v.admit(started)
	v.audit("sign-in", started.User, "kind", string(started.Kind), "sessionID", started.ID)
	return v.redirect(after)
}

// audit writes a line of the audit log about somebody's session.
func (v *visit) audit(action, user string, more ...any) {
	v.handler.config.Logger.Info("audit", append([]any{
		"action", action, "tenant", v.Tenant.Name, "namespace", v.Tenant.Namespace,
		"actorKind", "user", "actor", user, "client", v.Address.String(), "via", v1alpha1.ViaSettings,
	}, more...)...)
}
