package directory

import (
	"hash/maphash"
	"maps"
	"sync/atomic"
)

// shardedMap is a map that is read without a lock. A write copies one shard, so
// that its cost does not grow with the whole map's size. Writers exclude each
// other by a lock of their own.
type shardedMap[K comparable, V any] struct {
	hash   func(K) uint64
	shards []atomic.Pointer[map[K]V]
}

func newShardedMap[K comparable, V any](shards int, hash func(K) uint64) shardedMap[K, V] {
	return shardedMap[K, V]{hash: hash, shards: make([]atomic.Pointer[map[K]V], shards)}
}

var stringSeed = maphash.MakeSeed()

func hashString(s string) uint64 { return maphash.String(stringSeed, s) }

func (m *shardedMap[K, V]) shard(key K) *atomic.Pointer[map[K]V] {
	return &m.shards[m.hash(key)%uint64(len(m.shards))]
}

func (m *shardedMap[K, V]) get(key K) (value V, ok bool) {
	if shard := m.shard(key).Load(); shard != nil {
		value, ok = (*shard)[key]
	}
	return value, ok
}

func (m *shardedMap[K, V]) set(key K, value V) {
	shard := m.shard(key)
	changed := map[K]V{}
	if old := shard.Load(); old != nil {
		changed = make(map[K]V, len(*old)+1)
		maps.Copy(changed, *old)
	}
	changed[key] = value
	shard.Store(&changed)
}

func (m *shardedMap[K, V]) remove(key K) {
	shard := m.shard(key)
	old := shard.Load()
	if old == nil {
		return
	}
	if _, ok := (*old)[key]; !ok {
		return
	}
	changed := maps.Clone(*old)
	delete(changed, key)
	shard.Store(&changed)
}

// replace makes the content of the map that of another, shard by shard.
func (m *shardedMap[K, V]) replace(content map[K]V) {
	fresh := make([]map[K]V, len(m.shards))
	for key, value := range content {
		i := m.hash(key) % uint64(len(m.shards))
		if fresh[i] == nil {
			fresh[i] = map[K]V{}
		}
		fresh[i][key] = value
	}
	for i := range m.shards {
		m.shards[i].Store(&fresh[i])
	}
}

func (m *shardedMap[K, V]) len() int {
	n := 0
	for i := range m.shards {
		if shard := m.shards[i].Load(); shard != nil {
			n += len(*shard)
		}
	}
	return n
}
