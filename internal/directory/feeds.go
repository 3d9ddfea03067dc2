package directory

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/record"
	"github.com/latchkey-dev/latchkey/internal/token"
)

// The feeds, one a watched resource.
const (
	feedRecords = iota
	feedApiTokens
	feedTenants
	feedPublicApis
	feedCount
)

var feedNames = [feedCount]string{"records", "apitokens", "tenants", "publicapis"}

type feedState struct{ synced atomic.Bool }

// Synced says whether every feed has delivered its first complete list. Before
// that nothing may be accepted.
func (d *Directory) Synced() bool { return len(d.Unsynced()) == 0 }

// Unsynced names the feeds that have not delivered their first complete list.
func (d *Directory) Unsynced() []string {
	var names []string
	for i := range d.feeds {
		if !d.feeds[i].synced.Load() {
			names = append(names, feedNames[i])
		}
	}
	return names
}

// Stores are what reflectors feed, one a resource.
type Stores struct{ Records, ApiTokens, Tenants, PublicApis cache.ReflectorStore }

// Stores returns the directory's stores.
func (d *Directory) Stores() Stores {
	return Stores{
		Records: &store[*corev1.Secret, storedRecord]{
			state: &d.feeds[feedRecords], shrink: d.shrinkRecord, set: d.setRecord, replace: d.replaceRecords,
			remove: func(s *corev1.Secret) { d.setRecord(storedRecord{uid: record.UID(s.Name)}) },
		},
		ApiTokens: &store[*v1alpha1.ApiToken, *voucher]{
			state: &d.feeds[feedApiTokens], shrink: shrinkApiToken, set: d.setVoucher, replace: d.replaceVouchers,
			remove: func(t *v1alpha1.ApiToken) { d.removeVoucher(t.UID) },
		},
		Tenants: &store[*v1alpha1.Tenant, *Tenant]{
			state: &d.feeds[feedTenants], shrink: shrinkTenant, set: d.setTenant, replace: d.replaceTenants,
			remove: func(t *v1alpha1.Tenant) { d.removeTenant(t.Name) },
		},
		PublicApis: &store[*v1alpha1.PublicApi, *API]{
			state: &d.feeds[feedPublicApis], shrink: newAPI, set: d.setAPI, replace: d.replaceAPIs,
			remove: func(a *v1alpha1.PublicApi) { d.removeAPI(a.Name) },
		},
	}
}

// store adapts one resource to a reflector. Objects are shrunk as they arrive:
// the first list would else be in memory twice.
type store[O any, S any] struct {
	state   *feedState
	shrink  func(O) S
	set     func(S)
	remove  func(O)
	replace func([]S)
}

var _ cache.TransformingStore = (*store[*corev1.Secret, storedRecord])(nil)

// Transformer shrinks objects while the first list streams in.
func (s *store[O, S]) Transformer() cache.TransformFunc {
	return func(object any) (any, error) {
		if full, ok := object.(O); ok {
			return s.shrink(full), nil
		}
		return object, nil
	}
}

func (s *store[O, S]) shrunk(object any) (S, error) {
	switch object := object.(type) {
	case S:
		return object, nil
	case O:
		return s.shrink(object), nil
	}
	var none S
	return none, fmt.Errorf("a %T can't be in this store", object)
}

// Add implements cache.ReflectorStore.
func (s *store[O, S]) Add(object any) error {
	shrunk, err := s.shrunk(object)
	if err == nil {
		s.set(shrunk)
	}
	return err
}

// Update implements cache.ReflectorStore.
func (s *store[O, S]) Update(object any) error { return s.Add(object) }

// Delete implements cache.ReflectorStore.
func (s *store[O, S]) Delete(object any) error {
	full, ok := object.(O)
	if !ok {
		return fmt.Errorf("a %T can't be deleted from this store", object)
	}
	s.remove(full)
	return nil
}

// Replace implements cache.ReflectorStore.
func (s *store[O, S]) Replace(objects []any, _ string) error {
	list := make([]S, 0, len(objects))
	for _, object := range objects {
		shrunk, err := s.shrunk(object)
		if err != nil {
			return err
		}
		list = append(list, shrunk)
	}
	s.replace(list)
	s.state.synced.Store(true)
	return nil
}

// Resync implements cache.ReflectorStore.
func (s *store[O, S]) Resync() error { return nil }

// storedRecord is a record Secret; its record is nil if it can't be decoded.
type storedRecord struct {
	uid    types.UID
	record *record.Record
}

func (d *Directory) shrinkRecord(secret *corev1.Secret) storedRecord {
	decoded, err := record.Decode(secret)
	if err != nil {
		d.logger.Error("record ignored", "secret", secret.Name, "error", err)
	}
	return storedRecord{uid: record.UID(secret.Name), record: decoded}
}

func (d *Directory) setRecord(r storedRecord) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.update(r.uid, func(s *slot) { s.record = r.record })
}

func (d *Directory) replaceRecords(list []storedRecord) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.slots {
		s.record = nil
	}
	for _, r := range list {
		d.slot(r.uid).record = r.record
	}
	d.rebuild()
}

func (d *Directory) slot(uid types.UID) *slot {
	s := d.slots[uid]
	if s == nil {
		s = &slot{}
		d.slots[uid] = s
	}
	return s
}

// shrinkApiToken takes an ApiToken that is being deleted for one that is gone:
// finalizers of others must not keep it working.
func shrinkApiToken(t *v1alpha1.ApiToken) *voucher {
	v := newVoucher(t)
	if !t.DeletionTimestamp.IsZero() {
		v.wanted, v.issued = token.Digest{}, nil
	}
	return v
}

func (d *Directory) setVoucher(v *voucher) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.update(v.uid, func(s *slot) { s.voucher = v })
}

func (d *Directory) removeVoucher(uid types.UID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.update(uid, func(s *slot) { s.voucher = nil })
}

func (d *Directory) replaceVouchers(list []*voucher) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.slots {
		s.voucher = nil
	}
	for _, v := range list {
		d.slot(v.uid).voucher = v
	}
	d.rebuild()
}

// shrinkTenant leaves the namespace empty for a Tenant that was not accepted or
// is being deleted: it has no tokens then.
func shrinkTenant(t *v1alpha1.Tenant) *Tenant {
	tenant := &Tenant{
		Name:      t.Name,
		Namespace: t.Status.Namespace,
		PublicApi: t.PublicApiName(),
		Suspended: t.Spec.Suspended,
	}
	if !t.DeletionTimestamp.IsZero() {
		tenant.Namespace = ""
	}
	return tenant
}

func (d *Directory) setTenant(t *Tenant) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tenants.set(t.Name, t)
	d.notify(t.Name)
}

func (d *Directory) removeTenant(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tenants.remove(name)
	d.notify(name)
}

func (d *Directory) replaceTenants(list []*Tenant) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tenants.replace(byName(list, func(t *Tenant) string { return t.Name }))
	d.notify("")
}

// newAPI prepares a PublicApi for requests.
func newAPI(a *v1alpha1.PublicApi) *API {
	api := &API{Name: a.Name, BasePath: a.Spec.BasePath, ResponseHeaderTimeout: time.Minute}
	if timeout := a.Spec.Backend.ResponseHeaderTimeout; timeout != nil {
		api.ResponseHeaderTimeout = timeout.Duration
	}
	if a.Spec.CORS != nil {
		api.AllowedOrigins = a.Spec.CORS.AllowedOrigins
	}
	api.WebSocket = slices.Contains(a.Spec.Upgrades, v1alpha1.UpgradeWebSocket)
	api.backend = backendOf(a.Spec.Backend)
	return api
}

func backendOf(b v1alpha1.Backend) func(*Tenant) string {
	if b.Service == nil {
		url := strings.TrimSuffix(b.URL, "/")
		return func(*Tenant) string { return url }
	}
	origin := func(namespace string) string {
		return fmt.Sprintf("http://%s.%s.svc:%d", b.Service.Name, namespace, b.Service.Port)
	}
	if b.Service.Namespace != "" {
		fixed := origin(b.Service.Namespace)
		return func(*Tenant) string { return fixed }
	}
	return func(t *Tenant) string { return origin(t.Namespace) }
}

func (d *Directory) setAPI(a *API) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.apis.set(a.Name, a)
}

func (d *Directory) removeAPI(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.apis.remove(name)
	d.notify("")
}

func (d *Directory) replaceAPIs(list []*API) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.apis.replace(byName(list, func(a *API) string { return a.Name }))
	d.notify("")
}

func byName[T any](list []*T, name func(*T) string) map[string]*T {
	m := make(map[string]*T, len(list))
	for _, item := range list {
		m[name(item)] = item
	}
	return m
}
