package directory

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/record"
	"github.com/latchkey-dev/latchkey/internal/token"
)

// slot holds the two halves of a token and which digests it claims.
type slot struct {
	record  *record.Record
	voucher *voucher
	digests []token.Digest
}

// voucher is an ApiToken, shrunk to what decides whether its record works.
type voucher struct {
	uid             types.UID
	namespace, name string
	revoked         bool
	// wanted is the digest in spec, if it parses.
	wanted token.Digest
	// notAfter is spec.expiresAt, or zero: nothing of the ApiToken works beyond it.
	notAfter time.Time
	// issued are the credentials in status.
	issued []issuedCredential
}

type issuedCredential struct {
	digest   token.Digest
	notAfter time.Time
}

func newVoucher(t *v1alpha1.ApiToken) *voucher {
	v := &voucher{uid: t.UID, namespace: t.Namespace, name: t.Name, revoked: t.Spec.Revoked}
	if c := t.Spec.Credential; c != nil {
		v.wanted, _ = token.ParseDigest(c.Digest) // zero, which no record has, vouches for nothing
	}
	if t.Spec.ExpiresAt != nil {
		v.notAfter = t.Spec.ExpiresAt.Time
	}
	for _, c := range []*v1alpha1.IssuedCredential{t.Status.Credential, t.Status.PreviousCredential} {
		if c == nil {
			continue
		}
		if digest, err := token.ParseDigest(c.Digest); err == nil {
			v.issued = append(v.issued, issuedCredential{digest, c.ExpiresAt.Time})
		}
	}
	return v
}

// vouches says whether the ApiToken stands for a credential, and until when: the
// earliest of what the record, status and spec say. A credential that status does
// not know yet must be the one in spec.
func (v *voucher) vouches(c *record.Credential) (notAfter time.Time, ok bool) {
	notAfter, ok = c.NotAfter, c.Digest == v.wanted
	for _, issued := range v.issued {
		if issued.digest == c.Digest {
			ok = true
			notAfter = earliest(notAfter, issued.notAfter)
		}
	}
	if !v.notAfter.IsZero() {
		notAfter = earliest(notAfter, v.notAfter)
	}
	return notAfter, ok
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// join is what a slot puts into the directory.
func (s *slot) join() map[token.Digest]*Token {
	if s.record == nil || s.voucher == nil || s.record.Namespace != s.voucher.namespace {
		return nil
	}
	joined := make(map[token.Digest]*Token, 2)
	for _, c := range []*record.Credential{s.record.Previous, &s.record.Current} {
		if c == nil {
			continue
		}
		if notAfter, ok := s.voucher.vouches(c); ok {
			joined[c.Digest] = recordToken(s.record, c, s.voucher, notAfter)
		}
	}
	return joined
}

// update changes a slot and what it puts into the directory. The caller holds mu.
func (d *Directory) update(uid types.UID, change func(*slot)) {
	s := d.slot(uid)
	affected := s.tenant()
	change(s)
	if affected == "" {
		affected = s.tenant()
	}
	joined := s.join()
	for _, digest := range s.digests {
		if joined[digest] == nil {
			d.withdraw(digest, uid)
		}
	}
	s.digests = s.digests[:0]
	for digest, t := range joined {
		s.digests = append(s.digests, digest)
		d.offer(digest, t)
	}
	if s.record == nil && s.voucher == nil {
		delete(d.slots, uid)
	}
	if affected != "" {
		d.notify(affected)
	}
}

func (s *slot) tenant() string {
	if s.record == nil {
		return ""
	}
	return s.record.Tenant
}

// offer serves the token under the digest, unless another ApiToken with a lower
// UID does. The manager never issues one credential twice; what is served must
// not depend on the order of events even so.
func (d *Directory) offer(digest token.Digest, t *Token) {
	served, ok := d.tokens.get(digest)
	if ok && served.uid != t.uid {
		if served.uid < t.uid {
			d.contest(digest, t.uid)
			return
		}
		d.contest(digest, served.uid)
	}
	d.tokens.set(digest, t)
}

func (d *Directory) contest(digest token.Digest, uid types.UID) {
	if !slices.Contains(d.contested[digest], uid) {
		d.contested[digest] = append(d.contested[digest], uid)
	}
}

// withdraw ends a slot's claim to a digest; another claimant takes its place.
func (d *Directory) withdraw(digest token.Digest, uid types.UID) {
	claimants := slices.DeleteFunc(d.contested[digest], func(other types.UID) bool { return other == uid })
	delete(d.contested, digest)
	if served, ok := d.tokens.get(digest); !ok || served.uid != uid {
		d.restore(digest, claimants)
		return
	}
	slices.Sort(claimants)
	for i, claimant := range claimants {
		if t := d.slots[claimant].join()[digest]; t != nil {
			d.tokens.set(digest, t)
			d.restore(digest, claimants[i+1:])
			return
		}
	}
	d.tokens.remove(digest)
}

func (d *Directory) restore(digest token.Digest, claimants []types.UID) {
	if len(claimants) > 0 {
		d.contested[digest] = claimants
	}
}

// rebuild joins every slot anew, after a relist. The caller holds mu.
func (d *Directory) rebuild() {
	content := make(map[token.Digest]*Token, len(d.slots))
	d.contested = map[token.Digest][]types.UID{}
	for uid, s := range d.slots {
		s.digests = s.digests[:0]
		if s.record == nil && s.voucher == nil {
			delete(d.slots, uid)
			continue
		}
		for digest, t := range s.join() {
			s.digests = append(s.digests, digest)
			served, ok := content[digest]
			switch {
			case !ok:
				content[digest] = t
			case served.uid < t.uid:
				d.contest(digest, t.uid)
			default:
				d.contest(digest, served.uid)
				content[digest] = t
			}
		}
	}
	d.tokens.replace(content)
	d.notify("")
}
