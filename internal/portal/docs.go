package portal

import (
	"net/http"
	"strings"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/directory"
	"github.com/latchkey-dev/latchkey/internal/openapi"
	"github.com/latchkey-dev/latchkey/internal/portal/reference"
	"github.com/latchkey-dev/latchkey/internal/problem"
	"github.com/latchkey-dev/latchkey/internal/surface"
)

// referenceTo is what the page tells of an API.
func referenceTo(api *directory.API, problemBase string, hasSettings bool) reference.Document {
	document := api.Document
	shown := reference.Document{
		Title: document.Title, Version: document.Version, Description: document.Description,
		Contact:  reference.Contact(document.Contact),
		DocsPath: api.DocsPath, BasePath: api.BasePath,
		SpecPath: api.BasePath + surface.DocumentJSON, SpecYAMLPath: api.BasePath + surface.DocumentYAML,
		ProblemBase: problemBase, Private: api.DocsVisibility == v1alpha1.DocsAuthenticated,
		DefaultLifetime: api.Policy.DefaultLifetime, MaxLifetime: api.Policy.MaxLifetime,
		NoticeDays: int(api.Policy.NoticeDays[0]),
	}
	if hasSettings {
		shown.SettingsPath = api.SettingsPath
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
	published := p.publications.of(c.API.Name)
	if published == nil {
		return problem.DocumentUnavailable
	}
	if err := published.prepare(p.config.ProblemBase, p.HasSettings()); err != nil {
		return problem.Fault(err)
	}
	api := published.api
	rendering := map[string]func(string) *openapi.Rendering{
		api.BasePath + surface.DocumentJSON: published.published.JSON,
		api.BasePath + surface.DocumentYAML: published.published.YAML,
	}[r.URL.EscapedPath()]
	if rendering == nil {
		return published.reference.Serve(w, r, reference.Host{Name: c.Host(), Origin: c.Origin})
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return problem.MethodNotAllowed("GET, HEAD")
	}
	h := w.Header()
	h.Set("Cache-Control", "no-cache") // kept, and asked for again with its tag
	if api.DocsVisibility == v1alpha1.DocsAuthenticated {
		h.Set("Cache-Control", reference.Uncached)
	}
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
