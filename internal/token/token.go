// Package token mints, parses and digests API tokens. A token is
//
//	<prefix>_<id>_<secret><checksum>
//
// with a prefix that an installation chooses, an id of 10 base62 characters that
// may be logged, a secret of 43 base62 characters (256 random bits), and the
// CRC-32 of all before it in 6 base62 characters, so that scanners and servers
// refuse garbage without a look-up. docs/token-format.md is the specification.
//
// The package imports the standard library only.
package token

import (
	"crypto/rand"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"regexp"
	"unsafe"
)

// Lengths of a token's parts, in bytes.
const (
	IDLength       = 10
	secretLength   = 43
	checksumLength = 6

	// MaxPrefixLength bounds what an installation may choose as its prefix.
	MaxPrefixLength = 16
	// MaxLength is the longest that a token can be.
	MaxLength = MaxPrefixLength + 1 + IDLength + 1 + secretLength + checksumLength
)

const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// Why a string is not a token. The messages never quote it.
var (
	ErrPrefix   = errors.New("does not begin with the expected prefix and an underscore")
	ErrLength   = errors.New("is too short or too long")
	ErrFormat   = errors.New("has a character that tokens do not have, or an underscore in the wrong place")
	ErrChecksum = errors.New("has a wrong checksum: it was mistyped or cut")
)

// Token is a minted token. It prints and logs as its id, or as an address where it is
// part of something else; only Reveal gives the plaintext, which is to be shown once and
// kept nowhere.
type Token struct {
	// plaintext is behind a pointer for fmt, which calls no method of a field that is not
	// exported and prints what it holds: of this one an address.
	plaintext *string
	id        string
}

// Mint makes a new token from crypto/rand. The prefix must satisfy
// ValidatePrefix.
func Mint(prefix string) (Token, error) {
	if err := ValidatePrefix(prefix); err != nil {
		return Token{}, err
	}
	b := make([]byte, 0, MaxLength)
	b = append(b, prefix...)
	b = append(b, '_')
	b = appendRandom(b, IDLength)
	b = append(b, '_')
	b = appendRandom(b, secretLength)
	b = appendChecksum(b, crc32.ChecksumIEEE(b))
	plaintext := string(b)
	return Token{plaintext: &plaintext, id: plaintext[len(prefix)+1:][:IDLength]}, nil
}

// ID is the token's public id.
func (t Token) ID() string { return t.id }

// Reveal returns the plaintext; nothing for a Token that was not minted.
func (t Token) Reveal() string {
	if t.plaintext == nil {
		return ""
	}
	return *t.plaintext
}

// Digest is the token's digest for a tenant.
func (t Token) Digest(tenant string) Digest { return DigestOf(tenant, t.Reveal()) }

// String returns the id, so that a token printed by mistake gives nothing away.
func (t Token) String() string { return "token " + t.id }

// GoString is String, for the verb %#v.
func (t Token) GoString() string { return t.String() }

// LogValue is the id, for log/slog.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.String()) }

// MarshalText returns the id, for encoders such as encoding/json.
func (t Token) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// Parse checks that s is a well-formed token with the prefix and returns its id,
// which shares memory with s. It says nothing about whether the token exists.
// It does not allocate. The error is one of ErrPrefix, ErrLength, ErrFormat and
// ErrChecksum.
func Parse(prefix, s string) (id string, err error) {
	if len(s) <= len(prefix) || s[:len(prefix)] != prefix || s[len(prefix)] != '_' {
		return "", ErrPrefix
	}
	rest := s[len(prefix)+1:]
	if len(rest) != IDLength+1+secretLength+checksumLength {
		return "", ErrLength
	}
	if rest[IDLength] != '_' || !isBase62(rest[:IDLength]) || !isBase62(rest[IDLength+1:]) {
		return "", ErrFormat
	}
	body := len(s) - checksumLength
	if !equalChecksum(s[body:], checksum(s[:body])) {
		return "", ErrChecksum
	}
	return rest[:IDLength], nil
}

// ValidatePrefix says whether an installation may use the prefix: a lower-case
// letter, then up to 15 lower-case letters and digits.
func ValidatePrefix(prefix string) error {
	valid := len(prefix) >= 1 && len(prefix) <= MaxPrefixLength && prefix[0] >= 'a' && prefix[0] <= 'z'
	for i := 0; valid && i < len(prefix); i++ {
		valid = prefix[i] >= 'a' && prefix[i] <= 'z' || prefix[i] >= '0' && prefix[i] <= '9'
	}
	if !valid {
		return fmt.Errorf("token prefix %q: must be 1 to %d lower-case letters and digits, a letter first", prefix, MaxPrefixLength)
	}
	return nil
}

// Pattern returns the regular expression (RE2 and PCRE alike) by which secret
// scanners find tokens with the prefix. What it finds, Parse with its checksum
// tells from look-alikes.
func Pattern(prefix string) string {
	return fmt.Sprintf(`\b%s_[0-9A-Za-z]{%d}_[0-9A-Za-z]{%d}\b`,
		regexp.QuoteMeta(prefix), IDLength, secretLength+checksumLength)
}

// appendRandom appends n uniformly random base62 characters. Bytes from 248 on
// are thrown away: 248 is the largest multiple of 62, and a remainder of them
// would favour some characters.
func appendRandom(b []byte, n int) []byte {
	var buf [64]byte
	for n > 0 {
		_, _ = rand.Read(buf[:]) // it never returns an error: it ends the process instead
		for _, r := range buf {
			if r < 248 && n > 0 {
				b = append(b, alphabet[r%62])
				n--
			}
		}
	}
	return b
}

// checksum reads the string in place: converting it would allocate, since the
// compiler can't see that crc32 neither keeps nor changes its argument.
func checksum(s string) uint32 {
	return crc32.ChecksumIEEE(unsafe.Slice(unsafe.StringData(s), len(s))) //nolint:gosec // G103: read only, and not kept
}

func appendChecksum(b []byte, sum uint32) []byte {
	var digits [checksumLength]byte
	for i := len(digits) - 1; i >= 0; i-- {
		digits[i] = alphabet[sum%62]
		sum /= 62
	}
	return append(b, digits[:]...)
}

func equalChecksum(s string, sum uint32) bool {
	var want [checksumLength]byte
	return s == string(appendChecksum(want[:0], sum))
}

func isBase62(s string) bool {
	for i := range len(s) {
		if !base62[s[i]] {
			return false
		}
	}
	return true
}

var base62 = func() (set [256]bool) {
	for i := range len(alphabet) {
		set[alphabet[i]] = true
	}
	return set
}()
