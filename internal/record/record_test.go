package record_test

import (
	"bytes"
	"flag"
	"fmt"
	mathrand "math/rand"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/quick"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/latchkey-dev/latchkey/internal/record"
	"github.com/latchkey-dev/latchkey/internal/token"
)

var update = flag.Bool("update", false, "rewrite testdata/record.golden")

// digest is that of no token, but looks like one.
func digest(fill byte) token.Digest {
	var d token.Digest
	copy(d[:], bytes.Repeat([]byte{fill}, len(d)))
	return d
}

// full has every field set, minimal only those that it must have.
var (
	full = record.Record{
		Tenant:    "acme",
		Namespace: "tenant-acme",
		Name:      "nightly-report",
		UID:       "7d1c2c3a-5a0e-4f3d-9c55-0d3a8f2e6b11",
		Owner:     "Ana Lovelace <ana@example.com>",
		Scopes:    []string{"orders:read", "orders:write"},
		AllowedCIDRs: []netip.Prefix{
			netip.MustParsePrefix("192.0.2.0/24"),
			netip.MustParsePrefix("2001:db8::/32"),
		},
		Current:  record.Credential{ID: "0123456789", Digest: digest(0xab), NotAfter: time.Date(2027, 1, 31, 1, 2, 3, 0, time.UTC)},
		Previous: &record.Credential{ID: "abcdefghij", Digest: digest(0xcd), NotAfter: time.Date(2026, 12, 31, 23, 59, 59, 0, time.UTC)},
	}
	minimal = record.Record{
		Tenant:    "a",
		Namespace: "b",
		Name:      "c",
		UID:       "d",
		Current:   record.Credential{ID: "0123456789", Digest: digest(0x01), NotAfter: time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)},
	}
)

func mustDecode(t testing.TB, secret *corev1.Secret) *record.Record {
	t.Helper()
	r, err := record.Decode(secret)
	if err != nil {
		t.Fatalf("Decode: %v", err)
	}
	return r
}

// equal compares records; no scopes are no scopes, whether nil or empty.
func equal(a, b record.Record) bool {
	for _, r := range []*record.Record{&a, &b} {
		if len(r.Scopes) == 0 {
			r.Scopes = nil
		}
	}
	return reflect.DeepEqual(a, b)
}

// The stored format outlives a version of the program: records that an older one
// wrote must open what they opened. A change of the golden file needs a new
// version of the format, or code that reads both.
func TestStoredFormatIsStable(t *testing.T) {
	golden := filepath.Join("testdata", "record.golden")
	got := render(full.Secret("latchkey-records")) + "---\n" + render(minimal.Secret("latchkey-records"))
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the stored format changed; got\n%s\nwant\n%s", got, want)
	}
}

// render writes a Secret for people to compare.
func render(secret *corev1.Secret) string {
	var b strings.Builder
	fmt.Fprintf(&b, "type: %s\nnamespace: %s\nname: %s\n", secret.Type, secret.Namespace, secret.Name)
	for _, key := range sortedKeys(secret.Labels) {
		fmt.Fprintf(&b, "label %s: %s\n", key, secret.Labels[key])
	}
	for _, key := range sortedKeys(secret.Data) {
		fmt.Fprintf(&b, "%s: %s\n", key, secret.Data[key])
	}
	return b.String()
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func TestRoundTrip(t *testing.T) {
	with := func(change func(*record.Record)) record.Record {
		r := full
		change(&r)
		return r
	}
	cases := map[string]record.Record{
		"everything set":         full,
		"nothing optional set":   minimal,
		"no previous credential": with(func(r *record.Record) { r.Previous = nil }),
		"no owner":               with(func(r *record.Record) { r.Owner = "" }),
		"no scopes":              with(func(r *record.Record) { r.Scopes = nil }),
		"from anywhere":          with(func(r *record.Record) { r.AllowedCIDRs = nil }),
		"from every address": with(func(r *record.Record) {
			r.AllowedCIDRs = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
		}),
		"one scope":                 with(func(r *record.Record) { r.Scopes = []string{"a"} }),
		"64 scopes of 64 letters":   with(func(r *record.Record) { r.Scopes = slices.Repeat([]string{strings.Repeat("a", 64)}, 64) }),
		"previous with the same id": with(func(r *record.Record) { r.Previous = &r.Current }),
		"names of 63 letters": with(func(r *record.Record) {
			r.Tenant, r.Namespace, r.Name = strings.Repeat("t", 63), strings.Repeat("n", 63), strings.Repeat("a", 63)
		}),
		"long ago":      with(func(r *record.Record) { r.Current.NotAfter = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) }),
		"far away":      with(func(r *record.Record) { r.Current.NotAfter = time.Date(2999, 12, 31, 23, 59, 59, 0, time.UTC) }),
		"29th February": with(func(r *record.Record) { r.Current.NotAfter = time.Date(2028, 2, 29, 0, 0, 0, 0, time.UTC) }),
	}
	for name, want := range cases {
		t.Run(name, func(t *testing.T) {
			if got := mustDecode(t, want.Secret("records")); !equal(*got, want) {
				t.Errorf("got  %+v\nwant %+v", *got, want)
			}
		})
	}
}

// An expiry is stored in UTC whatever zone it came in, so that equal records are
// equal Secrets and no update is written for nothing.
func TestExpiryIsStoredInUTC(t *testing.T) {
	r := minimal
	r.Current.NotAfter = r.Current.NotAfter.In(time.FixedZone("UTC+9", 9*60*60))
	if got := mustDecode(t, r.Secret("records")); !equal(*got, minimal) {
		t.Errorf("got %+v, want %+v", *got, minimal)
	}
	if !reflect.DeepEqual(r.Secret("records"), minimal.Secret("records")) {
		t.Error("the Secrets differ")
	}
}

// generated is a random record of those that the API lets through.
type generated struct{ record.Record }

func (generated) Generate(random *mathrand.Rand, _ int) reflect.Value {
	r := rand.New(rand.NewPCG(random.Uint64(), random.Uint64()))
	from := func(alphabet string, least, most int) string {
		text := make([]byte, least+r.IntN(most-least+1))
		for i := range text {
			text[i] = alphabet[r.IntN(len(alphabet))]
		}
		return string(text)
	}
	const lower = "abcdefghijklmnopqrstuvwxyz0123456789"
	label := func() string { return from(lower, 1, 30) + from("-"+lower, 0, 30) + from(lower, 1, 3) }
	credential := func() record.Credential {
		c := record.Credential{
			ID:       from(lower+"ABCDEFGHIJKLMNOPQRSTUVWXYZ", 10, 10),
			NotAfter: time.Unix(946684800+r.Int64N(31_000_000_000), 0).UTC(),
		}
		for i := range c.Digest {
			c.Digest[i] = byte(r.Uint32())
		}
		return c
	}
	g := record.Record{
		Tenant: label(), Namespace: label(), Name: label(),
		UID:     types.UID(from("-"+lower, 1, 36)),
		Current: credential(),
	}
	if r.IntN(2) == 0 {
		g.Owner = from("!#%&'()*+,-./:;<=>?@[]^_{|}~AZaz09", 1, 60) + from(" !az", 0, 5)
	}
	for range r.IntN(4) {
		g.Scopes = append(g.Scopes, from(lower, 1, 5)+from(":._/-"+lower, 0, 50)+from(lower, 1, 5))
	}
	for range r.IntN(4) {
		address := [16]byte{}
		for i := range address {
			address[i] = byte(r.Uint32())
		}
		prefix := netip.PrefixFrom(netip.AddrFrom16(address), r.IntN(129))
		if r.IntN(2) == 0 {
			prefix = netip.PrefixFrom(netip.AddrFrom4([4]byte(address[:4])), r.IntN(33))
		}
		g.AllowedCIDRs = append(g.AllowedCIDRs, prefix.Masked())
	}
	if r.IntN(2) == 0 {
		g.Previous = new(credential())
	}
	return reflect.ValueOf(generated{g})
}

func TestEveryRecordSurvivesStorage(t *testing.T) {
	property := func(g generated) bool {
		decoded, err := record.Decode(g.Secret("records"))
		if err != nil {
			t.Logf("%+v: %v", g.Record, err)
			return false
		}
		return equal(*decoded, g.Record)
	}
	if err := quick.Check(property, &quick.Config{MaxCount: 2000}); err != nil {
		t.Error(err)
	}
}

func TestNames(t *testing.T) {
	const uid = types.UID("7d1c2c3a-5a0e-4f3d-9c55-0d3a8f2e6b11")
	name := record.Name(uid)
	if name != "apitoken-"+string(uid) {
		t.Errorf("Name = %q", name)
	}
	if got := record.UID(name); got != uid {
		t.Errorf("UID(Name) = %q", got)
	}
	for _, other := range []string{"", "apitoken", "kube-root-ca.crt", "Apitoken-" + string(uid), "x" + name} {
		if got := record.UID(other); got != "" {
			t.Errorf("UID(%q) = %q, want none", other, got)
		}
	}
}

// The garbage collector finds a record's ApiToken also where the rest is broken.
func TestApiTokenOfABrokenRecord(t *testing.T) {
	secret := full.Secret("records")
	delete(secret.Data, "digest")
	if _, err := record.Decode(secret); err == nil {
		t.Fatal("the record should be broken")
	}
	if namespace, name := record.ApiToken(secret); namespace != "tenant-acme" || name != "nightly-report" {
		t.Errorf("ApiToken = %s/%s", namespace, name)
	}
	if namespace, name := record.ApiToken(&corev1.Secret{}); namespace != "" || name != "" {
		t.Errorf("ApiToken of an empty Secret = %s/%s", namespace, name)
	}
}
