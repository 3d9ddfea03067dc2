package directory_test

import (
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/latchkey-dev/latchkey/internal/directory"
	"github.com/latchkey-dev/latchkey/internal/testing/directorytest"
	"github.com/latchkey-dev/latchkey/internal/token"
)

// filled is a directory with n tokens of acme, as the manager makes them.
func filled(t testing.TB, n int) (*directory.Directory, directory.Stores, []token.Digest) {
	d, stores := newDirectory()
	var records, apiTokens []any
	var digests []token.Digest
	for k := range n {
		i := directorytest.Issue(t, "acme", expiry)
		i.ApiToken.UID = types.UID(fmt.Sprintf("%08x-5a0e-4f3d-9c55-0d3a8f2e6b11", k))
		i.Record.UID, i.Record.Owner, i.Record.Scopes = i.ApiToken.UID, "integrations@example.com", []string{"orders:read"}
		records = append(records, transformed(t, stores.Records, i.Secret()))
		apiTokens = append(apiTokens, transformed(t, stores.ApiTokens, i.ApiToken))
		digests = append(digests, i.Digest())
	}
	directorytest.Must(t, stores.Records.Replace(records, "1"))
	directorytest.Must(t, stores.ApiTokens.Replace(apiTokens, "1"))
	return d, stores, digests
}

func BenchmarkToken(b *testing.B) {
	for _, n := range []int{1, 100_000} {
		d, _, digests := filled(b, n)
		b.Run(fmt.Sprintf("known/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for k := range b.N {
				if _, ok := d.Token("acme", digests[k%len(digests)]); !ok {
					b.Fatal("not found")
				}
			}
		})
		b.Run(fmt.Sprintf("unknown/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for k := range b.N {
				digest := digests[k%len(digests)]
				digest[31]++
				if _, ok := d.Token("acme", digest); ok {
					b.Fatal("found")
				}
			}
		})
	}
}

func BenchmarkUpdate(b *testing.B) {
	_, stores, _ := filled(b, 100_000)
	i := directorytest.Issue(b, "acme", expiry)
	secret := i.Secret()
	b.ReportAllocs()
	for b.Loop() {
		directorytest.Must(b, stores.ApiTokens.Update(i.ApiToken))
		directorytest.Must(b, stores.Records.Update(secret))
	}
}
