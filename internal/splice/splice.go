// Package splice serves texts that differ from one reader to the next in a few
// short values only, such as a host's name. The text around the values is
// compressed once; a reader costs neither memory nor compression.
package splice

import (
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"net/http"
	"strconv"

	"github.com/latchkey-dev/latchkey/internal/negotiation"
)

// Piece is fixed text, and which of the values follows it. That of a text's last
// piece is not looked at.
type Piece struct {
	Text  []byte
	Value int
}

// Text is pieces with values between them, plain and compressed. It never changes.
//
// The compressed one is a single gzip member (RFC 1952), since browsers ignore a
// second. Each piece is deflated by itself, so that it refers to nothing across a
// value, and flushed to a whole byte; the values are stored blocks (RFC 1951,
// section 3.2.4).
type Text struct {
	contentType string
	pieces      []piece
	digest      [sha256.Size]byte
	// compressible says that the compressed form is the smaller one.
	compressible bool
}

type piece struct {
	plain, deflated []byte
	value           int
	crc, shift      uint32
}

// gzipHeader is one without a name or time, made on an unknown system.
const gzipHeader = "\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff"

// trailerSize is that of a member's CRC and length.
const trailerSize = 8

// New prepares a text of at least one piece, which takes about 100 ms per MiB. It
// keeps the pieces' texts, which must not be changed.
func New(contentType string, pieces ...Piece) *Text {
	t := &Text{contentType: contentType, pieces: make([]piece, len(pieces))}
	// A buffer takes everything, and the level is one that there is: no errors.
	compressor, _ := flate.NewWriter(nil, flate.BestCompression)
	hash := sha256.New()
	plain, compressed := 0, len(gzipHeader)+trailerSize
	for i, p := range pieces {
		last := i == len(pieces)-1
		t.pieces[i] = piece{
			plain: p.Text, deflated: deflate(compressor, p.Text, last), value: p.Value,
			crc: crc32.ChecksumIEEE(p.Text), shift: crcShift(len(p.Text)),
		}
		plain, compressed = plain+len(p.Text), compressed+len(t.pieces[i].deflated)
		// Lengths first, so that no two lists of pieces are hashed alike.
		hash.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(p.Text))))
		hash.Write(p.Text)
		if !last {
			hash.Write(binary.LittleEndian.AppendUint64(nil, uint64(p.Value))) //nolint:gosec // an index
		}
	}
	hash.Sum(t.digest[:0])
	t.compressible = compressed < plain
	return t
}

func deflate(w *flate.Writer, text []byte, last bool) []byte {
	var out bytes.Buffer
	w.Reset(&out)
	_, _ = w.Write(text)
	if last {
		_ = w.Close()
	} else {
		_ = w.Flush()
	}
	return bytes.Clone(out.Bytes()) // without the room that the buffer kept to grow
}

// Fill puts values between the pieces. They are escaped already for where they stand.
func (t *Text) Fill(values ...string) *Filled {
	hash := sha256.New()
	hash.Write(t.digest[:])
	for _, value := range values {
		hash.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(value))))
		hash.Write([]byte(value))
	}
	return &Filled{text: t, values: values, etag: hex.EncodeToString(hash.Sum(nil)[:16])}
}

// Filled is a text for one reader.
type Filled struct {
	text   *Text
	values []string
	etag   string
}

// ContentType is the media type.
func (f *Filled) ContentType() string { return f.text.contentType }

// ETag is the strong validator of the text, or of its compressed form, whose
// bytes are others (RFC 9110, section 8.8.3).
func (f *Filled) ETag(compressed bool) string {
	if compressed {
		return `"` + f.etag + `-gzip"`
	}
	return `"` + f.etag + `"`
}

// Bytes is the text.
func (f *Filled) Bytes() []byte { return bytes.Join(f.parts(false), nil) }

// Gzip is the text, compressed.
func (f *Filled) Gzip() []byte { return bytes.Join(f.parts(true), nil) }

// parts are the bytes that are sent. Only those of the values are made anew.
func (f *Filled) parts(compressed bool) [][]byte {
	if compressed {
		return f.gzipParts()
	}
	parts := make([][]byte, 0, 2*len(f.text.pieces))
	f.each(func(p *piece, value string) {
		parts = append(parts, p.plain, []byte(value))
	})
	return parts
}

func (f *Filled) gzipParts() [][]byte {
	parts := append(make([][]byte, 0, 2*len(f.text.pieces)+2), []byte(gzipHeader))
	crc, size := uint32(0), 0
	f.each(func(p *piece, value string) {
		parts = append(parts, p.deflated, stored(value))
		crc = crc32.Update(crcCombine(crc, p.crc, p.shift), crc32.IEEETable, []byte(value))
		size += len(p.plain) + len(value)
	})
	trailer := binary.LittleEndian.AppendUint32(make([]byte, 0, trailerSize), crc)
	return append(parts, binary.LittleEndian.AppendUint32(trailer, uint32(size)))
}

// each calls visit for the pieces and what follows them: nothing, the last one.
func (f *Filled) each(visit func(p *piece, value string)) {
	last := len(f.text.pieces) - 1
	for i := range f.text.pieces {
		value := ""
		if p := &f.text.pieces[i]; i < last {
			value = f.values[p.value]
		}
		visit(&f.text.pieces[i], value)
	}
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
// with 304 where the client has it. What gzip makes larger is sent as it is.
// Caching and other methods are the caller's.
func (f *Filled) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	header := w.Header()
	compressed := false
	if f.text.compressible {
		compressed = negotiation.AcceptsGzip(request.Header["Accept-Encoding"])
		header.Add("Vary", "Accept-Encoding")
	}
	etag := f.ETag(compressed)
	header.Set("ETag", etag)
	if negotiation.HasTag(request.Header["If-None-Match"], etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	parts := f.parts(compressed)
	length := 0
	for _, part := range parts {
		length += len(part)
	}
	header.Set("Content-Type", f.text.contentType)
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
