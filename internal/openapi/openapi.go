// Package openapi is what Latchkey makes of a product's OpenAPI document: the
// operations with the scopes that they need, a matcher that finds a request's
// operation, and the document as it is published on the tenants' hosts. It reads
// what was checked before: see package check, which the API server does not carry.
package openapi

import (
	"regexp"

	"github.com/latchkey-dev/latchkey/internal/openapi/tree"
)

// Bounds of a document.
const (
	// MaxBytes is how large its source may be.
	MaxBytes = tree.MaxBytes
	// MaxOperations is how many operations it may have.
	MaxOperations = 5000
	// MaxPaths is how many paths it may have, with operations or without.
	MaxPaths = 5000
	// MaxScopes is how many scopes it may name: a PublicApi can't list more.
	MaxScopes = 256
	// MaxScopeLength is how many characters a scope's name may have.
	MaxScopeLength = 64
)

// Error says what is wrong with a document, and where.
type Error = tree.Error

// Document is a product's OpenAPI document.
type Document struct {
	// Title, Version, Summary and Description are those of info.
	Title, Version, Summary, Description string
	// Contact is whom to ask.
	Contact Contact
	// License is what the API may be used under.
	License License
	// Scopes are those that it declares or that its operations need, in the order
	// in which it names them.
	Scopes []Scope
	// Operations are in the document's order.
	Operations []*Operation

	root *tree.Node
	// prefix is the path of the first server, without a slash at its end.
	prefix string
	paths  []path
	// findings are what was left out.
	findings findings
}

// Contact is the contact of a document; what it does not say is empty.
type Contact struct{ Name, URL, Email string }

// License is the licence of a document; what it does not say is empty.
type License struct{ Name, Identifier, URL string }

// Scope is a scope that a document names. Its description is that of an OAuth 2
// flow, or empty.
type Scope struct{ Name, Description string }

// Operation is what one method does on one path.
type Operation struct {
	// Method is in upper case.
	Method string
	// Path is whole: the path of the document's first server and the template, such
	// as /api/v1/orders/{id}.
	Path string
	// ID, Summary and Description are empty where the document has none.
	ID, Summary, Description string
	Tags                     []string
	Deprecated               bool
	// Public says that the operation may be called without a token.
	Public bool
	// Scopes are alternatives: a token has to have all scopes of any one of them.
	// Where there are none, every token will do.
	Scopes [][]string
}

// path is an entry of paths.
type path struct {
	key        string
	template   template
	operations []*Operation
}

// supported are the versions that can be read: 3.2 has methods, templates and
// security of its own.
var supported = regexp.MustCompile(`^3\.[01]\.[0-9]{1,3}(?:-[0-9A-Za-z.]{1,16})?$`)

// Load reads a document, JSON or YAML, of OpenAPI 3.0 or 3.1. It takes what it
// needs and checks no more than that. Errors are of the type *Error.
func Load(source []byte) (*Document, error) {
	root, err := tree.Parse(source)
	if err != nil {
		return nil, err
	}
	return FromTree(root)
}

// FromTree is Load for a document that was parsed. It keeps the tree and changes
// it: a path item that refers to another one becomes a copy of it.
func FromTree(root *tree.Node) (*Document, error) {
	if root.Kind != tree.Object {
		return nil, root.Errorf("", "an OpenAPI document is an object, this is %s", root.Kind)
	}
	if e := checkVersion(root); e != nil {
		return nil, e
	}
	d := &Document{root: root}
	d.readInfo(root.Get("info"))
	if e := d.readServers(root.Get("servers")); e != nil {
		return nil, e
	}
	l := loader{document: d, root: root, known: map[string]int{}}
	if e := l.declaredScopes(); e != nil {
		return nil, e
	}
	if e := l.paths(); e != nil {
		return nil, e
	}
	return d, nil
}

func checkVersion(root *tree.Node) *Error {
	version := root.Get("openapi")
	switch {
	case version == nil && root.Get("swagger") != nil:
		return root.Get("swagger").Errorf("/swagger", "Swagger 2.0 is not supported: convert the document to OpenAPI 3.0 or 3.1")
	case version == nil:
		return root.Errorf("/openapi", "the version is missing: openapi must be 3.0.x or 3.1.x")
	case version.Kind != tree.String:
		return version.Errorf("/openapi", "it must be a string such as \"3.1.0\": put it in quotes")
	case !supported.MatchString(version.Text):
		return version.Errorf("/openapi", "the version %.20q is not supported: openapi must be 3.0.x or 3.1.x", version.Text)
	}
	return nil
}

func (d *Document) readInfo(info *tree.Node) {
	d.Title, d.Version = info.Get("title").String(), info.Get("version").String()
	d.Summary, d.Description = info.Get("summary").String(), info.Get("description").String()
	contact, license := info.Get("contact"), info.Get("license")
	d.Contact = Contact{Name: contact.Get("name").String(), URL: contact.Get("url").String(), Email: contact.Get("email").String()}
	d.License = License{Name: license.Get("name").String(), Identifier: license.Get("identifier").String(), URL: license.Get("url").String()}
}

// Is30 says whether the document is one of OpenAPI 3.0, and not of 3.1.
func (d *Document) Is30() bool { return d.root.Get("openapi").Text[:3] == "3.0" }

// JSON is the document as it was read, but for path items that referred to others.
func (d *Document) JSON() []byte { return d.root.JSON().Prefix }
