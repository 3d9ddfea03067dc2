package portal

import (
	"slices"
	"sync"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/directory"
	"github.com/latchkey-dev/latchkey/internal/openapi"
	"github.com/latchkey-dev/latchkey/internal/portal/reference"
	"github.com/latchkey-dev/latchkey/internal/portal/tokenapi"
)

// publication is an API's documentation, made ready once for all requests.
type publication struct {
	api       *directory.API
	once      sync.Once
	published *openapi.Published
	reference *reference.Reference
	err       error
}

// prepare does what is to be done once.
func (p *publication) prepare(problemBase string, hasSettings bool) error {
	p.once.Do(func() {
		p.published, _ = p.api.Document.Publish(openapi.Options{
			BasePath: p.api.BasePath, TokenAPI: tokenapi.Document, ProblemBase: problemBase, AllowAnonymous: p.api.AllowAnonymous,
		})
		p.reference, p.err = reference.New(referenceTo(p.api, problemBase, hasSettings))
	})
	return p.err
}

// publications are those of the APIs, by their names.
type publications struct {
	// api is an API as the directory has it now.
	api func(name string) (*directory.API, bool)

	mu    sync.Mutex
	byAPI map[string]*publication
}

// of is the documentation of an API as it is now, which may be newer than what a call
// began with; nil where it has none any more. That of others that have none is dropped.
func (p *publications) of(name string) *publication {
	p.mu.Lock()
	defer p.mu.Unlock()
	for other := range p.byAPI {
		if api, ok := p.api(other); !ok || !documented(api) {
			delete(p.byAPI, other)
		}
	}
	// Within the lock, so that nobody puts an older one in place of what he meets.
	api, ok := p.api(name)
	if !ok || !documented(api) {
		return nil
	}
	current, ok := p.byAPI[name]
	if !ok || !sameDocumentation(current.api, api) {
		if p.byAPI == nil {
			p.byAPI = map[string]*publication{}
		}
		current = &publication{api: api}
		p.byAPI[name] = current
	}
	return current
}

// documented says whether an API has documentation that can be served.
func documented(api *directory.API) bool { return api.HasDocs() && api.Document != nil }

// sameDocumentation says whether the documentation of two APIs is the same. The
// directory makes another API with each write of its status.
func sameDocumentation(a, b *directory.API) bool {
	return a == b || a.Document == b.Document &&
		a.BasePath == b.BasePath && a.DocsPath == b.DocsPath && a.SettingsPath == b.SettingsPath && a.DocsVisibility == b.DocsVisibility &&
		a.AllowAnonymous == b.AllowAnonymous &&
		a.Policy.DefaultLifetime == b.Policy.DefaultLifetime && a.Policy.MaxLifetime == b.Policy.MaxLifetime &&
		slices.Equal(a.Policy.NoticeDays, b.Policy.NoticeDays) &&
		slices.EqualFunc(a.Scopes, b.Scopes, func(a, b v1alpha1.Scope) bool { return a == b })
}
