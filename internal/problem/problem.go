// Package problem is how Latchkey says why a request was not served: answers of the
// media type application/problem+json (RFC 9457), each with a stable code.
package problem

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// DefaultBase and a problem's code make the type URI of a problem. The
// page there is docs/errors.md, which has a section for each code.
const DefaultBase = "https://latchkey.dev/errors#"

// The codes of the problems. They are stable: clients rely on them.
const (
	CodeAuthorizationMissing   = "authorization-missing"
	CodeAuthorizationMalformed = "authorization-malformed"
	CodeTokenInvalid           = "token-invalid"
	CodeTokenExpired           = "token-expired"
	CodeTokenRevoked           = "token-revoked"
	CodeTenantSuspended        = "tenant-suspended"
	CodeAddressNotAllowed      = "address-not-allowed"
	CodeUnknownHost            = "unknown-host"
	CodeStale                  = "stale"
	CodeBackendUnavailable     = "backend-unavailable"
	CodeRateLimited            = "rate-limited"
	CodeRequestRefused         = "request-refused"
	CodeRequestTooLarge        = "request-too-large"
	CodeRequestTimeout         = "request-timeout"
	CodeMisdirectedRequest     = "misdirected-request"
	CodeMethodNotAllowed       = "method-not-allowed"
	CodeNotFound               = "not-found"
	CodeDocumentUnavailable    = "document-unavailable"
	CodeInternal               = "internal-error"

	CodeInsufficientScope     = "insufficient-scope"
	CodeExceedsCaller         = "exceeds-caller"
	CodeSelfRotationForbidden = "self-rotation-forbidden"
	CodeForbidden             = "forbidden"
	CodeApiTokenRequired      = "api-token-required"
	CodeRequestInvalid        = "request-invalid"
	CodePolicyViolation       = "policy-violation"
	CodeConflict              = "conflict"
	CodePreconditionFailed    = "precondition-failed"
	CodePageExpired           = "page-expired"
	CodeNotConfirmed          = "not-confirmed"

	// CodeClientGone is an outcome that nobody is told: it is not the backend's
	// doing.
	CodeClientGone = "client-gone"
)

// Problem is an answer that says why a request was not served, as RFC 9457 has
// it. The zero values of optional members are left out.
type Problem struct {
	// Code is one of the codes above.
	Code string
	// Status is the answer's.
	Status int
	// Title says in general what was wrong.
	Title string
	// Detail says what was wrong with this request, and what to do.
	Detail string
	// Scopes are those that the caller lacks.
	Scopes []string
	// Exceeds says in what a request asks for more than its caller has.
	Exceeds []string
	// ExpiredAt is when the token expired.
	ExpiredAt time.Time
	// Challenge adds WWW-Authenticate (RFC 9110, section 11.6.1).
	Challenge bool
	// RetryAfter is told in whole seconds.
	RetryAfter time.Duration
	// Closes ends the connection after the answer.
	Closes bool
	// Allow are the methods that a 405 names.
	Allow string
	// Cause is for the log, not for the client.
	Cause error
}

const expectedHeader = "Authorization: token YOUR_API_TOKEN"

var (
	// AuthorizationMissing answers a request without a token.
	AuthorizationMissing = &Problem{Code: CodeAuthorizationMissing, Status: http.StatusUnauthorized, Challenge: true,
		Title: "No API token was sent", Detail: "Send the header: " + expectedHeader}
	// TokenInvalid answers a token that is not one of the host.
	TokenInvalid = &Problem{Code: CodeTokenInvalid, Status: http.StatusUnauthorized, Challenge: true,
		Title: "The API token is not valid", Detail: "The token is not one of this host. Check that it was copied whole, and that it belongs to this host."}
	// TokenRevoked answers a revoked token.
	TokenRevoked = &Problem{Code: CodeTokenRevoked, Status: http.StatusUnauthorized, Challenge: true,
		Title: "The API token was revoked", Detail: "Ask for a new token, and use it instead of this one."}
	// TenantSuspended answers a token of a suspended tenant.
	TenantSuspended = &Problem{Code: CodeTenantSuspended, Status: http.StatusForbidden,
		Title: "The account is suspended", Detail: "The token is valid, but the account that it belongs to is suspended."}
	// AddressNotAllowed answers a token that is used from elsewhere than it may be.
	AddressNotAllowed = &Problem{Code: CodeAddressNotAllowed, Status: http.StatusForbidden,
		Title: "The API token does not work from this address", Detail: "The token is limited to certain client addresses, and this request came from another."}
	// UnknownHost answers a host that no tenant has.
	UnknownHost = &Problem{Code: CodeUnknownHost, Status: http.StatusNotFound,
		Title: "No API is served on this host", Detail: "Check the subdomain in the URL."}
	// Stale answers where a replica does not know the cluster yet, or has heard nothing
	// of it for too long.
	Stale = &Problem{Code: CodeStale, Status: http.StatusServiceUnavailable, RetryAfter: 5 * time.Second,
		Title: "The service can't check tokens at the moment", Detail: "It has no current view of which tokens are valid. Try again shortly."}
	// TooManyBadTokens answers an address that sent too many invalid tokens.
	TooManyBadTokens = &Problem{Code: CodeRateLimited, Status: http.StatusTooManyRequests, RetryAfter: time.Minute, Closes: true,
		Title: "Too many invalid tokens", Detail: "This address sent many tokens that are not valid. Stop sending them; valid tokens still work."}
	// TooManyRequests answers a tenant with too many requests at a time.
	TooManyRequests = &Problem{Code: CodeRateLimited, Status: http.StatusTooManyRequests, RetryAfter: time.Second,
		Title: "Too many requests at a time", Detail: "The account has as many requests under way as it may have at a time. Wait for some to end."}
	// RequestTimeout answers a client whose body stopped coming.
	RequestTimeout = &Problem{Code: CodeRequestTimeout, Status: http.StatusRequestTimeout, Closes: true,
		Title: "The request's body did not arrive", Detail: "The request announced a body, and for too long nothing more of it came. Send it again."}
	// Misdirected answers a connection that was made for another host.
	Misdirected = &Problem{Code: CodeMisdirectedRequest, Status: http.StatusMisdirectedRequest, Closes: true,
		Title: "The connection is for another host", Detail: "The TLS connection was made for another host name than the request names. Make a connection of its own for each host."}
	// DocumentUnavailable answers where an OpenAPI document says what may be asked for,
	// and has not been read.
	DocumentUnavailable = &Problem{Code: CodeDocumentUnavailable, Status: http.StatusServiceUnavailable, RetryAfter: 15 * time.Second,
		Title: "The API's description is not available yet", Detail: "Requests are checked against it, so that none can be served before. Try again shortly."}
	// UnknownOperation answers what an OpenAPI document does not name.
	UnknownOperation = &Problem{Code: CodeNotFound, Status: http.StatusNotFound,
		Title: "The API has no such operation", Detail: "Its documentation lists the operations that there are."}
	// NotFound answers a path where nothing is.
	NotFound = &Problem{Code: CodeNotFound, Status: http.StatusNotFound,
		Title: "There is nothing at this path", Detail: "The API's paths are below its base path; see its documentation."}
	// Internal answers a fault of Latchkey's own.
	Internal = &Problem{Code: CodeInternal, Status: http.StatusInternalServerError,
		Title: "Something went wrong", Detail: "The fault is the service's, and was logged. Try again later."}
)

// AuthorizationMalformed answers a header that is no token, for the reason given.
func AuthorizationMalformed(detail string) *Problem {
	return &Problem{Code: CodeAuthorizationMalformed, Status: http.StatusUnauthorized, Challenge: true,
		Title: "The Authorization header is malformed", Detail: detail + " Send the header: " + expectedHeader}
}

// TokenExpired answers a token whose time is over.
func TokenExpired(at time.Time) *Problem {
	return &Problem{Code: CodeTokenExpired, Status: http.StatusUnauthorized, Challenge: true, ExpiredAt: at,
		Title: "The API token has expired", Detail: "It expired at " + at.UTC().Format(time.RFC3339) + ". Ask for a new token."}
}

// RequestRefused answers what could be understood in several ways.
func RequestRefused(detail string) *Problem {
	return &Problem{Code: CodeRequestRefused, Status: http.StatusBadRequest, Title: "The request was refused", Detail: detail}
}

// SignsInOnly answers a token that is for signing in on the Settings page, wherever else
// it is sent.
var SignsInOnly = &Problem{Code: CodeInsufficientScope, Status: http.StatusForbidden,
	Title: "The API token only signs in", Detail: "It opens the Settings page, once, and nothing else. Create an API token there."}

// Invalid answers what was understood and can't be done as it is.
func Invalid(detail string) *Problem {
	return &Problem{Code: CodeRequestInvalid, Status: http.StatusBadRequest, Title: "The request is not valid", Detail: detail}
}

// Fault is Internal with its cause.
func Fault(cause error) *Problem {
	p := *Internal
	p.Cause = cause
	return &p
}

// Of finds the problem in an error. One that has none is a fault.
func Of(err error) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}
	return Fault(err)
}

// RequestTooLarge answers a body of more bytes than the limit.
func RequestTooLarge(limit int64) *Problem {
	return &Problem{Code: CodeRequestTooLarge, Status: http.StatusRequestEntityTooLarge, Closes: true,
		Title: "The request is too large", Detail: fmt.Sprintf("Its body may have at most %d bytes.", limit)}
}

// MethodNotAllowed answers another method than those that are listed.
func MethodNotAllowed(allow string) *Problem {
	return &Problem{Code: CodeMethodNotAllowed, Status: http.StatusMethodNotAllowed, Allow: allow,
		Title: "The method is not allowed", Detail: "Allowed here: " + allow}
}

// InsufficientScope answers a token that lacks the scopes.
func InsufficientScope(scopes ...string) *Problem {
	noun := "the scope "
	if len(scopes) > 1 {
		noun = "the scopes "
	}
	return &Problem{Code: CodeInsufficientScope, Status: http.StatusForbidden, Scopes: scopes,
		Title:  "The API token lacks a scope",
		Detail: "This needs " + noun + strings.Join(scopes, " and ") + ", which the token does not have. Ask for a token that has them."}
}

// BackendUnavailable answers for a backend that did not; cause is logged.
func BackendUnavailable(status int, cause error) *Problem {
	return &Problem{Code: CodeBackendUnavailable, Status: status, Cause: cause,
		Title: "The API can't be reached at the moment", Detail: "The token was accepted, but the service behind the API did not answer. Try again shortly."}
}

// Error lets a problem be returned as an error.
func (p *Problem) Error() string { return p.Code + ": " + p.Title }

// Unwrap is the cause.
func (p *Problem) Unwrap() error { return p.Cause }

// Write sends the problem. realm is the host that the challenge is for.
func (p *Problem) Write(w http.ResponseWriter, base, realm string) {
	body := struct {
		Type      string   `json:"type"`
		Title     string   `json:"title"`
		Status    int      `json:"status"`
		Detail    string   `json:"detail"`
		ExpiredAt string   `json:"expiredAt,omitempty"`
		Scopes    []string `json:"scopes,omitempty"`
		Exceeds   []string `json:"exceeds,omitempty"`
	}{Type: base + p.Code, Title: p.Title, Status: p.Status, Detail: p.Detail, Scopes: p.Scopes, Exceeds: p.Exceeds}
	if !p.ExpiredAt.IsZero() {
		body.ExpiredAt = p.ExpiredAt.UTC().Format(time.RFC3339)
	}
	encoded, err := json.Marshal(body)
	if err != nil {
		encoded = []byte(`{}`) // strings and numbers always encode
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Length", strconv.Itoa(len(encoded)+1))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if p.Challenge {
		h["Www-Authenticate"] = Challenges(realm)
	}
	if p.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(p.RetryAfter.Seconds())))
	}
	if p.Closes {
		h.Set("Connection", "close")
	}
	if p.Allow != "" {
		h.Set("Allow", p.Allow)
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(encoded, '\n')) // a client that has gone needs no answer
}

// Challenges are the values of WWW-Authenticate for a host.
func Challenges(realm string) []string {
	return []string{`token realm="` + realm + `"`, `Bearer realm="` + realm + `"`}
}
