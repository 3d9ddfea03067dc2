// Package tree reads JSON and YAML into a tree that keeps what an OpenAPI
// document's author wrote: the order of members, numbers to the last digit, and
// the place of everything. It writes the tree as JSON and as YAML.
package tree

import (
	"fmt"
	"strconv"
	"strings"
)

// Kind is what a Node is, in JSON's terms.
type Kind uint8

// The kinds of nodes.
const (
	Null Kind = iota
	Bool
	Number
	String
	Array
	Object
)

func (k Kind) String() string {
	return [...]string{"null", "a boolean", "a number", "a string", "an array", "an object"}[k]
}

// Node is a value of JSON.
type Node struct {
	Kind Kind
	// Text is a string's value, a number as JSON writes it, or true or false.
	Text string
	// Origin stands before Text when the tree is written: see Encoded.
	Origin bool
	// Items are an array's.
	Items []*Node
	// Members are an object's, in its author's order. Their keys are unique.
	Members []Member
	// Line and Column say where the value begins, from 1; 0 is unknown. The column
	// counts bytes in JSON, and characters in YAML.
	Line, Column int
}

// Member is a member of an object.
type Member struct {
	Key   string
	Value *Node
}

// Error says what is wrong with a document, and where.
type Error struct {
	// Pointer is the place as RFC 6901 has it; empty is the whole document.
	Pointer string
	// Line and Column are the place in the source, from 1; 0 is unknown.
	Line, Column int
	// Message says what is wrong, and what to do.
	Message string
}

// Error writes the place before the message.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Line > 0 {
		fmt.Fprintf(&b, "line %d", e.Line)
		if e.Column > 0 {
			fmt.Fprintf(&b, ":%d", e.Column)
		}
		b.WriteString(": ")
	}
	if e.Pointer != "" {
		b.WriteString(e.Pointer + ": ")
	}
	b.WriteString(e.Message)
	return b.String()
}

// Errorf is an Error at a node.
func (n *Node) Errorf(pointer, format string, args ...any) *Error {
	e := &Error{Pointer: pointer, Message: fmt.Sprintf(format, args...)}
	if n != nil {
		e.Line, e.Column = n.Line, n.Column
	}
	return e
}

// Text makes a string.
func Text(s string) *Node { return &Node{Kind: String, Text: s} }

// True makes the boolean.
func True() *Node { return &Node{Kind: Bool, Text: "true"} }

// Integer makes a number.
func Integer(i int) *Node { return &Node{Kind: Number, Text: strconv.Itoa(i)} }

// List makes an array.
func List(items ...*Node) *Node { return &Node{Kind: Array, Items: items} }

// Texts makes an array of strings.
func Texts(texts []string) *Node {
	list := List()
	for _, s := range texts {
		list.Items = append(list.Items, Text(s))
	}
	return list
}

// Map makes an object.
func Map(members ...Member) *Node { return &Node{Kind: Object, Members: members} }

// Get is the member of an object with the key, or nil: also where n is nil or is
// no object.
func (n *Node) Get(key string) *Node {
	if n == nil {
		return nil
	}
	for i := range n.Members {
		if n.Members[i].Key == key {
			return n.Members[i].Value
		}
	}
	return nil
}

// Is says whether a node is there and of a kind.
func (n *Node) Is(kind Kind) bool { return n != nil && n.Kind == kind }

// String is the value of a string, or empty.
func (n *Node) String() string {
	if !n.Is(String) {
		return ""
	}
	return n.Text
}

// Set replaces the member with the key, or adds it as the last.
func (n *Node) Set(key string, value *Node) {
	for i := range n.Members {
		if n.Members[i].Key == key {
			n.Members[i].Value = value
			return
		}
	}
	n.Members = append(n.Members, Member{key, value})
}

// Merge is Set for many members, which are not looked for one by one.
func (n *Node) Merge(members []Member) {
	places := make(map[string]int, len(n.Members))
	for i, m := range n.Members {
		places[m.Key] = i
	}
	for _, m := range members {
		if i, has := places[m.Key]; has {
			n.Members[i].Value = m.Value
			continue
		}
		places[m.Key] = len(n.Members)
		n.Members = append(n.Members, m)
	}
}

// SetAfter replaces the member with the key, or adds it behind another one: as the
// first where that is missing.
func (n *Node) SetAfter(after, key string, value *Node) {
	at := 0
	for i := range n.Members {
		switch n.Members[i].Key {
		case key:
			n.Members[i].Value = value
			return
		case after:
			at = i + 1
		}
	}
	n.Members = append(n.Members, Member{})
	copy(n.Members[at+1:], n.Members[at:])
	n.Members[at] = Member{key, value}
}

// Delete removes the member with the key.
func (n *Node) Delete(key string) {
	kept := n.Members[:0]
	for _, m := range n.Members {
		if m.Key != key {
			kept = append(kept, m)
		}
	}
	n.Members = kept
}

// Child is the object with the key, which is made where it is missing or is none.
func (n *Node) Child(key string) *Node {
	if child := n.Get(key); child.Is(Object) {
		return child
	}
	child := Map()
	n.Set(key, child)
	return child
}

// Clone copies a tree.
func (n *Node) Clone() *Node {
	c := *n
	c.Items = make([]*Node, len(n.Items))
	for i, item := range n.Items {
		c.Items[i] = item.Clone()
	}
	c.Members = make([]Member, len(n.Members))
	for i, m := range n.Members {
		c.Members[i] = Member{m.Key, m.Value.Clone()}
	}
	return &c
}

// Weight is what copies of a tree cost: one for each value, and one more for every
// 32 bytes of a text or a key. It stops counting above most.
func (n *Node) Weight(most int) int {
	weight := 0
	n.Walk(func(n *Node) bool {
		weight += 1 + len(n.Text)/32
		for _, m := range n.Members {
			weight += len(m.Key) / 32
		}
		return weight <= most
	})
	return weight
}

// Equal says whether two trees have the same content, whatever their places.
func (n *Node) Equal(o *Node) bool {
	if n.Kind != o.Kind || n.Text != o.Text || len(n.Items) != len(o.Items) || len(n.Members) != len(o.Members) {
		return false
	}
	for i := range n.Items {
		if !n.Items[i].Equal(o.Items[i]) {
			return false
		}
	}
	for i := range n.Members {
		if n.Members[i].Key != o.Members[i].Key || !n.Members[i].Value.Equal(o.Members[i].Value) {
			return false
		}
	}
	return true
}

// escapes are those of RFC 6901.
var (
	escaper   = strings.NewReplacer("~", "~0", "/", "~1")
	unescaper = strings.NewReplacer("~1", "/", "~0", "~")
)

// Join adds keys to a JSON pointer.
func Join(pointer string, keys ...string) string {
	for _, key := range keys {
		pointer += "/" + escaper.Replace(key)
	}
	return pointer
}

// Split is the keys of a JSON pointer.
func Split(pointer string) []string {
	if pointer == "" || pointer[0] != '/' {
		return nil
	}
	keys := strings.Split(pointer[1:], "/")
	for i := range keys {
		keys[i] = unescaper.Replace(keys[i])
	}
	return keys
}

// Resolve is the node at a JSON pointer, or nil.
func (n *Node) Resolve(pointer string) *Node {
	if pointer != "" && pointer[0] != '/' {
		return nil
	}
	for _, key := range Split(pointer) {
		if n.Is(Array) {
			i, err := strconv.Atoi(key)
			if err != nil || i < 0 || i >= len(n.Items) || strconv.Itoa(i) != key {
				return nil
			}
			n = n.Items[i]
			continue
		}
		if n = n.Get(key); n == nil {
			return nil
		}
	}
	return n
}
