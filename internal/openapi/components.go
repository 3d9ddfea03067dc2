package openapi

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/latchkey-dev/latchkey/internal/openapi/tree"
	"github.com/latchkey-dev/latchkey/internal/problem"
)

// names are what our components are called in a document.
type names struct {
	token, problem         string
	tokenExpires, daysLeft string
	challenge, retryAfter  string
	rateLimit, ratePolicy  string
	responses              map[int]string
}

// answer is one that every operation may get from Latchkey.
type answer struct {
	status            int
	name, description string
	// codes are what the problem's type may end in.
	codes                 []string
	challenge, retryAfter bool
	// body says that only a request with a body gets it.
	body bool
}

// answers has no 405: that is for methods that the document does not name, and so
// for no operation of it. A 404 of ours is for a host that has gone; where the
// product has one of its own, that one stays.
var answers = []answer{
	{status: http.StatusBadRequest, name: "LatchkeyBadRequest",
		description: "The request could be understood in several ways, and was refused.", codes: []string{problem.CodeRequestRefused}},
	{status: http.StatusUnauthorized, name: "LatchkeyUnauthorized", challenge: true,
		description: "There is no API token, or it is not valid on this host, has expired, or was revoked.",
		codes:       []string{problem.CodeAuthorizationMissing, problem.CodeAuthorizationMalformed, problem.CodeTokenInvalid, problem.CodeTokenExpired, problem.CodeTokenRevoked}},
	{status: http.StatusForbidden, name: "LatchkeyForbidden",
		description: "The API token is valid, but does not open this: a scope is missing, the client's address is not allowed, or the account is suspended.",
		codes:       []string{problem.CodeInsufficientScope, problem.CodeAddressNotAllowed, problem.CodeTenantSuspended}},
	{status: http.StatusNotFound, name: "LatchkeyNotFound",
		description: "No account has this host any more, or the API has no such operation.", codes: []string{problem.CodeUnknownHost, problem.CodeNotFound}},
	{status: http.StatusRequestTimeout, name: "LatchkeyRequestTimeout", body: true,
		description: "The request's body stopped coming.", codes: []string{problem.CodeRequestTimeout}},
	{status: http.StatusRequestEntityTooLarge, name: "LatchkeyRequestTooLarge", body: true,
		description: "The request's body is larger than the API takes.", codes: []string{problem.CodeRequestTooLarge}},
	{status: http.StatusMisdirectedRequest, name: "LatchkeyMisdirectedRequest",
		description: "The TLS connection was made for another host than the request names.", codes: []string{problem.CodeMisdirectedRequest}},
	{status: http.StatusTooManyRequests, name: "LatchkeyTooManyRequests", retryAfter: true,
		description: "There were too many requests.", codes: []string{problem.CodeRateLimited}},
	{status: http.StatusInternalServerError, name: "LatchkeyInternalError",
		description: "The fault is the service's.", codes: []string{problem.CodeInternal}},
	{status: http.StatusBadGateway, name: "LatchkeyBadGateway",
		description: "The service behind the API could not be reached.", codes: []string{problem.CodeBackendUnavailable}},
	{status: http.StatusServiceUnavailable, name: "LatchkeyUnavailable", retryAfter: true,
		description: "The API token, or what it may call, can't be checked at the moment.", codes: []string{problem.CodeStale, problem.CodeDocumentUnavailable}},
	{status: http.StatusGatewayTimeout, name: "LatchkeyGatewayTimeout",
		description: "The service behind the API did not answer in time.", codes: []string{problem.CodeBackendUnavailable}},
}

// add puts a component of ours under a name that the product does not use, and
// returns the name.
func (p *publisher) add(kind, name string, n *tree.Node) string {
	components := p.root.Child("components").Child(kind)
	taken := map[string]bool{}
	for _, m := range components.Members {
		if strings.HasPrefix(m.Key, name) {
			taken[m.Key] = true
		}
	}
	free := name
	for i := 2; taken[free]; i++ {
		free = name + strconv.Itoa(i)
	}
	if free != name {
		p.find("/components/%s/%s is the document's own: Latchkey's is published as %s.", kind, name, free)
	}
	components.Set(free, n)
	return free
}

func member(key string, value *tree.Node) tree.Member { return tree.Member{Key: key, Value: value} }

func reference(kind, name string) *tree.Node {
	return tree.Map(member("$ref", tree.Text("#"+tree.Join("/components", kind, name))))
}

func header(description, kind string, more ...tree.Member) *tree.Node {
	schema := tree.Map(append([]tree.Member{member("type", tree.Text(kind))}, more...)...)
	return tree.Map(member("description", tree.Text(description)), member("schema", schema))
}

// components adds what our answers are made of.
func (p *publisher) components() {
	p.names.problem = p.add("schemas", "LatchkeyProblem", p.problemSchema())
	p.names.tokenExpires = p.add("headers", "LatchkeyTokenExpires", header(
		"The instant at which the API token that was sent stops working (RFC 3339, UTC).", "string", member("format", tree.Text("date-time"))))
	p.names.daysLeft = p.add("headers", "LatchkeyTokenDaysLeft", header(
		"How many days the API token goes on working, a begun day counted whole. It is only there when few are left: replace the token now.",
		"integer", member("minimum", tree.Integer(0))))
	p.names.challenge = p.add("headers", "LatchkeyAuthenticate", header(
		"How to authenticate (RFC 9110, section 11.6.1): a challenge of the scheme token, and one of Bearer.", "string"))
	p.names.retryAfter = p.add("headers", "LatchkeyRetryAfter", header(
		"After how many seconds to try again.", "integer", member("minimum", tree.Integer(0))))
	p.names.rateLimit = p.add("headers", "LatchkeyRateLimit", header(
		"How many requests are left, and in how many seconds there are all again (draft-ietf-httpapi-ratelimit-headers). It is only there where limits are set.", "string"))
	p.names.ratePolicy = p.add("headers", "LatchkeyRateLimitPolicy", header(
		"How many requests may be made in how many seconds. It is only there where limits are set.", "string"))
	p.names.responses = map[int]string{}
	for _, a := range answers {
		p.names.responses[a.status] = p.add("responses", a.name, p.response(a))
	}
}

func (p *publisher) response(a answer) *tree.Node {
	codes := make([]string, len(a.codes))
	for i, code := range a.codes {
		codes[i] = "`" + p.ProblemBase + code + "`"
	}
	n := tree.Map(member("description", tree.Text(a.description+" The problem's type is "+strings.Join(codes, " or ")+".")))
	headers := tree.Map()
	if a.challenge {
		headers.Set("WWW-Authenticate", reference("headers", p.names.challenge))
	}
	if a.retryAfter {
		headers.Set("Retry-After", reference("headers", p.names.retryAfter))
	}
	if a.status == http.StatusTooManyRequests {
		p.limitHeaders(headers)
	}
	if len(headers.Members) > 0 {
		n.Set("headers", headers)
	}
	n.Set("content", tree.Map(member("application/problem+json", tree.Map(member("schema", reference("schemas", p.names.problem))))))
	return n
}

func (p *publisher) problemSchema() *tree.Node {
	property := func(kind, format, description string) *tree.Node {
		n := tree.Map(member("type", tree.Text(kind)))
		if format != "" {
			n.Set("format", tree.Text(format))
		}
		n.Set("description", tree.Text(description))
		return n
	}
	texts := func(description string) *tree.Node {
		n := property("array", "", description)
		n.Set("items", tree.Map(member("type", tree.Text("string"))))
		return n
	}
	return tree.Map(
		member("type", tree.Text("object")),
		member("description", tree.Text("Why a request was not served (RFC 9457).")),
		member("required", tree.Texts([]string{"type", "title", "status", "detail"})),
		member("properties", tree.Map(
			member("type", property("string", "uri", "What was wrong, for programs: "+p.ProblemBase+" and a code that is stable. Its page explains it.")),
			member("title", property("string", "", "What was wrong in general, for people.")),
			member("status", property("integer", "", "The status of the answer.")),
			member("detail", property("string", "", "What was wrong with this request, and what to do.")),
			member("expiredAt", property("string", "date-time", "When the API token expired.")),
			member("scopes", texts("The scopes that the API token lacks.")),
			member("exceeds", texts("In what a request asks for more than its caller has.")),
		)),
	)
}

func tokenScheme() *tree.Node {
	const description = "An API token of this host. Send it as `Authorization: token YOUR_API_TOKEN`: the word token, one space, and the token. " +
		"It belongs to one account and works on that account's host only.\n\n" +
		"A token is a password: keep it out of code, logs and URLs, and revoke one that leaked.\n\n" +
		"Every token expires. Answers say when, in the header `Latchkey-Token-Expires`; when few days are left, `Latchkey-Token-Days-Left` counts them. " +
		"Afterwards each call is answered 401."
	return tree.Map(
		member("type", tree.Text("apiKey")),
		member("in", tree.Text("header")),
		member("name", tree.Text("Authorization")),
		member("description", tree.Text(description)),
	)
}

// operations adds to each operation its security and the answers of ours.
func (p *publisher) operations() {
	p.eachOperation(func(_ string, operation *Operation, n *tree.Node) {
		p.require(operation, n)
		responses := n.Child("responses")
		for _, m := range responses.Members {
			if strings.HasPrefix(m.Key, "2") {
				p.standingHeaders(m.Value)
			}
		}
		for _, a := range answers {
			if a.body && n.Get("requestBody") == nil {
				continue
			}
			if status := strconv.Itoa(a.status); responses.Get(status) == nil {
				responses.Set(status, reference("responses", p.names.responses[a.status]))
			}
		}
	})
}

// standingHeaders adds the headers that tell how a token and its limits stand to a
// response, or to the component that it refers to.
func (p *publisher) standingHeaders(response *tree.Node) {
	for range 16 {
		pointer, local := strings.CutPrefix(response.Get("$ref").String(), "#")
		if !local {
			break
		}
		target, known := p.resolved[pointer]
		if !known {
			target = p.root.Resolve(pointer)
			p.resolved[pointer] = target
		}
		response = target
	}
	if !response.Is(tree.Object) || response.Get("$ref") != nil || p.standing[response] {
		return
	}
	p.standing[response] = true
	headers := response.Child("headers")
	setHeader(headers, "Latchkey-Token-Expires", p.names.tokenExpires)
	setHeader(headers, "Latchkey-Token-Days-Left", p.names.daysLeft)
	p.limitHeaders(headers)
}

func (p *publisher) limitHeaders(headers *tree.Node) {
	setHeader(headers, "RateLimit", p.names.rateLimit)
	setHeader(headers, "RateLimit-Policy", p.names.ratePolicy)
}

// setHeader adds a header unless there is one of the name, in whatever case.
func setHeader(headers *tree.Node, name, component string) {
	for _, m := range headers.Members {
		if strings.EqualFold(m.Key, name) {
			return
		}
	}
	headers.Set(name, reference("headers", component))
}
