package proxy

import (
	"net/http"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// The headers that tell the backend who calls.
const (
	headerPrefix = "Latchkey-"

	HeaderTenant      = headerPrefix + "Tenant"
	HeaderTokenID     = headerPrefix + "Token-Id"
	HeaderTokenName   = headerPrefix + "Token-Name"
	HeaderTokenOwner  = headerPrefix + "Token-Owner"
	HeaderTokenScopes = headerPrefix + "Token-Scopes"
)

// forwarded says whether a client's header goes to the backend as it came. What a
// backend must not believe or see does not, nor what is about the connection, nor
// what is written anew: framing, and who calls.
func forwarded(name string) bool {
	switch name {
	case "Authorization", "Proxy-Authorization", "Forwarded", "X-Real-Ip", "X-Original-Url", "X-Original-Uri",
		"X-Rewrite-Url", "X-Original-Host", "X-Host", "X-Http-Host-Override",
		"X-Http-Method-Override", "X-Http-Method", "X-Method-Override",
		"Upgrade", "Connection", "Http2-Settings", "Te", "Trailer", "Keep-Alive", "Proxy-Connection",
		"Proxy-Authenticate", "Transfer-Encoding", "Content-Length", "Host":
		return false
	}
	return !reserved(name) && !strings.HasPrefix(name, "X-Forwarded-")
}

// answered says whether a backend's header goes to the client. Framing is kept:
// net/http, which writes the answer, checks it.
func answered(name string, request *Request) bool {
	switch name {
	case "Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return false
	case "Service-Worker-Allowed", "Clear-Site-Data":
		return false // reach beyond the backend's own paths: to Settings, and to its cookies
	}
	return !reserved(name) && (!request.OwnsCORS || !strings.HasPrefix(name, "Access-Control-")) &&
		(!request.OwnsRateLimit || !isRateLimit(name))
}

// isRateLimit says whether a header is one of draft-ietf-httpapi-ratelimit-headers,
// those of its earlier versions included: RateLimit-Limit and the like.
func isRateLimit(name string) bool {
	const first = "Ratelimit"
	return strings.HasPrefix(name, first) && (len(name) == len(first) || name[len(first)] == '-')
}

func reserved(name string) bool {
	return len(name) >= len(headerPrefix) && strings.EqualFold(name[:len(headerPrefix)], headerPrefix)
}

// connectionOptions are what a message's Connection header names beside what every
// message may: headers that end here (RFC 9110, section 7.6.1).
func connectionOptions(h http.Header) (options []string) {
	for _, value := range h["Connection"] {
		for option := range strings.SplitSeq(value, ",") {
			switch option = strings.Trim(option, " \t"); {
			case option == "", strings.EqualFold(option, "close"), strings.EqualFold(option, "keep-alive"), strings.EqualFold(option, "upgrade"):
			default:
				options = append(options, option)
			}
		}
	}
	return options
}

func names(options []string, header string) bool {
	for _, option := range options {
		if strings.EqualFold(option, header) {
			return true
		}
	}
	return false
}

// upgradeType is the protocol that a message switches to, or empty.
func upgradeType(h http.Header) string {
	if !httpguts.HeaderValuesContainsToken(h["Connection"], "Upgrade") {
		return ""
	}
	return h.Get("Upgrade")
}
