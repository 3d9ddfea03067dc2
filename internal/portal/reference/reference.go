// Package reference is the public page that documents a tenant's API on the
// tenant's own host: how to call it, what a token is, what errors mean, and every
// operation, which a reader can try with a token. It needs to know neither
// Kubernetes nor how the document was read; its caller decides who may see the page.
package reference

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/latchkey-dev/latchkey/internal/portal/assets"
	"github.com/latchkey-dev/latchkey/internal/problem"
)

// Document is what the page tells of an API. It is the same for every host that
// the API is served on.
type Document struct {
	// Title and Version are the API's.
	Title, Version string
	// Description is CommonMark. Its HTML is left out, and its images become links.
	Description string
	// Contact is whom to ask about the API.
	Contact Contact

	// DocsPath is where the page is, such as /docs.
	DocsPath string
	// BasePath is what the paths of the API begin with, such as /api/v1.
	BasePath string
	// SpecPath and SpecYAMLPath are where the document is, on the same host, in
	// JSON and in YAML. Without SpecYAMLPath the page has no link to it.
	SpecPath, SpecYAMLPath string
	// SettingsPath is where people make tokens. Without it the page tells them to
	// ask their administrator.
	SettingsPath string
	// ProblemBase stands before the code in a problem's type; problem.DefaultBase
	// if empty.
	ProblemBase string

	// DefaultLifetime is how long a token works where nobody said how long, and
	// MaxLifetime is the longest that anyone may say. Zero leaves a sentence out.
	DefaultLifetime, MaxLifetime time.Duration
	// NoticeDays is for how many days before its end a token's answers say so: the
	// largest of a token policy. Zero leaves a sentence out.
	NoticeDays int

	// Scopes are what tokens can be allowed to do.
	Scopes []Scope
	// Operations are listed by tag, in the order in which the tags first appear.
	Operations []Operation
	// Example is the operation that the page begins with. Without one it is the
	// first GET that needs a token and no parameter in its path, or else the base
	// path.
	Example *Operation
}

// Contact is whom to ask. Whatever is empty is not shown.
type Contact struct {
	Name, URL, Email string
}

// Scope is something that a token can be allowed to do.
type Scope struct {
	Name, Description string
}

// Operation is an operation of the API.
type Operation struct {
	// Tag is the group it is listed in; empty is a group too.
	Tag string
	// Method is in capitals, and Path is the whole path on the host.
	Method, Path string
	// Summary is plain text, and Description CommonMark.
	Summary, Description string
	// Scopes are alternatives: a token needs all scopes of any one of them.
	Scopes [][]string
	// Public is what needs no token, and Deprecated what should not be used any more.
	Public, Deprecated bool
}

// Host is the host on which a page is read.
type Host struct {
	// Name is the host as its users write it, such as acme.example.com.
	Name string
	// Origin is what URLs begin with, such as https://acme.example.com.
	Origin string
}

// Reference answers requests for the page of a document, and for its assets.
type Reference struct {
	docsPath string
	files    *assets.Set
	view     view

	mu    sync.Mutex
	pages map[Host]*assets.Representation
}

// maxPages bounds the pages that a Reference keeps: a page of 200 operations takes
// about 100 KiB, and rendering one again about 8 ms.
const maxPages = 128

// New makes a Reference. The first one of a process also compresses the assets.
func New(d Document) (*Reference, error) {
	for name, path := range map[string]string{"DocsPath": d.DocsPath, "BasePath": d.BasePath, "SpecPath": d.SpecPath} {
		if !strings.HasPrefix(path, "/") || strings.HasSuffix(path, "/") {
			return nil, fmt.Errorf("reference.Document: %s is %q: give a path that begins with a slash and does not end with one", name, path)
		}
	}
	if d.Title == "" {
		return nil, errors.New("reference.Document: Title is required")
	}
	if d.ProblemBase == "" {
		d.ProblemBase = problem.DefaultBase
	}
	if d.Example == nil {
		d.Example = example(d)
	}
	files, err := static()
	if err != nil {
		return nil, err
	}
	v, err := prepare(d, files)
	if err != nil {
		return nil, err
	}
	return &Reference{docsPath: d.DocsPath, files: files, view: v, pages: map[Host]*assets.Representation{}}, nil
}

// Paths are all that a Reference answers, for a page at docsPath: the page itself
// and its assets. Nobody has to be known to read them.
func Paths(docsPath string) ([]string, error) {
	files, err := static()
	if err != nil {
		return nil, err
	}
	paths := []string{docsPath}
	for _, name := range files.Names() {
		paths = append(paths, docsPath+assetsBelow+name)
	}
	return paths, nil
}

const assetsBelow = "/assets/"

// Serve answers a request, or returns why not. Only the paths that Paths lists are
// answered, compared with the bytes that were sent: what is spelled otherwise is
// another path (oauth2-proxy CVE-2026-40575).
func (r *Reference) Serve(w http.ResponseWriter, req *http.Request, host Host) *problem.Problem {
	found, refused := r.find(req.URL.EscapedPath(), host)
	if refused != nil {
		return refused
	}
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		return problem.MethodNotAllowed("GET, HEAD")
	}
	protect(w.Header())
	found.Serve(w, req)
	return nil
}

func (r *Reference) find(path string, host Host) (*assets.Representation, *problem.Problem) {
	below, ok := strings.CutPrefix(path, r.docsPath)
	if ok && below == "" {
		page, err := r.page(host)
		if err != nil {
			fault := *problem.Internal
			fault.Cause = err
			return nil, &fault
		}
		return page, nil
	}
	name, isAsset := strings.CutPrefix(below, assetsBelow)
	if file, there := r.files.Get(name); ok && isAsset && there {
		return file, nil
	}
	return nil, problem.NotFound
}

// page is the page of a host, rendered when it is first read.
func (r *Reference) page(host Host) (*assets.Representation, error) {
	r.mu.Lock()
	page, ok := r.pages[host]
	r.mu.Unlock()
	if ok {
		return page, nil
	}
	content, err := r.view.render(host)
	if err != nil {
		return nil, err
	}
	// no-cache: kept, and asked for again with its tag, since the document changes
	// under the same path.
	page = assets.NewRepresentation(content, "text/html; charset=utf-8", "no-cache")
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.pages) >= maxPages {
		clear(r.pages)
	}
	r.pages[host] = page
	return page, nil
}

// contentSecurityPolicy lets the page load its own files and call its own host.
// Images may be data: the viewer's style sheet has its icons in it.
const contentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

func protect(h http.Header) {
	h.Set("Content-Security-Policy", contentSecurityPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}
