package tree

import "strconv"

// Place is where a node is in its tree. The pointer is only written where it is
// needed: one for each node would cost as much as their number times their depth.
type Place struct {
	up    *Place
	key   string
	index int // where up's value is an array
	array bool
}

// Key is the last key of the pointer; that of an array's item, or of the root, is
// empty.
func (p *Place) Key() string {
	if p == nil {
		return ""
	}
	return p.key
}

// String is the pointer (RFC 6901).
func (p *Place) String() string {
	if p == nil || p.up == nil {
		return ""
	}
	if p.array {
		return Join(p.up.String(), strconv.Itoa(p.index))
	}
	return Join(p.up.String(), p.key)
}

// Walk calls visit for a node and all below it, until it returns false for one:
// what is below that is left out.
func (n *Node) Walk(visit func(n *Node) bool) {
	if !visit(n) {
		return
	}
	for _, item := range n.Items {
		item.Walk(visit)
	}
	for _, m := range n.Members {
		m.Value.Walk(visit)
	}
}

// WalkPlaces is Walk with the place of each node, counted from this one. The place
// changes once visit has returned.
func (n *Node) WalkPlaces(visit func(at *Place, n *Node) bool) { n.walkPlaces(&Place{}, visit) }

func (n *Node) walkPlaces(at *Place, visit func(at *Place, n *Node) bool) {
	if !visit(at, n) || len(n.Items) == 0 && len(n.Members) == 0 {
		return
	}
	below := &Place{up: at, array: n.Kind == Array}
	for i, item := range n.Items {
		below.index = i
		item.walkPlaces(below, visit)
	}
	for _, m := range n.Members {
		below.key = m.Key
		m.Value.walkPlaces(below, visit)
	}
}
