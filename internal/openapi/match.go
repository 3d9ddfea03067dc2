package openapi

import (
	"net/http"
	"slices"
	"strings"
)

// Matcher finds the operation that a request calls. net/http's ServeMux can't: it
// panics where two templates overlap, as /a/{x} and /{y}/b do, and refuses
// variables that are only a part of a segment. A Matcher never changes.
type Matcher struct {
	root *node
	// base is what all templates begin with, up to a slash: it is compared at once.
	base string
}

// node is where templates that begin alike go apart. The nodes are a tree, and a
// search comes to each at most once: it takes no longer than the document is large.
type node struct {
	// literals are the next segments that are nothing but text; byText is the same
	// where they are many.
	literals []edge
	byText   map[string]*node
	// byFold are the literals by themselves in lower case, where they are many.
	byFold map[string]string
	// longest is the length of the longest literal.
	longest int
	// patterns are those with variables, the most concrete first.
	patterns []edge
	// foldedLiterals and foldedPatterns are the same in lower case.
	foldedLiterals map[string][]*node
	foldedPatterns []edge
	// variable is what follows a segment that is a variable alone.
	variable *node
	// here are the operations of the path that ends here.
	here *route
}

type edge struct {
	segment segment
	to      *node
}

// route is a path's operations.
type route struct {
	operations []*Operation
	// allowed are their methods, and HEAD where there is GET.
	allowed []string
}

// fewLiterals is up to how many edges are compared one by one, which then takes
// less time than a map.
const fewLiterals = 6

// Matcher makes the matcher of the document's operations.
func (d *Document) Matcher() *Matcher {
	var paths []path
	for _, p := range d.paths {
		if len(p.operations) > 0 {
			paths = append(paths, p)
		}
	}
	m := &Matcher{root: &node{}, base: commonBase(paths)}
	depth := strings.Count(m.base, "/") - 1
	for _, p := range paths {
		n := m.root
		for _, s := range p.template.segments[depth:] {
			n = n.next(s)
		}
		n.here = newRoute(p.operations)
	}
	m.root.seal()
	return m
}

// commonBase is the longest text of whole literal segments that all paths begin
// with, a slash at its end.
func commonBase(paths []path) string {
	if len(paths) == 0 {
		return "/"
	}
	base := "/"
	for i := 0; ; i++ {
		first := paths[0].template.segments
		for _, p := range paths {
			if i >= len(p.template.segments)-1 || !first[i].literal() || p.template.segments[i].shape() != first[i].shape() || !p.template.segments[i].literal() {
				return base
			}
		}
		base += first[i].texts[0] + "/"
	}
}

func newRoute(operations []*Operation) *route {
	r := &route{operations: operations}
	for _, operation := range operations {
		r.allowed = append(r.allowed, operation.Method)
	}
	if slices.Contains(r.allowed, http.MethodGet) && !slices.Contains(r.allowed, http.MethodHead) {
		r.allowed = append(r.allowed, http.MethodHead)
	}
	slices.Sort(r.allowed)
	return r
}

// next is the node behind a segment, which is made where it is missing.
func (n *node) next(s segment) *node {
	if s.variable() {
		if n.variable == nil {
			n.variable = &node{}
		}
		return n.variable
	}
	edges := &n.patterns
	if s.literal() {
		edges = &n.literals
		if n.byText == nil {
			n.byText = map[string]*node{}
		}
		if to := n.byText[s.texts[0]]; to != nil {
			return to
		}
	} else if i := slices.IndexFunc(*edges, func(e edge) bool { return e.segment.shape() == s.shape() }); i >= 0 {
		return (*edges)[i].to
	}
	to := &node{}
	*edges = append(*edges, edge{s, to})
	if s.literal() {
		n.byText[s.texts[0]] = to
	}
	return to
}

// seal puts edges in the order in which they are tried, and folds them once.
func (n *node) seal() {
	n.foldedLiterals = make(map[string][]*node, len(n.literals))
	for _, e := range n.literals {
		literal := e.segment.texts[0]
		n.longest = max(n.longest, len(literal))
		folded := strings.ToLower(literal)
		n.foldedLiterals[folded] = append(n.foldedLiterals[folded], e.to)
	}
	if len(n.literals) <= fewLiterals {
		n.byText = nil
	} else {
		n.byFold = make(map[string]string, len(n.literals))
		for _, e := range n.literals {
			literal := e.segment.texts[0]
			n.byFold[strings.ToLower(literal)] = literal
		}
	}
	slices.SortFunc(n.patterns, func(a, b edge) int { return a.segment.compare(b.segment) })
	for _, e := range n.patterns {
		n.foldedPatterns = append(n.foldedPatterns, edge{e.segment.folded(), e.to})
	}
	for _, e := range slices.Concat(n.literals, n.patterns) {
		e.to.seal()
	}
	if n.variable != nil {
		n.variable.seal()
	}
}

// Match finds the operation of a request by its method and by the path as it was
// sent, still encoded. Where the document has the path and not the method,
// operation is nil and allowed lists the methods that it has.
//
// The path decides first, as OpenAPI has it: segment by segment, from the left,
// literals go before variables with text around them, and those before {variable}
// alone. A variable stands for one character or more, never for a slash, nor for a
// segment . or .. as a whole, nor for a literal beside it in another case. Case
// matters, and so does a slash at the end.
//
// Percent-encoding does not matter: %6Frders is orders (RFC 3986, section 2.4).
// Only for delimiters the RFC makes a difference, and backends don't agree on it:
// to some, /orders/7%3Acancel is the operation {id}:cancel, to others the order
// with the id 7:cancel. A path that the two readings find different operations for
// has none, so that nobody is let in by one and served by the other.
//
// HEAD is GET's operation where the document has none for it. OPTIONS is only
// found where the document names it.
//
// A search gives up on a path that is so long that it costs too much to look for: see
// searchLimit.
func (m *Matcher) Match(method, escapedPath string) (operation *Operation, allowed []string) {
	r := m.route(escapedPath)
	if r == nil {
		return nil, nil
	}
	operation = r.operation(method)
	if operation == nil && method == http.MethodHead {
		operation = r.operation(http.MethodGet)
	}
	return operation, r.allowed
}

// Resembles reports whether a path is one of the document's to a less exact reader, to
// whom case, a slash at the end or what is percent-encoded does not matter. A caller that
// forwards paths which Match does not find must not forward these: a backend might take
// them for operations that need scopes.
func (m *Matcher) Resembles(escapedPath string) bool {
	decoded, _, ok := decode(escapedPath, false)
	if !ok {
		return true // nobody knows how others read it
	}
	rest, below := cutPrefixFold(decoded, m.base)
	if !below {
		return false
	}
	s := search{searchLimit}
	return m.root.resembles(&s, strings.ToLower(rest)) || s.exhausted()
}

func cutPrefixFold(text, prefix string) (rest string, ok bool) {
	if len(text) < len(prefix) || !strings.EqualFold(text[:len(prefix)], prefix) {
		return "", false
	}
	return text[len(prefix):], true
}

// resembles takes the path in lower case.
func (n *node) resembles(s *search, path string) bool {
	if !s.spend(len(path)) {
		return false
	}
	text, rest, more := strings.Cut(path, "/")
	behind := func(to *node) bool {
		if more && rest != "" {
			return to.resembles(s, rest)
		}
		withSlash := to.literal("")
		return to.here != nil || withSlash != nil && withSlash.here != nil
	}
	if slices.ContainsFunc(n.foldedLiterals[text], behind) {
		return true
	}
	for i := range n.foldedPatterns {
		if s.matches(n.foldedPatterns[i].segment, text) && behind(n.foldedPatterns[i].to) {
			return true
		}
	}
	return text != "" && n.variable != nil && behind(n.variable)
}

// searchLimit bounds how many bytes of a path one search looks at, some of them many
// times: at every node, and for every template with text between two variables. Anybody
// may send 16 KiB without a token, and a document may have thousands of such templates.
// freeBytes of each look do not count: what people and programs call is that long, and is
// found in any document.
const (
	searchLimit = 256 << 10
	freeBytes   = 128
)

// search is one look for a path.
type search struct{ left int }

// spend reports whether so many bytes may still be looked at.
func (s *search) spend(bytes int) bool {
	s.left -= max(0, bytes-freeBytes)
	return s.left >= 0
}

// exhausted reports whether the search gave up.
func (s *search) exhausted() bool { return s.left < 0 }

// matches compares the ends of a text at once, and looks through it only where the
// segment has text between two variables.
func (s *search) matches(pattern segment, text string) bool {
	if !pattern.matchesEnds(text) {
		return false
	}
	return len(pattern.texts) <= 2 || s.spend(len(text)) && pattern.matchesMiddle(text)
}

func (r *route) operation(method string) *Operation {
	for _, operation := range r.operations {
		if operation.Method == method {
			return operation
		}
	}
	return nil
}

func (m *Matcher) route(path string) *route {
	if strings.IndexByte(path, '%') < 0 {
		return m.find(path)
	}
	decoded, delimiters, ok := decode(path, false)
	if !ok {
		return nil
	}
	found := m.find(decoded)
	if delimiters && found != nil {
		kept, _, _ := decode(path, true)
		if m.find(kept) != found {
			return nil
		}
	}
	return found
}

func (m *Matcher) find(path string) *route {
	rest, ok := strings.CutPrefix(path, m.base)
	if !ok {
		return nil
	}
	s := search{searchLimit}
	found := m.root.find(&s, rest)
	if s.exhausted() {
		return nil // a more concrete template may not have been looked at
	}
	return found
}

func (n *node) find(s *search, path string) *route {
	if !s.spend(len(path)) {
		return nil
	}
	text, rest, more := strings.Cut(path, "/")
	if to := n.literal(text); to != nil {
		if r := to.behind(s, rest, more); r != nil {
			return r
		}
	}
	if text == "" || text == "." || text == ".." || n.isMiswritten(text) {
		return nil
	}
	for i := range n.patterns {
		if s.matches(n.patterns[i].segment, text) {
			if r := n.patterns[i].to.behind(s, rest, more); r != nil {
				return r
			}
		}
	}
	if n.variable != nil {
		return n.variable.behind(s, rest, more)
	}
	return nil
}

// isMiswritten says whether a segment is a literal that a variable could stand for
// too, but for its case: Export beside export and {id}. To a backend whose router
// ignores case it is the literal, whose scopes may be others.
func (n *node) isMiswritten(text string) bool {
	// Case may take up to three times the bytes: the Kelvin sign is a k.
	if len(text) > 3*n.longest {
		return false
	}
	if n.byFold != nil {
		literal, known := n.byFold[strings.ToLower(text)]
		return known && literal != text
	}
	for i := range n.literals {
		if literal := n.literals[i].segment.texts[0]; len(literal) == len(text) && literal != text && strings.EqualFold(literal, text) {
			return true
		}
	}
	return false
}

func (n *node) behind(s *search, rest string, more bool) *route {
	if more {
		return n.find(s, rest)
	}
	return n.here
}

func (n *node) literal(text string) *node {
	if n.byText != nil {
		return n.byText[text]
	}
	for i := range n.literals {
		if n.literals[i].segment.texts[0] == text {
			return n.literals[i].to
		}
	}
	return nil
}
