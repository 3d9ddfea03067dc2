package openapi

import (
	"github.com/latchkey-dev/latchkey/internal/openapi/tree"
	"github.com/latchkey-dev/latchkey/internal/splice"
)

// Published is a document as it is served. It is prepared once for all hosts: only
// the origin differs from one to the next. It never changes.
type Published struct{ json, yaml *splice.Text }

// Rendering is a document for one host.
type Rendering = splice.Filled

// JSON is the document for an origin, such as https://acme.example.com.
func (p *Published) JSON(origin string) *Rendering { return p.json.Fill(tree.Quote(origin)) }

// YAML is the same as YAML.
func (p *Published) YAML(origin string) *Rendering { return p.yaml.Fill(tree.Quote(origin)) }

func newPublished(root *tree.Node) *Published {
	// The media types are those of RFC 8259 and RFC 9512.
	return &Published{json: around(root.JSON(), "application/json"), yaml: around(root.YAML(), "application/yaml")}
}

// around is a text with the origin in it.
func around(text tree.Encoded, contentType string) *splice.Text {
	return splice.New(contentType, splice.Piece{Text: text.Prefix}, splice.Piece{Text: text.Suffix})
}
