// Package surface says which paths on a tenant's host are Latchkey's own, and which
// part of the API server serves them. The server routes by it and the controllers
// make Ingresses from it, so that the two agree.
package surface

import (
	"fmt"
	"slices"
	"strings"
)

// Set is a set of surfaces: the parts of the API server that one process serves.
type Set uint8

const (
	// API authenticates requests and passes them on to the product's backend.
	API Set = 1 << iota
	// Portal answers requests itself: the documentation, the calling token's own
	// endpoint, the API for tokens, and Settings.
	Portal
	// All is every surface in one process.
	All = API | Portal
)

// names are in the order in which String writes them.
var names = []struct {
	set  Set
	name string
}{{API, "api"}, {Portal, "portal"}}

// The paths of the OpenAPI document, below the base path.
const (
	DocumentJSON = "/openapi.json"
	DocumentYAML = "/openapi.yaml"
)

// portalPaths is the one list of what the portal has below a base path, each with
// all that is below it. Whoever adds an endpoint adds its path here. None is
// exact: Traefik prefers the longer rule, and its rule for an exact path may be
// shorter than that for the base path.
var portalPaths = []string{"/token", "/tokens"}

// documentPaths are the portal's too, where there is an OpenAPI document.
var documentPaths = []string{DocumentJSON, DocumentYAML}

// Paths are those of one PublicApi on its tenants' hosts.
type Paths struct {
	// Base begins every path of the API.
	Base string
	// Docs is where the documentation is, outside of Base; empty for nowhere.
	Docs string
	// Settings is where members manage tokens, outside of Base and Docs; empty for
	// nowhere.
	Settings string
	// Document says that there is an OpenAPI document, which the portal serves.
	Document bool
}

// own are the portal's paths below Base.
func (p Paths) own() []string {
	if p.Document {
		return allPortalPaths
	}
	return portalPaths
}

var allPortalPaths = slices.Concat(portalPaths, documentPaths)

// Portal are the portal's paths, each with all that is below it. All else below Base
// is the API's.
func (p Paths) Portal() []string {
	var paths []string
	for _, own := range p.own() {
		paths = append(paths, p.Base+own)
	}
	if p.Docs != "" {
		paths = append(paths, p.Docs)
	}
	if p.Settings != "" {
		paths = append(paths, p.Settings)
	}
	return paths
}

// Of is the surface that serves a path, or 0 for a path that is not Latchkey's. It
// takes the bytes as they were sent: nothing is decoded.
func (p Paths) Of(path string) Set {
	switch rest, ok := strings.CutPrefix(path, p.Base); {
	case p.Docs != "" && below(path, p.Docs), p.IsSettings(path):
		return Portal
	case !ok || rest != "" && rest[0] != '/':
		return 0
	case slices.ContainsFunc(p.own(), func(own string) bool { return below(rest, own) }):
		return Portal
	}
	return API
}

// IsDocs says whether a path is the documentation's: the page or what it consists of,
// or the document.
func (p Paths) IsDocs(path string) bool {
	rest, ok := strings.CutPrefix(path, p.Base)
	return p.Docs != "" && below(path, p.Docs) || ok && p.Document && (below(rest, DocumentJSON) || below(rest, DocumentYAML))
}

// IsSettings says whether a path is one of Settings.
func (p Paths) IsSettings(path string) bool { return p.Settings != "" && below(path, p.Settings) }

// below says whether the path is the prefix or below it.
func below(path, prefix string) bool {
	rest, ok := strings.CutPrefix(path, prefix)
	return ok && (rest == "" || rest[0] == '/')
}

// Parse reads a comma-separated list such as "api,portal". It refuses an empty
// list: a process that serves nothing is a mistake.
func Parse(list string) (Set, error) {
	var set Set
	for field := range strings.SplitSeq(list, ",") {
		s, ok := byName(strings.TrimSpace(field))
		if !ok {
			return 0, fmt.Errorf("%q is not a surface: give api, portal, or both separated by a comma", field)
		}
		set |= s
	}
	return set, nil
}

func byName(name string) (Set, bool) {
	for _, n := range names {
		if n.name == name {
			return n.set, true
		}
	}
	return 0, false
}

// Has reports whether all of other is in the set.
func (s Set) Has(other Set) bool { return s&other == other }

// String writes the set as Parse reads it.
func (s Set) String() string {
	var list []string
	for _, n := range names {
		if s.Has(n.set) {
			list = append(list, n.name)
		}
	}
	return strings.Join(list, ",")
}
