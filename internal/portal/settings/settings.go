// Package settings is the pages on which a tenant's people make, rotate, revoke and
// review their API tokens: views in, HTML out. It knows neither Kubernetes nor who is
// signed in; its caller decides what somebody may see and do.
//
// The pages are complete without JavaScript, but for buttons that copy: settings.js
// removes nothing and adds what a browser alone can do.
package settings

import (
	"bytes"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"strings"

	"github.com/latchkey-dev/latchkey/internal/portal/assets"
	"github.com/latchkey-dev/latchkey/internal/problem"
)

// Pages renders views and serves the files that they are made of.
type Pages struct {
	templates map[string]*template.Template
	files     *assets.Set
}

// New makes Pages. The first ones of a process also parse the templates and compress
// the files.
func New() (*Pages, error) {
	files, err := static()
	if err != nil {
		return nil, err
	}
	parsed, err := templates()
	if err != nil {
		return nil, err
	}
	return &Pages{templates: parsed, files: files}, nil
}

// Render answers a request with the page of a view. Where it returns an error nothing
// was sent yet, unless the client has hung up.
//
// Pages are not compressed: some hold a token or a session's beside what a request
// can say, and the length of a compressed answer tells of both (BREACH).
func (p *Pages) Render(w http.ResponseWriter, r *http.Request, status int, view View) error {
	page, err := p.page(view)
	if err != nil {
		return err
	}
	h := w.Header()
	protect(h)
	h.Set("Cache-Control", Uncached)
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(page)))
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return nil
	}
	if _, err := w.Write(page); err != nil {
		return fmt.Errorf("sending the page %s: %w", view.name(), err)
	}
	return nil
}

// page renders a view.
func (p *Pages) page(view View) ([]byte, error) {
	var page bytes.Buffer
	if err := p.templates[view.name()].ExecuteTemplate(&page, "layout", view); err != nil {
		return nil, fmt.Errorf("rendering the page %s: %w", view.name(), err)
	}
	return page.Bytes(), nil
}

const assetsBelow = "/assets/"

// AssetPaths are the paths of the files, for pages at settingsPath. Nobody has to be
// known to read them: they are the same for everyone.
func (p *Pages) AssetPaths(settingsPath string) []string {
	var paths []string
	for _, name := range p.files.Names() {
		paths = append(paths, settingsPath+assetsBelow+name)
	}
	return paths
}

// ServeAsset answers a request for a file, or returns why not. Only the paths that
// AssetPaths lists are answered, compared with the bytes that were sent.
func (p *Pages) ServeAsset(w http.ResponseWriter, r *http.Request, settingsPath string) *problem.Problem {
	name, below := strings.CutPrefix(r.URL.EscapedPath(), settingsPath+assetsBelow)
	file, there := p.files.Get(name)
	switch {
	case !below || !there:
		return problem.NotFound
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		return problem.MethodNotAllowed("GET, HEAD")
	}
	protect(w.Header())
	w.Header().Set("Cache-Control", assets.CacheControl)
	file.ServeHTTP(w, r)
	return nil
}

// Uncached is the Cache-Control of every page.
const Uncached = "private, no-store"

// contentSecurityPolicy lets the pages load their own files and send forms to their
// own host. Chromium applies form-action to what a form is redirected to as well: a
// form that is to lead to an identity provider can't, a link can.
const contentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// protect sets the headers that every answer has.
//
// The Referrer-Policy is same-origin and not no-referrer, under which browsers send
// forms with "Origin: null" (Fetch, "append a request Origin header"). A browser
// without Sec-Fetch-Site could then not prove to http.CrossOriginProtection that a
// form is our own. No other origin learns more from one than from the other.
func protect(h http.Header) {
	h.Set("Content-Security-Policy", contentSecurityPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", permissionsPolicy)
}

// permissionsPolicy leaves the pages the clipboard, to write to, and nothing else
// that a script could ask a person for.
const permissionsPolicy = "camera=(), clipboard-read=(), display-capture=(), geolocation=(), hid=(), microphone=(), " +
	"payment=(), publickey-credentials-get=(), serial=(), usb=()"
