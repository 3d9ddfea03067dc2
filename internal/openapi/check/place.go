package check

import (
	"errors"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/latchkey-dev/latchkey/internal/openapi"
	"github.com/latchkey-dev/latchkey/internal/openapi/tree"
)

// place makes an error of ours of each of the validator's. Those say where they
// were found by the errors that they are wrapped in: a section, a path, and so on.
func place(root *tree.Node, err error) *Errors {
	p := &placer{root: root}
	p.walk(err, nil)
	return &p.found
}

type placer struct {
	root  *tree.Node
	found Errors
}

func (p *placer) walk(err error, keys []string) {
	var several openapi3.MultiError
	if list, ok := err.(openapi3.MultiError); ok { //nolint:errorlint // the wrappers are unwrapped one by one
		several = list
	}
	if several != nil {
		for _, one := range several {
			p.walk(one, keys)
		}
		return
	}
	more, context := step(err)
	if cause := errors.Unwrap(err); context && cause != nil {
		p.walk(cause, append(slices.Clip(keys), more...))
		return
	}
	p.add(err, append(slices.Clip(keys), more...))
}

// components are the members of components by what the validator calls what is
// in them.
var components = map[string]string{
	"schema": "schemas", "parameter": "parameters", "header": "headers", "request body": "requestBodies", "response": "responses",
	"security scheme": "securitySchemes", "example": "examples", "link": "links", "callback": "callbacks",
}

// step is what an error adds to the place of its cause; context says that it says
// nothing else.
func step(err error) (keys []string, context bool) {
	switch e := err.(type) { //nolint:errorlint // the wrappers are unwrapped one by one
	case *openapi3.SectionValidationError:
		return []string{e.Section}, true
	case *openapi3.PathValidationError:
		return []string{e.Path}, true
	case *openapi3.OperationValidationError:
		return []string{strings.ToLower(e.Method)}, true
	case *openapi3.ComponentValidationError:
		return []string{components[e.Section], e.Name}, true
	case *openapi3.WebhookValidationError:
		return []string{e.Name}, true
	}
	return nil, false
}

// add notes an error where it was found.
func (p *placer) add(err error, keys []string) {
	p.found.add(func() *openapi.Error { return p.at(err, keys) })
}

// at is an error at the deepest place that the document has of those that were
// found. What it lacks is named before the message.
func (p *placer) at(err error, keys []string) *openapi.Error {
	pointer, n := "", p.root
	message := strings.TrimSpace(strings.ReplaceAll(err.Error(), "\n", " "))
	for i, key := range keys {
		next := n.Get(key)
		if next == nil {
			message = strings.Join(keys[i:], ".") + ": " + message
			break
		}
		pointer, n = tree.Join(pointer, key), next
	}
	return n.Errorf(pointer, "%s", message)
}
