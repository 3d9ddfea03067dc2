package openapi

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/latchkey-dev/latchkey/internal/openapi/tree"
)

// scopesKey is our extension: the scopes that an operation needs, at an operation
// or, for those that say nothing themselves, at the root of the document. Its value
// is a list of scopes, all of which are needed, or a list of such lists, of which
// one is enough.
const scopesKey = "x-latchkey-scopes"

// methods are the members of a path item that are operations.
var methods = []string{"get", "put", "post", "delete", "options", "head", "patch", "trace"}

// loader reads a document.
type loader struct {
	document *Document
	root     *tree.Node
	// known are the scopes, by their place in the document's.
	known map[string]int
	// copied is the weight of path items that were copied.
	copied int
}

// scopeName is what the CRDs accept as a scope.
var scopeName = regexp.MustCompile(`^[a-z0-9]([a-z0-9:._/-]*[a-z0-9])?$`)

// scope notes a scope that the document names.
func (l *loader) scope(name, description string, n *tree.Node, pointer string) *Error {
	if i, known := l.known[name]; known {
		if s := &l.document.Scopes[i]; s.Description == "" {
			s.Description = description
		}
		return nil
	}
	switch {
	case len(name) > MaxScopeLength:
		return n.Errorf(pointer, "the scope %.20q… is longer than %d characters", name, MaxScopeLength)
	case !scopeName.MatchString(name):
		return n.Errorf(pointer, "%q can't be a scope: it must match %s", name, scopeName)
	case len(l.known) == MaxScopes:
		return n.Errorf(pointer, "the document names more than %d scopes", MaxScopes)
	}
	l.known[name] = len(l.known)
	l.document.Scopes = append(l.document.Scopes, Scope{name, description})
	return nil
}

// declaredScopes are those of the OAuth 2 flows.
func (l *loader) declaredScopes() *Error {
	schemes := l.root.Get("components").Get("securitySchemes")
	if schemes == nil {
		return nil
	}
	for _, scheme := range schemes.Members {
		flows := scheme.Value.Get("flows")
		if flows == nil {
			continue
		}
		for _, flow := range flows.Members {
			scopes := flow.Value.Get("scopes")
			if scopes == nil {
				continue
			}
			at := tree.Join("/components/securitySchemes", scheme.Key, "flows", flow.Key, "scopes")
			for _, s := range scopes.Members {
				if e := l.scope(s.Key, s.Value.String(), s.Value, tree.Join(at, s.Key)); e != nil {
					return e
				}
			}
		}
	}
	return nil
}

// paths reads all path items.
func (l *loader) paths() *Error {
	paths := l.root.Get("paths")
	if paths == nil {
		return nil
	}
	if paths.Kind != tree.Object {
		return paths.Errorf("/paths", "it must be an object, this is %s", paths.Kind)
	}
	shapes := map[string]string{}
	for i := range paths.Members {
		m := &paths.Members[i]
		if strings.HasPrefix(m.Key, "x-") {
			continue
		}
		at := tree.Join("/paths", m.Key)
		if len(l.document.paths) == MaxPaths {
			return m.Value.Errorf(at, "the document has more than %d paths", MaxPaths)
		}
		item, e := l.item(m.Value, at)
		if e != nil {
			return e
		}
		m.Value = item
		if !strings.HasPrefix(m.Key, "/") {
			return item.Errorf(at, "the path must begin with a slash")
		}
		t, problem := parseTemplate(l.document.prefix + m.Key)
		if problem != "" {
			return item.Errorf(at, "the path %s", problem)
		}
		shape := t.shape()
		if other, twice := shapes[shape]; twice {
			return item.Errorf(at, "the path is the same as %s but for the names of its variables", other)
		}
		shapes[shape] = m.Key
		if e := l.operations(m.Key, t, item, at); e != nil {
			return e
		}
	}
	return nil
}

func (t template) shape() string {
	var b strings.Builder
	for _, s := range t.segments {
		b.WriteString("/" + s.shape())
	}
	return b.String()
}

// item is a path item; one that refers to another becomes a copy of it, over which
// its own members win.
func (l *loader) item(item *tree.Node, at string) (*tree.Node, *Error) {
	place := item
	for hops := 0; ; hops++ {
		if !item.Is(tree.Object) {
			return nil, item.Errorf(at, "a path item must be an object, this is %s", item.Kind)
		}
		ref := item.Get("$ref")
		if ref == nil {
			return item, nil
		}
		pointer, local := strings.CutPrefix(ref.String(), "#")
		target := l.root.Resolve(pointer)
		if !local || target == nil || !target.Is(tree.Object) {
			return nil, ref.Errorf(at+"/$ref", "%.100q is no path item of this document", ref.String())
		}
		if hops == 16 {
			return nil, ref.Errorf(at+"/$ref", "the references lead on and on")
		}
		if l.copied += target.Weight(tree.MaxNodes); l.copied > tree.MaxNodes {
			return nil, ref.Errorf(at+"/$ref", "copies of the path items that are referred to make the document too large")
		}
		merged := target.Clone()
		merged.Merge(slices.DeleteFunc(slices.Clone(item.Members), func(m tree.Member) bool { return m.Key == "$ref" }))
		merged.Line, merged.Column = place.Line, place.Column
		item = merged
	}
}

func (l *loader) operations(key string, t template, item *tree.Node, at string) *Error {
	p := path{key: key, template: t}
	l.ignoredServers(item, at)
	for _, m := range item.Members {
		if !slices.Contains(methods, m.Key) {
			continue
		}
		here := tree.Join(at, m.Key)
		if !m.Value.Is(tree.Object) {
			return m.Value.Errorf(here, "an operation must be an object, this is %s", m.Value.Kind)
		}
		l.ignoredServers(m.Value, here)
		operation, e := l.operation(m.Value, here)
		if e != nil {
			return e
		}
		operation.Method, operation.Path = strings.ToUpper(m.Key), l.document.prefix+key
		if len(l.document.Operations) == MaxOperations {
			return m.Value.Errorf(here, "the document has more than %d operations", MaxOperations)
		}
		l.document.Operations = append(l.document.Operations, operation)
		p.operations = append(p.operations, operation)
	}
	l.document.paths = append(l.document.paths, p)
	return nil
}

// ignoredServers finds servers that nobody is sent to.
func (l *loader) ignoredServers(n *tree.Node, at string) {
	if servers := n.Get("servers"); servers != nil && len(servers.Items) > 0 {
		l.document.findings.add("%s/servers is ignored: all operations are served below the first of the document's servers.", at)
	}
}

func (l *loader) operation(n *tree.Node, at string) (*Operation, *Error) {
	o := &Operation{
		ID:          n.Get("operationId").String(),
		Summary:     n.Get("summary").String(),
		Description: n.Get("description").String(),
		Deprecated:  n.Get("deprecated").Is(tree.Bool) && n.Get("deprecated").Text == "true",
	}
	if tags := n.Get("tags"); tags != nil {
		for _, tag := range tags.Items {
			if tag.Is(tree.String) {
				o.Tags = append(o.Tags, tag.Text)
			}
		}
	}
	var e *Error
	o.Public, o.Scopes, e = l.access(n, at)
	return o, e
}

// access is who may call an operation. What says it, in this order: its own
// x-latchkey-scopes; its own security, where that names scopes or opens it to
// everybody; the root's x-latchkey-scopes; the root's security. A security of
// its own that names no scopes does not undo those of the root's x-latchkey-scopes,
// since generators write one at every operation. Where nothing says anything, a
// token is needed.
func (l *loader) access(operation *tree.Node, at string) (public bool, scopes [][]string, e *Error) {
	if n := operation.Get(scopesKey); n != nil {
		scopes, e = l.extension(n, at+"/"+scopesKey)
		return false, scopes, e
	}
	security := operation.Get("security")
	if security != nil {
		public, scopes, e = l.security(security, at+"/security")
		if e != nil || public || len(scopes) > 0 {
			return public, scopes, e
		}
	}
	if n := l.root.Get(scopesKey); n != nil {
		scopes, e = l.extension(n, "/"+scopesKey)
		return false, scopes, e
	}
	if security == nil && l.root.Get("security") != nil {
		return l.security(l.root.Get("security"), "/security")
	}
	return false, nil, nil
}

// extension reads x-latchkey-scopes.
func (l *loader) extension(n *tree.Node, at string) ([][]string, *Error) {
	if !n.Is(tree.Array) {
		return nil, n.Errorf(at, "it must be a list of scopes, or a list of such lists, this is %s", n.Kind)
	}
	if len(n.Items) == 0 {
		return nil, nil
	}
	if !n.Items[0].Is(tree.Array) {
		all, e := l.scopes(n, at, nil)
		return [][]string{all}, e
	}
	var alternatives [][]string
	for i, item := range n.Items {
		all, e := l.scopes(item, fmt.Sprintf("%s/%d", at, i), nil)
		if e != nil {
			return nil, e
		}
		alternatives = append(alternatives, all)
	}
	return anyOf(alternatives), nil
}

// anyOf is nil where one of the alternatives asks for nothing.
func anyOf(alternatives [][]string) [][]string {
	for _, all := range alternatives {
		if len(all) == 0 {
			return nil
		}
	}
	return alternatives
}

// security reads a list of security requirements.
func (l *loader) security(n *tree.Node, at string) (public bool, scopes [][]string, e *Error) {
	if !n.Is(tree.Array) {
		return false, nil, n.Errorf(at, "it must be a list, this is %s", n.Kind)
	}
	public = len(n.Items) == 0
	var alternatives [][]string
	for i, requirement := range n.Items {
		here := fmt.Sprintf("%s/%d", at, i)
		if !requirement.Is(tree.Object) {
			return false, nil, requirement.Errorf(here, "a security requirement must be an object, this is %s", requirement.Kind)
		}
		if len(requirement.Members) == 0 {
			public = true
		}
		var all []string
		for _, scheme := range requirement.Members {
			if all, e = l.scopes(scheme.Value, tree.Join(here, scheme.Key), all); e != nil {
				return false, nil, e
			}
		}
		alternatives = append(alternatives, all)
	}
	if public {
		return true, nil, nil
	}
	return false, anyOf(alternatives), nil
}

// scopes adds a list of scopes to others, each once.
func (l *loader) scopes(n *tree.Node, at string, others []string) ([]string, *Error) {
	if !n.Is(tree.Array) {
		return nil, n.Errorf(at, "it must be a list of scopes, this is %s", n.Kind)
	}
	for i, item := range n.Items {
		here := fmt.Sprintf("%s/%d", at, i)
		if !item.Is(tree.String) {
			return nil, item.Errorf(here, "a scope must be a string, this is %s", item.Kind)
		}
		if e := l.scope(item.Text, "", item, here); e != nil {
			return nil, e
		}
		if !slices.Contains(others, item.Text) {
			others = append(others, item.Text)
		}
	}
	return others, nil
}
