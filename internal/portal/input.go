package portal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	strictjson "sigs.k8s.io/json"

	"github.com/latchkey-dev/latchkey/internal/portal/body"
	"github.com/latchkey-dev/latchkey/internal/portal/tokenapi"
	"github.com/latchkey-dev/latchkey/internal/portal/tokens"
	"github.com/latchkey-dev/latchkey/internal/problem"
)

// bodies are what the endpoints that take a body decode it into.
var bodies = map[string]func() any{
	"POST /tokens":         func() any { return new(tokenapi.CreateTokenJSONRequestBody) },
	"PATCH /tokens/{name}": func() any { return new(tokenapi.ChangeTokenJSONRequestBody) },
}

// queries are the parameters of the endpoints that take some.
var queries = map[string][]string{
	"GET /tokens": {"limit", "continue", "idleDays", "neverUsed", "expiringWithinDays", "expired", "withoutOwner",
		"ownerGone", "violatesPolicy", "wideScopes", "previousInUse", "owner"},
}

// checkQuery refuses parameters that an endpoint would ignore: a filter with a typo
// must not list everything.
func checkQuery(pattern string, query url.Values) *problem.Problem {
	for _, name := range slices.Sorted(maps.Keys(query)) {
		switch {
		case !slices.Contains(queries[pattern], name):
			return problem.Invalid(fmt.Sprintf("The parameter %.40q is not one of this endpoint.", name))
		case len(query[name]) > 1:
			return problem.Invalid(fmt.Sprintf("The parameter %s was sent more than once.", name))
		}
	}
	return nil
}

// checkBody reads the whole body and refuses what the generated code would let
// pass: unknown, doubled and null members, and more than one document. The body can
// be read again afterwards. Where none is taken none is waited for.
func (p *Portal) checkBody(w http.ResponseWriter, r *http.Request, pattern string) *problem.Problem {
	into, takesBody := bodies[pattern]
	if !takesBody {
		if r.ContentLength > 0 {
			return problem.Invalid("This endpoint takes no body.")
		}
		r.Body = http.NoBody
		return nil
	}
	content, refused := body.Read(w, r, tokens.RequestTimeout)
	if refused != nil {
		return refused
	}
	r.Body = io.NopCloser(bytes.NewReader(content))
	if mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || mediaType != "application/json" {
		p := problem.Invalid("The body must be JSON: send the header Content-Type: application/json")
		p.Status = http.StatusUnsupportedMediaType
		return p
	}
	if p.holdsSecret(content) {
		return problem.Invalid("The body holds an API token. Name tokens by name or id: what is written to the cluster can be read by others. If yours was sent to anybody else, revoke it.")
	}
	if wrong := decodeStrictly(content, into()); wrong != "" {
		return problem.Invalid(wrong)
	}
	return nil
}

// holdsSecret says whether a JSON text holds a token, or most of one, with escapes or
// without.
func (p *Portal) holdsSecret(content []byte) bool {
	var decoded any
	if json.Unmarshal(content, &decoded) == nil {
		if plain, err := json.Marshal(decoded); err == nil {
			content = plain
		}
	}
	return p.tokens.HoldsSecret(string(content))
}

// decodeStrictly says what is wrong with the JSON, or nothing.
func decodeStrictly(content []byte, into any) (wrong string) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(content, &members); err != nil || members == nil {
		return "The body must be one JSON object."
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if string(members[name]) == "null" {
			return fmt.Sprintf("The member %.40q is null: leave it out, or give an empty value.", name)
		}
	}
	err := json.Unmarshal(content, into)
	if mistyped, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Sprintf("The member %q must not be a JSON %s.", mistyped.Field, mistyped.Value)
	}
	strict, strictErr := strictjson.UnmarshalStrict(content, into)
	if err = errors.Join(append(strict, strictErr, err)...); err != nil {
		return "The body has " + strings.ReplaceAll(err.Error(), "\n", ", ") + "."
	}
	return ""
}
