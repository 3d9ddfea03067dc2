package selfservice

import (
	"net/http"
	"strings"

	"github.com/latchkey-dev/latchkey/internal/portal/settings"
	"github.com/latchkey-dev/latchkey/internal/portal/tokens"
	"github.com/latchkey-dev/latchkey/internal/problem"
	"github.com/latchkey-dev/latchkey/internal/session"
)

// What this package says to people. What stands on every page of a kind is in the
// pages' own templates.
const (
	textSuspended   = "This account is suspended: its tokens do not work, and none can be made until it no longer is."
	textRevoked     = "The token is revoked. Calls with it are refused from now on."
	textDropped     = "The previous credential no longer works."
	textToToken     = "To the token"
	textViaSettings = "On the Settings page."
	textViaAPI      = "By a program, with a token of its own."
	textToSignIn    = "Sign in as somebody else"
	textBroken      = "This page can't be shown at the moment. Try again later."

	textBadToken      = "This token is not one that signs in here. It works once, for ten minutes: run kubectl latchkey settings again."
	textTokenUsed     = "This token was used already, and works once. If that was not you, tell who runs this. To sign in, run kubectl latchkey settings again."
	textTokenExpired  = "This token's ten minutes are over. Run kubectl latchkey settings again."
	textNoTicket      = "This is a token for the API, and does not sign in. Run kubectl latchkey settings."
	textOtherAddress  = "This token does not work from your address."
	textUncertain     = "The sign-in came to nothing, and the token may be used up. Nobody was signed in by it. Run kubectl latchkey settings again."
	textTokenDenied   = "Signing in with a token is not permitted here."
	textNoProvider    = "There is no identity provider to sign in at."
	textProviderDown  = "The identity provider does not answer at the moment. Try again shortly."
	textProviderBusy  = "Many people are signing in at the moment. Try again shortly."
	textProviderNo    = "The identity provider did not let you in."
	textNotRecent     = "The identity provider did not confirm that it is you. Sign in there with your password or key, or ask who runs this."
	textAccount       = "Your account can't be used here: it has no usable name, its e-mail address is not confirmed, or it is in too many groups. Ask who runs this."
	textSignInRefused = "The sign-in can't be finished: it was begun too long ago, in another browser, or was finished already. Start again."
	textTooManyGroups = "Your account is in too many groups to be signed in here. Ask who runs this to have fewer sent."

	textSecret        = "This holds an API token, and others can read what is written here. Take it out; if it was sent to anybody else, revoke it."
	textNameMissing   = "Give the token a name."
	textNameLabel     = "Use at most 63 lower-case letters, digits and hyphens, with a letter or digit at both ends."
	textNameReserved  = "This name is taken by a page. Choose another."
	textNameTaken     = "There is a token of this name. Choose another name, or rotate that one."
	textDescription   = "Use at most 256 characters."
	textOwner         = "Use at most 253 letters, digits and signs, without spaces."
	textLifetime      = "Choose one of the lifetimes, or a date."
	textExpiresOn     = "Give a date such as 2027-01-31."
	textExpiresPast   = "This date is not in the future."
	textExpiresFar    = "Choose a date that is at most %s from now."
	textScopeUnknown  = "This API does not know the scope %s."
	textAddress       = "%.60q is no network. Write it like 192.0.2.0/24, 192.0.2.1 or 2001:db8::/32."
	textAddressDouble = "%s is listed twice."
	textAddressMany   = "List at most %d networks."
	textOverlap       = "Choose one of the times."
	textRevokeName    = "This is not the token's name. Type it exactly to confirm."
)

// what says what a form does, as the end of "to …".
func (v *visit) what() string {
	below := strings.TrimPrefix(v.r.URL.EscapedPath(), v.API.SettingsPath)
	switch {
	case below == pathTokens:
		if name := v.form.Get(settings.FieldName); isName(name) {
			return "create the token " + name
		}
		return "create a token"
	case strings.HasSuffix(below, "/rotate"):
		return "get a new credential of " + v.name
	case strings.HasSuffix(below, "/revoke"):
		return "revoke " + v.name
	case strings.HasSuffix(below, "/drop-previous"):
		return "stop the previous credential of " + v.name
	}
	return ""
}

// failure is the page that says what is wrong, in words for people who use neither
// kubectl nor the API for tokens.
func (v *visit) failure(p *problem.Problem) settings.Failure {
	f := settings.Failure{Common: v.common(), Status: p.Status, Title: p.Title, Detail: p.Detail}
	if v.name != "" && p.Status != http.StatusNotFound {
		f.BackPath, f.BackText = v.tokenPath(v.name, ""), textToToken
	}
	switch {
	case p == tokens.Replaced:
		f.Title, f.Detail = "It was done already", "The token has a new credential by now. It was shown once, and nobody can show it again."
		f.Advice = "If you have not copied it, go to the token and rotate it once more."
	case p == crossOrigin:
		f.Advice = "If you meant to do it, do it here."
	case p.Code == problem.CodeForbidden && v.session != nil:
		v.forbid(&f)
	case p.Code == problem.CodeTenantSuspended:
		f.Title, f.Detail = "The account is suspended", "No token can be made or replaced until it no longer is. Tokens can be looked at and revoked."
	case p.Code == problem.CodeNotFound && v.name != "":
		f.Advice = "It may have been deleted. The list has those that there are."
	case p.Code == problem.CodeNotFound:
		f.Title, f.Detail = "There is no such page", "The address may be mistyped."
	case p.Code == problem.CodeStale:
		f.Advice = "Look at the list before you do it again."
	case p.Code == problem.CodeNotConfirmed:
		f.Advice = "If it happens again, tell who runs this."
	}
	return f
}

// forbid says that the person may not do it, or may not even look.
func (v *visit) forbid(f *settings.Failure) {
	f.Title = "You may not do this"
	f.Detail = "You are signed in as " + person(v.session) + ", who may not do this in this account."
	f.Advice = "Ask an administrator of the account, or sign in as somebody else."
	f.BackPath, f.BackText = v.path(pathList), ""
	if v.r.URL.EscapedPath() == v.API.SettingsPath { // to which it would lead back
		f.Title, f.BackPath, f.BackText = "You are no member of this account", v.path(pathSignIn), textToSignIn
		f.Detail = "You are signed in as " + person(v.session) + ", who may not see this account's tokens."
	}
}

// person is who is signed in, with the name by which an administrator gives rights.
func person(s *session.Session) string {
	if s.Display == "" || s.Display == s.User {
		return s.User
	}
	return s.Display + " (" + s.User + ")"
}
