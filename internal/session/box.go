package session

import (
	"bytes"
	"compress/flate"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/latchkey-dev/latchkey/internal/session/keyring"
)

const (
	// version begins every sealed text, and is part of what it is bound to.
	version = "v1"
	// maxText is the longest that a sealed text gets, in bytes, so that with a cookie's
	// name and attributes it stays below the 4096 that browsers are bound to keep.
	maxText = 4000
	// maxContent bounds what is sealed, and so what a text inflates to.
	maxContent = 64 << 10
	// deflateFrom is the size from which content is deflated. What a stranger can write
	// into, the way back after a sign-in, is never: its length would tell what else is
	// in there (CRIME, CVE-2012-4929).
	deflateFrom = 1 << 10
)

// How the content is kept, in the byte after the instant.
const (
	plain    byte = 0
	deflated byte = 1
)

// headLength is that of the instant until which a text opens, in milliseconds since
// 1970, and of the byte that says how the content is kept.
const headLength = 8 + 1

// binding is what a text is bound to: it opens for the same, and for nothing else.
type binding struct{ purpose, tenant string }

// purposeSession is that of sessions. Those of Seal's callers have another beginning.
const (
	purposeSession = "session"
	purposePrefix  = "seal:"
)

func (b binding) associatedData() ([]byte, error) {
	if b.tenant == "" {
		return nil, errors.New("nothing is sealed for no tenant")
	}
	if strings.Contains(b.purpose+b.tenant, "\x00") {
		return nil, fmt.Errorf("purpose %q and tenant %q must have no NUL, which separates them", b.purpose, b.tenant)
	}
	return []byte(version + "\x00" + b.purpose + "\x00" + b.tenant), nil
}

// locks are the keys of a ring, ready for use.
type locks struct {
	ring  keyring.Ring
	aeads map[string]cipher.AEAD
}

func newLocks(ring keyring.Ring) (*locks, error) {
	l := &locks{ring: ring, aeads: make(map[string]cipher.AEAD, len(ring))}
	for _, key := range ring {
		block, err := aes.NewCipher(key.Material[:])
		if err != nil {
			return nil, err
		}
		// The 96 bits of its nonces are random: a key that seals for a day is far from the
		// 2^32 messages that are safe with those (NIST SP 800-38D, section 8.3).
		if l.aeads[key.ID], err = cipher.NewGCMWithRandomNonce(block); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// seal makes a text of content, by the key that seals now.
func (l *locks) seal(to binding, content []byte, deflate bool, until, now time.Time) (string, error) {
	key, ok := l.ring.Sealing(now)
	if !ok {
		return "", fmt.Errorf("%w: there is no key to seal with", ErrUnavailable)
	}
	additional, err := to.associatedData()
	if err != nil {
		return "", err
	}
	if len(content) > maxContent {
		return "", fmt.Errorf("%w: %d bytes", ErrTooLarge, len(content))
	}
	packed, err := pack(content, deflate && len(content) >= deflateFrom, until)
	if err != nil {
		return "", err
	}
	sealed := l.aeads[key.ID].Seal(nil, nil, packed, additional) //nolint:gosec // it makes its nonce itself
	text := version + "." + key.ID + "." + base64.RawURLEncoding.EncodeToString(sealed)
	if len(text) > maxText {
		return "", fmt.Errorf("%w: %d bytes sealed, at most %d fit", ErrTooLarge, len(text), maxText)
	}
	return text, nil
}

// errNotSealed is all that is said of a text that does not open.
var errNotSealed = errors.New("not sealed here, for this, by a key that still opens")

// open returns the content of a text, and until when it was to be opened, by a key that
// may open at this instant what lives for lifetime.
func (l *locks) open(from binding, text string, now time.Time, lifetime time.Duration) (content []byte, until time.Time, err error) {
	parts := strings.Split(text, ".")
	if len(text) > maxText || len(parts) != 3 || parts[0] != version || !l.ring.Opens(parts[1], now, lifetime) {
		return nil, until, errNotSealed
	}
	// Strict: a text has one spelling, also in the bits that the last character has left.
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(parts[2])
	if err != nil || strings.ContainsAny(parts[2], "\r\n") {
		return nil, until, errNotSealed
	}
	additional, err := from.associatedData()
	if err != nil {
		return nil, until, errNotSealed
	}
	packed, err := l.aeads[parts[1]].Open(nil, nil, sealed, additional)
	if err != nil {
		return nil, until, errNotSealed
	}
	return unpack(packed)
}

// pack puts head and content together.
func pack(content []byte, deflate bool, until time.Time) ([]byte, error) {
	packed := binary.BigEndian.AppendUint64(nil, uint64(until.UnixMilli())) // read back as what it was
	if !deflate {
		return append(append(packed, plain), content...), nil
	}
	buffer := bytes.NewBuffer(append(packed, deflated))
	w, err := flate.NewWriter(buffer, flate.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(content); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return buffer.Bytes(), nil
}

// unpack takes apart what pack made. Only whoever has a key can make it read anything
// else; it is bounded nonetheless.
func unpack(packed []byte) (content []byte, until time.Time, err error) {
	if len(packed) < headLength {
		return nil, until, errors.New("sealed content is too short")
	}
	until = time.UnixMilli(int64(binary.BigEndian.Uint64(packed))) //nolint:gosec // see pack
	content = packed[headLength:]
	switch packed[headLength-1] {
	case plain:
	case deflated:
		inflating := io.LimitReader(flate.NewReader(bytes.NewReader(content)), maxContent+1)
		if content, err = io.ReadAll(inflating); err != nil {
			return nil, until, fmt.Errorf("inflate sealed content: %w", err)
		}
	default:
		return nil, until, fmt.Errorf("sealed content is kept in way %d, which is not known", packed[headLength-1])
	}
	if len(content) > maxContent {
		return nil, until, fmt.Errorf("sealed content has more than %d bytes", maxContent)
	}
	return content, until, nil
}
