// Package reference is the public page that documents a tenant's API on the
// tenant's own host: how to call it, what a token is, what errors mean, and every
// operation, which a reader can try with a token. It needs to know neither
// Kubernetes nor how the document was read; its caller decides who may see the page.
package reference

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/latchkey-dev/latchkey/internal/portal/assets"
	"github.com/latchkey-dev/latchkey/internal/problem"
	"github.com/latchkey-dev/latchkey/internal/splice"
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
	// Private says that not everyone may read the page: neither it nor its files are
	// kept by any cache.
	Private bool
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
	// Name is the host in lower case, with the port if the client named one, such as
	// acme.example.com:8443.
	Name string
	// Origin is what URLs begin with: http or https, and the Name.
	Origin string
}

// plainHost is all that a host's name is made of: a name in lower case, and maybe a
// port. None of it means anything to HTML, to a shell or in a string of code.
var plainHost = regexp.MustCompile(`^[a-z0-9.-]+(?::[0-9]*)?$`)

// plain says whether a host can stand in the page as it is.
func (h Host) plain() bool {
	scheme, rest, _ := strings.Cut(h.Origin, "://")
	return (scheme == "https" || scheme == "http") && rest == h.Name && plainHost.MatchString(h.Name)
}

// Reference answers requests for the page of a document, and for its assets.
type Reference struct {
	docsPath string
	private  bool
	files    *assets.Set
	page     *splice.Text
}

// New makes a Reference: it renders and compresses the page, which is then the same
// for every host but for the host's name. The first one of a process also compresses
// the assets.
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
	page, err := v.page()
	if err != nil {
		return nil, err
	}
	return &Reference{docsPath: d.DocsPath, private: d.Private, files: files, page: page}, nil
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

// Uncached is the Cache-Control of what not everyone may read.
const Uncached = "private, no-store"

// Serve answers a request, or returns why not. Only the paths that Paths lists are
// answered, compared with the bytes that were sent: what is spelled otherwise is
// another path (oauth2-proxy CVE-2026-40575).
func (r *Reference) Serve(w http.ResponseWriter, req *http.Request, host Host) *problem.Problem {
	found, cacheControl := r.find(req.URL.EscapedPath(), host)
	switch {
	case found == nil:
		return problem.NotFound
	case req.Method != http.MethodGet && req.Method != http.MethodHead:
		return problem.MethodNotAllowed("GET, HEAD")
	case r.private:
		cacheControl = Uncached
	}
	w.Header().Set("Cache-Control", cacheControl)
	protect(w.Header())
	found.ServeHTTP(w, req)
	return nil
}

// find is what is at a path, and how caches treat it; or nil. No page is made for a
// host that could not have been asked for.
func (r *Reference) find(path string, host Host) (found *splice.Filled, cacheControl string) {
	below, ok := strings.CutPrefix(path, r.docsPath)
	if !ok {
		return nil, ""
	}
	if below == "" && host.plain() {
		// no-cache: kept, and asked for again with its tag, since the document changes
		// under the same path.
		return r.page.Fill(host.Name, host.Origin), "no-cache"
	}
	name, _ := strings.CutPrefix(below, assetsBelow)
	if file, there := r.files.Get(name); there && name != below {
		return file, assets.CacheControl
	}
	return nil, ""
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
