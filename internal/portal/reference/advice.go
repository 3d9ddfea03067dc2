package reference

import (
	"net/http"

	"github.com/latchkey-dev/latchkey/internal/problem"
)

// advice is what a caller does about a problem.
type advice struct {
	Code   string
	Status int
	Advice string
}

// adviceGroup is problems with a common ground.
type adviceGroup struct {
	Title  string
	Advice []advice
}

// problems are those that a caller of the API can meet. docs/errors.md tells more
// of each; a test wants every code of package problem here.
var problems = []adviceGroup{
	{"About the token", []advice{
		{problem.CodeAuthorizationMissing, http.StatusUnauthorized, "Send the header Authorization: token YOUR_API_TOKEN. A token in the URL or in a cookie is never looked at."},
		{problem.CodeAuthorizationMalformed, http.StatusUnauthorized, "Send the header once, as the word token, one space, and the token."},
		{problem.CodeTokenInvalid, http.StatusUnauthorized, "Check that the token was copied whole and belongs to this host. If it does, it was deleted or ended long ago: use a new one."},
		{problem.CodeTokenExpired, http.StatusUnauthorized, "Make a new token and use it instead. The answer says since when this one has not worked."},
		{problem.CodeTokenRevoked, http.StatusUnauthorized, "Somebody ended this token. Make a new one, or ask who ended it."},
		{problem.CodeInsufficientScope, http.StatusForbidden, "Use a token with the scopes that the answer names."},
		{problem.CodeAddressNotAllowed, http.StatusForbidden, "The token works from certain addresses only. Call from one of them, or ask for a token without the limit."},
		{problem.CodeTenantSuspended, http.StatusForbidden, "The account is suspended. The token works again when it no longer is."},
	}},
	{"About the request", []advice{
		{problem.CodeRequestInvalid, http.StatusBadRequest, "Correct the member of the body or the parameter that detail names. The status can be 415 or 422 too."},
		{problem.CodeRequestRefused, http.StatusBadRequest, "Change what detail names: something in the URL or a header could be understood in two ways."},
		{problem.CodeNotFound, http.StatusNotFound, "Check the path against the operations below."},
		{problem.CodeUnknownHost, http.StatusNotFound, "Check the host's name: no API is served there."},
		{problem.CodeMethodNotAllowed, http.StatusMethodNotAllowed, "Use one of the methods in the header Allow."},
		{problem.CodeRequestTimeout, http.StatusRequestTimeout, "The body stopped coming. Send the request again."},
		{problem.CodeRequestTooLarge, http.StatusRequestEntityTooLarge, "Send less at a time. The answer says how much is taken."},
		{problem.CodeMisdirectedRequest, http.StatusMisdirectedRequest, "Open a connection of its own for each host."},
		{problem.CodeRateLimited, http.StatusTooManyRequests, "Wait for as many seconds as Retry-After says, and send fewer requests at a time."},
	}},
	{"About managing tokens", []advice{
		{problem.CodeExceedsCaller, http.StatusForbidden, "A token can't make one that may do more than itself. Ask for less, or have a person make it."},
		{problem.CodeSelfRotationForbidden, http.StatusForbidden, "Have a person replace the token."},
		{problem.CodeForbidden, http.StatusForbidden, "The calling workload lacks a right, which detail names."},
		{problem.CodeApiTokenRequired, http.StatusForbidden, "Call with an API token: the endpoint tells about the calling one."},
		{problem.CodeConflict, http.StatusConflict, "Read the token again: it is not as you expected."},
		{problem.CodePageExpired, http.StatusGone, "Begin the list anew."},
		{problem.CodePreconditionFailed, http.StatusPreconditionFailed, "The token has changed since you read it. Read it again."},
		{problem.CodePolicyViolation, http.StatusUnprocessableEntity, "Ask for what detail says would be permitted."},
		{problem.CodeNotConfirmed, http.StatusServiceUnavailable, "Nothing was made. Try again after as many seconds as Retry-After says."},
	}},
	{"About the service", []advice{
		{problem.CodeInternal, http.StatusInternalServerError, "The fault is ours. Try again later."},
		{problem.CodeBackendUnavailable, http.StatusBadGateway, "The token was accepted, but the service behind the API did not answer. Try again shortly. The status can be 504 too."},
		{problem.CodeDocumentUnavailable, http.StatusServiceUnavailable, "The API's description has not been read yet, and calls are checked against it. Try again after as many seconds as Retry-After says."},
		{problem.CodeStale, http.StatusServiceUnavailable, "Tokens can't be checked at the moment. Try again after as many seconds as Retry-After says."},
	}},
}
