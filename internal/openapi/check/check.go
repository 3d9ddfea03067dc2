// Package check says whether a product's OpenAPI document is one. It is for the
// manager, which checks each document before it is stored; the API server reads
// what was checked, and does not carry the validator.
package check

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/latchkey-dev/latchkey/internal/openapi"
	"github.com/latchkey-dev/latchkey/internal/openapi/tree"
)

const (
	// MaxMessage is how many bytes an error's text has at most.
	MaxMessage = 1 << 10
	// maxErrors is how many errors are told.
	maxErrors = 5
)

// Errors are what is wrong with a document: the first few, and how many there are.
type Errors struct {
	// First are the first of them, at most 5.
	First []*openapi.Error
	// Total is how many were found.
	Total int
}

// Error has a line for each error, within MaxMessage.
func (e *Errors) Error() string {
	lines := make([]string, len(e.First))
	for i, one := range e.First {
		lines[i] = one.Error()
	}
	text := strings.Join(lines, "\n")
	more := ""
	if e.Total > len(e.First) {
		more = fmt.Sprintf("\nand %d more", e.Total-len(e.First))
	}
	return cut(text, MaxMessage-len(more)) + more
}

// Unwrap are the errors that are told.
func (e *Errors) Unwrap() []error {
	all := make([]error, len(e.First))
	for i := range e.First {
		all[i] = e.First[i]
	}
	return all
}

// cut shortens a text to a number of bytes, at the end of a character.
func cut(text string, size int) string {
	if len(text) <= size {
		return text
	}
	const end = "…"
	size -= len(end)
	for size > 0 && !utf8.RuneStart(text[size]) {
		size--
	}
	return text[:size] + end
}

// Check says what is wrong with a document, in an error of the type *Errors. One
// that passes can be loaded. Nothing is read but the document: no reference in it
// leads to a request.
func Check(source []byte) error {
	root, err := tree.Parse(source)
	if err != nil {
		return one(err)
	}
	if root.Kind == tree.Object {
		if found := externalReferences(root); found.Total > 0 {
			return found
		}
	}
	// The validator is given what the author's text means to us, not the text: the
	// two can't read it differently.
	text := root.JSON().Prefix
	if _, err := openapi.FromTree(root.Clone()); err != nil {
		return one(err)
	}
	return validate(root, text)
}

// one makes Errors of a single one.
func one(err error) *Errors {
	var e *openapi.Error
	if !errors.As(err, &e) {
		e = &openapi.Error{Message: err.Error()}
	}
	return &Errors{First: []*openapi.Error{e}, Total: 1}
}

// add counts an error, and keeps it if it is one of the first. Others are not made.
func (e *Errors) add(one func() *openapi.Error) {
	if e.Total++; e.Total <= maxErrors {
		e.First = append(e.First, one())
	}
}

// opaque are members whose values are the author's own: a $ref in them is none.
var opaque = map[string]bool{"example": true, "examples": true, "default": true, "enum": true, "const": true}

// externalReferences are those that lead out of the document. The validator refuses
// what this does not see, such as in a property that is named default, but can't
// say where it is.
func externalReferences(root *tree.Node) *Errors {
	found := &Errors{}
	root.WalkPlaces(func(at *tree.Place, n *tree.Node) bool {
		if last := at.Key(); opaque[last] || strings.HasPrefix(last, "x-") {
			return false
		}
		if ref := n.Get("$ref"); ref.Is(tree.String) && !strings.HasPrefix(ref.Text, "#") {
			found.add(func() *openapi.Error {
				return ref.Errorf(at.String()+"/$ref", "the reference %.100q leads out of the document: put what it names into the document", ref.Text)
			})
		}
		return true
	})
	return found
}

// errOutside refuses whatever the validator wants to read.
var errOutside = errors.New("the document must not refer to anything outside of it")

func validate(root *tree.Node, text []byte) (err error) {
	// A document must not be able to stop the manager, whatever the validator
	// makes of it.
	defer func() {
		if r := recover(); r != nil {
			err = one(fmt.Errorf("the document can't be checked: %v", r))
		}
	}()
	loader := openapi3.NewLoader()
	loader.ReadFromURIFunc = func(*openapi3.Loader, *url.URL) ([]byte, error) { return nil, errOutside }
	document, err := loader.LoadFromData(text)
	if err != nil {
		return place(root, err)
	}
	err = document.Validate(context.Background(),
		openapi3.EnableMultiError(),
		openapi3.AllowExtraSiblingFields("pathItems"), // it takes components.pathItems of 3.1 for unknown
		openapi3.DisableSchemaPatternValidation(),     // patterns are ECMA-262's, not Go's
		openapi3.DisableExamplesValidation(),          // what misleads a reader breaks nothing
		openapi3.DisableSchemaDefaultsValidation(),
	)
	if err != nil {
		return place(root, err)
	}
	return nil
}
