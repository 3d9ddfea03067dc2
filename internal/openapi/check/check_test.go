package check_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/openapi"
	"github.com/latchkey-dev/latchkey/internal/openapi/check"
)

const head = "openapi: 3.1.0\ninfo: {title: T, version: '1'}\n"

func TestCheckAccepts(t *testing.T) {
	example, err := os.ReadFile("../../testing/examplebackend/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	for name, source := range map[string]string{
		"the example":       string(example),
		"3.0":               "openapi: 3.0.4\ninfo: {title: T, version: '1'}\npaths: {}",
		"3.1's path items":  head + "components: {pathItems: {p: {get: {responses: {'200': {description: ok}}}}}}\npaths: {/x: {$ref: '#/components/pathItems/p'}}",
		"3.1's webhooks":    head + "webhooks: {w: {post: {responses: {'200': {description: ok}}}}}",
		"a $ref in example": head + "components: {schemas: {S: {type: object, example: {$ref: 'http://x.invalid/'}}}}\npaths: {}",
		"unquoted codes":    head + "paths: {/x: {get: {responses: {200: {description: ok}}}}}",
		"ECMA's patterns":   head + "components: {schemas: {S: {type: string, pattern: '^(?!a).*$'}}}\npaths: {}",
	} {
		if err := check.Check([]byte(source)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCheckRefuses(t *testing.T) {
	cases := map[string]struct {
		source, pointer string
		line            int
		message         string
	}{
		"nothing":          {"", "", 0, "empty"},
		"3.2":              {"openapi: 3.2.0\ninfo: {title: T, version: '1'}\npaths: {}", "/openapi", 1, "not supported"},
		"a key twice":      {head + "paths: {}\npaths: {}", "/paths", 4, "twice, first in line 3"},
		"no info":          {"openapi: 3.1.0\npaths: {}", "", 1, "info: must be an object"},
		"no description":   {head + "paths:\n  /x:\n    get:\n      responses:\n        '200': {}", "/paths/~1x/get", 6, "description"},
		"dangling":         {head + "paths: {/x: {get: {responses: {'200': {$ref: '#/components/responses/N'}}}}}", "", 0, "N"},
		"an external file": {head + "paths:\n  /x:\n    get: {responses: {'200': {$ref: 'a.yaml'}}}", "/paths/~1x/get/responses/200/$ref", 5, "leads out of the document"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			err := check.Check([]byte(c.source))
			var all *check.Errors
			if !errors.As(err, &all) || len(all.First) == 0 {
				t.Fatalf("%v", err)
			}
			e := all.First[0]
			if e.Pointer != c.pointer || c.line != 0 && e.Line != c.line || !strings.Contains(e.Message, c.message) {
				t.Errorf("%+v", e)
			}
		})
	}
}

// No document makes a request, whatever in it is a URL.
func TestCheckReadsNothing(t *testing.T) {
	asked := make(chan string, 100)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r.URL.Path }))
	defer server.Close()
	const use = "paths: {/x: {get: {responses: {'200': {description: ok, content: {application/json: {schema: %s}}}}}}}"
	for name, schema := range map[string]string{
		"$ref":          "{$ref: 'URL/ref'}",
		"$ref in a $id": "{$id: 'URL/id', properties: {a: {$ref: '#/$defs/b'}}, $defs: {b: {type: string}}}",
		"$schema":       "{$schema: 'URL/schema', type: string}",
		"$dynamicRef":   "{$dynamicRef: 'URL/dynamic'}",
		"allOf":         "{allOf: [{$ref: 'URL/all#/a'}]}",
		"discriminator": "{oneOf: [{type: object}], discriminator: {propertyName: p, mapping: {a: 'URL/mapping'}}}",
		"default":       "{properties: {default: {$ref: 'URL/default'}, enum: {$ref: 'URL/enum'}}}",
		"x-":            "{x-a: {$ref: 'URL/x'}, type: string}",
		"externalDocs":  "{externalDocs: {url: 'URL/docs'}, default: 1, type: string}",
	} {
		err := check.Check([]byte(strings.ReplaceAll(head+fmt.Sprintf(use, schema), "URL", server.URL)))
		select {
		case path := <-asked:
			t.Errorf("%s: %s was asked for", name, path)
		default:
		}
		if err == nil && (name == "$ref" || name == "allOf" || name == "default") {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestErrorsAreBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString(head + "paths:\n")
	for i := range 50 {
		fmt.Fprintf(&b, "  /%s%d: {get: {responses: {'200': {$ref: 'x%d'}}}}\n", strings.Repeat("é", 300), i, i)
	}
	err := check.Check([]byte(b.String()))
	var all *check.Errors
	if !errors.As(err, &all) || len(all.First) != 5 || all.Total != 50 {
		t.Fatalf("%v", err)
	}
	if text := err.Error(); len(text) > check.MaxMessage || !strings.HasSuffix(text, "and 45 more") || strings.Contains(text, "\ufffd") {
		t.Errorf("%d bytes: %s", len(text), text)
	}
}

// FuzzCheck: nothing makes it panic, what passes can be loaded, and what does not
// is told in bounds.
func FuzzCheck(f *testing.F) {
	f.Add([]byte(head + "paths: {/x: {get: {responses: {200: {description: ok}}}}}"))
	f.Add([]byte(`{"openapi":"3.0.0","info":{},"paths":{"/x":{"$ref":"#/paths/~1x"}}}`))
	f.Add([]byte(head + "components: {schemas: {S: {$ref: '#/components/schemas/S'}}}"))
	f.Fuzz(func(t *testing.T, source []byte) {
		if err := check.Check(source); err != nil {
			if text := err.Error(); text == "" || len(text) > check.MaxMessage {
				t.Fatalf("%d bytes", len(text))
			}
			return
		}
		if _, err := openapi.Load(source); err != nil {
			t.Fatal(err)
		}
	})
}
