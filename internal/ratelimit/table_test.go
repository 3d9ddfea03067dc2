package ratelimit_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/internal/ratelimit"
)

var start = time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)

// subject is a table whose one key is asked for one request after the other.
type subject struct {
	*testing.T
	table *ratelimit.Table
	now   time.Time
}

func newSubject(t *testing.T) *subject { return &subject{t, ratelimit.New(), start} }

func (s *subject) claim(key string, l ratelimit.Limit) ratelimit.Claim {
	return ratelimit.Claim{Key: s.table.Key('t', "acme", key), Limit: l}
}

func (s *subject) take(claims ...ratelimit.Claim) ([]ratelimit.Claim, bool) {
	pass := s.table.Take(s.now, claims)
	return claims, pass
}

// want takes a request and wants it to pass or not, with so much left.
func (s *subject) want(pass bool, left int, next time.Duration, claim ratelimit.Claim) {
	s.Helper()
	got, passed := s.take(claim)
	if passed != pass || got[0].Exceeded == pass || got[0].Left != left || got[0].Next != next {
		s.Errorf("pass %t, %+v; want pass %t, %d left, the next in %s", passed, got[0], pass, left, next)
	}
}

func TestBurstAndReturn(t *testing.T) {
	s := newSubject(t)
	c := s.claim("ci", limit(60, time.Minute, 3))
	s.want(true, 2, time.Second, c)
	s.want(true, 1, time.Second, c)
	s.want(true, 0, time.Second, c)
	s.want(false, 0, time.Second, c)
	s.now = s.now.Add(time.Second - 1)
	s.want(false, 0, 1, c)
	s.now = s.now.Add(1)
	s.want(true, 0, time.Second, c)
	s.want(false, 0, time.Second, c)
	s.now = s.now.Add(time.Hour)
	s.want(true, 2, time.Second, c)
}

// What is refused costs nothing, neither of the limit that refuses nor of others.
func TestWhatIsRefusedCountsForNothing(t *testing.T) {
	s := newSubject(t)
	token, tenant := s.claim("token", limit(60, time.Minute, 1)), s.claim("tenant", limit(60, time.Minute, 10))
	if _, pass := s.take(token, tenant); !pass {
		t.Fatal("the first is refused")
	}
	for range 100 {
		claims, pass := s.take(token, tenant)
		if pass || !claims[0].Exceeded || claims[1].Exceeded || claims[1].Left != 9 {
			t.Fatalf("pass %t, %+v; want a refusal by the token's limit alone, and 9 left to the tenant", pass, claims)
		}
	}
	s.now = s.now.Add(time.Second)
	if _, pass := s.take(token, tenant); !pass {
		t.Error("refused after the time that was told")
	}
}

// A raised limit is not held up by what was owed under the old one; a lowered one
// counts at once.
func TestChangedLimits(t *testing.T) {
	s := newSubject(t)
	daily, fast := s.claim("ci", limit(1, 24*time.Hour, 100)), s.claim("ci", limit(10, time.Second, 10))
	for range 100 {
		s.take(daily)
	}
	s.want(false, 0, 100*time.Millisecond, fast)
	s.now = s.now.Add(100 * time.Millisecond)
	s.want(true, 0, 100*time.Millisecond, fast)
	s.want(true, 98, time.Second, s.claim("ci", limit(1, 24*time.Hour, 100)))
}

func TestExtremes(t *testing.T) {
	s := newSubject(t)
	s.want(true, 0, 24*time.Hour, s.claim("slowest", limit(1, 24*time.Hour, 1)))
	s.want(true, 999_999, time.Microsecond, s.claim("fastest", limit(1_000_000, time.Second, 1_000_000)))
	s.want(true, 364, 24*time.Hour, s.claim("a burst of a thousand years", limit(1, 24*time.Hour, 365_000)))
	s.want(true, 0, 365*24*time.Hour, s.claim("a share of millions", limit(1, 24*time.Hour, 1).Share(1<<30)))
	s.want(true, 2, 334, s.claim("a third of a microsecond", limit(3, time.Microsecond, 3)))
	s.want(true, 0, time.Second, s.claim("no burst", limit(1, time.Second, 0)))
	s.now = start.Add(-time.Hour) // a clock that was set back does not lock anybody out
	s.want(true, 1, time.Second, s.claim("the past", limit(60, time.Minute, 2)))
	s.want(true, 0, time.Second, s.claim("the past", limit(60, time.Minute, 2)))
	s.now = start.Add(time.Second)
	s.want(true, 0, time.Second, s.claim("the past", limit(60, time.Minute, 2)))
}

func TestKeysAreApart(t *testing.T) {
	table := ratelimit.New()
	seen := map[ratelimit.Key]string{}
	for name, key := range map[string]ratelimit.Key{
		"a, bc": table.Key('t', "a", "bc"), "ab, c": table.Key('t', "ab", "c"), "abc": table.Key('t', "abc", ""),
		"another kind": table.Key('a', "a", "bc"), "without": table.Key('t', "", "abc"), "empty": table.Key('t', "", ""),
	} {
		if other, taken := seen[key]; taken {
			t.Errorf("%q and %q have the same key", name, other)
		}
		seen[key] = name
	}
	if table.Key('t', "a", "bc") != table.Key('t', "a", strings.Clone("bc")) {
		t.Error("a key is not the same twice")
	}
	if table.Key('t', "a", "bc") == ratelimit.New().Key('t', "a", "bc") {
		t.Error("keys can be known beforehand")
	}
}

// naive keeps a limit as a bucket that is refilled: the other way to say the same.
type naive struct {
	limit  ratelimit.Limit
	tokens float64
	at     time.Time
}

func (n *naive) refill(now time.Time) {
	back := now.Sub(n.at).Seconds() * float64(n.limit.Requests) / n.limit.Period.Seconds()
	n.tokens, n.at = min(float64(n.limit.Burst), n.tokens+back), now
}

// near says that the model can't tell whether a request passes: floats are rounded.
func (n *naive) near() bool { return n.tokens > 1-1e-6 && n.tokens < 1+1e-6 }

// Over any times, keys and limits, alone and together, the table decides as buckets
// that are refilled would.
func TestDecidesAsBucketsWould(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	passed, refused := 0, 0
	for range 200 {
		table, now := ratelimit.New(), start
		models := make([]*naive, 6)
		for i := range models {
			requests := 1 + random.IntN(1000)
			models[i] = &naive{limit: limit(requests, time.Duration(1+random.IntN(3600))*time.Second, 1+random.IntN(20)), at: now}
			models[i].tokens = float64(models[i].limit.Burst)
		}
		for step := range 300 {
			now = now.Add(time.Duration(random.Int64N(int64(2 * time.Second))))
			chosen := random.Perm(len(models))[:1+random.IntN(3)]
			claims := make([]ratelimit.Claim, len(chosen))
			want, near := true, false
			for i, n := range chosen {
				models[n].refill(now)
				want, near = want && models[n].tokens >= 1, near || models[n].near()
				claims[i] = ratelimit.Claim{Key: table.Key('t', "acme", fmt.Sprint(n)), Limit: models[n].limit}
			}
			got := table.Take(now, claims)
			if got != want && !near {
				t.Fatalf("seed %d, step %d: pass %t, the model says %t: %+v", seed, step, got, want, claims)
			}
			if got {
				passed++
				for _, n := range chosen {
					models[n].tokens--
				}
			} else {
				refused++
			}
		}
	}
	if passed < 1000 || refused < 1000 {
		t.Errorf("seed %d: only %d passed and %d were refused: the test says little", seed, passed, refused)
	}
}

// However many ask at the same time, no more pass than the burst and what came back
// meanwhile, for one key and for those that share it.
func TestNoMorePassThanTheLimit(t *testing.T) {
	const askers, each = 16, 2000
	table := ratelimit.New()
	token, tenant := limit(100, time.Second, 50), limit(300, time.Second, 70)
	var passed [4]atomic.Int64
	var running sync.WaitGroup
	for n := range askers {
		running.Go(func() {
			random := rand.New(rand.NewPCG(uint64(n), 1))
			own := n % len(passed)
			for i := range each {
				now := start.Add(time.Duration(i) * time.Millisecond)
				claims := []ratelimit.Claim{{Key: table.Key('t', "token", fmt.Sprint(own)), Limit: token}, {Key: table.Key('a', "acme", ""), Limit: tenant}}
				if random.IntN(2) == 0 {
					claims[0], claims[1] = claims[1], claims[0]
				}
				if table.Take(now, claims) {
					passed[own].Add(1)
				}
			}
		})
	}
	running.Wait()
	total := int64(0)
	for own := range passed {
		n := passed[own].Load()
		total += n
		if most := int64(50 + 2*100); n > most {
			t.Errorf("%d requests of one token passed in 2s, at most %d may", n, most)
		}
	}
	if most := int64(70 + 2*300); total > most || total < 300 {
		t.Errorf("%d requests of the tenant passed in 2s, at most %d may", total, most)
	}
}

// A flood of keys takes no more memory; it makes room by forgetting who owes the
// least, and those who owe nothing are not even counted as forgotten.
func TestFloodOfKeys(t *testing.T) {
	s := newSubject(t)
	quick, long := limit(1, time.Second, 1), limit(1, 24*time.Hour, 1)
	patient := s.claim("patient", long)
	s.take(patient)
	before := liveHeap()
	const flood = 1 << 19
	for i := range flood {
		s.take(s.claim(fmt.Sprint("quick-", i), quick))
		if i == flood/2 {
			s.now = s.now.Add(time.Minute) // all of them have paid
		}
	}
	if got := s.table.Evictions(); got < flood/2 || got >= flood-1<<17 {
		t.Errorf("%d were forgotten who owed something", got)
	}
	if grown := liveHeap() - before; grown > 64<<10 {
		t.Errorf("%d B of heap are left behind", grown)
	}
	if _, pass := s.take(patient); pass {
		t.Error("who owes for the longest time was forgotten")
	}
}

func liveHeap() int64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

func TestDecisionsMakeNoGarbage(t *testing.T) {
	table, now, i := ratelimit.New(), start, 0
	names := []string{"ci", "nightly", "reports"}
	if n := testing.AllocsPerRun(1000, func() {
		i++
		claims := [2]ratelimit.Claim{
			{Key: table.Key('t', "tenant-acme", names[i%len(names)]), Limit: limit(100, time.Minute, 10)},
			{Key: table.Key('a', "acme", ""), Limit: limit(1000, time.Minute, 100)},
		}
		table.Take(now.Add(time.Duration(i)*time.Millisecond), claims[:])
	}); n != 0 {
		t.Errorf("%v allocations for a decision", n)
	}
}

func BenchmarkTake(b *testing.B) {
	for _, keys := range []int{1, 100_000} {
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) {
			names := make([]string, keys)
			for i := range names {
				names[i] = fmt.Sprintf("token-%06d", i)
			}
			table := ratelimit.New()
			var serial atomic.Int64
			b.ReportAllocs()
			b.RunParallel(func(b *testing.PB) {
				for b.Next() {
					claims := [2]ratelimit.Claim{
						{Key: table.Key('t', "tenant-acme", names[int(serial.Add(1))%keys]), Limit: limit(1000, time.Second, 1000)},
						{Key: table.Key('a', "acme", ""), Limit: limit(1_000_000, time.Second, 1_000_000)},
					}
					table.Take(time.Now(), claims[:])
				}
			})
		})
	}
}
