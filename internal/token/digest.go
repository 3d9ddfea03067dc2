package token

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
)

const (
	digestDomain = "latchkey/v1"
	digestPrefix = "sha256:"
	// maxTenantLength bounds a tenant's name: a DNS label.
	maxTenantLength = 63
)

// Digest is what is stored of a token, and the key by which it is looked up:
// SHA-256 over "latchkey/v1", NUL, the tenant's name, NUL, and the whole token.
// 256 random bits need neither a slow hash nor a pepper; the tenant inside makes
// a record useless elsewhere.
type Digest [sha256.Size]byte

// DigestOf computes the digest of a token for a tenant. It does not allocate for
// the lengths that tenants' names and tokens have.
func DigestOf(tenant, token string) Digest {
	var buf [len(digestDomain) + 1 + maxTenantLength + 1 + MaxLength]byte
	b := append(buf[:0], digestDomain...)
	b = append(b, 0)
	b = append(b, tenant...)
	b = append(b, 0)
	b = append(b, token...)
	return sha256.Sum256(b)
}

// ParseDigest reads the form that String writes.
func ParseDigest(s string) (Digest, error) {
	var d Digest
	if len(s) != len(digestPrefix)+hex.EncodedLen(len(d)) || s[:len(digestPrefix)] != digestPrefix {
		return Digest{}, fmt.Errorf("digest must be %s and %d hexadecimal digits", digestPrefix, hex.EncodedLen(len(d)))
	}
	if _, err := hex.Decode(d[:], []byte(s[len(digestPrefix):])); err != nil {
		return Digest{}, fmt.Errorf("digest: %w", err)
	}
	if d.String() != s {
		return Digest{}, errors.New("digest has upper-case digits")
	}
	if d.IsZero() {
		return Digest{}, errors.New("digest is all zeros, which no token has")
	}
	return d, nil
}

// String returns sha256: and 64 lower-case hexadecimal digits.
func (d Digest) String() string { return digestPrefix + hex.EncodeToString(d[:]) }

// IsZero says whether the digest was never set.
func (d Digest) IsZero() bool { return d == Digest{} }
