package directory

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/attentive"
	"github.com/latchkey-dev/latchkey/internal/audit"
	"github.com/latchkey-dev/latchkey/internal/document"
	"github.com/latchkey-dev/latchkey/internal/policy"
	"github.com/latchkey-dev/latchkey/internal/ratelimit"
	"github.com/latchkey-dev/latchkey/internal/record"
)

// The feeds, one a watched resource.
const (
	feedRecords = iota
	feedApiTokens
	feedTenants
	feedPublicApis
	feedDocuments
	feedCount
)

var feedNames = [feedCount]string{"records", "apitokens", "tenants", "publicapis", "documents"}

// feed is one of a directory's.
type feed struct {
	directory *Directory
	index     int
	// confirm calls back once a bookmark of a feed may be believed.
	confirm func(of int, count func())
}

func (f feed) freshness() *freshness { return f.directory.freshness }

// stir notes that something arrived, be it a part of a list.
func (f feed) stir(at time.Duration) { attentive.Advance(&f.directory.activity[f.index], at) }

// Now implements attentive.Feed.
func (f feed) Now() time.Duration { return f.freshness().now() }

// Heard implements attentive.Feed.
func (f feed) Heard() time.Duration { return f.freshness().lastHeard(f.index) }

// Stirred implements attentive.Feed.
func (f feed) Stirred() time.Duration { return time.Duration(f.directory.activity[f.index].Load()) }

// hear notes that something arrived, once requests can see it.
func (f feed) hear() { f.note(f.Now(), false) }

func (f feed) note(at time.Duration, list bool) {
	f.stir(at)
	f.freshness().hear(f.index, at, list)
}

// bookmark notes that nothing else has changed until now, once that may be believed.
func (f feed) bookmark() {
	at := f.Now()
	f.confirm(f.index, func() { f.note(at, false) })
}

// Stores are what reflectors feed, one a resource.
type Stores struct{ Records, ApiTokens, Tenants, PublicApis, Documents cache.ReflectorStore }

// Stores returns the directory's stores. Whoever feeds them vouches for bookmarks.
func (d *Directory) Stores() Stores {
	return d.stores(func(_ int, count func()) { count() })
}

func (d *Directory) stores(confirm func(of int, count func())) Stores {
	return Stores{
		Records: &store[*corev1.Secret, storedRecord]{
			feed: feed{d, feedRecords, confirm}, shrink: d.shrinkRecord,
			set:     func(r storedRecord) { d.update(halfOf(r), setRecord) },
			replace: func(list []storedRecord) { d.replace(halvesOf(list), setRecord) },
			remove:  func(s *corev1.Secret) { d.update(half{uid: encodeUID(record.UID(s.Name))}, setRecord) },
		},
		ApiTokens: &store[*v1alpha1.ApiToken, storedApiToken]{
			feed: feed{d, feedApiTokens, confirm}, shrink: shrinkApiToken,
			set:     func(t storedApiToken) { d.update(halfOf(t), setVoucher) },
			replace: func(list []storedApiToken) { d.replace(halvesOf(list), setVoucher) },
			remove:  func(t *v1alpha1.ApiToken) { d.update(half{uid: encodeUID(t.UID)}, setVoucher) },
		},
		Tenants: &store[*v1alpha1.Tenant, *Tenant]{
			feed: feed{d, feedTenants, confirm}, shrink: shrinkTenant, set: d.setTenant, replace: d.replaceTenants,
			remove: func(t *v1alpha1.Tenant) { d.removeTenant(t.Name) },
		},
		PublicApis: &store[*v1alpha1.PublicApi, *API]{
			feed: feed{d, feedPublicApis, confirm}, shrink: newAPI, set: d.setAPI, replace: d.replaceAPIs,
			remove: func(a *v1alpha1.PublicApi) { d.removeAPI(a.Name) },
		},
		Documents: &store[*corev1.ConfigMap, *storedDocument]{
			feed: feed{d, feedDocuments, confirm}, shrink: d.shrinkDocument, set: d.setDocument, replace: d.replaceDocuments,
			remove: func(c *corev1.ConfigMap) {
				d.setDocument(&storedDocument{publicApi: document.PublicApiOf(c)})
			},
		},
	}
}

// store adapts one resource to a reflector. Objects are shrunk as they arrive:
// the first list would else be in memory twice.
type store[O any, S any] struct {
	feed    feed
	shrink  func(O) S
	set     func(S)
	remove  func(O)
	replace func([]S)
}

var (
	_ cache.TransformingStore      = (*store[*corev1.Secret, storedRecord])(nil)
	_ cache.ReflectorBookmarkStore = (*store[*corev1.Secret, storedRecord])(nil)
)

// Transformer shrinks objects while the first list streams in.
func (s *store[O, S]) Transformer() cache.TransformFunc {
	return func(object any) (any, error) {
		s.feed.stir(s.feed.Now())
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
		s.feed.hear()
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
	s.feed.hear()
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
	s.feed.note(s.feed.Now(), true)
	return nil
}

// Bookmark implements cache.ReflectorBookmarkStore: nothing else has changed until
// now.
func (s *store[O, S]) Bookmark(string) error {
	s.feed.bookmark()
	return nil
}

// Resync implements cache.ReflectorStore.
func (s *store[O, S]) Resync() error { return nil }

// storedRecord is a record Secret, and storedApiToken an ApiToken, as it arrives:
// the UID and then the encoded half, in one piece because 100,000 of them wait for
// the end of the first list.
type (
	storedRecord   string
	storedApiToken string
)

func halfOf[S ~string](stored S) half {
	n := uidLength(string(stored))
	return half{uid: uidText(stored[:n]), text: string(stored[n:])}
}

func halvesOf[S ~string](list []S) []half {
	halves := make([]half, len(list))
	for i, stored := range list {
		halves[i] = halfOf(stored)
	}
	return halves
}

// shrinkRecord leaves a record that can't be decoded empty.
func (d *Directory) shrinkRecord(secret *corev1.Secret) storedRecord {
	var buffer [shrinkBuffer]byte
	b := append(buffer[:0], encodeUID(record.UID(secret.Name))...)
	decoded, err := record.Decode(secret)
	if err != nil {
		d.logger.Error("record ignored", "secret", secret.Name, "error", err)
		return storedRecord(b)
	}
	return storedRecord(encodeRecord(b, decoded))
}

func shrinkApiToken(t *v1alpha1.ApiToken) storedApiToken {
	var buffer [shrinkBuffer]byte
	return storedApiToken(encodeVoucher(append(buffer[:0], encodeUID(t.UID)...), t))
}

// shrinkBuffer is enough for most records, without memory from the heap.
const shrinkBuffer = 512

// shrinkTenant leaves the namespace empty for a Tenant that was not accepted or
// is being deleted: it has no tokens then.
func shrinkTenant(t *v1alpha1.Tenant) *Tenant {
	tenant := &Tenant{
		Name:      t.Name,
		UID:       t.UID,
		Namespace: t.Status.Namespace,
		PublicApi: t.PublicApiName(),
		Suspended: t.Spec.Suspended,
		Users:     audit.Users(t),
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
	api := &API{Name: a.Name, BasePath: a.Spec.BasePath, ResponseHeaderTimeout: time.Minute, Notice: policy.Of(a).Notice}
	if timeout := a.Spec.Backend.ResponseHeaderTimeout; timeout != nil {
		api.ResponseHeaderTimeout = timeout.Duration
	}
	if a.Spec.CORS != nil {
		api.AllowedOrigins = a.Spec.CORS.AllowedOrigins
	}
	api.WebSocket = slices.Contains(a.Spec.Upgrades, v1alpha1.UpgradeWebSocket)
	api.Policy, api.Scopes = policy.Of(a), policy.Scopes(a)
	if o := a.Spec.OpenAPI; o != nil {
		api.NeedsDocument = true
		api.AllowUnknown = o.UnknownOperations == v1alpha1.UnknownOperationsAllow
		api.AllowAnonymous = o.AllowAnonymousOperations
	}
	if api.DocsVisibility = a.Spec.Docs.Visibility; api.HasDocs() {
		api.DocsPath = a.Spec.Docs.Path
	}
	api.SettingsPath, api.TokenSignIn = a.Spec.Settings.Path, a.Spec.Settings.TokenSignIn != v1alpha1.TokenSignInDeny
	api.SelfRotation = a.Spec.TokenPolicy.SelfRotation == v1alpha1.SelfRotationAllowed
	if limits := a.Spec.RateLimits; limits != nil {
		api.PerToken, api.PerTenant = ratelimit.Of(limits.PerToken), ratelimit.Of(limits.PerTenant)
	}
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
	a.attach(d.documents[a.Name])
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
	for _, a := range list {
		a.attach(d.documents[a.Name])
	}
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
