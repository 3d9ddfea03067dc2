package ratelimit

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

const (
	bucketEntries = 8       // two cache lines
	tableEntries  = 1 << 17 // of 16 bytes: 2 MiB
	buckets       = tableEntries / bucketEntries
	// locks is how many parts of the table can be changed at a time.
	locks = 1 << 10
)

// MaxClaims is how many limits a request can have to keep.
const MaxClaims = 3

// Key is what a limit counts for, such as a token.
type Key uint64

// Table knows who has sent how much. Its size is fixed, whatever is sent. A key that
// owes nothing takes no room: its entry is as good as empty. Where a bucket of
// entries is full of keys that do, the one that owes for the shortest time makes
// room and is owed nothing from then on: a flood of keys makes limits laxer for
// those who sent the least, and refuses nobody. A key is made by a token that was
// accepted, so that a flood takes as many tokens.
//
// Its methods may be called from any goroutine.
type Table struct {
	seed maphash.Seed
	// epoch is the first time that was asked about, from which times are counted by a
	// clock that nobody sets back.
	epoch     time.Time
	begin     sync.Once
	evictions atomic.Uint64
	locks     [locks]lock
	buckets   [buckets][bucketEntries]entry
}

// lock has a cache line of its own.
type lock struct {
	sync.Mutex
	// latest is the latest time that was asked about: who waited for the lock may come
	// with an earlier one.
	latest time.Duration
	_      [48]byte
}

// entry is when a key will have paid, in time after the epoch: its theoretical
// arrival time.
type entry struct {
	key  Key
	paid time.Duration
}

// New makes an empty table.
func New() *Table { return &Table{seed: maphash.MakeSeed()} }

// Key makes the key of what a kind and names stand for. Nobody outside can tell which
// of them crowd one bucket: the seed is random.
func (t *Table) Key(kind byte, namespace, name string) Key {
	return Key(maphash.Comparable(t.seed, named{kind, namespace, name}))
}

type named struct {
	kind            byte
	namespace, name string
}

// Evictions is how many keys that owed something were forgotten for others.
func (t *Table) Evictions() uint64 { return t.evictions.Load() }

// Claim is a limit that a request has to keep, and how it stands.
type Claim struct {
	// Key is what the limit counts for.
	Key Key
	// Limit is not zero.
	Limit Limit

	// Left is how many more requests would pass now.
	Left int
	// Next is how long it takes until one more than Left would pass; 0 where Left is
	// all that ever would.
	Next time.Duration
	// Exceeded says that this limit does not let the request pass: Next is then how
	// long to wait.
	Exceeded bool

	interval, capacity, debt time.Duration
}

// Take says whether a request keeps all limits. If so it counts for each of them,
// else for none. There are at most MaxClaims, each of a key of its own. It makes no
// garbage. A time before the first that it was asked about counts as that.
func (t *Table) Take(now time.Time, claims []Claim) bool {
	t.begin.Do(func() { t.epoch = now })
	held := t.lock(claims)
	defer held.unlock(t)
	at := held.at(t, now)
	pass := true
	for i := range claims {
		c := &claims[i]
		c.interval, c.capacity = c.Limit.prices()
		c.debt = t.debt(c.Key, at, c.capacity)
		c.Exceeded = c.debt+c.interval > c.capacity
		pass = pass && !c.Exceeded
	}
	for i := range claims {
		c := &claims[i]
		if pass {
			c.debt += c.interval
			t.store(c.Key, at, at+c.debt)
		}
		room := c.capacity - c.debt
		c.Left, c.Next = int(room/c.interval), 0
		if c.debt > 0 {
			c.Next = c.interval - room%c.interval
		}
	}
	return pass
}

// heldLocks are the numbers of locks that are held, in ascending order, so that two
// requests never wait for each other.
type heldLocks struct {
	numbers [MaxClaims]int
	count   int
}

func (t *Table) lock(claims []Claim) (held heldLocks) {
	for i := range claims {
		held.insert(lockOf(claims[i].Key))
	}
	for _, number := range held.numbers[:held.count] {
		t.locks[number].Lock()
	}
	return held
}

// insert keeps the numbers sorted, each once.
func (h *heldLocks) insert(number int) {
	at := 0
	for at < h.count && h.numbers[at] < number {
		at++
	}
	if at < h.count && h.numbers[at] == number {
		return
	}
	copy(h.numbers[at+1:], h.numbers[at:h.count])
	h.numbers[at] = number
	h.count++
}

// at is the time, which never goes back for any of the locks.
func (h *heldLocks) at(t *Table, now time.Time) time.Duration {
	at := now.Sub(t.epoch)
	for _, number := range h.numbers[:h.count] {
		at = max(at, t.locks[number].latest)
	}
	for _, number := range h.numbers[:h.count] {
		t.locks[number].latest = at
	}
	return at
}

func (h *heldLocks) unlock(t *Table) {
	for _, number := range h.numbers[:h.count] {
		t.locks[number].Unlock()
	}
}

func bucketOf(key Key) int { return int(uint64(key) % buckets) }

func lockOf(key Key) int { return bucketOf(key) % locks }

// debt is what a key owes. What is beyond the capacity is forgiven for good: after a
// limit was raised or its burst cut, nobody waits for longer than the new one says.
func (t *Table) debt(key Key, at, capacity time.Duration) time.Duration {
	bucket := &t.buckets[bucketOf(key)]
	for i := range bucket {
		if e := &bucket[i]; e.key == key {
			e.paid = min(e.paid, at+capacity)
			return max(0, e.paid-at)
		}
	}
	return 0
}

// store puts a key in its own entry, or in that of the bucket which is paid first:
// long ago, if it was never used or owes nothing.
func (t *Table) store(key Key, at, paid time.Duration) {
	bucket := &t.buckets[bucketOf(key)]
	first := 0
	for i := range bucket {
		if bucket[i].key == key {
			bucket[i].paid = paid
			return
		}
		if bucket[i].paid < bucket[first].paid {
			first = i
		}
	}
	if bucket[first].paid > at {
		t.evictions.Add(1)
	}
	bucket[first] = entry{key, paid}
}
