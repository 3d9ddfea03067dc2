package directory_test

import (
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/directory"
	"github.com/latchkey-dev/latchkey/internal/testing/directorytest"
)

// While others come and go, and lists are replaced, a token and a tenant that do
// not change are found at every moment, and nothing half-made is seen.
func TestReadersSeeWholeStatesWhileWritersWork(t *testing.T) {
	d, stores := newDirectory()
	steady := directorytest.Issue(t, "steady", expiry)
	steady.Add(t, stores)
	directorytest.Must(t, stores.Tenants.Add(directorytest.Tenant("steady")))
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					readOnce(t, d, steady)
				}
			}
		})
	}
	defer readers.Wait()
	defer close(stop)

	var writers sync.WaitGroup
	for writer := range uint64(2) { // reflectors write side by side, each its own resource
		writers.Go(func() {
			w := newWorld(t, rand.New(rand.NewPCG(1, writer)), stores)
			w.keepRecords, w.keepApiTokens = []any{steady.Secret()}, []any{steady.ApiToken}
			w.keepTenants = []any{directorytest.Tenant("steady")}
			for range 3000 {
				w.event()
			}
		})
	}
	writers.Wait()
}

func readOnce(t *testing.T, d *directory.Directory, steady *directorytest.Issued) {
	if got, ok := d.Token("steady", steady.Digest()); !ok || got.Name != steady.ApiToken.Name || !got.NotAfter.Equal(expiry) {
		t.Errorf("the steady token: found %t, %+v", ok, got)
	}
	if got, ok := d.Tenant("steady"); !ok || got.Namespace != "tenant-steady" {
		t.Errorf("the steady tenant: found %t, %+v", ok, got)
	}
	for _, tenant := range worldTenants {
		for _, digest := range worldDigests {
			if got, ok := d.Token(tenant, digest); ok && (got.Digest != digest || got.Tenant != tenant) {
				t.Errorf("asked for a token of %s, got one of %s", tenant, got.Tenant)
			}
		}
	}
	d.Count()
	d.Synced()
}
