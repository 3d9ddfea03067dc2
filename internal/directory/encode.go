package directory

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/ratelimit"
	"github.com/latchkey-dev/latchkey/internal/record"
	"github.com/latchkey-dev/latchkey/internal/token"
)

// The flags that begin an encoded record.
const (
	recordHasPrevious = 1 << iota
	// recordTenantInNamespace: the namespace is the tenant's name after the usual
	// prefix, as nearly always.
	recordTenantInNamespace
)

// The flags that begin an encoded voucher. Those of an issued credential come twice:
// there is one, status knows of a use, and it was dropped.
const (
	voucherRevoked = 1 << iota
	voucherHasNotAfter
	voucherHasIssued
	voucherIssuedIsUsed
	voucherIssuedIsDropped
	issuedFlags  = 3
	voucherFlags = 2 // bytes

	// voucherHasRateLimit follows the flags of both issued credentials.
	voucherHasRateLimit = voucherHasIssued << (2 * issuedFlags)
)

// encodeRecord packs what the directory needs of a record:
//
//	flags      1 byte
//	current    32 bytes of digest, expiry, id
//	previous   the same, if there is one
//	namespace, tenant (unless the namespace has it), name, owner
//	scopes     how many, then each
//	CIDRs      how many, then each: 4 or 16, the address, the length
//
// Texts have their length before them. Expiries are seconds since 1970, lengths
// and seconds are varints.
func encodeRecord(b []byte, r *record.Record) []byte {
	flags := byte(0)
	if r.Previous != nil {
		flags |= recordHasPrevious
	}
	inNamespace := r.Namespace == v1alpha1.TenantNamespacePrefix+r.Tenant
	if inNamespace {
		flags |= recordTenantInNamespace
	}
	b = appendCredential(append(b, flags), &r.Current)
	if r.Previous != nil {
		b = appendCredential(b, r.Previous)
	}
	b = appendText(b, r.Namespace)
	if !inNamespace {
		b = appendText(b, r.Tenant)
	}
	b = appendText(appendText(b, r.Name), r.Owner)
	b = binary.AppendUvarint(b, uint64(len(r.Scopes)))
	for _, scope := range r.Scopes {
		b = appendText(b, scope)
	}
	b = binary.AppendUvarint(b, uint64(len(r.AllowedCIDRs)))
	for _, prefix := range r.AllowedCIDRs {
		address := prefix.Addr().AsSlice()
		b = append(append(b, byte(len(address))), address...) //nolint:gosec // 4 or 16
		b = append(b, byte(prefix.Bits()))                    //nolint:gosec // at most 128
	}
	return b
}

func appendCredential(b []byte, c *record.Credential) []byte {
	return appendText(appendTime(append(b, c.Digest[:]...), c.NotAfter), c.ID)
}

func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// appendTime drops fractions of a second, which the objects don't have: what is
// left is never later.
func appendTime(b []byte, t time.Time) []byte { return binary.AppendVarint(b, t.Unix()) }

// encodeVoucher packs what decides whether an ApiToken's record works:
//
//	flags      2 bytes
//	namespace, name
//	expiry     of spec, if it is set: nothing of the ApiToken works beyond it
//	rate limit if it is set
//	issued     for each credential in status whose digest parses: 32 bytes of
//	           digest, expiry
//
// An ApiToken that is being deleted is taken for one that vouches for nothing:
// finalizers of others must not keep it working.
func encodeVoucher(b []byte, t *v1alpha1.ApiToken) []byte {
	at := len(b)
	b = appendText(appendText(append(b, make([]byte, voucherFlags)...), t.Namespace), t.Name)
	flags := uint16(0)
	if t.Spec.Revoked {
		flags |= voucherRevoked
	}
	if t.DeletionTimestamp.IsZero() {
		b, flags = appendVouched(b, flags, t)
	}
	binary.LittleEndian.PutUint16(b[at:], flags)
	return b
}

func appendVouched(b []byte, flags uint16, t *v1alpha1.ApiToken) ([]byte, uint16) {
	if !t.Spec.ExpiresAt.IsZero() {
		flags |= voucherHasNotAfter
		b = appendTime(b, t.Spec.ExpiresAt.Time)
	}
	if limit := ratelimit.Of(t.Spec.RateLimit); !limit.IsZero() {
		flags |= voucherHasRateLimit
		b = appendLimit(b, limit)
	}
	shift := 0
	for _, c := range []*v1alpha1.IssuedCredential{t.Status.Credential, t.Status.PreviousCredential} {
		if c == nil {
			continue
		}
		digest, err := token.ParseDigest(c.Digest)
		if err != nil {
			continue
		}
		own := uint16(voucherHasIssued)
		if useIsKnown(t, c) {
			own |= voucherIssuedIsUsed
		}
		if c == t.Status.PreviousCredential && t.Spec.Rotation != nil && t.Spec.Rotation.DropPrevious == c.ID {
			own |= voucherIssuedIsDropped
		}
		flags |= own << shift
		b = appendTime(append(b, digest[:]...), c.ExpiresAt.Time)
		shift += issuedFlags
	}
	return b, flags
}

// useIsKnown says whether status knows that the credential was used: the previous
// one since its successor was issued, which is what its owner waits to see.
func useIsKnown(t *v1alpha1.ApiToken, c *v1alpha1.IssuedCredential) bool {
	current := t.Status.Credential
	switch {
	case c.LastUsedAt == nil:
		return false
	case c == current || current == nil || current.IssuedAt == nil:
		return true
	}
	return current.IssuedAt.Before(c.LastUsedAt)
}

// recordView is an encoded record, opened. Its texts share the memory of what was
// opened.
type recordView struct {
	current, previous              credentialView
	namespace, tenant, name, owner string
	// lists are the scopes and CIDRs, still packed.
	lists unpacker
}

// credentialView is a credential; its digest is empty if there is none.
type credentialView struct {
	digest, id string
	notAfter   int64
}

func openRecord(text string) recordView {
	u := unpacker{text}
	flags := u.byte()
	r := recordView{current: u.credential()}
	if flags&recordHasPrevious != 0 {
		r.previous = u.credential()
	}
	r.namespace = u.text()
	if flags&recordTenantInNamespace != 0 {
		r.tenant = r.namespace[len(v1alpha1.TenantNamespacePrefix):]
	} else {
		r.tenant = u.text()
	}
	r.name, r.owner = u.text(), u.text()
	r.lists = u
	return r
}

// unpackLists returns the scopes and CIDRs.
func (r *recordView) unpackLists() (scopes []string, cidrs []netip.Prefix) {
	u := r.lists
	scopes = make([]string, u.uvarint())
	for i := range scopes {
		scopes[i] = u.text()
	}
	if n := u.uvarint(); n > 0 {
		cidrs = make([]netip.Prefix, n)
	}
	for i := range cidrs {
		address, _ := netip.AddrFromSlice([]byte(u.take(int(u.byte()))))
		cidrs[i] = netip.PrefixFrom(address, int(u.byte()))
	}
	return scopes, cidrs
}

// voucherView is an encoded voucher, opened.
type voucherView struct {
	namespace, name string
	revoked         bool
	limited         bool
	notAfter        int64
	rateLimit       ratelimit.Limit
	issued          [2]issuedView
}

// issuedView is a credential in status.
type issuedView struct {
	credentialView
	used, dropped bool
}

func openVoucher(text string) voucherView {
	u := unpacker{text}
	flags := binary.LittleEndian.Uint16([]byte(u.take(voucherFlags)))
	v := voucherView{revoked: flags&voucherRevoked != 0, namespace: u.text(), name: u.text()}
	if v.limited = flags&voucherHasNotAfter != 0; v.limited {
		v.notAfter = u.varint()
	}
	if flags&voucherHasRateLimit != 0 {
		v.rateLimit = u.limit()
	}
	for i := range v.issued {
		if flags&voucherHasIssued != 0 {
			v.issued[i].digest = u.take(len(token.Digest{}))
			v.issued[i].notAfter = u.varint()
			v.issued[i].used = flags&voucherIssuedIsUsed != 0
			v.issued[i].dropped = flags&voucherIssuedIsDropped != 0
		}
		flags >>= issuedFlags
	}
	return v
}

// unpacker takes apart what this file packed.
type unpacker struct{ rest string }

func (u *unpacker) take(n int) string {
	taken := u.rest[:n]
	u.rest = u.rest[n:]
	return taken
}

func (u *unpacker) byte() byte { return u.take(1)[0] }

func (u *unpacker) text() string { return u.take(int(u.uvarint())) } //nolint:gosec // a length that was packed

func (u *unpacker) credential() credentialView {
	return credentialView{digest: u.take(len(token.Digest{})), notAfter: u.varint(), id: u.text()}
}

func (u *unpacker) uvarint() uint64 {
	n := uint64(0)
	for shift := 0; ; shift += 7 {
		b := u.byte()
		n |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return n
		}
	}
}

// varint undoes the zigzag of binary.AppendVarint.
func (u *unpacker) varint() int64 {
	n := u.uvarint()
	return int64(n>>1) ^ -int64(n&1)
}
