package openapi

import (
	"strconv"
	"strings"

	"github.com/latchkey-dev/latchkey/internal/openapi/tree"
)

// tokenAPI adds Latchkey's own document: its paths below the base path, its tags,
// and its components under names that begin with Latchkey.
func (p *publisher) tokenAPI() {
	if len(p.TokenAPI) == 0 {
		return
	}
	own, err := tree.Parse(p.TokenAPI)
	if err != nil {
		p.find("Latchkey's own document can't be read: %v.", err)
		return
	}
	renamed := p.ownComponents(own)
	own.Walk(func(n *tree.Node) bool {
		if ref := n.Get("$ref"); ref.Is(tree.String) {
			if to, ok := renamed[ref.Text]; ok {
				ref.Text = to
			}
		}
		return true
	})
	schemes := p.ownSchemes(own)
	paths := p.root.Child("paths")
	for _, m := range own.Get("paths").Members {
		p.ownOperations(m.Value, own.Get("security"), schemes)
		paths.Set(p.BasePath[len(p.prefix):]+m.Key, m.Value)
	}
	p.ownTags(own.Get("tags"))
}

// ownComponents adds all components but the security schemes, and returns what
// references to them have to be.
func (p *publisher) ownComponents(own *tree.Node) map[string]string {
	renamed := map[string]string{}
	for _, kind := range own.Get("components").Members {
		if kind.Key == "securitySchemes" {
			continue
		}
		for _, m := range kind.Value.Members {
			name := p.names.problem
			if kind.Key != "schemas" || m.Key != "Problem" { // that is ours already
				name = p.add(kind.Key, "Latchkey"+m.Key, m.Value)
			}
			renamed["#"+tree.Join("/components", kind.Key, m.Key)] = "#" + tree.Join("/components", kind.Key, name)
		}
	}
	return renamed
}

// ownSchemes maps the names of our document's schemes to those in the product's.
// The one for tokens is there already.
func (p *publisher) ownSchemes(own *tree.Node) map[string]string {
	names := map[string]string{"token": p.names.token}
	for _, m := range own.Get("components").Get("securitySchemes").Members {
		if _, known := names[m.Key]; !known {
			names[m.Key] = p.add("securitySchemes", "latchkey"+strings.ToUpper(m.Key[:1])+m.Key[1:], m.Value)
		}
	}
	return names
}

func (p *publisher) ownOperations(item, security *tree.Node, schemes map[string]string) {
	for _, method := range methods {
		operation := item.Get(method)
		if operation == nil {
			continue
		}
		if id := operation.Get("operationId"); id.Is(tree.String) {
			id.Text = p.freeOperationID(id.Text)
		}
		requirements := operation.Get("security")
		if requirements == nil {
			requirements = security
		}
		mapped := tree.List()
		for _, requirement := range requirements.Items {
			ours := tree.Map()
			for _, m := range requirement.Members {
				ours.Set(schemes[m.Key], m.Value)
			}
			mapped.Items = append(mapped.Items, ours)
		}
		operation.Set("security", mapped)
	}
}

func (p *publisher) freeOperationID(id string) string {
	free := id
	for i := 2; p.operationIDs[free]; i++ {
		free = id + strconv.Itoa(i)
	}
	if free != id {
		p.find("The operationId %s is the document's own: Latchkey's operation is published as %s.", id, free)
	}
	p.operationIDs[free] = true
	return free
}

func (p *publisher) ownTags(own *tree.Node) {
	tags := p.root.Get("tags")
	if !tags.Is(tree.Array) {
		tags = tree.List()
		p.root.Set("tags", tags)
	}
	known := map[string]bool{}
	for _, tag := range tags.Items {
		known[tag.Get("name").String()] = true
	}
	for _, tag := range own.Items {
		if !known[tag.Get("name").String()] {
			tags.Items = append(tags.Items, tag)
		}
	}
}
