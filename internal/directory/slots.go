package directory

import (
	"cmp"
	"hash/maphash"
	"slices"
	"sort"
	"strings"
	"sync/atomic"
)

// slots hold both halves of every token, by the ApiToken's UID. They are read
// without a lock; a write copies one shard. Writers exclude each other by a lock
// of their own.
//
// A shard has no pointers but two: the garbage collector's work does not grow
// with the number of tokens, and copying a shard leaves no gaps behind. A token of
// the benchmarks takes 16 bytes of entries, 17 of UID, 105 of record and 70 of
// voucher (see encodeRecord and encodeVoucher), and 16 in the index.
type slots struct {
	seed   maphash.Seed
	shards [slotShards]atomic.Pointer[slotShard]
}

// slotShards keeps a shard at some kilobytes with 100,000 tokens: so much is
// copied for an event.
const slotShards = 4096

// slotShard is immutable. Its entries are sorted by hash.
type slotShard struct {
	entries []slotEntry
	text    string
}

// slotEntry says where a slot is in its shard's text, one after the other: the UID,
// the record, the voucher. Either half may be empty.
type slotEntry struct {
	hash           uint64
	start, voucher uint32
}

// slot is what is stored of one ApiToken. Its texts share the memory of a shard,
// and must be copied where they live longer.
type slot struct {
	hash            uint64
	uid             uidText
	record, voucher string
}

func newSlots() *slots { return &slots{seed: maphash.MakeSeed()} }

func (s *slots) hash(uid uidText) uint64 { return maphash.String(s.seed, string(uid)) }

func slotShardOf(hash uint64) int { return int(hash % slotShards) }

func (s *slots) shard(hash uint64) *slotShard {
	if shard := s.shards[slotShardOf(hash)].Load(); shard != nil {
		return shard
	}
	return &noSlots
}

var noSlots slotShard

// first is the number of the first entry that may have the hash.
func (s *slotShard) first(hash uint64) int {
	return firstOf(len(s.entries), hash, func(i int) uint64 { return s.entries[i].hash })
}

func (s *slotShard) end(i int) uint32 {
	if i+1 < len(s.entries) {
		return s.entries[i+1].start
	}
	return uint32(len(s.text)) //nolint:gosec // a shard of 4 GiB is beyond what etcd holds
}

func (s *slotShard) at(i int) slot {
	e := s.entries[i]
	text := s.text[e.start:e.voucher]
	n := uidLength(text)
	return slot{hash: e.hash, uid: uidText(text[:n]), record: text[n:], voucher: s.text[e.voucher:s.end(i)]}
}

// get finds the slot of an ApiToken. It is empty where there is none.
func (s *slots) get(uid uidText) slot {
	hash := s.hash(uid)
	shard := s.shard(hash)
	for i := shard.first(hash); i < len(shard.entries) && shard.entries[i].hash == hash; i++ {
		if found := shard.at(i); found.uid == uid {
			return found
		}
	}
	return slot{hash: hash, uid: uid}
}

func (s *slot) empty() bool { return s.record == "" && s.voucher == "" }

// put replaces a slot, or removes it if it is empty.
func (s *slots) put(changed slot) {
	pointer := &s.shards[slotShardOf(changed.hash)]
	old := s.shard(changed.hash)
	b := newShardBuilder(len(old.entries)+1, len(old.text)+len(changed.uid)+len(changed.record)+len(changed.voucher))
	placed := false
	for i := range old.entries {
		present := old.at(i)
		if !placed && present.hash > changed.hash {
			b.add(changed)
			placed = true
		}
		if present.hash == changed.hash && present.uid == changed.uid {
			present, placed = changed, true
		}
		b.add(present)
	}
	if !placed {
		b.add(changed)
	}
	pointer.Store(b.shard())
}

// each calls visit with every slot.
func (s *slots) each(visit func(slot)) {
	for i := range s.shards {
		if shard := s.shards[i].Load(); shard != nil {
			for n := range shard.entries {
				visit(shard.at(n))
			}
		}
	}
}

// replace gives every slot the half that the list has for it, or none. The list
// is sorted on the way.
func (s *slots) replace(list []half, set func(*slot, string)) {
	for i := range list {
		list[i].hash = s.hash(list[i].uid)
	}
	slices.SortStableFunc(list, compareHalves)
	for i := range s.shards {
		n := sort.Search(len(list), func(n int) bool { return slotShardOf(list[n].hash) > i })
		s.shards[i].Store(s.merged(s.shards[i].Load(), list[:n], set))
		list = list[n:]
	}
}

// merged is a shard with the halves in the list for those that it has.
func (s *slots) merged(old *slotShard, list []half, set func(*slot, string)) *slotShard {
	all := make([]slot, 0, len(list))
	if old != nil {
		for i := range old.entries {
			present := old.at(i)
			set(&present, "")
			all = append(all, present)
		}
	}
	kept := len(all)
	for i, h := range list {
		if i+1 < len(list) && compareHalves(h, list[i+1]) == 0 {
			continue // the last counts
		}
		at := slices.IndexFunc(all[:kept], func(p slot) bool { return p.hash == h.hash && p.uid == h.uid })
		if at < 0 {
			all = append(all, slot{hash: h.hash, uid: h.uid})
			at = len(all) - 1
		}
		set(&all[at], h.text)
	}
	size := 0
	for _, p := range all {
		size += len(p.uid) + len(p.record) + len(p.voucher)
	}
	slices.SortFunc(all, func(a, b slot) int { return cmp.Compare(a.hash, b.hash) })
	b := newShardBuilder(len(all), size)
	for _, p := range all {
		b.add(p)
	}
	return b.shard()
}

// half is one half of a token as it arrives.
type half struct {
	hash uint64
	uid  uidText
	text string
}

// compareHalves sorts by shard, then by hash.
func compareHalves(a, b half) int {
	return cmp.Or(cmp.Compare(slotShardOf(a.hash), slotShardOf(b.hash)), cmp.Compare(a.hash, b.hash), cmp.Compare(a.uid, b.uid))
}

// shardBuilder writes a shard, slot by slot in the order of their hashes.
type shardBuilder struct {
	entries []slotEntry
	text    strings.Builder
}

func newShardBuilder(entries, size int) *shardBuilder {
	b := &shardBuilder{entries: make([]slotEntry, 0, entries)}
	b.text.Grow(size)
	return b
}

func (b *shardBuilder) add(s slot) {
	if s.empty() {
		return
	}
	e := slotEntry{hash: s.hash, start: uint32(b.text.Len())} //nolint:gosec // see end
	b.text.WriteString(string(s.uid))
	b.text.WriteString(s.record)
	e.voucher = uint32(b.text.Len()) //nolint:gosec // see end
	b.text.WriteString(s.voucher)
	b.entries = append(b.entries, e)
}

func (b *shardBuilder) shard() *slotShard {
	if len(b.entries) == 0 {
		return nil
	}
	return &slotShard{entries: b.entries, text: b.text.String()}
}
