package directory_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/directory"
	"github.com/latchkey-dev/latchkey/internal/record"
	"github.com/latchkey-dev/latchkey/internal/testing/directorytest"
	"github.com/latchkey-dev/latchkey/internal/token"
)

// The world is small, so that what could collide does.
var (
	worldTenants = []string{"acme", "rival"}
	worldUIDs    = []types.UID{"1", "2", "3", "4", "5"}
	worldDigests = func() (digests []token.Digest) {
		for n := range 3 {
			digests = append(digests, digestOf("acme", fmt.Sprint(n)))
		}
		return digests
	}()
)

// world is a cluster as it is stored: the objects by name. It makes random events
// and feeds them to a directory, as a reflector would.
type world struct {
	t         testing.TB
	random    *rand.Rand
	stores    directory.Stores
	records   map[string]*corev1.Secret
	apiTokens map[string]*v1alpha1.ApiToken
	tenants   map[string]*v1alpha1.Tenant
	// keep are in every relist, and no other event is about them.
	keepRecords, keepApiTokens, keepTenants []any
}

func newWorld(t testing.TB, random *rand.Rand, stores directory.Stores) *world {
	return &world{t: t, random: random, stores: stores, records: map[string]*corev1.Secret{},
		apiTokens: map[string]*v1alpha1.ApiToken{}, tenants: map[string]*v1alpha1.Tenant{}}
}

// event makes something happen, and says what.
func (w *world) event() string {
	switch w.random.IntN(5) {
	case 0, 1:
		return "records: " + happen(w, w.stores.Records, w.records, w.randomRecord, w.keepRecords)
	case 2, 3:
		return "apitokens: " + happen(w, w.stores.ApiTokens, w.apiTokens, w.randomApiToken, w.keepApiTokens)
	default:
		return "tenants: " + happen(w, w.stores.Tenants, w.tenants, w.randomTenant, w.keepTenants)
	}
}

// happen makes one event of one resource.
func happen[O metav1.Object](w *world, store cache.ReflectorStore, stored map[string]O, random func() O, keep []any) string {
	switch w.random.IntN(10) {
	case 0: // a watch that was cut: the list may have anything
		clear(stored)
		list := append([]any(nil), keep...)
		for range w.random.IntN(6) {
			object := random()
			if _, ok := stored[object.GetName()]; !ok {
				stored[object.GetName()] = object
				list = append(list, w.maybeTransformed(store, object))
			}
		}
		w.random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		directorytest.Must(w.t, store.Replace(list, "1"))
		return fmt.Sprintf("relist of %d", len(list))
	case 1, 2:
		object := random()
		if last, ok := stored[object.GetName()]; ok {
			object = last // a watch delivers the last state with a deletion
		}
		delete(stored, object.GetName())
		directorytest.Must(w.t, store.Delete(object))
		return "delete " + object.GetName()
	default:
		object := random()
		put := store.Add
		if _, ok := stored[object.GetName()]; ok {
			put = store.Update
		}
		stored[object.GetName()] = object
		directorytest.Must(w.t, put(w.maybeTransformed(store, object)))
		return "put " + object.GetName()
	}
}

func (w *world) maybeTransformed(store cache.ReflectorStore, object any) any {
	if w.random.IntN(2) == 0 {
		return transformed(w.t, store, object)
	}
	return object
}

func pick[T any](w *world, of []T) T { return of[w.random.IntN(len(of))] }

// tenantOf is nearly always the same, so that record and ApiToken mostly agree.
func (w *world) tenantOf(uid types.UID) string {
	if w.random.IntN(10) == 0 {
		return pick(w, worldTenants)
	}
	return worldTenants[int(uid[0])%len(worldTenants)]
}

func (w *world) expiry() time.Time { return now.Add(time.Duration(w.random.IntN(3)) * time.Hour) }

func (w *world) randomCredential() record.Credential {
	return record.Credential{ID: "0123456789", Digest: pick(w, worldDigests), NotAfter: w.expiry()}
}

func (w *world) randomRecord() *corev1.Secret {
	uid := pick(w, worldUIDs)
	tenant := w.tenantOf(uid)
	r := &record.Record{
		Tenant: tenant, Namespace: directorytest.Namespace(tenant), Name: "token-" + string(uid), UID: uid,
		Current: w.randomCredential(),
	}
	if w.random.IntN(2) == 0 {
		r.Previous = new(w.randomCredential())
	}
	secret := r.Secret(v1alpha1.RecordsNamespace)
	if w.random.IntN(8) == 0 {
		delete(secret.Data, "version") // so that it can't be decoded
	}
	return secret
}

func (w *world) randomApiToken() *v1alpha1.ApiToken {
	uid := pick(w, worldUIDs)
	a := &v1alpha1.ApiToken{ObjectMeta: metav1.ObjectMeta{
		Namespace: directorytest.Namespace(w.tenantOf(uid)), Name: "token-" + string(uid), UID: uid,
	}}
	if w.random.IntN(4) > 0 {
		a.Spec.Credential = directorytest.Wanted(new(w.randomCredential()))
	}
	if w.random.IntN(2) == 0 {
		a.Status.Credential = directorytest.Accepted(new(w.randomCredential()))
	}
	if w.random.IntN(3) == 0 {
		a.Status.PreviousCredential = directorytest.Accepted(new(w.randomCredential()))
	}
	if w.random.IntN(4) == 0 {
		a.Spec.ExpiresAt = at(w.expiry())
	}
	if w.random.IntN(8) == 0 {
		a.DeletionTimestamp = at(now)
	}
	switch w.random.IntN(4) {
	case 0:
		a.Spec.Rotation = &v1alpha1.Rotation{DropPrevious: "0123456789"}
	case 1:
		a.Spec.Rotation = &v1alpha1.Rotation{DropPrevious: "abcdefghij"}
	}
	for _, c := range []*v1alpha1.IssuedCredential{a.Status.Credential, a.Status.PreviousCredential} {
		if c != nil && w.random.IntN(2) == 0 {
			c.LastUsedAt = at(now)
		}
	}
	a.Spec.Revoked = w.random.IntN(6) == 0
	if w.random.IntN(4) == 0 {
		a.Spec.RateLimit = &v1alpha1.RateLimit{Requests: w.random.Int32N(1000) + 1, Burst: w.random.Int32N(3)}
	}
	return a
}

func (w *world) randomTenant() *v1alpha1.Tenant {
	tenant := directorytest.Tenant(pick(w, worldTenants))
	tenant.Spec.Suspended = w.random.IntN(2) == 0
	if w.random.IntN(6) == 0 {
		tenant.DeletionTimestamp = at(now)
	}
	return tenant
}
