package tree

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// yamlParser makes a tree of the nodes of a YAML parser.
type yamlParser struct {
	budget budget
	// open are the anchors whose content is being read: an alias of one would never
	// end.
	open map[*yaml.Node]bool
}

func parseYAML(source []byte) (*Node, error) {
	document, err := yamlDocument(source)
	if err != nil {
		return nil, err
	}
	p := &yamlParser{open: map[*yaml.Node]bool{}}
	n, e := p.value(document, &Place{})
	if e != nil {
		return nil, e
	}
	return n, nil
}

var yamlErrorLine = regexp.MustCompile(`^(?:yaml: )?line (\d+): `)

// yamlDocument is the content of the only document.
func yamlDocument(source []byte) (content *yaml.Node, err error) {
	// The parser's own errors are panics inside; not all of them were caught in
	// every version (CVE-2022-28948).
	defer func() {
		if r := recover(); r != nil {
			content, err = nil, &Error{Message: fmt.Sprintf("it is not YAML that can be read: %v", r)}
		}
	}()
	decoder := yaml.NewDecoder(bytes.NewReader(source))
	var document, next yaml.Node
	if err := decoder.Decode(&document); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, &Error{Message: "the document is empty"}
		}
		return nil, yamlError(err)
	}
	switch err := decoder.Decode(&next); {
	case err == nil:
		return nil, &Error{Line: next.Line, Message: "a second document follows: give one"}
	case !errors.Is(err, io.EOF):
		return nil, yamlError(err)
	}
	return document.Content[0], nil
}

// yamlError takes the line out of the parser's message.
func yamlError(err error) *Error {
	text := err.Error()
	if m := yamlErrorLine.FindStringSubmatch(text); m != nil {
		line, _ := strconv.Atoi(m[1]) // digits; one too many of them is line 0, unknown
		return &Error{Line: line, Message: "not YAML: " + text[len(m[0]):]}
	}
	return &Error{Message: "not YAML: " + strings.TrimPrefix(text, "yaml: ")}
}

func (p *yamlParser) value(y *yaml.Node, at *Place) (*Node, *Error) {
	n := &Node{Line: y.Line, Column: y.Column}
	if e := p.budget.enter(n, at); e != nil {
		return nil, e
	}
	defer p.budget.leave()
	if y.Kind == yaml.AliasNode {
		y = y.Alias
	}
	if y.Anchor != "" {
		if p.open[y] {
			return nil, n.Errorf(at.String(), "the alias *%s is inside of what it stands for", y.Anchor)
		}
		p.open[y] = true
		defer delete(p.open, y)
	}
	switch y.Kind {
	case yaml.ScalarNode:
		if e := p.budget.write(n, y.Value); e != nil {
			return nil, e
		}
		return n, scalar(n, y, at)
	case yaml.SequenceNode:
		n.Kind = Array
		return n, p.items(n, y, at)
	case yaml.MappingNode:
		n.Kind = Object
		return n, p.members(n, y, at)
	}
	return nil, n.Errorf(at.String(), "it is nothing that JSON has")
}

func (p *yamlParser) items(n *Node, y *yaml.Node, at *Place) *Error {
	if e := plainTag(n, y, "!!seq", at); e != nil {
		return e
	}
	for i, item := range y.Content {
		value, e := p.value(item, &Place{up: at, index: i, array: true})
		if e != nil {
			return e
		}
		n.Items = append(n.Items, value)
	}
	return nil
}

// plainTag refuses tags that JSON has nothing for.
func plainTag(n *Node, y *yaml.Node, want string, at *Place) *Error {
	if tag := y.ShortTag(); y.Style&yaml.TaggedStyle != 0 && tag != want {
		return n.Errorf(at.String(), "the tag %s is not supported", tag)
	}
	return nil
}

func (p *yamlParser) members(n *Node, y *yaml.Node, at *Place) *Error {
	if e := plainTag(n, y, "!!map", at); e != nil {
		return e
	}
	own := map[string]int{}
	for i := 0; i+1 < len(y.Content); i += 2 {
		key, e := yamlKey(y.Content[i], at)
		if e != nil {
			return e
		}
		if first, twice := own[key]; twice {
			k := &Node{Line: y.Content[i].Line, Column: y.Content[i].Column}
			return k.Errorf((&Place{up: at, key: key}).String(), "the key is there twice, first in line %d", first)
		}
		own[key] = y.Content[i].Line
	}
	merged := map[string]bool{}
	for i := 0; i+1 < len(y.Content); i += 2 {
		if isMerge(y.Content[i]) {
			if e := p.merge(n, y.Content[i+1], own, merged, at); e != nil {
				return e
			}
			continue
		}
		key, _ := yamlKey(y.Content[i], at) // its errors were found above
		if e := p.budget.write(n, key); e != nil {
			return e
		}
		value, e := p.value(y.Content[i+1], &Place{up: at, key: key})
		if e != nil {
			return e
		}
		n.Members = append(n.Members, Member{key, value})
	}
	return nil
}

func isMerge(key *yaml.Node) bool {
	return key.Kind == yaml.ScalarNode && key.Value == "<<" && (key.Style == 0 || key.ShortTag() == "!!merge")
}

// merge adds the members of another mapping, or of several, of which the first
// that has a key wins. The object's own members win over all of them.
func (p *yamlParser) merge(n *Node, source *yaml.Node, own map[string]int, merged map[string]bool, at *Place) *Error {
	here := &Place{up: at, key: "<<"}
	value, e := p.value(source, here)
	if e != nil {
		return e
	}
	from := value.Items
	if value.Kind == Object {
		from = []*Node{value}
	} else if value.Kind != Array {
		return value.Errorf(here.String(), "<< takes a mapping or a list of mappings, this is %s: put the key in quotes if it is none to merge", value.Kind)
	}
	for _, object := range from {
		if object.Kind != Object {
			return object.Errorf(here.String(), "<< takes a list of mappings, this is %s", object.Kind)
		}
		for _, m := range object.Members {
			if _, has := own[m.Key]; !has && !merged[m.Key] {
				merged[m.Key] = true
				n.Members = append(n.Members, m)
			}
		}
	}
	return nil
}

// yamlKey is a key as it is written: JSON's keys are strings, and a response 200
// or a property named on, null or 1.0 is called so.
func yamlKey(y *yaml.Node, at *Place) (string, *Error) {
	n := &Node{Line: y.Line, Column: y.Column}
	if y.Kind == yaml.AliasNode {
		y = y.Alias
	}
	if y.Kind != yaml.ScalarNode {
		return "", n.Errorf(at.String(), "a key must be a single value")
	}
	if y.Style&yaml.TaggedStyle != 0 {
		switch tag := y.ShortTag(); tag {
		case "!!str", "!!int", "!!float", "!!bool", "!!null", "!!merge":
		default:
			return "", n.Errorf(at.String(), "the tag %s is not supported", tag)
		}
	}
	return y.Value, checkKey(y.Value, n, at)
}

// The core schema of YAML 1.2.2, section 10.3.2. What YAML 1.1 made of more words
// (on, 0777, 1_000, 12:30, 2026-01-31) is a string or a decimal number in it.
var (
	yamlInteger = regexp.MustCompile(`^[-+]?[0-9]+$`)
	yamlOctal   = regexp.MustCompile(`^0o[0-7]+$`)
	yamlHex     = regexp.MustCompile(`^0x[0-9a-fA-F]+$`)
	yamlFloat   = regexp.MustCompile(`^([-+]?)(\.[0-9]+|[0-9]+(?:\.[0-9]*)?)((?:[eE][-+]?[0-9]+)?)$`)
	yamlNoJSON  = regexp.MustCompile(`^(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$`)
)

// scalar sets a node to what a scalar means.
func scalar(n *Node, y *yaml.Node, at *Place) *Error {
	tag := ""
	if y.Style&yaml.TaggedStyle != 0 {
		tag = y.ShortTag()
	}
	const quoted = yaml.DoubleQuotedStyle | yaml.SingleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle
	if tag == "!!str" || tag == "" && y.Style&quoted != 0 {
		n.Kind, n.Text = String, y.Value
		return nil
	}
	if e := plain(n, y.Value, at); e != nil {
		return e
	}
	wanted := map[string]Kind{"!!int": Number, "!!float": Number, "!!bool": Bool, "!!null": Null}
	switch kind, known := wanted[tag]; {
	case tag == "":
	case !known:
		return n.Errorf(at.String(), "the tag %s is not supported", tag)
	case n.Kind != kind:
		return n.Errorf(at.String(), "the tag %s does not fit its value", tag)
	}
	return nil
}

// plain sets a node to what a scalar without quotes means.
func plain(n *Node, text string, at *Place) *Error {
	switch text {
	case "", "~", "null", "Null", "NULL":
		n.Kind = Null
		return nil
	case "true", "True", "TRUE":
		n.Kind, n.Text = Bool, "true"
		return nil
	case "false", "False", "FALSE":
		n.Kind, n.Text = Bool, "false"
		return nil
	}
	n.Kind, n.Text = String, text
	if !strings.ContainsRune("+-.0123456789", rune(text[0])) {
		return nil
	}
	switch {
	case yamlNoJSON.MatchString(text):
		return n.Errorf(at.String(), "%s has no JSON: put it in quotes if it is a text", text)
	case yamlOctal.MatchString(text), yamlHex.MatchString(text):
		i, err := strconv.ParseUint(text, 0, 64)
		if err != nil {
			return n.Errorf(at.String(), "the number does not fit into 64 bits")
		}
		n.Kind, n.Text = Number, strconv.FormatUint(i, 10)
	case yamlInteger.MatchString(text), yamlFloat.MatchString(text):
		n.Kind, n.Text = Number, jsonNumber(text)
	}
	return nil
}

// jsonNumber writes a decimal number as JSON wants it, with the digits it has: no
// plus sign, no zeros before others, digits on both sides of a point.
func jsonNumber(text string) string {
	m := yamlFloat.FindStringSubmatch(text)
	whole, fraction, point := strings.Cut(m[2], ".")
	if whole = strings.TrimLeft(whole, "0"); whole == "" {
		whole = "0"
	}
	number := whole
	if point && fraction != "" {
		number += "." + fraction
	}
	if m[1] == "-" {
		number = "-" + number
	}
	return number + m[3]
}
