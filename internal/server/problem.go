package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// DefaultProblemBase and a problem's code make the type URI of a problem. The
// page there is docs/errors.md, which has a section for each code.
const DefaultProblemBase = "https://latchkey.dev/errors#"

// The codes of the problems. They are stable: clients rely on them.
const (
	codeAuthorizationMissing   = "authorization-missing"
	codeAuthorizationMalformed = "authorization-malformed"
	codeTokenInvalid           = "token-invalid"
	codeTokenExpired           = "token-expired"
	codeTokenRevoked           = "token-revoked"
	codeTenantSuspended        = "tenant-suspended"
	codeAddressNotAllowed      = "address-not-allowed"
	codeUnknownHost            = "unknown-host"
	codeStale                  = "stale"
	codeBackendUnavailable     = "backend-unavailable"
	codeRateLimited            = "rate-limited"
	codeRequestRefused         = "request-refused"
	codeRequestTooLarge        = "request-too-large"
	codeMisdirectedRequest     = "misdirected-request"
	codeMethodNotAllowed       = "method-not-allowed"
	codeNotFound               = "not-found"
	codeInternal               = "internal-error"

	// codeClientGone is an outcome that nobody is told: it is not the backend's
	// doing.
	codeClientGone = "client-gone"
)

// problem is an answer that says why a request was not served, as RFC 9457 has
// it. The zero values of optional members are left out.
type problem struct {
	code   string
	status int
	title  string
	detail string
	// expiredAt is when the token expired.
	expiredAt time.Time
	// challenge adds WWW-Authenticate (RFC 9110, section 11.6.1).
	challenge bool
	// retryAfter is told in whole seconds.
	retryAfter time.Duration
	// closes ends the connection after the answer.
	closes bool
	// allow are the methods that a 405 names.
	allow string
	// cause is for the log, not for the client.
	cause error
}

const expectedHeader = "Authorization: token YOUR_API_TOKEN"

var (
	problemAuthorizationMissing = &problem{code: codeAuthorizationMissing, status: http.StatusUnauthorized, challenge: true,
		title: "No API token was sent", detail: "Send the header: " + expectedHeader}
	problemTokenInvalid = &problem{code: codeTokenInvalid, status: http.StatusUnauthorized, challenge: true,
		title: "The API token is not valid", detail: "The token is not one of this host. Check that it was copied whole, and that it belongs to this host."}
	problemTokenRevoked = &problem{code: codeTokenRevoked, status: http.StatusUnauthorized, challenge: true,
		title: "The API token was revoked", detail: "Ask for a new token, and use it instead of this one."}
	problemTenantSuspended = &problem{code: codeTenantSuspended, status: http.StatusForbidden,
		title: "The account is suspended", detail: "The token is valid, but the account that it belongs to is suspended."}
	problemAddressNotAllowed = &problem{code: codeAddressNotAllowed, status: http.StatusForbidden,
		title: "The API token does not work from this address", detail: "The token is limited to certain client addresses, and this request came from another."}
	problemUnknownHost = &problem{code: codeUnknownHost, status: http.StatusNotFound,
		title: "No API is served on this host", detail: "Check the subdomain in the URL."}
	problemStale = &problem{code: codeStale, status: http.StatusServiceUnavailable, retryAfter: 5 * time.Second,
		title: "The service can't check tokens at the moment", detail: "It has no current view of which tokens are valid. Try again shortly."}
	problemTooManyBadTokens = &problem{code: codeRateLimited, status: http.StatusTooManyRequests, retryAfter: time.Minute, closes: true,
		title: "Too many invalid tokens", detail: "This address sent many tokens that are not valid. Stop sending them; valid tokens still work."}
	problemTooManyRequests = &problem{code: codeRateLimited, status: http.StatusTooManyRequests, retryAfter: time.Second,
		title: "Too many requests at a time", detail: "The account has as many requests under way as it may have at a time. Wait for some to end."}
	problemMisdirected = &problem{code: codeMisdirectedRequest, status: http.StatusMisdirectedRequest, closes: true,
		title: "The connection is for another host", detail: "The TLS connection was made for another host name than the request names. Make a connection of its own for each host."}
	problemNotFound = &problem{code: codeNotFound, status: http.StatusNotFound,
		title: "There is nothing at this path", detail: "The API's paths are below its base path; see its documentation."}
	problemInternal = &problem{code: codeInternal, status: http.StatusInternalServerError,
		title: "Something went wrong", detail: "The fault is the service's, and was logged. Try again later."}
)

func authorizationMalformed(detail string) *problem {
	return &problem{code: codeAuthorizationMalformed, status: http.StatusUnauthorized, challenge: true,
		title: "The Authorization header is malformed", detail: detail + " Send the header: " + expectedHeader}
}

func tokenExpired(at time.Time) *problem {
	return &problem{code: codeTokenExpired, status: http.StatusUnauthorized, challenge: true, expiredAt: at,
		title: "The API token has expired", detail: "It expired at " + at.UTC().Format(time.RFC3339) + ". Ask for a new token."}
}

func requestRefused(detail string) *problem {
	return &problem{code: codeRequestRefused, status: http.StatusBadRequest, title: "The request was refused", detail: detail}
}

func requestTooLarge(limit int64) *problem {
	return &problem{code: codeRequestTooLarge, status: http.StatusRequestEntityTooLarge, closes: true,
		title: "The request is too large", detail: fmt.Sprintf("Its body may have at most %d bytes.", limit)}
}

func methodNotAllowed(allow string) *problem {
	return &problem{code: codeMethodNotAllowed, status: http.StatusMethodNotAllowed, allow: allow,
		title: "The method is not allowed", detail: "Allowed here: " + allow}
}

func backendUnavailable(status int, cause error) *problem {
	return &problem{code: codeBackendUnavailable, status: status, cause: cause,
		title: "The API can't be reached at the moment", detail: "The token was accepted, but the service behind the API did not answer. Try again shortly."}
}

// write sends the problem. realm is the host that the challenge is for.
func (p *problem) write(w http.ResponseWriter, base, realm string) {
	body := struct {
		Type      string `json:"type"`
		Title     string `json:"title"`
		Status    int    `json:"status"`
		Detail    string `json:"detail"`
		ExpiredAt string `json:"expiredAt,omitempty"`
	}{Type: base + p.code, Title: p.title, Status: p.status, Detail: p.detail}
	if !p.expiredAt.IsZero() {
		body.ExpiredAt = p.expiredAt.UTC().Format(time.RFC3339)
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
	if p.challenge {
		h["Www-Authenticate"] = challenges(realm)
	}
	if p.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(p.retryAfter.Seconds())))
	}
	if p.closes {
		h.Set("Connection", "close")
	}
	if p.allow != "" {
		h.Set("Allow", p.allow)
	}
	w.WriteHeader(p.status)
	_, _ = w.Write(append(encoded, '\n')) // a client that has gone needs no answer
}

func challenges(realm string) []string {
	return []string{`token realm="` + realm + `"`, `Bearer realm="` + realm + `"`}
}
