// Package assets serves the files that the portal's pages are made of: a fixed set,
// each under a name that changes with its content, so that browsers may keep it for
// good and a new version never meets an old file.
package assets

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/latchkey-dev/latchkey/internal/splice"
)

// File is a file as it is known to the pages.
type File struct {
	// Name has an extension of those in contentTypes.
	Name string
	// Content must not be changed.
	Content []byte
}

// contentTypes are of the files that a page may have. Nothing is guessed.
var contentTypes = map[string]string{
	".css": "text/css; charset=utf-8",
	".js":  "text/javascript; charset=utf-8",
	".svg": "image/svg+xml",
}

// Set is files, ready to be sent.
type Set struct {
	public map[string]string // by the files' own names
	files  map[string]*splice.Filled
}

// New makes a set. It compresses each file once, which takes about 100 ms per MiB.
func New(files ...File) (*Set, error) {
	s := &Set{public: map[string]string{}, files: map[string]*splice.Filled{}}
	for _, f := range files {
		extension := path.Ext(f.Name)
		contentType, known := contentTypes[extension]
		if !known || strings.ContainsAny(f.Name, "/%?#") {
			return nil, fmt.Errorf("asset %q: give a name without a folder that ends in .css, .js or .svg", f.Name)
		}
		if _, twice := s.public[f.Name]; twice {
			return nil, fmt.Errorf("asset %q is given twice", f.Name)
		}
		sum := sha256.Sum256(f.Content)
		public := strings.TrimSuffix(f.Name, extension) + "-" + hex.EncodeToString(sum[:8]) + extension
		s.public[f.Name] = public
		s.files[public] = splice.New(contentType, splice.Piece{Text: f.Content}).Fill()
	}
	return s, nil
}

// Public is the name under which a file of the set is served, or "" if there is no
// such file.
func (s *Set) Public(name string) string { return s.public[name] }

// Names are the names under which files are served, sorted.
func (s *Set) Names() []string {
	var names []string
	for name := range s.files {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// CacheControl lets caches keep a file for good, where everyone may read it.
const CacheControl = "public, max-age=31536000, immutable"

// Get is the file that is served under a name, exactly as it is written. How long
// it is kept is the caller's to say: see CacheControl.
func (s *Set) Get(name string) (*splice.Filled, bool) {
	r, ok := s.files[name]
	return r, ok
}
