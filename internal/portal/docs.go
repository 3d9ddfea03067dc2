package portal

import (
	"net/http"
	"strings"
	"sync"

	"github.com/latchkey-dev/latchkey/internal/directory"
	"github.com/latchkey-dev/latchkey/internal/openapi"
	"github.com/latchkey-dev/latchkey/internal/portal/reference"
	"github.com/latchkey-dev/latchkey/internal/portal/tokenapi"
	"github.com/latchkey-dev/latchkey/internal/problem"
	"github.com/latchkey-dev/latchkey/internal/surface"
)

// publication is an API's documentation, made ready once for all requests.
type publication struct {
	api       *directory.API
	once      sync.Once
	published *openapi.Published
	reference *reference.Reference
	err       error
}

// publications are those of the APIs, by their names.
type publications struct {
	mu    sync.Mutex
	byAPI map[string]*publication
}

// of is the documentation of an API as it is now. The directory makes another API of
// everything that changes one.
func (p *publications) of(api *directory.API) *publication {
	p.mu.Lock()
	defer p.mu.Unlock()
	if current, ok := p.byAPI[api.Name]; ok && current.api == api {
		return current
	}
	if p.byAPI == nil {
		p.byAPI = map[string]*publication{}
	}
	current := &publication{api: api}
	p.byAPI[api.Name] = current
	return current
}

// prepare does what is to be done once.
func (p *publication) prepare(problemBase string) error {
	p.once.Do(func() {
		p.published, _ = p.api.Document.Publish(openapi.Options{
			BasePath: p.api.BasePath, TokenAPI: tokenapi.Document, ProblemBase: problemBase, AllowAnonymous: p.api.AllowAnonymous,
		})
		p.reference, p.err = reference.New(referenceTo(p.api, problemBase))
	})
	return p.err
}

// referenceTo is what the page tells of an API.
func referenceTo(api *directory.API, problemBase string) reference.Document {
	document := api.Document
	shown := reference.Document{
		Title: document.Title, Version: document.Version, Description: document.Description,
		Contact:  reference.Contact(document.Contact),
		DocsPath: api.DocsPath, BasePath: api.BasePath,
		SpecPath: api.BasePath + surface.DocumentJSON, SpecYAMLPath: api.BasePath + surface.DocumentYAML,
		ProblemBase:     problemBase,
		DefaultLifetime: api.Policy.DefaultLifetime, MaxLifetime: api.Policy.MaxLifetime,
		NoticeDays: int(api.Policy.NoticeDays[0]),
	}
	if shown.Title == "" {
		shown.Title = "API" // a document without one is valid where its title is empty
	}
	for _, scope := range api.Scopes {
		shown.Scopes = append(shown.Scopes, reference.Scope(scope))
	}
	for _, o := range document.Served(api.BasePath) {
		shown.Operations = append(shown.Operations, operationOf(api, o))
	}
	return shown
}

func operationOf(api *directory.API, o *openapi.Operation) reference.Operation {
	shown := reference.Operation{
		Method: o.Method, Path: o.Path, Summary: o.Summary, Description: o.Description,
		Public: o.Public && api.AllowAnonymous, Deprecated: o.Deprecated, Scopes: o.Scopes,
	}
	if len(o.Tags) > 0 {
		shown.Tag = o.Tags[0]
	}
	return shown
}

// ServeDocs answers a request for documentation from somebody who may read it, or
// returns why not.
func (p *Portal) ServeDocs(w http.ResponseWriter, r *http.Request, c *Call) *problem.Problem {
	if c.API.Document == nil {
		return problem.DocumentUnavailable
	}
	published := p.publications.of(c.API)
	if err := published.prepare(p.config.ProblemBase); err != nil {
		return internal(err)
	}
	path := r.URL.EscapedPath()
	rendering := map[string]func(string) *openapi.Rendering{
		c.API.BasePath + surface.DocumentJSON: published.published.JSON,
		c.API.BasePath + surface.DocumentYAML: published.published.YAML,
	}[path]
	if rendering == nil {
		return published.reference.Serve(w, r, reference.Host{Name: c.Host(), Origin: c.Origin})
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return problem.MethodNotAllowed("GET, HEAD")
	}
	h := w.Header()
	h.Set("Cache-Control", "no-cache") // kept, and asked for again with its tag
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	rendering(c.Origin).ServeHTTP(w, r)
	return nil
}

// Host is the tenant's host as the client named it.
func (c *Call) Host() string {
	_, host, _ := strings.Cut(c.Origin, "://")
	return host
}
