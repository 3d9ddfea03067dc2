package tokens

import (
	"crypto/sha256"
	"sync"
	"time"
)

// key is a hash, so that no token is kept.
type key [sha256.Size]byte

// cache keeps answers for a short time, and not more than limit of them.
type cache[V any] struct {
	limit   int
	mu      sync.Mutex
	entries map[key]cached[V]
}

type cached[V any] struct {
	value V
	until time.Time
}

func newCache[V any](limit int) *cache[V] {
	return &cache[V]{limit: limit, entries: map[key]cached[V]{}}
}

func (c *cache[V]) get(k key, now time.Time) (value V, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	entry, ok := c.entries[k]
	if !ok || !now.Before(entry.until) {
		return value, false
	}
	return entry.value, true
}

func (c *cache[V]) put(k key, value V, now, until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.entries) >= c.limit {
		c.makeRoom(now)
	}
	c.entries[k] = cached[V]{value, until}
}

// makeRoom forgets what is over, or else any one. The caller holds the lock.
func (c *cache[V]) makeRoom(now time.Time) {
	for k, entry := range c.entries {
		if !now.Before(entry.until) {
			delete(c.entries, k)
		}
	}
	for k := range c.entries {
		if len(c.entries) < c.limit {
			return
		}
		delete(c.entries, k)
	}
}
