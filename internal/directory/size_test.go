package directory_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/testing/directorytest"
)

func liveHeap() int64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// What a token takes is bounded, and its updates leave nothing behind.
func TestMemoryPerToken(t *testing.T) {
	const tokens, most = 20_000, 350
	before := liveHeap()
	d, stores, digests := filled(t, tokens)
	digestMemory := int64(cap(digests) * len(digests[0]))
	each := (liveHeap() - before - digestMemory) / tokens
	if each > most {
		t.Errorf("%d B of live heap a token, want at most %d", each, most)
	}
	i := directorytest.Issue(t, "acme", expiry)
	i.Add(t, stores)
	full := liveHeap()
	for n := range 10_000 {
		i.Record.Owner = strings.Repeat("o", n%200)
		directorytest.Must(t, stores.Records.Update(i.Secret()))
		i.UpdateApiToken(t, stores, func(a *v1alpha1.ApiToken) { a.Name = fmt.Sprintf("renamed-%d", n%10) })
	}
	if grown := liveHeap() - full; grown > 256<<10 {
		t.Errorf("10,000 updates of one token left %d B behind", grown)
	}
	if got := d.Count().Tokens; got != tokens+1 {
		t.Errorf("the directory holds %d tokens, want %d", got, tokens+1)
	}
	directorytest.Must(t, stores.Records.Replace(nil, "2"))
	directorytest.Must(t, stores.ApiTokens.Replace(nil, "2"))
	if left := liveHeap() - before - digestMemory; left > 1<<20 {
		t.Errorf("%d B are left when every token is gone", left)
	}
	runtime.KeepAlive(digests)
}

// A request for a token that nobody was issued, as an attacker sends them, costs no
// memory; one for a known token costs a few allocations, however many there are.
func TestLookUpsAllocateLittle(t *testing.T) {
	d, _, digests := filled(t, 1000)
	unknown := digestOf("acme", "unknown")
	if n := testing.AllocsPerRun(100, func() { d.Token("acme", unknown) }); n != 0 {
		t.Errorf("%v allocations for an unknown token", n)
	}
	if n := testing.AllocsPerRun(100, func() { d.Token("rival", digests[0]) }); n != 0 {
		t.Errorf("%v allocations for another tenant's token", n)
	}
	if n := testing.AllocsPerRun(100, func() { d.Token("acme", digests[0]) }); n > 3 {
		t.Errorf("%v allocations for a known token, want at most 3", n)
	}
}

// A UID is a UUID in Kubernetes, but nothing here depends on it.
func TestUIDsThatAreNoUUIDs(t *testing.T) {
	d, stores := newDirectory()
	digest := digestOf("acme", "contested")
	const uuid = "7d1c2c3a-5a0e-4f3d-9c55-0d3a8f2e6b11"
	uids := []types.UID{"6", uuid, types.UID(strings.ToUpper(uuid)), "8", types.UID(strings.Repeat("u", 300))}
	for _, uid := range uids {
		claim(t, "acme", uid, digest).Add(t, stores)
	}
	for _, lowest := range []int{0, 2, 1, 3, 4} { // "6", "7D", "7d", "8", "u"
		uid := uids[lowest]
		got, ok := d.Token("acme", digest)
		if !ok || d.Count().Tokens != 1 {
			t.Fatalf("found %t before %q is gone; %d tokens", ok, uid, d.Count().Tokens)
		}
		gone := &v1alpha1.ApiToken{}
		gone.UID = uid
		directorytest.Must(t, stores.ApiTokens.Delete(gone))
		if next, _ := d.Token("acme", digest); next != nil && next.Name == got.Name {
			t.Errorf("%s was served, which is not that of %q", got.Name, uid)
		}
	}
	if _, ok := d.Token("acme", digest); ok {
		t.Error("found once all are gone")
	}
}
