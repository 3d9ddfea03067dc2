package v1alpha1

// Labels and annotations. All share one domain; none is ever trusted for a
// decision about a token.
const (
	// LabelManagedBy marks what a controller of ours made; its value is
	// ManagedBy. Caches select on it.
	LabelManagedBy = "app.kubernetes.io/managed-by"
	// ManagedBy is the value of LabelManagedBy.
	ManagedBy = "latchkey"

	// LabelTenant names the Tenant that an object was made for.
	LabelTenant = "latchkey.dev/tenant"

	// LabelPublicApi, on the ConfigMap that keeps an OpenAPI document, names the
	// PublicApi whose it is.
	LabelPublicApi = "latchkey.dev/publicapi"

	// LabelAllowTenant, on a namespace that Latchkey did not make, permits the
	// Tenant that it names to use the namespace. Without it an existing
	// namespace is refused, so that nobody takes over another's by name.
	LabelAllowTenant = "latchkey.dev/allow-tenant"

	// AnnotationTenant, on a tenant's namespace, is the Tenant's name. The
	// kubectl plugin computes a token's digest with it.
	AnnotationTenant = "latchkey.dev/tenant"
	// AnnotationHost, on a tenant's namespace, is the host of its Public API,
	// such as "acme.example.com".
	AnnotationHost = "latchkey.dev/host"
	// AnnotationOrigin, on a tenant's namespace, is where clients reach that host,
	// such as "https://acme.example.com".
	AnnotationOrigin = "latchkey.dev/origin"
	// AnnotationBasePath, on a tenant's namespace, is the path below which the
	// Public API is served, such as "/api/v1".
	AnnotationBasePath = "latchkey.dev/base-path"
	// AnnotationSettingsPath, on a tenant's namespace, is the path of the Settings
	// page on that host, such as "/settings".
	AnnotationSettingsPath = "latchkey.dev/settings-path"
	// AnnotationScopes, on a tenant's namespace, are the scopes that an ApiToken may
	// ask for: a JSON list of objects with name and description.
	AnnotationScopes = "latchkey.dev/scopes"
	// AnnotationTokenPrefix, on a tenant's namespace, is the prefix that new
	// tokens begin with, without the underscore.
	AnnotationTokenPrefix = "latchkey.dev/token-prefix"
	// AnnotationCreatedBy, AnnotationIssuedBy and AnnotationRevokedBy, on an
	// ApiToken, name who made it, who had its present credential minted, and who
	// revoked it. Anyone who may write the ApiToken can write them: they are claims,
	// unless the ValidatingAdmissionPolicy in config/ makes them true.
	AnnotationCreatedBy = "latchkey.dev/created-by"
	AnnotationIssuedBy  = "latchkey.dev/issued-by"
	AnnotationRevokedBy = "latchkey.dev/revoked-by"
	// AnnotationCreatedVia, on an ApiToken, says what made it: ViaAPI or
	// ViaSettings. The manager deletes such ApiTokens once they are past their
	// retention; others it leaves to who applied them.
	AnnotationCreatedVia = "latchkey.dev/created-via"
	// ViaAPI and ViaSettings are the values of AnnotationCreatedVia.
	ViaAPI      = "api"
	ViaSettings = "settings"

	// AnnotationMaxLifetime, on a tenant's namespace, is the longest lifetime
	// that the PublicApi's token policy permits, as a Go duration.
	AnnotationMaxLifetime = "latchkey.dev/max-lifetime"
	// AnnotationDefaultLifetime, on a tenant's namespace, is the lifetime of a
	// token that names neither a lifetime nor an expiry, as a Go duration.
	AnnotationDefaultLifetime = "latchkey.dev/default-lifetime"
	// AnnotationMaxOverlap, on a tenant's namespace, is the longest
	// spec.rotation.overlap that the token policy permits, as a Go duration.
	AnnotationMaxOverlap = "latchkey.dev/max-overlap"
)

// Names of an installation. The namespaces can be changed by flags; the
// ClusterRoles are what a Tenant's members are bound to.
const (
	// SystemNamespace is where the manager, the API server and the Ingresses live.
	SystemNamespace = "latchkey-system"
	// RecordsNamespace is where the record Secrets live, and nothing else.
	RecordsNamespace = "latchkey-records"
	// TenantAdminClusterRole is what members with the role Admin are bound to.
	TenantAdminClusterRole = "latchkey-tenant-admin"
	// TenantViewerClusterRole is what members with the role Viewer are bound to.
	TenantViewerClusterRole = "latchkey-tenant-viewer"
	// DefaultPublicApi is the PublicApi of a Tenant that names none.
	DefaultPublicApi = "default"
	// TenantNamespacePrefix and the Tenant's name make the namespace of a
	// Tenant that names none.
	TenantNamespacePrefix = "tenant-"
	// DefaultTokenPrefix is what tokens begin with unless an installation
	// chooses another prefix.
	DefaultTokenPrefix = "lk"
)

// Field owners, one a writer.
const (
	FieldOwnerTenant      = "latchkey/tenant-controller"
	FieldOwnerApiToken    = "latchkey/apitoken-controller"
	FieldOwnerPublicApi   = "latchkey/publicapi-controller"
	FieldOwnerSessionKeys = "latchkey/session-keys-controller"
	FieldOwnerPlugin      = "kubectl-latchkey"
)

// ScopeTokensRead and ScopeTokensWrite are scopes that every PublicApi knows
// without declaring them: they open Latchkey's own token endpoints.
const (
	ScopeTokensRead  = "tokens:read"
	ScopeTokensWrite = "tokens:write"
)

// ScopeSettings is the one scope of an ApiToken that signs its maker in on the
// Settings page. Every PublicApi knows it without declaring it, and offers it
// nowhere: such an ApiToken has no other scope, ends within minutes, and opens
// neither the Public API nor Latchkey's own API for tokens.
const ScopeSettings = "settings"
