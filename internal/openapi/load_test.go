package openapi_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/openapi"
)

const head = "openapi: 3.1.0\ninfo: {title: Orders, version: '1', contact: {email: a@example.com}, license: {name: MIT, identifier: MIT}}\n"

func load(t *testing.T, source string) *openapi.Document {
	t.Helper()
	d, err := openapi.Load([]byte(source))
	if err != nil {
		t.Fatalf("%v\n%s", err, source)
	}
	return d
}

func TestLoad(t *testing.T) {
	d := load(t, head+`
servers: [{url: "https://{host}/api/{v}/", variables: {host: {default: x.example.com}, v: {default: v1}}}]
components: {securitySchemes: {o: {type: oauth2, flows: {implicit: {authorizationUrl: /a, scopes: {"orders:read": See orders}}}}}}
paths:
  /orders/{id}:
    x-note: 1
    get: {operationId: getOrder, summary: One, description: An order, tags: [a, b], deprecated: true, security: [{o: ["orders:read"]}]}
    delete: {security: [{o: ["orders:write"]}]}
`)
	if d.Title != "Orders" || d.Version != "1" || d.Contact.Email != "a@example.com" || d.License.Identifier != "MIT" {
		t.Errorf("%+v", d)
	}
	want := openapi.Operation{Method: "GET", Path: "/api/v1/orders/{id}", ID: "getOrder", Summary: "One", Description: "An order",
		Tags: []string{"a", "b"}, Deprecated: true, Scopes: [][]string{{"orders:read"}}}
	if len(d.Operations) != 2 || !reflect.DeepEqual(*d.Operations[0], want) {
		t.Errorf("%+v", d.Operations)
	}
	if want := []openapi.Scope{{Name: "orders:read", Description: "See orders"}, {Name: "orders:write"}}; !reflect.DeepEqual(d.Scopes, want) {
		t.Errorf("scopes: %+v", d.Scopes)
	}
}

func TestScopes(t *testing.T) {
	cases := map[string]struct {
		root, operation string
		public          bool
		want            string
	}{
		"nothing said: any token":                {"", "{}", false, "[]"},
		"the root's security":                    {"security: [{o: [a]}]", "{}", false, "[[a]]"},
		"its own wins":                           {"security: [{o: [a]}]", "{security: [{o: [b]}]}", false, "[[b]]"},
		"alternatives":                           {"", "{security: [{o: [a]}, {o: [b, c]}]}", false, "[[a] [b c]]"},
		"several schemes at once":                {"", "{security: [{o: [a, b], p: [b, c]}]}", false, "[[a b c]]"},
		"one that asks for none":                 {"", "{security: [{o: [a]}, {key: []}]}", false, "[]"},
		"public":                                 {"security: [{o: [a]}]", "{security: []}", true, "[]"},
		"public is one of them":                  {"", "{security: [{o: [a]}, {}]}", true, "[]"},
		"the root is public":                     {"security: []", "{}", true, "[]"},
		"extension wins":                         {"security: [{o: [a]}]", "{security: [{o: [b]}], x-latchkey-scopes: [c, d]}", false, "[[c d]]"},
		"extension with alternatives":            {"", "{x-latchkey-scopes: [[a], [b, c]]}", false, "[[a] [b c]]"},
		"extension that asks for none":           {"security: [{o: [a]}]", "{x-latchkey-scopes: []}", false, "[]"},
		"extension closes what is public":        {"", "{security: [], x-latchkey-scopes: [a]}", false, "[[a]]"},
		"the root's extension":                   {"x-latchkey-scopes: [a]\nsecurity: [{o: [b]}]", "{}", false, "[[a]]"},
		"its own scopes before the root's":       {"x-latchkey-scopes: [a]", "{security: [{o: [b]}]}", false, "[[b]]"},
		"none of its own do not undo the root's": {"x-latchkey-scopes: [a]", "{security: [{key: []}]}", false, "[[a]]"},
		"public in spite of the root's":          {"x-latchkey-scopes: [a]", "{security: []}", true, "[]"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			o := load(t, head+c.root+"\npaths: {/x: {get: "+c.operation+"}}").Operations[0]
			if got := fmt.Sprint(o.Scopes); got != c.want || o.Public != c.public {
				t.Errorf("scopes %s, public %t; want %s, %t", got, o.Public, c.want, c.public)
			}
		})
	}
}

func TestLoadErrors(t *testing.T) {
	long := strings.Repeat("a", 65)
	var many strings.Builder
	for i := range 257 {
		fmt.Fprintf(&many, "s%d,", i)
	}
	cases := []struct{ source, pointer, message string }{
		{"[]", "", "is an object"},
		{"a: 1", "/openapi", "the version is missing"},
		{"swagger: '2.0'", "/swagger", "Swagger 2.0"},
		{"openapi: 3.1", "/openapi", "put it in quotes"},
		{"openapi: 3.2.0", "/openapi", "not supported"},
		{"openapi: 4.0.0", "/openapi", "not supported"},
		{head + "servers: [{url: v1}]", "/servers/0/url", "begin it with a slash"},
		{head + "servers: [{url: 'https://{x}/'}]", "/servers/0/url", "{x} has no default"},
		{head + "servers: [{url: '/a?b'}]", "/servers/0/url", "no query"},
		{head + "servers: [{url: '/a/../b'}]", "/servers/0/url", "of dots"},
		{head + "paths: {x: {}}", "/paths/x", "begin with a slash"},
		{head + "paths: {/a//b: {}}", "/paths/~1a~1~1b", "empty segment"},
		{head + "paths: {'/a?b=c': {}}", "/paths/~1a?b=c", "no ?"},
		{head + "paths: {'/{a': {}}", "/paths/~1{a", "a { without"},
		{head + "paths: {'/a}': {}}", "/paths/~1a}", "a } without"},
		{head + "paths: {'/{a}{b}': {}}", "/paths/~1{a}{b}", "nothing between"},
		{head + "paths: {'/a%2Fb': {}}", "/paths/~1a%2Fb", "percent sign"},
		{head + "paths: {'/{a}/x': {}, '/{b}/x': {}}", "/paths/~1{b}~1x", "the same as /{a}/x"},
		{head + "paths: {'/a': {}, '/%61': {}}", "/paths/~1%61", "the same as /a"},
		{head + "paths: {/a: 1}", "/paths/~1a", "must be an object"},
		{head + "paths: {/a: {get: 1}}", "/paths/~1a/get", "must be an object"},
		{head + "paths: {/a: {$ref: 'http://x/y'}}", "/paths/~1a/$ref", "no path item of this document"},
		{head + "paths: {/a: {$ref: '#/paths/~1a'}}", "/paths/~1a/$ref", "on and on"},
		{head + "paths: {/a: {get: {security: [{o: [A]}]}}}", "/paths/~1a/get/security/0/o/0", "can't be a scope"},
		{head + "paths: {/a: {get: {x-latchkey-scopes: [" + long + "]}}}", "/paths/~1a/get/x-latchkey-scopes/0", "longer than 64"},
		{head + "paths: {/a: {get: {x-latchkey-scopes: {a: b}}}}", "/paths/~1a/get/x-latchkey-scopes", "a list of scopes"},
		{head + "paths: {/a: {get: {x-latchkey-scopes: [" + many.String() + "]}}}", "/paths/~1a/get/x-latchkey-scopes/256", "more than 256"},
	}
	for _, c := range cases {
		_, err := openapi.Load([]byte(c.source))
		var e *openapi.Error
		if !errors.As(err, &e) || e.Pointer != c.pointer || !strings.Contains(e.Message, c.message) {
			t.Errorf("%.150s\n%v\nwant %s: %s", c.source, err, c.pointer, c.message)
		}
	}
}

func TestTooManyOperations(t *testing.T) {
	var b strings.Builder
	b.WriteString(head + "paths:\n")
	for i := range openapi.MaxOperations/2 + 1 {
		fmt.Fprintf(&b, "  /p%d: {get: {}, put: {}}\n", i)
	}
	if _, err := openapi.Load([]byte(b.String())); err == nil || !strings.Contains(err.Error(), "more than 5000 operations") {
		t.Errorf("%v", err)
	}
}

// Path items that refer to a large one would make much of little.
func TestCopiedPathItemsAreBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString(head + "paths:\n  /a: {description: " + strings.Repeat("x", 1<<20) + "}\n")
	for i := range 1000 {
		fmt.Fprintf(&b, "  /b%d: {$ref: '#/paths/~1a'}\n", i)
	}
	if _, err := openapi.Load([]byte(b.String())); err == nil || !strings.Contains(err.Error(), "make the document too large") {
		t.Errorf("%.200v", err)
	}
}

// FuzzLoad: nothing makes it panic, and what it takes is written as JSON that is
// the same document.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(head + "paths: {'/a/{x}': {get: {security: [{o: [a]}, {}]}}, /b: {$ref: '#/paths/~1a~1{x}'}}"))
	f.Add([]byte(`{"openapi":"3.0.3","servers":[{"url":"/v1"}],"x-latchkey-scopes":[["a"],["b"]],"paths":{"/x":{"put":{}}}}`))
	f.Fuzz(func(t *testing.T, source []byte) {
		d, err := openapi.Load(source)
		if err != nil {
			return
		}
		again, err := openapi.Load(d.JSON())
		if err != nil {
			t.Fatalf("%v\n%s", err, d.JSON())
		}
		if !reflect.DeepEqual(d.Operations, again.Operations) {
			t.Fatalf("%+v\n%+v", d.Operations, again.Operations)
		}
	})
}
