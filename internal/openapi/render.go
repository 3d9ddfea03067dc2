package openapi

import (
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"net/http"
	"strconv"

	"github.com/latchkey-dev/latchkey/internal/negotiation"
	"github.com/latchkey-dev/latchkey/internal/openapi/tree"
)

// Published is a document as it is served. It is prepared once for all hosts: only
// the origin differs from one to the next. It never changes.
type Published struct{ json, yaml *body }

// Rendering is a document for one host.
type Rendering struct {
	body   *body
	origin string
	etag   string
}

// JSON is the document for an origin, such as https://acme.example.com.
func (p *Published) JSON(origin string) *Rendering { return p.json.rendering(origin) }

// YAML is the same as YAML.
func (p *Published) YAML(origin string) *Rendering { return p.yaml.rendering(origin) }

func newPublished(root *tree.Node) *Published {
	// The media types are those of RFC 8259 and RFC 9512.
	return &Published{
		json: newBody(root.JSON(), "application/json"),
		yaml: newBody(root.YAML(), "application/yaml"),
	}
}

// body is a text around an origin, plain and compressed.
//
// The compressed one is a single gzip member (RFC 1952), since browsers ignore a
// second: the text before the origin, deflated and flushed to a whole byte; the
// origin in stored blocks (RFC 1951, section 3.2.4); and the text behind it,
// deflated by itself, so that it refers to nothing before.
type body struct {
	contentType    string
	prefix, suffix []byte
	gzipPrefix     []byte // with the member's header
	gzipSuffix     []byte // without its trailer
	prefixCRC      uint32
	suffixCRC      uint32
	suffixShift    uint32
	digest         [sha256.Size]byte
}

// gzipHeader is one without a name or time, made on an unknown system.
const gzipHeader = "\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff"

func newBody(text tree.Encoded, contentType string) *body {
	b := &body{
		contentType: contentType,
		prefix:      text.Prefix,
		suffix:      text.Suffix,
		gzipPrefix:  deflate([]byte(gzipHeader), text.Prefix, (*flate.Writer).Flush),
		gzipSuffix:  deflate(nil, text.Suffix, (*flate.Writer).Close),
		prefixCRC:   crc32.ChecksumIEEE(text.Prefix),
		suffixCRC:   crc32.ChecksumIEEE(text.Suffix),
		suffixShift: crcShift(len(text.Suffix)),
	}
	hash := sha256.New()
	hash.Write(text.Prefix)
	hash.Write([]byte{0}) // in neither text
	hash.Write(text.Suffix)
	hash.Sum(b.digest[:0])
	return b
}

// deflate appends a compressed text, ended as end does it. Errors are only those
// of writing to a buffer, which has none.
func deflate(out, text []byte, end func(*flate.Writer) error) []byte {
	buffer := bytes.NewBuffer(out)
	w, _ := flate.NewWriter(buffer, flate.BestCompression)
	_, _ = w.Write(text)
	_ = end(w)
	return buffer.Bytes()
}

func (b *body) rendering(origin string) *Rendering {
	quoted := tree.Quote(origin)
	hash := sha256.New()
	hash.Write(b.digest[:])
	hash.Write([]byte(quoted))
	return &Rendering{body: b, origin: quoted, etag: base64.RawURLEncoding.EncodeToString(hash.Sum(nil)[:16])}
}

// ContentType is the media type.
func (r *Rendering) ContentType() string { return r.body.contentType }

// ETag is the strong validator of the document, or of its compressed form, whose
// bytes are others (RFC 9110, section 8.8.3).
func (r *Rendering) ETag(compressed bool) string {
	if compressed {
		return `"` + r.etag + `-gzip"`
	}
	return `"` + r.etag + `"`
}

// Bytes is the document.
func (r *Rendering) Bytes() []byte { return bytes.Join(r.parts(false), nil) }

// Gzip is the document, compressed.
func (r *Rendering) Gzip() []byte { return bytes.Join(r.parts(true), nil) }

// parts are the bytes that are sent. Only those of the origin are made anew.
func (r *Rendering) parts(compressed bool) [][]byte {
	b := r.body
	if !compressed {
		return [][]byte{b.prefix, []byte(r.origin), b.suffix}
	}
	crc := crcCombine(crc32.Update(b.prefixCRC, crc32.IEEETable, []byte(r.origin)), b.suffixCRC, b.suffixShift)
	size := uint32(len(b.prefix) + len(r.origin) + len(b.suffix)) //nolint:gosec // ISIZE is modulo 2^32
	trailer := binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, crc), size)
	return [][]byte{b.gzipPrefix, stored(r.origin), b.gzipSuffix, trailer}
}

// stored writes a text as stored blocks of deflate, none of them the last.
func stored(text string) []byte {
	var out []byte
	for text != "" {
		n := min(len(text), 0xffff)
		out = append(out, 0)
		out = binary.LittleEndian.AppendUint16(out, uint16(n))
		out = binary.LittleEndian.AppendUint16(out, ^uint16(n))
		out = append(out, text[:n]...)
		text = text[n:]
	}
	return out
}

// ServeHTTP answers GET and HEAD: with the form that Accept-Encoding asks for, or
// with 304 where the client has it. Caching and other methods are the caller's.
func (r *Rendering) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	compressed := negotiation.AcceptsGzip(request.Header["Accept-Encoding"])
	header := w.Header()
	header.Add("Vary", "Accept-Encoding")
	etag := r.ETag(compressed)
	header.Set("ETag", etag)
	if negotiation.HasTag(request.Header["If-None-Match"], etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	parts := r.parts(compressed)
	length := 0
	for _, part := range parts {
		length += len(part)
	}
	header.Set("Content-Type", r.body.contentType)
	header.Set("Content-Length", strconv.Itoa(length))
	if compressed {
		header.Set("Content-Encoding", "gzip")
	}
	w.WriteHeader(http.StatusOK)
	if request.Method == http.MethodHead {
		return
	}
	for _, part := range parts {
		if _, err := w.Write(part); err != nil {
			return // the client has gone
		}
	}
}
