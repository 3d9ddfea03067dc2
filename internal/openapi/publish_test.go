package openapi_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/openapi"
	"github.com/latchkey-dev/latchkey/internal/openapi/check"
	"github.com/latchkey-dev/latchkey/internal/openapi/tree"
	"github.com/latchkey-dev/latchkey/internal/problem"
)

const origin = "https://acme.example.com"

func options(t testing.TB) openapi.Options {
	t.Helper()
	api, err := os.ReadFile("../portal/tokenapi/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return openapi.Options{BasePath: "/api/v1", TokenAPI: api, ProblemBase: "https://latchkey.dev/errors#"}
}

// published is what becomes of a document, as a tree.
func published(t *testing.T, source string, o openapi.Options) (*tree.Node, []string) {
	t.Helper()
	p, findings := load(t, source).Publish(o)
	n, err := tree.Parse(p.JSON(origin).Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return n, findings
}

func at(t *testing.T, n *tree.Node, pointer string) string {
	t.Helper()
	found := n.Resolve(pointer)
	if found == nil {
		return ""
	}
	return strings.TrimSpace(string(found.JSON().Prefix))
}

// big is a document of a product's size.
func big(version string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "openapi: %s\ninfo: {title: Big, version: '2'}\nservers: [{url: /api/v1}]\n", version)
	b.WriteString("components:\n  securitySchemes: {o: {type: oauth2, flows: {clientCredentials: {tokenUrl: /t, scopes: {read: Read, write: Write}}}}}\n")
	b.WriteString("  responses: {OK: {description: Fine}}\n  schemas:\n    Thing: {type: object, properties: {id: {type: integer}, next: {$ref: '#/components/schemas/Thing'}}}\npaths:\n")
	for i := range 300 {
		fmt.Fprintf(&b, `  /things%d/{id}:
    parameters: [{name: id, in: path, required: true, schema: {type: string}}]
    get:
      operationId: getThing%d
      description: |
        Reads one.

        In two paragraphs.
      security: [{o: [read]}, {o: [write, read]}]
      responses: {"200": {$ref: '#/components/responses/OK'}}
    put:
      security: [{o: [write]}]
      requestBody: {content: {application/json: {schema: {$ref: '#/components/schemas/Thing'}}}}
      responses: {"201": {description: Made, content: {application/json: {schema: {$ref: '#/components/schemas/Thing'}}}}, "401": {description: Theirs}}
    delete: {security: [], responses: {"204": {description: Gone}}}
`, i, i)
	}
	return b.String()
}

func bigJSON(t *testing.T, version string) string {
	t.Helper()
	n, err := tree.Parse([]byte(big(version)))
	if err != nil {
		t.Fatal(err)
	}
	return string(n.JSON().Prefix)
}

// What is published is an OpenAPI document, to two validators that share nothing,
// and says of the product's operations what the product's said.
func TestPublishedIsValid(t *testing.T) {
	example, err := os.ReadFile("../testing/examplebackend/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for name, source := range map[string]string{"example": string(example), "3.0 YAML": big("3.0.3"), "3.1 JSON": bigJSON(t, "3.1.0")} {
		for _, anonymous := range []bool{false, true} {
			o := options(t)
			o.AllowAnonymous = anonymous
			d := load(t, source)
			p, _ := d.Publish(o)
			for form, r := range map[string]*openapi.Rendering{"json": p.JSON(origin), "yaml": p.YAML(origin)} {
				if err := check.Check(r.Bytes()); err != nil {
					t.Errorf("%s as %s: %v", name, form, err)
				}
				file := filepath.Join(t.TempDir(), "openapi."+form)
				if err := os.WriteFile(file, r.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
				files = append(files, file)
				sameAccess(t, d, load(t, string(r.Bytes())), anonymous)
			}
		}
	}
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"run", "-buildvcs=false", "."}, files...)...)
	cmd.Dir = filepath.Join("..", "..", "hack", "tools", "openapi-validate")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, output)
	}
}

func sameAccess(t *testing.T, before, after *openapi.Document, anonymous bool) {
	t.Helper()
	found := map[string]*openapi.Operation{}
	for _, o := range after.Operations {
		found[o.Method+o.Path] = o
	}
	for _, want := range before.Operations {
		if !strings.HasPrefix(want.Path, "/api/v1/") {
			continue
		}
		got := found[want.Method+want.Path]
		if got == nil || got.Public != (want.Public && anonymous) || !reflect.DeepEqual(got.Scopes, want.Scopes) {
			t.Fatalf("%+v\nbecame %+v", want, got)
		}
	}
}

const limitHeaders = `"RateLimit":{"$ref":"#/components/headers/LatchkeyRateLimit"},"RateLimit-Policy":{"$ref":"#/components/headers/LatchkeyRateLimitPolicy"}`

// Every call can be answered by Latchkey itself, where the product's document does
// not give the status another meaning.
func TestAnswersOfEveryOperation(t *testing.T) {
	n, _ := published(t, head+`
paths:
  /api/v1/x:
    get: {responses: {'200': {description: ok}, '404': {description: Mine}}}
    post: {requestBody: {content: {text/plain: {}}}, responses: {'200': {description: ok}}}
`, options(t))
	always := []string{"400", "401", "403", "421", "429", "500", "502", "503", "504"}
	for method, more := range map[string][]string{"get": nil, "post": {"404", "408", "413"}} {
		responses := n.Resolve("/paths/~1api~1v1~1x/" + method + "/responses")
		var ours []string
		for _, m := range responses.Members {
			if strings.HasPrefix(m.Value.Get("$ref").String(), "#/components/responses/Latchkey") {
				ours = append(ours, m.Key)
			}
		}
		want := append(slices.Clone(always), more...)
		slices.Sort(ours)
		slices.Sort(want)
		if !slices.Equal(ours, want) {
			t.Errorf("%s: %q, want %q", method, ours, want)
		}
	}
	unavailable := at(t, n, "/components/responses/LatchkeyUnavailable/description")
	for _, code := range []string{problem.CodeStale, problem.CodeDocumentUnavailable} {
		if !strings.Contains(unavailable, "`https://latchkey.dev/errors#"+code+"`") {
			t.Errorf("503 does not name %s: %s", code, unavailable)
		}
	}
}

func TestPublish(t *testing.T) {
	const paths = `
servers: [{url: /api/v1}, {url: 'https://other.example.net'}]
jsonSchemaDialect: https://json-schema.org/draft/2020-12/schema
tags: [{name: tokens, description: theirs}]
externalDocs: {url: https://docs.example.com}
security: [{key: []}]
components:
  securitySchemes: {key: {type: apiKey, in: header, name: X-Key}, hook: {type: http, scheme: basic}, latchkeyToken: {type: http, scheme: basic}}
  schemas: {LatchkeyProblem: {type: string}}
  responses: {Found: {description: It, headers: {latchkey-token-expires: {schema: {type: string}}}}}
webhooks: {made: {post: {security: [{hook: []}, {latchkeyToken: []}], responses: {'200': {description: ok}}}}}
paths:
  /orders:
    servers: [{url: /elsewhere}]
    get: {operationId: getToken, security: [{key: [a, b]}], responses: {'200': {$ref: '#/components/responses/Found'}, '401': {description: Mine}}}
    post: {security: [], responses: {2XX: {description: ok}}}
  /tokens/{x}: {get: {responses: {}}}
  /openapi.json: {get: {responses: {}}}
`
	n, findings := published(t, head+paths, options(t))
	for pointer, want := range map[string]string{
		"/servers":                           `[{"url":"https://acme.example.com/api/v1"}]`,
		"/jsonSchemaDialect":                 ``,
		"/security":                          ``,
		"/externalDocs/url":                  `"https://docs.example.com"`,
		"/paths/~1orders/servers":            ``,
		"/paths/~1orders/get/security":       `[{"latchkeyToken2":["a","b"]}]`,
		"/paths/~1orders/get/description":    "\"The token needs the scopes `a` and `b`.\"",
		"/paths/~1orders/post/security":      `[{"latchkeyToken2":[]}]`,
		"/paths/~1orders/get/responses/401":  `{"description":"Mine"}`,
		"/paths/~1orders/post/responses/401": `{"$ref":"#/components/responses/LatchkeyUnauthorized"}`,
		"/paths/~1orders/post/responses/2XX/headers/Latchkey-Token-Expires":                   `{"$ref":"#/components/headers/LatchkeyTokenExpires"}`,
		"/components/responses/Found/headers":                                                 `{"latchkey-token-expires":{"schema":{"type":"string"}},"Latchkey-Token-Days-Left":{"$ref":"#/components/headers/LatchkeyTokenDaysLeft"},` + limitHeaders + `}`,
		"/components/schemas/LatchkeyProblem":                                                 `{"type":"string"}`,
		"/components/schemas/LatchkeyProblem2/type":                                           `"object"`,
		"/components/securitySchemes/key":                                                     ``,
		"/components/securitySchemes/hook/scheme":                                             `"basic"`,
		"/components/securitySchemes/latchkeyToken2/name":                                     `"Authorization"`,
		"/components/securitySchemes/latchkeyKubernetes/scheme":                               `"bearer"`,
		"/components/responses/LatchkeyUnauthorized/headers":                                  `{"WWW-Authenticate":{"$ref":"#/components/headers/LatchkeyAuthenticate"}}`,
		"/components/responses/LatchkeyTooManyRequests/headers":                               `{"Retry-After":{"$ref":"#/components/headers/LatchkeyRetryAfter"},` + limitHeaders + `}`,
		"/components/responses/LatchkeyProblem/content/application~1problem+json/schema/$ref": `"#/components/schemas/LatchkeyProblem2"`,
		"/paths/~1tokens~1{x}":                                                                ``,
		"/paths/~1openapi.json":                                                               ``,
		"/paths/~1token/get/operationId":                                                      `"getToken2"`,
		"/paths/~1tokens/get/security":                                                        `[{"latchkeyToken2":[]},{"latchkeyKubernetes":[]}]`,
		"/tags/0/description":                                                                 `"theirs"`,
		"/tags/1/name":                                                                        `"token"`,
		"/tags/2":                                                                             ``,
	} {
		if got := at(t, n, pointer); got != want {
			t.Errorf("%s is %s\nwant %s", pointer, got, want)
		}
	}
	told := strings.Join(findings, "\n")
	for _, want := range []string{
		"/paths/~1orders/servers is ignored", "/paths/~1tokens~1{x} is left out", "/paths/~1openapi.json is left out", "/paths/~1orders/post is public",
		"/components/securitySchemes/latchkeyToken is", "/components/schemas/LatchkeyProblem is", "The operationId getToken is",
	} {
		if !strings.Contains(told, want) {
			t.Errorf("%q is not told:\n%s", want, told)
		}
	}
}

// Where the paths of the published server begin, by the document's and the base.
func TestPublishedServer(t *testing.T) {
	for server, want := range map[string][2]string{
		"/":            {origin, "/api/v1/x"},
		"/api":         {origin + "/api", "/v1/x"},
		"/api/v1":      {origin + "/api/v1", "/x"},
		"/api/v1/shop": {origin, "/api/v1/shop/x"},
	} {
		prefix := strings.TrimPrefix("/api/v1/x", strings.TrimSuffix(server, "/"))
		if server == "/api/v1/shop" {
			prefix = "/x"
		}
		n, findings := published(t, head+"servers: [{url: "+server+"}]\npaths: {"+prefix+": {get: {responses: {}}}}", options(t))
		if got := n.Resolve("/servers/0/url").String(); got != want[0] || n.Get("paths").Get(want[1]) == nil || len(findings) > 0 {
			t.Errorf("%s: %s, %s %q", server, got, n.Get("paths").JSON().Prefix, findings)
		}
	}
}

// What refers to a path that is left out, or that has another key, still means
// the same.
func TestReferencesToPaths(t *testing.T) {
	n, _ := published(t, head+`
paths:
  /out: {get: {operationId: out, responses: {'200': {description: O, content: {application/json: {schema: {type: object}}}}}}}
  /api/v1/x:
    get:
      responses:
        '200':
          description: X
          content: {application/json: {schema: {$ref: '#/paths/~1out/get/responses/200/content/application~1json/schema'}}}
          links: {a: {operationId: out}, b: {operationRef: '#/paths/~1out/get'}, c: {operationRef: '#/paths/~1api~1v1~1x/get'}}
`, options(t))
	const response = "/paths/~1api~1v1~1x/get/responses/200"
	if got := at(t, n, response+"/content/application~1json/schema"); got != `{"type":"object"}` {
		t.Error(got)
	}
	if got := at(t, n, response+"/links"); got != `{"c":{"operationRef":"#/paths/~1api~1v1~1x/get"}}` {
		t.Error(got)
	}
}

// The compressed form is one member that any reader of gzip takes.
func TestGzip(t *testing.T) {
	small, _ := load(t, head+"servers: [{url: /api/v1}]\npaths: {/x: {get: {responses: {}}}}").Publish(options(t))
	for _, o := range []string{origin, "", "x", strings.Repeat("https://long.example.com", 5000), "quote\"\\\n"} {
		wantGzip(t, small.JSON(o), o)
		wantGzip(t, small.YAML(o), o)
	}
	p, _ := load(t, big("3.1.0")).Publish(options(t))
	wantGzip(t, p.JSON(origin), origin)
	wantGzip(t, p.YAML(origin), origin)
	if len(p.JSON(origin).Gzip())*4 > len(p.JSON(origin).Bytes()) {
		t.Error("it is hardly compressed")
	}
	if path, err := exec.LookPath("gzip"); err == nil {
		cmd := exec.CommandContext(t.Context(), path, "-dc")
		cmd.Stdin = bytes.NewReader(p.JSON(origin).Gzip())
		if text, err := cmd.Output(); err != nil || !json.Valid(text) {
			t.Errorf("gzip -dc: %v", err)
		}
	}
}

// wantGzip wants the compressed form to be the document, with the origin in its server.
func wantGzip(t *testing.T, r *openapi.Rendering, origin string) {
	t.Helper()
	reader, err := gzip.NewReader(bytes.NewReader(r.Gzip()))
	if err != nil {
		t.Fatal(err)
	}
	reader.Multistream(false)
	text, err := io.ReadAll(reader)
	if err != nil || !bytes.Equal(text, r.Bytes()) {
		t.Errorf("%.30q: %v", origin, err)
	}
	n, err := tree.Parse(r.Bytes())
	if err != nil || n.Resolve("/servers/0/url").String() != origin+"/api/v1" {
		t.Errorf("%.30q: %v", origin, err)
	}
}

func TestServeHTTP(t *testing.T) {
	p, _ := load(t, head+"paths: {}").Publish(options(t))
	get := func(r *openapi.Rendering, method string, headers ...string) *http.Response {
		request := httptest.NewRequest(method, "/", nil)
		for i := 0; i < len(headers); i += 2 {
			request.Header.Add(headers[i], headers[i+1])
		}
		w := httptest.NewRecorder()
		r.ServeHTTP(w, request)
		return w.Result()
	}
	r := p.JSON(origin)
	plain := get(r, "GET")
	if plain.Header.Get("Content-Type") != "application/json" || plain.Header.Get("Content-Encoding") != "" || plain.Header.Get("Vary") != "Accept-Encoding" {
		t.Errorf("%v", plain.Header)
	}
	for accept, want := range map[string]bool{
		"gzip": true, "br, GZIP;q=0.5": true, "*": true, "gzip;q=0": false, "*;q=0": false, "br": false, "gzip;q=0, *": false, "identity": false,
	} {
		answer := get(r, "GET", "Accept-Encoding", accept)
		if got := answer.Header.Get("Content-Encoding") == "gzip"; got != want {
			t.Errorf("%s: %t", accept, got)
		}
		body, _ := io.ReadAll(answer.Body)
		if fmt.Sprint(len(body)) != answer.Header.Get("Content-Length") || answer.Header.Get("ETag") != r.ETag(want) {
			t.Errorf("%s: %v", accept, answer.Header)
		}
	}
	if head := get(r, "HEAD"); head.Header.Get("Content-Length") != plain.Header.Get("Content-Length") {
		t.Errorf("HEAD: %v", head.Header)
	}
	for value, want := range map[string]int{r.ETag(false): 304, "W/" + r.ETag(false): 304, `"a", ` + r.ETag(false): 304, "*": 304, r.ETag(true): 200, `"a"`: 200} {
		if got := get(r, "GET", "If-None-Match", value).StatusCode; got != want {
			t.Errorf("%s: %d", value, got)
		}
	}
	if r.ETag(false) == p.JSON("https://b.example.com").ETag(false) || r.ETag(false) == p.YAML(origin).ETag(false) || r.ETag(false) != p.JSON(origin).ETag(false) {
		t.Error("ETags don't tell documents apart")
	}
}
