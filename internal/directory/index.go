package directory

import (
	"cmp"
	"hash/maphash"
	"math/bits"
	"slices"
	"sort"
	"sync/atomic"

	"github.com/latchkey-dev/latchkey/internal/token"
)

// index says which slots may have a record of a digest. It is a hint: whoever
// follows it compares the whole digest with that in the slot, so that a hash of
// eight bytes is enough here. The hash has a random seed: nobody can choose digests
// that fall together. It is read without a lock, as slots are.
type index struct {
	seed   maphash.Seed
	shards [indexShards]atomic.Pointer[indexShard]
}

const indexShards = 1024

func newIndex() *index { return &index{seed: maphash.MakeSeed()} }

// indexShard is immutable and sorted.
type indexShard []indexEntry

// indexEntry is a claim: the record in a slot with this hash of its UID names a
// digest with that hash. The same claim may be there more than once.
type indexEntry struct{ digest, slot uint64 }

func compareEntries(a, b indexEntry) int {
	return cmp.Or(cmp.Compare(a.digest, b.digest), cmp.Compare(a.slot, b.slot))
}

func (x *index) hash(digest token.Digest) uint64 { return maphash.Bytes(x.seed, digest[:]) }

func indexShardOf(hash uint64) int { return int(hash % indexShards) }

// find returns the claims to a digest, which the caller must not change.
func (x *index) find(digest token.Digest) []indexEntry {
	hash := x.hash(digest)
	shard := x.shards[indexShardOf(hash)].Load()
	if shard == nil {
		return nil
	}
	all := *shard
	from := firstOf(len(all), hash, func(i int) uint64 { return all[i].digest })
	to := from
	for to < len(all) && all[to].digest == hash {
		to++
	}
	return all[from:to]
}

// firstOf is the number of the first of n hashes, sorted, that is not below the
// hash. Hashes are evenly spread, so that the place can be guessed to within a few.
func firstOf(n int, hash uint64, at func(int) uint64) int {
	guess, _ := bits.Mul64(hash, uint64(n)) //nolint:gosec // a length
	i := int(guess)                         //nolint:gosec // below n
	for i > 0 && at(i-1) >= hash {
		i--
	}
	for i < n && at(i) < hash {
		i++
	}
	return i
}

func (x *index) add(e indexEntry) {
	old := x.load(indexShardOf(e.digest))
	at, _ := slices.BinarySearchFunc(old, e, compareEntries)
	changed := make(indexShard, 0, len(old)+1)
	x.store(indexShardOf(e.digest), append(append(append(changed, old[:at]...), e), old[at:]...))
}

func (x *index) remove(e indexEntry) {
	old := x.load(indexShardOf(e.digest))
	at, ok := slices.BinarySearchFunc(old, e, compareEntries)
	if !ok {
		return
	}
	changed := make(indexShard, 0, len(old)-1)
	x.store(indexShardOf(e.digest), append(append(changed, old[:at]...), old[at+1:]...))
}

func (x *index) load(i int) indexShard {
	if shard := x.shards[i].Load(); shard != nil {
		return *shard
	}
	return nil
}

func (x *index) store(i int, shard indexShard) {
	if len(shard) == 0 {
		x.shards[i].Store(nil)
		return
	}
	x.shards[i].Store(&shard)
}

// addAll adds many claims, which it sorts.
func (x *index) addAll(entries []indexEntry) {
	x.eachShard(entries, func(i int, part []indexEntry) {
		if old := x.load(i); len(part)+len(old) > 0 {
			all := slices.Concat(old, part)
			slices.SortFunc(all, compareEntries)
			x.store(i, all)
		}
	})
}

// setAll makes the claims, which are sorted, the only ones.
func (x *index) setAll(entries []indexEntry) {
	x.eachShard(entries, func(i int, part []indexEntry) { x.store(i, slices.Clone(part)) })
}

func (x *index) eachShard(entries []indexEntry, do func(i int, part []indexEntry)) {
	slices.SortFunc(entries, func(a, b indexEntry) int {
		return cmp.Or(cmp.Compare(indexShardOf(a.digest), indexShardOf(b.digest)), compareEntries(a, b))
	})
	for i := range x.shards {
		n := sort.Search(len(entries), func(n int) bool { return indexShardOf(entries[n].digest) > i })
		do(i, entries[:n])
		entries = entries[n:]
	}
}
