package portal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	strictjson "sigs.k8s.io/json"

	"github.com/latchkey-dev/latchkey/internal/portal/tokenapi"
	"github.com/latchkey-dev/latchkey/internal/problem"
)

// maxBodyBytes bounds a request's body.
const maxBodyBytes = 64 << 10

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
			return invalid(fmt.Sprintf("The parameter %.40q is not one of this endpoint.", name))
		case len(query[name]) > 1:
			return invalid(fmt.Sprintf("The parameter %s was sent more than once.", name))
		}
	}
	return nil
}

// checkBody reads the whole body and refuses what the generated code would let
// pass: unknown, doubled and null members, and more than one document. The body can
// be read again afterwards. Where none is taken none is waited for.
func checkBody(w http.ResponseWriter, r *http.Request, pattern string) *problem.Problem {
	into, takesBody := bodies[pattern]
	if !takesBody {
		if r.ContentLength > 0 {
			return invalid("This endpoint takes no body.")
		}
		r.Body = http.NoBody
		return nil
	}
	content, refused := readBody(w, r)
	if refused != nil {
		return refused
	}
	r.Body = io.NopCloser(bytes.NewReader(content))
	if mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || mediaType != "application/json" {
		p := invalid("The body must be JSON: send the header Content-Type: application/json")
		p.Status = http.StatusUnsupportedMediaType
		return p
	}
	if wrong := decodeStrictly(content, into()); wrong != "" {
		return invalid(wrong)
	}
	return nil
}

// readBody reads the whole body, which has as long to come as the answer.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, *problem.Problem) {
	controller := http.NewResponseController(w)
	_ = controller.SetReadDeadline(time.Now().Add(requestTimeout)) // without one the connection's own limits hold
	content, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBodyBytes))
	_ = controller.SetReadDeadline(time.Time{})
	var network net.Error
	tooLarge, isTooLarge := errors.AsType[*http.MaxBytesError](err)
	switch {
	case isTooLarge:
		return nil, problem.RequestTooLarge(tooLarge.Limit)
	case errors.As(err, &network) && network.Timeout():
		return nil, problem.RequestTimeout
	case err != nil:
		return nil, problem.RequestRefused("The body is not framed as its Content-Length or Transfer-Encoding says.")
	}
	return content, nil
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
