// Package assets serves the files that the portal's pages are made of: a fixed set,
// each under a name that changes with its content, so that browsers may keep it for
// good and a new version never meets an old file.
package assets

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/latchkey-dev/latchkey/internal/negotiation"
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
	files  map[string]*Representation
}

// New makes a set. It compresses each file once, which takes about 100 ms per MiB.
func New(files ...File) (*Set, error) {
	s := &Set{public: map[string]string{}, files: map[string]*Representation{}}
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
		s.files[public] = NewRepresentation(f.Content, contentType, "public, max-age=31536000, immutable")
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

// Get is the file that is served under a name, exactly as it is written.
func (s *Set) Get(name string) (*Representation, bool) {
	r, ok := s.files[name]
	return r, ok
}

// Representation is something to send, with what HTTP caches need.
type Representation struct {
	contentType, cacheControl string
	plain, gzipped            variant
}

type variant struct {
	content []byte
	etag    string
}

// NewRepresentation prepares content to be sent. It keeps content as it is.
func NewRepresentation(content []byte, contentType, cacheControl string) *Representation {
	sum := sha256.Sum256(content)
	tag := hex.EncodeToString(sum[:16])
	r := &Representation{
		contentType: contentType, cacheControl: cacheControl,
		plain: variant{content, `"` + tag + `"`},
	}
	// A compressed representation is another one, and has a tag of its own (RFC
	// 9110, section 8.8.3).
	if compressed := compress(content); len(compressed) < len(content) {
		r.gzipped = variant{compressed, `"` + tag + `-gzip"`}
	}
	return r
}

func compress(content []byte) []byte {
	var compressed bytes.Buffer
	writer := gzip.NewWriter(&compressed)
	// A buffer takes everything.
	_, _ = writer.Write(content)
	_ = writer.Close()
	return compressed.Bytes()
}

// Serve answers GET and HEAD with the representation. It takes no other method
// for one of them: that is the caller's to refuse.
func (r *Representation) Serve(w http.ResponseWriter, req *http.Request) {
	header := w.Header()
	chosen := r.plain
	if r.gzipped.content != nil {
		header.Add("Vary", "Accept-Encoding")
		if negotiation.AcceptsGzip(req.Header.Values("Accept-Encoding")) {
			chosen = r.gzipped
		}
	}
	header.Set("Cache-Control", r.cacheControl)
	header.Set("ETag", chosen.etag)
	header.Set("X-Content-Type-Options", "nosniff")
	if negotiation.HasTag(req.Header.Values("If-None-Match"), chosen.etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	header.Set("Content-Type", r.contentType)
	header.Set("Content-Length", strconv.Itoa(len(chosen.content)))
	if chosen.etag == r.gzipped.etag {
		header.Set("Content-Encoding", "gzip")
	}
	w.WriteHeader(http.StatusOK)
	if req.Method != http.MethodHead {
		_, _ = w.Write(chosen.content) // a client that has gone needs no answer
	}
}
