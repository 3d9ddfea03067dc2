package directory

import (
	"encoding/binary"
	"encoding/hex"
	"strings"

	"k8s.io/apimachinery/pkg/types"
)

// uidText is a UID as it is kept: a zero and the 16 bytes of a UUID, or, for a UID
// that is none, its length plus one as a varint and its text. No two UIDs are the
// same uidText.
type uidText string

const (
	uuidText  = 36
	uuidBytes = 16
)

func encodeUID(uid types.UID) uidText {
	if b, ok := parseUUID(string(uid)); ok {
		return uidText(append([]byte{0}, b[:]...))
	}
	return uidText(append(binary.AppendUvarint(nil, uint64(len(uid))+1), uid...))
}

// parseUUID takes only the form that Kubernetes gives UIDs, in lower case.
func parseUUID(text string) (b [uuidBytes]byte, ok bool) {
	if len(text) != uuidText {
		return b, false
	}
	digits := text[:8] + text[9:13] + text[14:18] + text[19:23] + text[24:]
	if _, err := hex.Decode(b[:], []byte(digits)); err != nil {
		return b, false
	}
	return b, formatUUID(b[:]) == text
}

func formatUUID(b []byte) string {
	digits := hex.EncodeToString(b)
	return digits[:8] + "-" + digits[8:12] + "-" + digits[12:16] + "-" + digits[16:20] + "-" + digits[20:]
}

// uidLength is how long the uidText is with which the text begins.
func uidLength(text string) int {
	u := unpacker{text}
	n := int(u.uvarint()) //nolint:gosec // a length that was packed
	if n == 0 {
		n = uuidBytes + 1
	}
	return len(text) - len(u.rest) + n - 1
}

// UID is the UID as Kubernetes writes it.
func (t uidText) UID() types.UID {
	u := unpacker{string(t)}
	if u.uvarint() == 0 {
		return types.UID(formatUUID([]byte(u.rest)))
	}
	return types.UID(u.rest)
}

// before says whether the UID comes before the other in the order of their texts.
func (t uidText) before(other uidText) bool {
	return strings.Compare(string(t.UID()), string(other.UID())) < 0
}
