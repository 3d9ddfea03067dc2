// Package directory is the API server's view of the cluster, in memory: which
// tenants there are, and which credentials work for them. Reflectors feed it;
// requests read it without a lock.
//
// A credential is in the directory only while two objects agree on it: the record
// Secret, which the manager writes, and the ApiToken, which vouches for it. So
// deleting an ApiToken revokes with no manager running, and a forged or restored
// record opens nothing.
package directory

import (
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/openapi"
	"github.com/latchkey-dev/latchkey/internal/policy"
	"github.com/latchkey-dev/latchkey/internal/ratelimit"
	"github.com/latchkey-dev/latchkey/internal/token"
)

// Tenant is what requests need of a Tenant.
type Tenant struct {
	// Name is the subdomain.
	Name string
	// UID is the object's: another Tenant that gets the name later has another one.
	UID types.UID
	// Namespace is the one that was accepted for the tenant.
	Namespace string
	// PublicApi is the name of the API that is served.
	PublicApi string
	// Suspended stops every token.
	Suspended bool
	// Users are the names of the members that are users.
	Users []string
}

// API is what requests need of a PublicApi.
type API struct {
	// Name is the PublicApi's.
	Name string
	// BasePath begins every path of the API, without a trailing slash.
	BasePath string
	// ResponseHeaderTimeout is how long the backend may take until its answer
	// begins.
	ResponseHeaderTimeout time.Duration
	// AllowedOrigins are those of CORS, or empty.
	AllowedOrigins []string
	// WebSocket says that requests may be upgraded to it.
	WebSocket bool
	// NeedsDocument says that requests are held to an OpenAPI document. While Document
	// is nil, it has not been read.
	NeedsDocument bool
	// Document is the API's OpenAPI document, and Routes finds its operations; nil
	// where there is none.
	Document *openapi.Document
	Routes   *openapi.Matcher
	// AllowUnknown forwards requests for operations that the document does not name.
	AllowUnknown bool
	// AllowAnonymous forwards requests without a token to operations that the document
	// makes public.
	AllowAnonymous bool
	// DocsPath is where the documentation is, or empty, and DocsVisibility who can
	// read it.
	DocsPath       string
	DocsVisibility v1alpha1.DocsVisibility
	// SettingsPath is where members manage tokens, and TokenSignIn says that they can
	// sign in there by an ApiToken.
	SettingsPath string
	TokenSignIn  bool
	// Scopes are what a token may be given, as people are told.
	Scopes []v1alpha1.Scope
	// Policy bounds the tokens that are issued.
	Policy policy.Policy
	// SelfRotation says that a token may replace its own credential.
	SelfRotation bool
	// Notice is how long before its expiry a token's user is warned.
	Notice time.Duration
	// PerToken and PerTenant are the rate limits, or zero.
	PerToken, PerTenant ratelimit.Limit

	backend func(t *Tenant) string
}

// Backend is the origin of the tenant's backend, such as http://shop.acme.svc:80.
func (a *API) Backend(t *Tenant) string { return a.backend(t) }

// HasDocs says whether anybody can read the API's documentation.
func (a *API) HasDocs() bool {
	return a.NeedsDocument && a.DocsVisibility != v1alpha1.DocsDisabled
}

// Token is an issued credential and what its ApiToken says, at the moment at which
// it was looked up.
type Token struct {
	// ID is the credential's public id.
	ID string
	// Digest and Tenant are the key by which it is found.
	Digest token.Digest
	// Tenant is the name of the tenant that the credential was issued for.
	Tenant string
	// Namespace and Name are the ApiToken's.
	Namespace, Name string
	// Owner is who answers for it, or empty.
	Owner string
	// Scopes are what it may do.
	Scopes []string
	// AllowedCIDRs are where it works from; empty means anywhere.
	AllowedCIDRs []netip.Prefix
	// Revoked says that the ApiToken was revoked, or that this is its previous
	// credential and was dropped.
	Revoked bool
	// Used says that the ApiToken's status knows of a use of the credential; for the
	// previous one, of a use since its successor was issued.
	Used bool
	// NotAfter is the credential's expiry.
	NotAfter time.Time
	// RateLimit is the ApiToken's own, beside that of the API.
	RateLimit ratelimit.Limit
}

// State is what policy.Decide needs to say whether the token works for the
// tenant. A nil tenant is a missing one.
func (t *Token) State(tenant *Tenant) policy.State {
	s := policy.State{Revoked: t.Revoked, NotAfter: t.NotAfter}
	switch {
	case tenant == nil || tenant.Name != t.Tenant || tenant.Namespace != t.Namespace:
		s.Tenant = policy.TenantMissing
	case tenant.Suspended:
		s.Tenant = policy.TenantSuspended
	default:
		s.Tenant = policy.TenantActive
	}
	return s
}

// Directory answers requests' questions. Its methods may be called from any
// goroutine.
type Directory struct {
	logger    *slog.Logger
	freshness *freshness
	slots     *slots
	index     *index
	// tokens is how many credentials are served.
	tokens  atomic.Int64
	tenants shardedMap[string, *Tenant]
	apis    shardedMap[string, *API]
	// documents are those of PublicApis by their names, for writers only.
	documents map[string]*storedDocument
	// activity is when anything of a feed last arrived, parts of lists included, as
	// freshness counts time.
	activity [feedCount]atomic.Int64
	// observer is told the name of a tenant whose tokens may have changed, or ""
	// for all.
	observer   atomic.Pointer[func(tenant string)]
	generation atomic.Uint64

	// mu is held by writers only.
	mu sync.Mutex
}

// New returns an empty directory, which is not synced.
func New(logger *slog.Logger) *Directory { return NewWithOptions(logger, Options{}) }

// NewWithOptions is New with other bounds than the defaults.
func NewWithOptions(logger *slog.Logger, o Options) *Directory {
	d := &Directory{
		logger:    logger,
		documents: map[string]*storedDocument{},
		slots:     newSlots(),
		index:     newIndex(),
		tenants:   newShardedMap[string, *Tenant](256, hashString),
		apis:      newShardedMap[string, *API](1, hashString),
	}
	d.freshness = newFreshness(o, d.freshnessChanged)
	return d
}

// Tenant finds a tenant by its subdomain.
func (d *Directory) Tenant(name string) (*Tenant, bool) { return d.tenants.get(name) }

// API finds a PublicApi by its name.
func (d *Directory) API(name string) (*API, bool) { return d.apis.get(name) }

// Token finds a credential that was issued for the tenant, by its digest. Whether
// it works, policy.Decide says of its State. The digest has the tenant inside, but
// a tenant that names another's digest as its own does not get in the other's way.
func (d *Directory) Token(tenant string, digest token.Digest) (*Token, bool) {
	found, ok := d.find(tenant, digest)
	if !ok {
		return nil, false
	}
	return found.token(digest), true
}

// Observe sets the function that is told the name of a tenant whose tokens may
// work differently from now on, or "" for every tenant: also when the directory is
// Fresh no more. It is called after requests can see the change, and must not block.
func (d *Directory) Observe(observer func(tenant string)) { d.observer.Store(&observer) }

// Generation changes with everything that the observer is told, before it is. Who
// looked up a token and registers with the observer has missed nothing in between
// if it is the same then as before.
func (d *Directory) Generation() uint64 { return d.generation.Load() }

func (d *Directory) notify(tenant string) {
	d.generation.Add(1)
	if observer := d.observer.Load(); observer != nil {
		(*observer)(tenant)
	}
}

// Counts are how many of each the directory holds.
type Counts struct{ Tokens, Tenants, APIs int }

// Count counts what the directory holds. It is for metrics, not for requests.
func (d *Directory) Count() Counts {
	return Counts{Tokens: int(d.tokens.Load()), Tenants: d.tenants.len(), APIs: d.apis.len()}
}
