package tree

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// jsonParser reads JSON with the standard library's tokens: YAML's parser reads
// some of it differently (escaped surrogates, tabs, numbers such as 1e3).
type jsonParser struct {
	source  []byte
	decoder *json.Decoder
	budget  budget
	// lines counts up to offset, so that no line is counted twice.
	offset, line, lineStart int
}

func parseJSON(source []byte) (*Node, error) {
	p := &jsonParser{source: source, decoder: json.NewDecoder(bytes.NewReader(source)), line: 1}
	p.decoder.UseNumber()
	n, e := p.value(&Place{})
	if e != nil {
		return nil, e
	}
	if _, err := p.decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, p.errorAt(p.begin(), &Place{}, "something follows the document's closing brace")
	}
	return n, nil
}

// begin is where the next token begins.
func (p *jsonParser) begin() int {
	i := int(p.decoder.InputOffset())
	for i < len(p.source) && bytes.IndexByte([]byte(" \t\r\n:,"), p.source[i]) >= 0 {
		i++
	}
	return i
}

func (p *jsonParser) position(offset int) (line, column int) {
	for ; p.offset < offset && p.offset < len(p.source); p.offset++ {
		if p.source[p.offset] == '\n' {
			p.line, p.lineStart = p.line+1, p.offset+1
		}
	}
	return p.line, offset - p.lineStart + 1
}

func (p *jsonParser) errorAt(offset int, at *Place, message string) *Error {
	line, column := position(p.source, offset)
	return &Error{Pointer: at.String(), Line: line, Column: column, Message: message}
}

// token is the next one, or why there is none.
func (p *jsonParser) token(at *Place) (json.Token, *Error) {
	token, err := p.decoder.Token()
	if err == nil {
		return token, nil
	}
	offset := p.begin()
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		offset = max(int(syntax.Offset)-1, 0)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, p.errorAt(len(p.source), at, "the JSON ends too early")
	}
	return nil, p.errorAt(offset, at, fmt.Sprintf("it begins with a brace but is not JSON: %v", err))
}

func (p *jsonParser) value(at *Place) (*Node, *Error) {
	n := &Node{}
	n.Line, n.Column = p.position(p.begin())
	if e := p.budget.enter(n, at); e != nil {
		return nil, e
	}
	defer p.budget.leave()
	token, e := p.token(at)
	if e != nil {
		return nil, e
	}
	switch token := token.(type) {
	case nil:
	case bool:
		n.Kind, n.Text = Bool, strconv.FormatBool(token)
	case json.Number:
		n.Kind, n.Text = Number, token.String()
	case string:
		n.Kind, n.Text = String, token
	case json.Delim:
		if token == '[' {
			n.Kind = Array
			return n, p.items(n, at)
		}
		n.Kind = Object
		return n, p.members(n, at)
	}
	return n, nil
}

func (p *jsonParser) items(n *Node, at *Place) *Error {
	for i := 0; p.decoder.More(); i++ {
		item, e := p.value(&Place{up: at, index: i, array: true})
		if e != nil {
			return e
		}
		n.Items = append(n.Items, item)
	}
	_, e := p.token(at)
	return e
}

func (p *jsonParser) members(n *Node, at *Place) *Error {
	lines := map[string]int{}
	for p.decoder.More() {
		offset := p.begin()
		token, e := p.token(at)
		if e != nil {
			return e
		}
		key, _ := token.(string) // the decoder accepts nothing else here
		line, column := p.position(offset)
		if e := checkKey(key, &Node{Line: line, Column: column}, at); e != nil {
			return e
		}
		here := &Place{up: at, key: key}
		if first, twice := lines[key]; twice {
			return p.errorAt(offset, here, fmt.Sprintf("the key is there twice, first in line %d", first))
		}
		lines[key] = line
		value, e := p.value(here)
		if e != nil {
			return e
		}
		n.Members = append(n.Members, Member{key, value})
	}
	_, e := p.token(at)
	return e
}
