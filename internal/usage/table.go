package usage

import (
	"hash/maphash"
	"sync/atomic"

	"github.com/latchkey-dev/latchkey/internal/token"
)

// use is what is known of a credential's use.
type use struct {
	digest                  token.Digest
	tenant, namespace, name string
	// last is the latest use, in seconds since 1970.
	last atomic.Int64
	// first says that there was a use while status knew of none.
	first atomic.Bool

	// The rest only the writer touches, once the use is in the table.

	// written is the latest use that needs no writing.
	written int64
	// failures is how many writes have failed in a row.
	failures int
	// due is when a later use may be written, and retryFirst when a first one.
	due, retryFirst int64
	// from is the earliest use that is worth writing, as far as is known: one that
	// is the interval later than what status says.
	from int64
}

// ready says whether there is something to write now.
func (u *use) ready(now int64) bool {
	last := u.last.Load()
	return last > u.written && (last >= u.from && now >= u.due || u.urgent(now))
}

// settled says whether nothing is to be written unless it is used again.
func (u *use) settled() bool {
	last := u.last.Load()
	return last <= u.written || last < u.from
}

func (u *use) urgent(now int64) bool { return u.first.Load() && now >= u.retryFirst }

// table has the uses by digest. Nobody waits in it: look-ups follow a list that
// never changes, additions and removals replace its head.
type table struct {
	seed    maphash.Seed
	limit   int64
	count   atomic.Int64
	buckets [bucketCount]atomic.Pointer[node]
}

// bucketCount takes 512 KiB, and keeps the lists at one or two of 100,000 uses.
const bucketCount = 1 << 16

type node struct {
	use  *use
	next *node
}

func newTable(limit int64) *table { return &table{seed: maphash.MakeSeed(), limit: limit} }

func (t *table) bucket(digest token.Digest) *atomic.Pointer[node] {
	return &t.buckets[maphash.Bytes(t.seed, digest[:])%bucketCount]
}

func (n *node) find(digest token.Digest) *use {
	for ; n != nil; n = n.next {
		if n.use.digest == digest {
			return n.use
		}
	}
	return nil
}

func (t *table) find(digest token.Digest) *use { return t.bucket(digest).Load().find(digest) }

// add puts a use in, and returns it or the one that was there first; nil if the
// table is full.
func (t *table) add(u *use) *use {
	if t.count.Add(1) > t.limit {
		t.count.Add(-1)
		return nil
	}
	bucket := t.bucket(u.digest)
	for {
		head := bucket.Load()
		if present := head.find(u.digest); present != nil {
			t.count.Add(-1)
			return present
		}
		if bucket.CompareAndSwap(head, &node{u, head}) {
			return u
		}
	}
}

// remove takes a use out. Only the writer does.
func (t *table) remove(u *use) {
	bucket := t.bucket(u.digest)
	for {
		head := bucket.Load()
		var kept *node
		for n := head; n != nil; n = n.next {
			if n.use != u {
				kept = &node{n.use, kept}
			}
		}
		if bucket.CompareAndSwap(head, kept) {
			t.count.Add(-1)
			return
		}
	}
}

// each calls visit with every use, which may remove it.
func (t *table) each(visit func(*use)) {
	for i := range t.buckets {
		for n := t.buckets[i].Load(); n != nil; n = n.next {
			visit(n.use)
		}
	}
}
