// Package surface says which paths below a base path are Latchkey's own, and
// which part of the API server serves them. The server routes by it and the
// controllers make Ingresses from it, so that the two agree.
package surface

import (
	"fmt"
	"strings"
)

// Set is a set of surfaces: the parts of the API server that one process serves.
type Set uint8

const (
	// API authenticates requests and passes them on to the product's backend.
	API Set = 1 << iota
	// Portal answers requests itself: the calling token's own endpoint, and the
	// API for tokens.
	Portal
	// All is every surface in one process.
	All = API | Portal
)

// names are in the order in which String writes them.
var names = []struct {
	set  Set
	name string
}{{API, "api"}, {Portal, "portal"}}

// portalPaths is the one list of what the portal has below a base path, each with
// all that is below it. Whoever adds an endpoint adds its path here. None is
// exact: Traefik prefers the longer rule, and its rule for an exact path may be
// shorter than that for the base path.
var portalPaths = []string{"/token", "/tokens"}

// PortalPaths are the portal's paths on the hosts of tenants with the base path,
// the base path included. All that is below them is the portal's too, and all else
// below the base path is the API's.
func PortalPaths(basePath string) []string {
	paths := make([]string, len(portalPaths))
	for i, p := range portalPaths {
		paths[i] = basePath + p
	}
	return paths
}

// Of is the surface that serves a path, given as it follows the base path. It
// takes the bytes as they were sent: nothing is decoded.
func Of(path string) Set {
	for _, p := range portalPaths {
		rest, below := strings.CutPrefix(path, p)
		if below && (rest == "" || rest[0] == '/') {
			return Portal
		}
	}
	return API
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
