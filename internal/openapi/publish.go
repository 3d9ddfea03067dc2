package openapi

import (
	"slices"
	"strings"

	"github.com/latchkey-dev/latchkey/internal/openapi/tree"
	"github.com/latchkey-dev/latchkey/internal/surface"
)

// Options say how a document is published.
type Options struct {
	// BasePath is where Latchkey serves the API and its own paths, such as /api/v1.
	BasePath string
	// TokenAPI is Latchkey's own document, whose paths are below BasePath; it is
	// added. Empty adds none.
	TokenAPI []byte
	// ProblemBase is what the type URIs of problems begin with.
	ProblemBase string
	// AllowAnonymous says that public operations can be called without a token.
	AllowAnonymous bool
}

// publisher changes a copy of a document into what is published.
type publisher struct {
	Options
	document *Document
	root     *tree.Node
	findings findings
	// prefix is the path of the published server; the keys of paths follow it.
	prefix string
	// keys are the new keys of the paths that are published, by the old ones.
	keys map[string]string
	// operationIDs are those in use.
	operationIDs map[string]bool
	// copied is the weight of what was copied in place of references.
	copied int
	names  names
	// resolved are places that references lead to, and standing the responses that
	// have the headers which tell how a token stands.
	resolved map[string]*tree.Node
	standing map[*tree.Node]bool
}

// Publish makes the document that is served on tenants' hosts: with their host as
// its only server, with Latchkey's tokens as its security, with the answers that
// Latchkey gives, and with Latchkey's own paths. What of the product's document
// that leaves no room for, or is not reachable, is left out: told has a
// sentence for each of the first such places.
func (d *Document) Publish(o Options) (published *Published, told []string) {
	p := &publisher{
		Options: o, document: d, root: d.root.Clone(), findings: findings{slices.Clone(d.findings.first), d.findings.total},
		prefix: d.prefix, keys: map[string]string{}, operationIDs: map[string]bool{},
		resolved: map[string]*tree.Node{}, standing: map[*tree.Node]bool{},
	}
	if !within(o.BasePath, p.prefix) {
		p.prefix = "" // our own paths are not below it
	}
	removed := p.paths()
	p.references(removed)
	p.components()
	p.security()
	p.operations()
	p.tokenAPI()
	p.root.Delete("jsonSchemaDialect") // Swagger UI 5 shows no document that has it
	p.root.Delete(scopesKey)
	server := tree.Text(p.prefix)
	server.Origin = true
	p.root.SetAfter("info", "servers", tree.List(tree.Map(tree.Member{Key: "url", Value: server})))
	return newPublished(p.root), p.findings.told()
}

func (p *publisher) find(format string, args ...any) { p.findings.add(format, args...) }

// within says whether a path is a base path or below it.
func within(path, base string) bool {
	rest, ok := strings.CutPrefix(path, base)
	return ok && (rest == "" || rest[0] == '/')
}

// paths renames the paths that can be published, and returns those that can't.
func (p *publisher) paths() (removed []path) {
	gone := map[string]bool{}
	for _, entry := range p.document.paths {
		if reason := p.unreachable(entry.template.text); reason != "" {
			p.find("%s is left out: %s.", tree.Join("/paths", entry.key), reason)
			removed, gone[entry.key] = append(removed, entry), true
			continue
		}
		key := entry.key
		if p.prefix != p.document.prefix {
			key = p.document.prefix + entry.key
		}
		p.keys[entry.key] = key
	}
	paths := p.root.Get("paths")
	if paths == nil {
		return removed
	}
	paths.Members = slices.DeleteFunc(paths.Members, func(m tree.Member) bool { return gone[m.Key] })
	for i, m := range paths.Members {
		if key, kept := p.keys[m.Key]; kept {
			paths.Members[i].Key = key
			m.Value.Delete("servers")
		}
	}
	return removed
}

// Served are the operations that requests below a base path come to: not those that
// lie elsewhere, nor where Latchkey answers itself.
func (d *Document) Served(basePath string) []*Operation {
	return slices.DeleteFunc(slices.Clone(d.Operations), func(o *Operation) bool {
		return (surface.Paths{Base: basePath, Document: true}).Of(o.Path) != surface.API
	})
}

// unreachable is why no request for a path comes to the product.
func (p *publisher) unreachable(path string) string {
	if !within(path, p.BasePath) {
		return "the path " + path + " is not below " + p.BasePath + ", and so not reachable through Latchkey"
	}
	if (surface.Paths{Base: p.BasePath, Document: true}).Of(path) == surface.Portal {
		return "the path " + path + " is one of Latchkey's own"
	}
	return ""
}

// eachOperation calls visit for the published operations of the product.
func (p *publisher) eachOperation(visit func(pointer string, operation *Operation, n *tree.Node)) {
	paths := p.root.Get("paths")
	items := map[string]*tree.Node{}
	if paths != nil {
		for _, m := range paths.Members {
			items[m.Key] = m.Value
		}
	}
	for _, entry := range p.document.paths {
		key, kept := p.keys[entry.key]
		if !kept {
			continue
		}
		for _, operation := range entry.operations {
			method := strings.ToLower(operation.Method)
			visit(tree.Join("/paths", entry.key, method), operation, items[key].Get(method))
		}
	}
}

// security replaces the product's ways to authenticate by ours. What a webhook or
// a callback names stays: there the product is the one that calls.
func (p *publisher) security() {
	p.root.Delete("security")
	p.eachOperation(func(pointer string, operation *Operation, n *tree.Node) {
		n.Delete(scopesKey)
		n.Delete("servers")
		n.Delete("security") // so that what is named now is named elsewhere
		if operation.Public && !p.AllowAnonymous {
			p.find("%s is public in the document but needs a token: anonymous access is not allowed.", pointer)
		}
	})
	used := map[string]bool{}
	p.root.Walk(func(n *tree.Node) bool {
		requirements := n.Get("security")
		if requirements.Is(tree.Array) {
			for _, requirement := range requirements.Items {
				for _, m := range requirement.Members {
					used[m.Key] = true
				}
			}
		}
		return true
	})
	schemes := p.root.Child("components").Child("securitySchemes")
	kept := schemes.Members[:0]
	for _, m := range schemes.Members {
		if used[m.Key] {
			kept = append(kept, m)
		}
	}
	schemes.Members = kept
	p.names.token = p.add("securitySchemes", "latchkeyToken", tokenScheme())
}

// require makes the security of an operation ours.
func (p *publisher) require(operation *Operation, n *tree.Node) {
	requirement := func(scopes *tree.Node) *tree.Node {
		return tree.Map(tree.Member{Key: p.names.token, Value: scopes})
	}
	switch {
	case operation.Public && p.AllowAnonymous:
		n.Set("security", tree.List())
		return
	case len(operation.Scopes) == 0:
		n.Set("security", tree.List(requirement(tree.List())))
		return
	}
	n.Set("description", tree.Text(withSentence(n.Get("description").String(), scopesSentence(operation.Scopes))))
	alternatives := tree.List()
	for _, scopes := range operation.Scopes {
		alternatives.Items = append(alternatives.Items, tree.Texts(scopes))
	}
	if p.document.Is30() {
		// Of 3.0, only OAuth 2 and OpenID Connect may list scopes.
		n.Set("security", tree.List(requirement(tree.List())))
		if len(alternatives.Items) == 1 {
			alternatives = alternatives.Items[0]
		}
		n.Set(scopesKey, alternatives)
		return
	}
	for i, scopes := range alternatives.Items {
		alternatives.Items[i] = requirement(scopes)
	}
	n.Set("security", alternatives)
}

func withSentence(description, sentence string) string {
	if description = strings.TrimRight(description, " \t\r\n"); description != "" {
		return description + "\n\n" + sentence
	}
	return sentence
}

// scopesSentence tells people what a requirement of scopes says.
func scopesSentence(alternatives [][]string) string {
	texts := make([]string, len(alternatives))
	for i, scopes := range alternatives {
		quoted := make([]string, len(scopes))
		for j, scope := range scopes {
			quoted[j] = "`" + scope + "`"
		}
		texts[i] = strings.Join(quoted, " and ")
	}
	noun := "scope"
	if len(alternatives[0]) > 1 {
		noun = "scopes"
	}
	return "The token needs the " + noun + " " + strings.Join(texts, ", or ") + "."
}
