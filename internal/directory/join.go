package directory

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/record"
	"github.com/latchkey-dev/latchkey/internal/token"
)

// slot holds the two halves of a token and which keys it claims.
type slot struct {
	record  *record.Record
	voucher *voucher
	claims  []tokenKey
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
func (s *slot) join() map[tokenKey]*Token {
	if s.record == nil || s.voucher == nil || s.record.Namespace != s.voucher.namespace {
		return nil
	}
	joined := make(map[tokenKey]*Token, 2)
	for _, c := range []*record.Credential{s.record.Previous, &s.record.Current} {
		if c == nil {
			continue
		}
		if notAfter, ok := s.voucher.vouches(c); ok {
			t := recordToken(s.record, c, s.voucher, notAfter)
			joined[t.key()] = t
		}
	}
	return joined
}

// update changes a slot and what it puts into the directory. The caller holds mu.
func (d *Directory) update(uid types.UID, change func(*slot)) {
	s := d.slot(uid)
	before := s.tenant()
	change(s)
	after := s.tenant()
	joined := s.join()
	for _, key := range s.claims {
		if joined[key] == nil {
			d.withdraw(key, uid)
		}
	}
	s.claims = s.claims[:0]
	for key, t := range joined {
		s.claims = append(s.claims, key)
		d.offer(key, t)
	}
	if s.record == nil && s.voucher == nil {
		delete(d.slots, uid)
	}
	if before != "" {
		d.notify(before)
	}
	if after != "" && after != before {
		d.notify(after)
	}
}

func (s *slot) tenant() string {
	if s.record == nil {
		return ""
	}
	return s.record.Tenant
}

// offer serves the token under the key, unless another ApiToken with a lower
// UID does. The manager never issues one credential twice; what is served must
// not depend on the order of events even so.
func (d *Directory) offer(key tokenKey, t *Token) {
	served, ok := d.tokens.get(key)
	if ok && served.uid != t.uid {
		if served.uid < t.uid {
			d.contest(key, t.uid)
			return
		}
		d.contest(key, served.uid)
	}
	d.tokens.set(key, t)
}

func (d *Directory) contest(key tokenKey, uid types.UID) {
	if !slices.Contains(d.contested[key], uid) {
		d.contested[key] = append(d.contested[key], uid)
	}
}

// withdraw ends a slot's claim to a key; another claimant takes its place.
func (d *Directory) withdraw(key tokenKey, uid types.UID) {
	claimants := slices.DeleteFunc(d.contested[key], func(other types.UID) bool { return other == uid })
	delete(d.contested, key)
	if served, ok := d.tokens.get(key); !ok || served.uid != uid {
		d.restore(key, claimants)
		return
	}
	slices.Sort(claimants)
	for i, claimant := range claimants {
		if t := d.slots[claimant].join()[key]; t != nil {
			d.tokens.set(key, t)
			d.restore(key, claimants[i+1:])
			return
		}
	}
	d.tokens.remove(key)
}

func (d *Directory) restore(key tokenKey, claimants []types.UID) {
	if len(claimants) > 0 {
		d.contested[key] = claimants
	}
}

// rebuild joins every slot anew, after a relist. The caller holds mu.
func (d *Directory) rebuild() {
	content := make(map[tokenKey]*Token, len(d.slots))
	d.contested = map[tokenKey][]types.UID{}
	for uid, s := range d.slots {
		s.claims = s.claims[:0]
		if s.record == nil && s.voucher == nil {
			delete(d.slots, uid)
			continue
		}
		for key, t := range s.join() {
			s.claims = append(s.claims, key)
			served, ok := content[key]
			switch {
			case !ok:
				content[key] = t
			case served.uid < t.uid:
				d.contest(key, t.uid)
			default:
				d.contest(key, served.uid)
				content[key] = t
			}
		}
	}
	d.tokens.replace(content)
	d.notify("")
}
