// Package plaintext searches what Latchkey and its cluster leave behind for the
// plaintext of tokens, in every form in which a program could have written it. Its
// test takes tokens through every way of issuing, and then searches etcd's files,
// the audit log, the processes' logs, metrics and memory.
package plaintext

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
)

// MinFragment is how many characters of a secret in a row are found, also where the
// rest is cut off or elsewhere: 16 of base62 are 95 bits.
const MinFragment = 16

const (
	// window is how many bytes are compared first. Every windows'th byte of a form
	// begins one, so that any 2*window-1 bytes of it contain a whole one.
	window = 8
	// filterBits is the size of the table that rules nearly all positions out.
	filterBits = 24
	// context is what has to be kept of a stream to tell how far a match reaches: the
	// longest form there may be.
	context = 512
	// chunk is how much of a stream is looked at in one go.
	chunk = 1 << 20
)

// Form is a secret as it might be written.
type Form struct {
	// Name says how it is written.
	Name string
	// Text is the secret in this form, without what depends on its neighbours.
	Text string
	// least is how many bytes of Text MinFragment characters of the secret have.
	least int
}

// Forms are the forms in which a secret is looked for. The two alphabets of base64
// differ in no character of a token's base64, and base62 needs no escapes in JSON,
// HTML and logfmt.
func Forms(secret string) []Form {
	forms := []Form{
		{"raw", secret, MinFragment},
		{"hex", hex.EncodeToString([]byte(secret)), 2 * MinFragment},
		{"upper-case hex", strings.ToUpper(hex.EncodeToString([]byte(secret))), 2 * MinFragment},
		{"percent-encoded", eachByte(secret, "%%%02x"), 3 * MinFragment},
		{"upper-case percent-encoded", eachByte(secret, "%%%02X"), 3 * MinFragment},
		{"decimal bytes", strings.TrimSpace(eachByte(secret, "%d ")), 3 * MinFragment},
		{"JSON array of bytes", strings.Trim(eachByte(secret, "%d,"), ","), 3 * MinFragment},
	}
	for offset := range 3 {
		forms = append(forms, Form{fmt.Sprintf("base64 at offset %d", offset), base64At(offset, secret), 4*MinFragment/3 - 1})
	}
	return forms
}

func eachByte(s, format string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, format, s[i])
	}
	return b.String()
}

// base64At is what base64 makes of the secret after so many bytes of something else,
// without the characters that those decide too, and without those at the end that
// what follows decides.
func base64At(offset int, secret string) string {
	const bitsPerByte, bitsPerCharacter = 8, 6
	encoded := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("\x00", offset) + secret))
	first := (offset*bitsPerByte + bitsPerCharacter - 1) / bitsPerCharacter
	end := (offset + len(secret)) * bitsPerByte / bitsPerCharacter
	return encoded[first:end]
}

// Find is a place where a needle was found.
type Find struct {
	// Needle and Form say what was found.
	Needle, Form string
	// Offset is where in the stream, in bytes.
	Offset int64
	// Length is how many bytes of the form were there.
	Length int
}

// Search looks for many needles at once, in time that does not depend on their
// number. It can be used by several goroutines once nothing is added any more.
type Search struct {
	forms   []needleForm
	windows map[uint64][]place
	filter  []uint64
}

type needleForm struct {
	needle string
	Form
}

// place is where in a form a window begins.
type place struct{ form, offset int32 }

// NewSearch returns a search for nothing.
func NewSearch() *Search {
	return &Search{windows: map[uint64][]place{}, filter: make([]uint64, 1<<(filterBits-6))}
}

// AddSecret adds a secret in all its forms. The name is by what finds tell of it.
func (s *Search) AddSecret(name, secret string) error {
	for _, form := range Forms(secret) {
		if err := s.add(name, form); err != nil {
			return err
		}
	}
	return nil
}

// AddText adds a text that is looked for as it is, and whole.
func (s *Search) AddText(name, text string) error {
	return s.add(name, Form{"raw", text, len(text)})
}

func (s *Search) add(name string, form Form) error {
	if len(form.Text) < window || len(form.Text) > context || len(form.Text) < form.least {
		return fmt.Errorf("%s in the form %s has %d bytes: must have from %d to %d", name, form.Name, len(form.Text), max(window, form.least), context)
	}
	s.forms = append(s.forms, needleForm{name, form})
	for offset := 0; offset+window <= len(form.Text); offset += window {
		key := binary.LittleEndian.Uint64([]byte(form.Text[offset:]))
		s.windows[key] = append(s.windows[key], place{int32(len(s.forms) - 1), int32(offset)}) //nolint:gosec // both are small
		bit := hash(key)
		s.filter[bit>>6] |= 1 << (bit & 63)
	}
	return nil
}

// hash spreads a window over the filter (Fibonacci hashing).
func hash(key uint64) uint64 { return key * 0x9e3779b97f4a7c15 >> (64 - filterBits) }

// Read searches a stream to its end. It returns what it found and how many bytes it
// looked at, also with an error.
func (s *Search) Read(r io.Reader) (finds []Find, size int64, err error) {
	buffer := make([]byte, 0, context+chunk+context)
	next := 0        // the first position in buffer that was not looked at
	base := int64(0) // where in the stream the buffer begins
	for {
		n, readErr := io.ReadFull(r, buffer[len(buffer):cap(buffer)])
		buffer = buffer[:len(buffer)+n]
		size += int64(n)
		end := len(buffer) - context // what comes next may belong to a match from there on
		if readErr != nil {
			end = len(buffer)
		}
		for next < end {
			at := s.candidate(buffer, next, end)
			if at < 0 {
				next = end
				break
			}
			next = at + 1
			if find, right, ok := s.match(buffer, at); ok {
				find.Offset += base
				finds = append(finds, find)
				next = right
			}
		}
		switch {
		case errors.Is(readErr, io.EOF), errors.Is(readErr, io.ErrUnexpectedEOF):
			return finds, size, nil
		case readErr != nil:
			return finds, size, readErr
		}
		next = max(next, end)
		keep := max(0, next-context)
		base += int64(keep)
		buffer = buffer[:copy(buffer, buffer[keep:])]
		next -= keep
	}
}

// candidate is the first position from next on, before end, where a window may
// begin; -1 if there is none.
//
// The race detector would make this loop, which shares nothing with writers, twenty
// times slower.
//
//go:norace
func (s *Search) candidate(b []byte, next, end int) int {
	filter := s.filter
	for i := next; i < end && i+window <= len(b); i++ {
		bit := hash(binary.LittleEndian.Uint64(b[i:]))
		if filter[bit>>6]&(1<<(bit&63)) != 0 {
			return i
		}
	}
	return -1
}

// match tells what is at a position, and where it ends.
func (s *Search) match(b []byte, at int) (find Find, right int, ok bool) {
	for _, p := range s.windows[binary.LittleEndian.Uint64(b[at:])] {
		form := &s.forms[p.form]
		left, end := extend(b, at, form.Text, int(p.offset))
		if end-left >= form.least {
			return Find{form.needle, form.Name, int64(left), end - left}, end, true
		}
	}
	return Find{}, 0, false
}

// extend is the part of b around a position that agrees with the text around an
// offset in it.
func extend(b []byte, at int, text string, offset int) (left, right int) {
	left, right = at, at
	for i := offset; i > 0 && left > 0 && b[left-1] == text[i-1]; i-- {
		left--
	}
	for i := offset; i < len(text) && right < len(b) && b[right] == text[i]; i++ {
		right++
	}
	return left, right
}
