package examplebackend

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// document is what the tests need of openapi.json.
type document struct {
	OpenAPI    string
	Paths      map[string]map[string]json.RawMessage // by path and, mostly, method
	Components struct {
		Responses map[string]documentedResponse
		Schemas   map[string]schema
	}

	operations map[string]operation // by route, such as "GET /healthz"
	router     *http.ServeMux       // finds the route of a request
}

type operation struct {
	OperationID string
	Security    *[]map[string][]string
	Responses   map[string]documentedResponse // by status
}

type documentedResponse struct {
	Ref     string                             `json:"$ref"`
	Content map[string]struct{ Schema schema } // by media type
}

type schema struct {
	Ref        string `json:"$ref"`
	Type       string
	Required   []string
	Properties map[string]schema
	Items      *schema
	Examples   []json.RawMessage
}

func readDocument(t *testing.T) document {
	t.Helper()
	doc := document{operations: map[string]operation{}, router: http.NewServeMux()}
	if err := json.Unmarshal(openAPIDocument, &doc); err != nil {
		t.Fatalf("openapi.json: %v", err)
	}
	for path, item := range doc.Paths {
		for method, raw := range item {
			if method == "parameters" {
				continue
			}
			var op operation
			if err := json.Unmarshal(raw, &op); err != nil {
				t.Fatalf("openapi.json: %s %s: %v", method, path, err)
			}
			pattern := strings.ToUpper(method) + " " + path
			doc.operations[pattern] = op
			doc.router.Handle(pattern, http.NotFoundHandler())
		}
	}
	return doc
}

// check reports an answer that the document does not announce.
func (d document) check(t *testing.T, req *http.Request, got answer) {
	t.Helper()
	_, pattern := d.router.Handler(httptest.NewRequest(req.Method, req.URL.RequestURI(), nil))
	op, known := d.operations[pattern]
	if !known {
		if got.status != http.StatusNotFound && got.status != http.StatusMethodNotAllowed {
			t.Errorf("%s %s is not in openapi.json, yet answers %d", req.Method, req.URL.Path, got.status)
		}
		return
	}
	response, known := op.Responses[strconv.Itoa(got.status)]
	if !known {
		t.Errorf("openapi.json does not say that %s may answer %d", pattern, got.status)
	}
	if name, isRef := strings.CutPrefix(response.Ref, "#/components/responses/"); isRef {
		response = d.Components.Responses[name]
	}
	contentType := got.header.Get("Content-Type")
	content, known := response.Content[contentType]
	if !known && (contentType != "" || len(response.Content) > 0) {
		t.Errorf("openapi.json does not say that %s may answer %d with %q", pattern, got.status, contentType)
	}
	if strings.HasSuffix(contentType, "json") && req.Method != http.MethodHead {
		d.conforms(t, content.Schema, decode[any](t, got.body), pattern)
	}
}

// conforms checks the types of a value and that its members are just those that
// the schema has.
func (d document) conforms(t *testing.T, s schema, value any, at string) {
	t.Helper()
	if name, isRef := strings.CutPrefix(s.Ref, "#/components/schemas/"); isRef {
		s = d.Components.Schemas[name]
	}
	var ok bool
	switch v := value.(type) {
	case map[string]any:
		ok = s.Type == "object"
		if s.Properties == nil {
			break
		}
		for name, member := range v {
			if _, known := s.Properties[name]; !known {
				t.Errorf("%s.%s is not in openapi.json", at, name)
			}
			d.conforms(t, s.Properties[name], member, at+"."+name)
		}
		for _, name := range s.Required {
			if _, has := v[name]; !has {
				t.Errorf("%s.%s is missing", at, name)
			}
		}
	case []any:
		ok = s.Type == "array"
		for _, item := range v {
			d.conforms(t, *s.Items, item, at+"[]")
		}
	case string:
		ok = s.Type == "string"
	case float64:
		ok = s.Type == "integer"
	}
	if !ok {
		t.Errorf("%s is %v, but openapi.json says %q", at, value, s.Type)
	}
}

func TestDocumentIsServed(t *testing.T) {
	a := newAPI(t)
	got := a.call(nobody, "GET", "/openapi.json", "")
	a.want(got, http.StatusOK)
	if got.body != string(openAPIDocument) || !strings.HasPrefix(a.doc.OpenAPI, "3.1.") {
		t.Error("the answer is not openapi.json, or that is not OpenAPI 3.1")
	}
}

func TestRoutesAreThoseOfTheDocument(t *testing.T) {
	var served []string
	for _, rt := range new(backend).routes() {
		served = append(served, rt.method+" "+rt.path)
	}
	slices.Sort(served)
	documented := slices.Sorted(maps.Keys(readDocument(t).operations))
	if !slices.Equal(served, documented) {
		t.Errorf("served:\n%s\ndocumented:\n%s", strings.Join(served, "\n"), strings.Join(documented, "\n"))
	}
}

func TestOperationIDsAreUnique(t *testing.T) {
	seen := map[string]string{}
	for pattern, op := range readDocument(t).operations {
		if other, twice := seen[op.OperationID]; twice || op.OperationID == "" {
			t.Errorf("%s: operationId %q is empty or that of %s too", pattern, op.OperationID, other)
		}
		seen[op.OperationID] = pattern
	}
}

// The document says which scopes an operation needs. Calls with and without them
// show that the backend agrees.
func TestScopesAreThoseOfTheDocument(t *testing.T) {
	for pattern, op := range readDocument(t).operations {
		t.Run(pattern, func(t *testing.T) {
			a := newAPI(t)
			method, path, _ := strings.Cut(pattern, " ")
			path = strings.ReplaceAll(path, "{id}", orderID("acme", 1))
			if strings.HasSuffix(path, "/events") {
				path += "?count=1"
			}
			status := func(as identity) int {
				return a.call(as, method, path, `{"customer":"Ada","item":"Pen","quantity":1}`).status
			}
			if op.Security == nil {
				t.Fatal("the operation does not say whether it needs a token")
			}
			if len(*op.Security) == 0 {
				if got := status(nobody); got != http.StatusOK {
					t.Errorf("status without an identity = %d", got)
				}
				return
			}
			if got := status(nobody); got != http.StatusUnauthorized {
				t.Errorf("status without an identity = %d", got)
			}
			scopes := (*op.Security)[0]["apiToken"]
			for _, scope := range scopes {
				others := strings.Replace(acme.scopes, scope, "", 1) + " " + scope + "x"
				if got := status(identity{"acme", others}); got != http.StatusForbidden {
					t.Errorf("status without the scope %s = %d", scope, got)
				}
			}
			if got := status(identity{"acme", strings.Join(scopes, " ")}); got/100 != 2 {
				t.Errorf("status with just the scopes %q = %d", scopes, got)
			}
		})
	}
}

// Who tries the docs as the tenant acme finds the order that they show.
func TestExampleOrderIsReal(t *testing.T) {
	a := newAPI(t)
	example := decode[order](t, string(a.doc.Components.Schemas["Order"].Examples[0]))
	if got := get[order](a, acme, "/api/v1/orders/"+example.ID); got != example {
		t.Errorf("order = %+v, openapi.json has %+v", got, example)
	}
}
