package tree

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Encoded is a tree as text. Where a string of it begins with an origin that is
// only known later, Prefix ends there and Suffix goes on behind it; elsewhere all
// is in Prefix. An origin that Quote has escaped belongs between the two.
type Encoded struct{ Prefix, Suffix []byte }

type encoder struct {
	out []byte
	// split is where the origin belongs, or -1.
	split int
	// inYAML says that what is written as JSON stands in YAML.
	inYAML bool
}

func (e *encoder) encoded() Encoded {
	if e.split < 0 {
		return Encoded{Prefix: e.out}
	}
	return Encoded{Prefix: e.out[:e.split:e.split], Suffix: e.out[e.split:]}
}

// JSON writes a tree on one line.
func (n *Node) JSON() Encoded {
	e := &encoder{split: -1}
	e.json(n)
	e.out = append(e.out, '\n')
	return e.encoded()
}

// YAML writes a tree in blocks.
func (n *Node) YAML() Encoded {
	e := &encoder{split: -1, inYAML: true}
	e.yaml(n, 0, false)
	if len(e.out) > 0 && e.out[0] == '\n' {
		e.out, e.split = e.out[1:], max(e.split-1, -1)
	}
	e.out = append(e.out, '\n')
	return e.encoded()
}

func (e *encoder) json(n *Node) {
	switch n.Kind {
	case Null:
		e.out = append(e.out, "null"...)
	case Bool, Number:
		e.out = append(e.out, n.Text...)
	case String:
		e.quoted(n)
	case Array:
		e.out = append(e.out, '[')
		for i, item := range n.Items {
			e.comma(i)
			e.json(item)
		}
		e.out = append(e.out, ']')
	case Object:
		e.out = append(e.out, '{')
		for i, m := range n.Members {
			e.comma(i)
			e.jsonKey(m.Key)
			e.json(m.Value)
		}
		e.out = append(e.out, '}')
	}
}

func (e *encoder) jsonKey(key string) {
	start := len(e.out)
	e.out = append(appendQuoted(append(e.out, '"'), key), '"')
	if e.inYAML && len(e.out)-start > maxSimpleKey {
		e.out = slices.Insert(e.out, start, []byte("? ")...)
	}
	e.out = append(e.out, ':')
	if e.inYAML {
		e.out = append(e.out, ' ')
	}
}

func (e *encoder) comma(i int) {
	if i > 0 {
		e.out = append(e.out, ',')
	}
}

func (e *encoder) quoted(n *Node) {
	e.out = append(e.out, '"')
	if n.Origin {
		e.split = len(e.out)
	}
	e.out = append(appendQuoted(e.out, n.Text), '"')
}

// Quote escapes a text for a string in quotes, in JSON and in YAML.
func Quote(s string) string { return string(appendQuoted(nil, s)) }

// appendQuoted escapes what JSON wants escaped, and what YAML does not print or
// takes for the end of a line (YAML 1.2.2, sections 5.1 and 5.4). A \u escape of
// JSON is one of YAML too.
func appendQuoted(out []byte, s string) []byte {
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			out = append(out, '\\', c)
		case c == '\n':
			out = append(out, '\\', 'n')
		case c == '\t':
			out = append(out, '\\', 't')
		case c < ' ' || c == 0x7f:
			out = fmt.Appendf(out, `\u%04x`, c)
		case c < utf8.RuneSelf:
			out = append(out, c)
		default:
			r, size := utf8.DecodeRuneInString(s[i:])
			if escapedRune(r) {
				out = fmt.Appendf(out, `\u%04x`, r)
			} else {
				out = utf8.AppendRune(out, r)
			}
			i += size
			continue
		}
		i++
	}
	return out
}

func escapedRune(r rune) bool {
	return r < 0xa0 || r == 0x2028 || r == 0x2029 || r == 0xfeff || r == 0xfffe || r == 0xffff
}

// maxIndent is how deep YAML is written in blocks. What is deeper stands on one line,
// as JSON: half a million values at the end of an indentation each would be a
// hundred times the size of the document.
const maxIndent = 40

// yaml writes a value behind a key or a dash. inline says that an object may
// begin on the line, behind a dash.
func (e *encoder) yaml(n *Node, indent int, inline bool) {
	switch {
	case indent >= maxIndent && n.Kind != String:
		e.out = append(e.out, ' ')
		e.json(n)
	case n.Kind == Array && len(n.Items) > 0:
		for _, item := range n.Items {
			e.line(indent)
			e.out = append(e.out, '-')
			e.yaml(item, indent+1, true)
		}
	case n.Kind == Object && len(n.Members) > 0:
		for i, m := range n.Members {
			if i == 0 && inline {
				e.out = append(e.out, ' ')
			} else {
				e.line(indent)
			}
			e.key(m.Key, indent)
			e.yaml(m.Value, indent+1, false)
		}
	default:
		e.out = append(e.out, ' ')
		e.scalar(n, indent)
	}
}

// maxSimpleKey is how long a key may be that stands before its colon on one line
// (YAML 1.2.2, section 7.4.2: 1024 characters).
const maxSimpleKey = 1000

func (e *encoder) key(key string, indent int) {
	text := yamlText(key)
	if len(text) > maxSimpleKey {
		e.out = append(append(e.out, "? "...), text...)
		e.line(indent)
	} else {
		e.out = append(e.out, text...)
	}
	e.out = append(e.out, ':')
}

func (e *encoder) line(indent int) {
	e.out = append(e.out, '\n')
	for range indent {
		e.out = append(e.out, "  "...)
	}
}

func (e *encoder) scalar(n *Node, indent int) {
	switch {
	case n.Kind != String: // empty, or short
		e.json(n)
	case n.Origin:
		e.quoted(n)
	case block(n.Text):
		e.block(n.Text, max(indent, 1))
	default:
		e.out = append(e.out, yamlText(n.Text)...)
	}
}

// block writes a text of several lines as it is.
func (e *encoder) block(text string, indent int) {
	if strings.HasSuffix(text, "\n") {
		e.out = append(e.out, '|')
		text = text[:len(text)-1]
	} else {
		e.out = append(e.out, "|-"...)
	}
	for line := range strings.SplitSeq(text, "\n") {
		if line == "" {
			e.out = append(e.out, '\n')
			continue
		}
		e.line(indent)
		e.out = append(e.out, line...)
	}
}

// block says whether a text can be written so: of several lines, the first and the
// last with something in them, nothing to escape.
func block(text string) bool {
	if !strings.Contains(strings.TrimSuffix(text, "\n"), "\n") || text[0] == '\n' || text[0] == ' ' || strings.HasSuffix(text, "\n\n") {
		return false
	}
	for _, r := range text {
		if r != '\n' && (r < ' ' || r == 0x7f || r >= utf8.RuneSelf && escapedRune(r)) {
			return false
		}
	}
	for line := range strings.SplitSeq(text, "\n") {
		if strings.HasSuffix(line, " ") {
			return false
		}
	}
	return true
}

// plainText is what needs no quotes, by any reading of YAML 1.1 or 1.2 but for
// the words below.
var plainText = regexp.MustCompile(`^[A-Za-z_/$](?:[A-Za-z0-9_./{}()'$-]|:[A-Za-z0-9/])*(?:[ ,]*(?:[A-Za-z0-9_./()'$-]|:[A-Za-z0-9/])+)*$`)

var yamlWords = map[string]bool{
	"y": true, "n": true, "yes": true, "no": true, "on": true, "off": true, "true": true, "false": true, "null": true,
}

// yamlText writes a text of one line, in quotes where it needs them.
func yamlText(s string) string {
	if len(s) < 200 && plainText.MatchString(s) && !yamlWords[strings.ToLower(s)] {
		return s
	}
	return `"` + Quote(s) + `"`
}
