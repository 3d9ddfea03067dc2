package portal

import (
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/directory"
	"github.com/latchkey-dev/latchkey/internal/openapi"
)

// A document is published when what it says changes, and not whenever an object does.
func TestPublicationsFollowTheDirectory(t *testing.T) {
	loadDocument := func() *openapi.Document {
		d, err := openapi.Load([]byte("openapi: 3.1.0\ninfo: {title: T, version: '1'}\npaths: {}"))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	shop := directory.API{
		Name: "shop", BasePath: "/api/v1", NeedsDocument: true, Document: loadDocument(), DocsPath: "/docs",
		DocsVisibility: v1alpha1.DocsPublic, Scopes: []v1alpha1.Scope{{Name: "orders:read"}},
	}
	shop.Policy.NoticeDays = []int32{14, 7}
	apis := map[string]*directory.API{"shop": &shop, "other": {Name: "other", NeedsDocument: true, Document: loadDocument(), DocsVisibility: v1alpha1.DocsPublic}}
	p := publications{api: func(name string) (*directory.API, bool) { a, ok := apis[name]; return a, ok }}

	first, other := p.of("shop"), p.of("other")
	if first == nil || other == nil || first == other {
		t.Fatal("want one of each")
	}
	again := shop
	again.Scopes = []v1alpha1.Scope{{Name: "orders:read"}}
	again.ResponseHeaderTimeout = time.Second
	apis["shop"] = &again
	if p.of("shop") != first {
		t.Error("published anew though nothing of it changed")
	}
	for name, change := range map[string]func(*directory.API){
		"document":   func(a *directory.API) { a.Document = loadDocument() },
		"base path":  func(a *directory.API) { a.BasePath = "/v2" },
		"page":       func(a *directory.API) { a.DocsPath = "/reference" },
		"visibility": func(a *directory.API) { a.DocsVisibility = v1alpha1.DocsAuthenticated },
		"anonymous":  func(a *directory.API) { a.AllowAnonymous = true },
		"lifetime":   func(a *directory.API) { a.Policy.DefaultLifetime = time.Hour },
		"longest":    func(a *directory.API) { a.Policy.MaxLifetime = time.Hour },
		"notice":     func(a *directory.API) { a.Policy.NoticeDays = []int32{3} },
		"scopes":     func(a *directory.API) { a.Scopes = []v1alpha1.Scope{{Name: "orders:read", Description: "See orders."}} },
	} {
		before := p.of("shop")
		changed := again
		change(&changed)
		apis["shop"] = &changed
		if p.of("shop") == before {
			t.Errorf("%s: not published anew", name)
		}
		apis["shop"] = &again
	}
	if len(p.byAPI) != 2 || p.of("other") != other {
		t.Errorf("%d publications of two APIs", len(p.byAPI))
	}

	delete(apis, "other")
	if p.of("shop") == nil || len(p.byAPI) != 1 {
		t.Error("the publication of an API that has gone is kept")
	}
	closed := again
	closed.DocsVisibility = v1alpha1.DocsDisabled
	apis["shop"] = &closed
	if p.of("shop") != nil || len(p.byAPI) != 0 {
		t.Error("documentation that was disabled is kept")
	}
}
