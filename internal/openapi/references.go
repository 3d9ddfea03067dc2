package openapi

import (
	"strings"

	"github.com/latchkey-dev/latchkey/internal/openapi/tree"
)

// maxCopies is how deep what a copy refers to is copied in its turn.
const maxCopies = 8

// copyCost is what a copy costs beside its weight.
const copyCost = 10

// references mends what refers to paths that have another key now, or none.
func (p *publisher) references(removed []path) {
	gone := map[string]bool{}
	for _, entry := range removed {
		for _, operation := range entry.operations {
			if operation.ID != "" {
				gone[operation.ID] = true
			}
		}
	}
	p.mend(p.root, gone, 0)
	p.unusedPathItems()
	p.root.Walk(func(n *tree.Node) bool {
		if id := n.Get("operationId"); id.Is(tree.String) {
			p.operationIDs[id.Text] = true
		}
		return true
	})
}

// rename is where a pointer into paths leads now; kept is false where the path was
// left out.
func (p *publisher) rename(pointer string) (renamed string, kept bool) {
	keys := tree.Split(pointer)
	if len(keys) < 2 || keys[0] != "paths" {
		return pointer, true
	}
	key, kept := p.keys[keys[1]]
	if !kept {
		return pointer, false
	}
	return tree.Join("/paths", append([]string{key}, keys[2:]...)...), true
}

// mend mends all that is below a node, each reference once: depth is how many copies
// it is inside of.
func (p *publisher) mend(n *tree.Node, gone map[string]bool, depth int) {
	n.Walk(func(n *tree.Node) bool {
		if p.reference(n, depth) {
			p.mend(n, gone, depth+1)
			return false
		}
		p.links(n.Get("links"), gone)
		return true
	})
}

// reference mends a $ref. What leads into a path that was left out becomes a copy
// of what is there, in which nothing is mended yet.
func (p *publisher) reference(n *tree.Node, depth int) (copied bool) {
	ref := n.Get("$ref")
	pointer, local := strings.CutPrefix(ref.String(), "#/paths/")
	if !local {
		return false
	}
	pointer = "/paths/" + pointer
	if renamed, kept := p.rename(pointer); kept {
		ref.Text = "#" + renamed
		return false
	}
	n.Delete("$ref")
	if target := p.original(pointer, depth); target != nil {
		siblings := n.Members
		n.Members = target.Clone().Members
		n.Merge(siblings)
		return true
	}
	p.find("A reference to %s was removed: the path is left out.", pointer)
	return false
}

// original is what to copy in place of a reference, or nil where it is nothing to be
// copied or copies have become too many.
func (p *publisher) original(pointer string, depth int) *tree.Node {
	if depth >= maxCopies || p.copied > tree.MaxNodes {
		return nil
	}
	target := p.document.root.Resolve(pointer)
	if !target.Is(tree.Object) {
		return nil
	}
	if p.copied += target.Weight(tree.MaxNodes) + copyCost; p.copied > tree.MaxNodes {
		return nil
	}
	return target
}

// links drops those to operations that are not there, and mends the others.
func (p *publisher) links(links *tree.Node, gone map[string]bool) {
	if !links.Is(tree.Object) {
		return
	}
	kept := links.Members[:0]
	for _, m := range links.Members {
		if gone[m.Value.Get("operationId").String()] {
			continue
		}
		ref := m.Value.Get("operationRef")
		if pointer, local := strings.CutPrefix(ref.String(), "#"); local {
			renamed, there := p.rename(pointer)
			if !there {
				continue
			}
			ref.Text = "#" + renamed
		}
		kept = append(kept, m)
	}
	links.Members = kept
}

// unusedPathItems drops shared path items that paths have copies of, unless
// something else, such as a webhook, refers to them: their security is the
// product's.
func (p *publisher) unusedPathItems() {
	components := p.root.Get("components")
	shared := components.Get("pathItems")
	if !shared.Is(tree.Object) {
		return
	}
	used := map[string]bool{}
	p.root.Walk(func(n *tree.Node) bool {
		if name, ok := strings.CutPrefix(n.Get("$ref").String(), "#/components/pathItems/"); ok {
			used[tree.Split("/" + name)[0]] = true
		}
		return true
	})
	kept := shared.Members[:0]
	for _, m := range shared.Members {
		if used[m.Key] {
			kept = append(kept, m)
		}
	}
	if shared.Members = kept; len(kept) == 0 {
		components.Delete("pathItems")
	}
}
