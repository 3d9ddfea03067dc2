package directory

import (
	"slices"
	"strings"
	"time"

	"github.com/latchkey-dev/latchkey/internal/token"
)

// joined is a slot whose two halves agree on a credential.
type joined struct {
	slot
	terms
}

// terms are those on which a credential works.
type terms struct {
	// notAfter is the earliest of what record, status and spec say.
	notAfter int64
	// revoked says that the ApiToken was revoked, or this credential dropped.
	revoked bool
	// used says that status knows of a use.
	used bool
}

// find looks for the slot that answers for a digest in a tenant. Where several
// could, it is that with the lowest UID: the manager never issues one credential
// twice, and what is served must not depend on the order of events even so.
func (d *Directory) find(tenant string, digest token.Digest) (best joined, ok bool) {
	for _, claim := range d.index.find(digest) {
		shard := d.slots.shard(claim.slot)
		for i := shard.first(claim.slot); i < len(shard.entries) && shard.entries[i].hash == claim.slot; i++ {
			s := shard.at(i)
			on, agree := s.agree(tenant, digest)
			if agree && (!ok || s.uid.before(best.uid)) {
				best, ok = joined{s, on}, true
			}
		}
	}
	return best, ok
}

// agree says whether both halves stand for a credential of the tenant, and on which
// terms.
func (s *slot) agree(tenant string, digest token.Digest) (on terms, ok bool) {
	if s.record == "" || s.voucher == "" {
		return terms{}, false
	}
	r, v := openRecord(s.record), openVoucher(s.voucher)
	if r.tenant != tenant || r.namespace != v.namespace {
		return terms{}, false
	}
	c, ok := r.credential(digest)
	if !ok {
		return terms{}, false
	}
	return v.vouches(c)
}

// credential is the record's of the digest.
func (r *recordView) credential(digest token.Digest) (*credentialView, bool) {
	switch string(digest[:]) {
	case r.current.digest:
		return &r.current, true
	case r.previous.digest:
		return &r.previous, true
	}
	return nil, false
}

// vouches says whether the ApiToken stands for a credential of its record, and
// until when: the earliest of what the record, status and spec say. Status alone
// vouches: spec is its author's, who could name in it what was never issued.
func (v *voucherView) vouches(c *credentialView) (on terms, ok bool) {
	on = terms{notAfter: c.notAfter, revoked: v.revoked}
	for i := range v.issued {
		if issued := &v.issued[i]; issued.digest == c.digest {
			ok = true
			on.notAfter = min(on.notAfter, issued.notAfter)
			on.revoked = on.revoked || issued.dropped
			on.used = on.used || issued.used
		}
	}
	if v.limited {
		on.notAfter = min(on.notAfter, v.notAfter)
	}
	return on, ok
}

// token makes what requests see. It shares no memory with the shard, which would
// else live as long as the longest request.
func (j *joined) token(digest token.Digest) *Token {
	r, v := openRecord(strings.Clone(j.record)), openVoucher(j.voucher)
	c, _ := r.credential(digest)
	t := &Token{
		ID:        c.id,
		Digest:    digest,
		Tenant:    r.tenant,
		Namespace: r.namespace, // the voucher's too: they agree
		Name:      r.name,
		Owner:     r.owner,
		Revoked:   j.revoked,
		Used:      j.used,
		NotAfter:  time.Unix(j.notAfter, 0).UTC(),
		RateLimit: v.rateLimit,
	}
	if v.name != r.name {
		t.Name = strings.Clone(v.name)
	}
	t.Scopes, t.AllowedCIDRs = r.unpackLists()
	return t
}

// claim is a key under which a record may be served.
type claim struct {
	tenant string
	digest token.Digest
}

// claims are the keys that the slot's record names, each once.
func (s *slot) claims() []claim {
	if s.record == "" {
		return nil
	}
	r := openRecord(s.record)
	claims := []claim{{r.tenant, token.Digest([]byte(r.current.digest))}}
	if r.previous.digest != "" && r.previous.digest != r.current.digest {
		claims = append(claims, claim{r.tenant, token.Digest([]byte(r.previous.digest))})
	}
	return claims
}

// entries are the slot's claims as the index has them, each once.
func (x *index) entries(s *slot) []indexEntry {
	var entries []indexEntry
	for _, c := range s.claims() {
		if e := (indexEntry{x.hash(c.digest), s.hash}); !slices.Contains(entries, e) {
			entries = append(entries, e)
		}
	}
	return entries
}

func (s *slot) tenant() string {
	if s.record == "" {
		return ""
	}
	return strings.Clone(openRecord(s.record).tenant)
}

func setRecord(s *slot, text string)  { s.record = text }
func setVoucher(s *slot, text string) { s.voucher = text }

// update changes one half of a slot.
func (d *Directory) update(changed half, set func(*slot, string)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	before := d.slots.get(changed.uid)
	after := before
	set(&after, changed.text)
	if after == before {
		return // such as a status with nothing new but the last use
	}
	affected := before.claims()
	for _, c := range after.claims() {
		if !slices.Contains(affected, c) {
			affected = append(affected, c)
		}
	}
	served := d.served(affected)
	d.swap(before, after)
	d.tokens.Add(int64(d.served(affected) - served))
	told := before.tenant()
	if told != "" {
		d.notify(told)
	}
	if tenant := after.tenant(); tenant != "" && tenant != told {
		d.notify(tenant)
	}
}

// swap stores a slot. The index leads to it before requests may look for it, and
// until they no more can, so that a credential that stays is found at any moment.
func (d *Directory) swap(before, after slot) {
	had, has := d.index.entries(&before), d.index.entries(&after)
	for _, e := range has {
		if !slices.Contains(had, e) {
			d.index.add(e)
		}
	}
	d.slots.put(after)
	for _, e := range had {
		if !slices.Contains(has, e) {
			d.index.remove(e)
		}
	}
}

func (d *Directory) served(claims []claim) int {
	n := 0
	for _, c := range claims {
		if _, ok := d.find(c.tenant, c.digest); ok {
			n++
		}
	}
	return n
}

// replace changes one half of every slot, after a relist.
func (d *Directory) replace(list []half, set func(*slot, string)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var coming []indexEntry
	for _, h := range list {
		s := slot{hash: d.slots.hash(h.uid)}
		set(&s, h.text)
		coming = append(coming, d.index.entries(&s)...)
	}
	d.index.addAll(coming)
	d.slots.replace(list, set)
	d.rebuildIndex()
	d.notify("")
}

// rebuildIndex forgets claims that are no more, and counts the tokens.
func (d *Directory) rebuildIndex() {
	var present []indexEntry
	served := int64(0)
	d.slots.each(func(s slot) {
		present = append(present, d.index.entries(&s)...)
		for _, c := range s.claims() {
			if best, ok := d.find(c.tenant, c.digest); ok && best.uid == s.uid {
				served++
			}
		}
	})
	d.index.setAll(present)
	d.tokens.Store(served)
}
