package tree

import (
	"bytes"
	"unicode/utf8"
)

// Bounds of a document.
const (
	// MaxBytes is how large a source may be.
	MaxBytes = 4 << 20
	// MaxDepth is how deep values may be nested.
	MaxDepth = 200
	// MaxNodes is how many values a document may have, aliases counted as often as
	// they are used (CVE-2019-11253 is what they can be made to mean).
	MaxNodes = 500_000
	// MaxText is how many bytes its texts and keys may have, counted in the same way.
	MaxText = 4 * MaxBytes
	// MaxKey is how many bytes a key may have: keys make the pointers to all that is
	// below them.
	MaxKey = 1 << 10
)

// Parse reads a document. One that begins with a brace is JSON (RFC 8259), any
// other is YAML 1.2 with its core schema, and with merge keys; what is written in
// it has to have a meaning in JSON. Errors are of the type *Error.
func Parse(source []byte) (*Node, error) {
	if len(source) > MaxBytes {
		return nil, &Error{Message: "the document is larger than 4 MiB"}
	}
	source = bytes.TrimPrefix(source, []byte("\xef\xbb\xbf"))
	if i := invalid(source); i >= 0 {
		line, column := position(source, i)
		return nil, &Error{Line: line, Column: column, Message: "the document is not UTF-8"}
	}
	trimmed := bytes.TrimLeft(source, " \t\r\n")
	if len(trimmed) == 0 {
		return nil, &Error{Message: "the document is empty"}
	}
	if trimmed[0] == '{' {
		return parseJSON(source)
	}
	return parseYAML(source)
}

// invalid is where a text stops being UTF-8, or -1.
func invalid(source []byte) int {
	for i := 0; i < len(source); {
		r, size := utf8.DecodeRune(source[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return -1
}

// position is the line and column of an offset.
func position(source []byte, offset int) (line, column int) {
	before := source[:min(max(offset, 0), len(source))]
	return bytes.Count(before, []byte("\n")) + 1, len(before) - bytes.LastIndexByte(before, '\n')
}

// checkKey refuses a key that is too long, in the object at a place.
func checkKey(key string, where *Node, at *Place) *Error {
	if len(key) > MaxKey {
		return where.Errorf(at.String(), "the key %.40q… has %d bytes, and may have %d", key, len(key), MaxKey)
	}
	return nil
}

// budget counts what a document may have.
type budget struct{ nodes, depth, text int }

// enter is called for each value; leave has to follow.
func (b *budget) enter(at *Node, pointer *Place) *Error {
	b.nodes++
	b.depth++
	switch {
	case b.nodes > MaxNodes:
		return at.Errorf("", "the document has more than %d values, aliases counted as often as they are used", MaxNodes)
	case b.depth > MaxDepth:
		return at.Errorf(pointer.String(), "values are nested more than %d deep", MaxDepth)
	}
	return nil
}

func (b *budget) leave() { b.depth-- }

// write is called for each text and each key.
func (b *budget) write(at *Node, text string) *Error {
	if b.text += len(text); b.text > MaxText {
		return at.Errorf("", "the document has more than 16 MiB of text, aliases counted as often as they are used")
	}
	return nil
}
