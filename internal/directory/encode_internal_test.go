package directory

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/latchkey-dev/latchkey/internal/record"
	"github.com/latchkey-dev/latchkey/internal/token"
)

// unpacked is a record made again of what openRecord sees.
func unpacked(text string) *record.Record {
	v := openRecord(text)
	r := &record.Record{Tenant: v.tenant, Namespace: v.namespace, Name: v.name, Owner: v.owner, Current: credentialOf(v.current)}
	if v.previous.digest != "" {
		r.Previous = new(credentialOf(v.previous))
	}
	r.Scopes, r.AllowedCIDRs = v.unpackLists()
	return r
}

func credentialOf(c credentialView) record.Credential {
	return record.Credential{ID: c.id, Digest: token.Digest([]byte(c.digest)), NotAfter: time.Unix(c.notAfter, 0).UTC()}
}

func wantRoundTrip(t *testing.T, r record.Record) {
	t.Helper()
	packed := string(encodeRecord(nil, &r))
	r.UID = ""
	if r.Scopes == nil {
		r.Scopes = []string{}
	}
	if got := unpacked(packed); !reflect.DeepEqual(*got, r) {
		t.Fatalf("got  %+v\nwant %+v", *got, r)
	}
}

func TestRecordsSurvivePacking(t *testing.T) {
	at := func(year int) time.Time { return time.Date(year, 12, 31, 23, 59, 59, 0, time.UTC) }
	digest := token.DigestOf("acme", "any")
	plain := record.Record{
		Tenant: "acme", Namespace: "tenant-acme", Name: "nightly",
		Current: record.Credential{ID: "0123456789", Digest: digest, NotAfter: at(2027)},
	}
	var many []netip.Prefix
	for i := range 200 {
		many = append(many, netip.MustParsePrefix(fmt.Sprintf("10.%d.0.0/16", i)), netip.MustParsePrefix(fmt.Sprintf("2001:db8:%x::/48", i)))
	}
	for name, change := range map[string]func(*record.Record){
		"plain":                func(*record.Record) {},
		"another namespace":    func(r *record.Record) { r.Namespace = "acme-tokens" },
		"namespace of another": func(r *record.Record) { r.Namespace = "tenant-rival" },
		"the prefix alone":     func(r *record.Record) { r.Namespace, r.Tenant = "tenant-", "" },
		"with a previous one": func(r *record.Record) {
			r.Previous = &record.Credential{ID: "abcdefghij", Digest: token.DigestOf("a", "b"), NotAfter: at(2026)}
		},
		"at the CRD's limits": func(r *record.Record) {
			r.Name, r.Owner, r.Scopes = strings.Repeat("n", 63), strings.Repeat("o", 253), slices.Repeat([]string{strings.Repeat("s", 64)}, 64)
		},
		"far beyond them": func(r *record.Record) {
			r.Owner, r.Scopes = strings.Repeat("o", 1<<20), slices.Repeat([]string{"s"}, 100_000)
		},
		"400 CIDRs": func(r *record.Record) { r.AllowedCIDRs = many },
		"every address": func(r *record.Record) {
			r.AllowedCIDRs = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
		},
		"one address": func(r *record.Record) {
			r.AllowedCIDRs = []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("::1/128")}
		},
		"host bits, IPv4 in IPv6": func(r *record.Record) {
			r.AllowedCIDRs = []netip.Prefix{netip.MustParsePrefix("192.0.2.7/24"), netip.MustParsePrefix("::ffff:192.0.2.7/120")}
		},
		"32 bits are not enough": func(r *record.Record) { r.Current.NotAfter = at(2106).Add(time.Hour) },
		"the latest of the CRD":  func(r *record.Record) { r.Current.NotAfter = at(2999) },
		"the latest of RFC 3339": func(r *record.Record) { r.Current.NotAfter = at(9999) },
		"before 1970":            func(r *record.Record) { r.Current.NotAfter = at(1900) },
		"no time":                func(r *record.Record) { r.Current.NotAfter = time.Time{} },
	} {
		t.Run(name, func(t *testing.T) {
			r := plain
			change(&r)
			wantRoundTrip(t, r)
		})
	}
}

func FuzzRecordsSurvivePacking(f *testing.F) {
	f.Add("acme", "tenant-acme", "nightly", "ada", "a b", "0123456789", int64(math.MaxInt32)+1, uint64(1))
	f.Fuzz(func(t *testing.T, tenant, namespace, name, owner, scopes, id string, seconds int64, seed uint64) {
		random := rand.New(rand.NewPCG(seed, 0))
		credential := func() record.Credential {
			c := record.Credential{ID: id, NotAfter: time.Unix(seconds%(1<<40), 0).UTC()}
			for i := range c.Digest {
				c.Digest[i] = byte(random.Uint32())
			}
			return c
		}
		r := record.Record{Tenant: tenant, Namespace: namespace, Name: name, Owner: owner, Scopes: strings.Fields(scopes), Current: credential()}
		if random.IntN(2) == 0 {
			r.Previous = new(credential())
		}
		for range random.IntN(5) {
			r.AllowedCIDRs = append(r.AllowedCIDRs, netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(random.Uint32())}), random.IntN(33)))
		}
		wantRoundTrip(t, r)
	})
}

func TestUIDsSurvivePacking(t *testing.T) {
	uids := []types.UID{
		"", "1", "\x00", "7d1c2c3a-5a0e-4f3d-9c55-0d3a8f2e6b11", "7D1C2C3A-5A0E-4F3D-9C55-0D3A8F2E6B11", "7d1c2c3a-5a0e-4f3d-9c55-0d3a8f2e6b1g",
		"7d1c2c3a_5a0e_4f3d_9c55_0d3a8f2e6b11", "7d1c2c3a5a0e4f3d9c550d3a8f2e6b11", "00000000-0000-0000-0000-000000000000",
		types.UID(make([]byte, 16)), types.UID(strings.Repeat("u", 127)), types.UID(strings.Repeat("u", 1000)),
	}
	seen := map[uidText]types.UID{}
	for _, uid := range uids {
		packed := encodeUID(uid)
		if other, ok := seen[packed]; ok {
			t.Errorf("%q and %q are the same", uid, other)
		}
		seen[packed] = uid
		if got := packed.UID(); got != uid {
			t.Errorf("got %q, want %q", got, uid)
		}
		if got := uidLength(string(packed) + "and more"); got != len(packed) {
			t.Errorf("%q: length %d, want %d", uid, got, len(packed))
		}
		for _, other := range uids {
			if got := packed.before(encodeUID(other)); got != (uid < other) {
				t.Errorf("%q before %q: %t", uid, other, got)
			}
		}
	}
}

// Two UIDs may have one hash: each must keep its own halves.
func TestSlotsWithOneHash(t *testing.T) {
	s := newSlots()
	put := func(uid types.UID, text string) {
		s.put(slot{hash: 7, uid: encodeUID(uid), record: text})
	}
	want := func(want map[types.UID]string) {
		t.Helper()
		got := map[types.UID]string{}
		s.each(func(found slot) { got[found.uid.UID()] = found.record })
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	put("1", "one")
	put("2", "two")
	put("1", "one again")
	want(map[types.UID]string{"1": "one again", "2": "two"})
	put("1", "")
	put("3", "")
	want(map[types.UID]string{"2": "two"})
	put("2", "")
	want(map[types.UID]string{})
}
