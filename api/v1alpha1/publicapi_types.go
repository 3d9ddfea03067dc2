package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// PublicApi says what a product's Public API is: where its backend is, below
// which path it is served on each tenant's host, and what tokens for it may be.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,path=publicapis,singular=publicapi,shortName=papi,categories=latchkey
// +kubebuilder:printcolumn:name="READY",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="REASON",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="BASE PATH",type=string,JSONPath=`.spec.basePath`
// +kubebuilder:printcolumn:name="AGE",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 63 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="metadata.name must be a DNS label: at most 63 lower-case letters, digits and hyphens"
type PublicApi struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard object metadata. The name is a DNS label.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is what the platform team says of the Public API.
	// +required
	Spec PublicApiSpec `json:"spec,omitzero"`

	// status is what the controller found.
	// +optional
	Status PublicApiStatus `json:"status,omitzero"`
}

// PublicApiSpec is what the platform team says of the Public API.
//
// +kubebuilder:validation:XValidation:rule="!has(self.openAPI) || !has(self.openAPI.path) || has(self.backend.url) || (has(self.backend.service) && has(self.backend.service.__namespace__))",message="openAPI.path needs a backend that is the same for all tenants: name backend.service.namespace, use backend.url, or give the document by openAPI.configMap"
// +kubebuilder:validation:XValidation:rule="!(self.docs.path + '/').startsWith(self.basePath + '/') && !(self.basePath + '/').startsWith(self.docs.path + '/')",message="docs.path and basePath must not lie below one another"
// +kubebuilder:validation:XValidation:rule="!(self.settings.path + '/').startsWith(self.basePath + '/') && !(self.basePath + '/').startsWith(self.settings.path + '/')",message="settings.path (/settings unless set) and basePath must not lie below one another"
// +kubebuilder:validation:XValidation:rule="!(self.settings.path + '/').startsWith(self.docs.path + '/') && !(self.docs.path + '/').startsWith(self.settings.path + '/')",message="settings.path (/settings unless set) and docs.path must not lie below one another"
type PublicApiSpec struct {
	// backend is the product's own service, which answers the API's requests.
	// +required
	Backend Backend `json:"backend,omitzero"`

	// basePath is the path of the Public API on every tenant's host. The backend
	// gets paths unchanged, this one included. No trailing slash.
	// +optional
	// +kubebuilder:default="/api/v1"
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+$`
	BasePath string `json:"basePath,omitempty"`

	// scopes are what an ApiToken may ask for, besides those that the OpenAPI
	// document names, and tokens:read and tokens:write, which every PublicApi knows.
	// A scope that is not listed is refused when a credential is issued; taking one
	// from the list later breaks no live token. The scope settings is Latchkey's own,
	// for signing in on the Settings page.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:XValidation:rule="!self.exists(s, s.name == 'settings')",message="the scope settings is Latchkey's own, for signing in on the Settings page: choose another name"
	Scopes []Scope `json:"scopes,omitempty"`

	// openAPI is the API's OpenAPI document. Once it is set, requests are held to the
	// document: until it has been read they are answered 503. Unset means that any
	// token that works opens everything below the base path.
	// +optional
	OpenAPI *OpenAPI `json:"openAPI,omitempty"`

	// docs is the page that shows the API's documentation on every tenant's host.
	// +optional
	// +kubebuilder:default={path: "/docs", visibility: "Public"}
	Docs Docs `json:"docs,omitzero"`

	// settings are the pages on every tenant's host where its members manage tokens.
	// +optional
	// +kubebuilder:default={path: "/settings", tokenSignIn: "Allow"}
	Settings Settings `json:"settings,omitzero"`

	// tokenPolicy bounds the tokens that tenants may have.
	// +optional
	// +kubebuilder:default={}
	TokenPolicy TokenPolicy `json:"tokenPolicy,omitzero"`

	// upgrades are the protocols that a client may switch a request to. An upgraded
	// connection ends with its token. Only websocket is known; none unless listed.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=1
	Upgrades []UpgradeProtocol `json:"upgrades,omitempty"`

	// cors permits pages of other origins to call the API from a browser. Where
	// it is unset, cross-origin preflight requests need a token like any other,
	// which in effect refuses them.
	// +optional
	CORS *CORS `json:"cors,omitempty"`

	// rateLimits are how often the API may be called, by one token and by one tenant.
	// Unset means as often as anybody likes. A change counts at once.
	// +optional
	RateLimits *RateLimits `json:"rateLimits,omitempty"`
}

// UpgradeProtocol is a protocol that a request may be switched to (RFC 9110,
// section 7.8).
//
// +kubebuilder:validation:Enum=websocket
type UpgradeProtocol string

// UpgradeWebSocket is the WebSocket protocol (RFC 6455).
const UpgradeWebSocket UpgradeProtocol = "websocket"

// Backend is where the product's own service is reached.
//
// +kubebuilder:validation:ExactlyOneOf=service;url
type Backend struct {
	// service is a Kubernetes Service, reached as http://name.namespace.svc:port.
	// +optional
	Service *ServiceReference `json:"service,omitempty"`

	// url is the backend's origin: http or https, a host, optionally a port, and
	// nothing else, such as https://backend.internal:8443.
	// +optional
	// +kubebuilder:validation:MinLength=8
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() in ['http', 'https'] && self.matches('^https?://([A-Za-z0-9][A-Za-z0-9.-]*|\\\\[[0-9A-Fa-f:.]+\\\\])(:[1-9][0-9]{0,4})?$') && (url(self).getPort() == '' || int(url(self).getPort()) <= 65535)",message="must be an origin: http or https, a host, optionally a port, and no path, query or user"
	URL string `json:"url,omitempty"`

	// responseHeaderTimeout is how long the backend may take until its answer's
	// headers arrive. The body may take longer, up to the token's expiry. Whole
	// hours, minutes and seconds, such as 30s.
	// +optional
	// +kubebuilder:default="60s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]+h)?([0-9]+m)?([0-9]+s)?$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('1h')",message="must be from 1s to 1h"
	ResponseHeaderTimeout *metav1.Duration `json:"responseHeaderTimeout,omitempty"`
}

// ServiceReference names a Service and a port of it.
type ServiceReference struct {
	// name is the Service's name.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Name string `json:"name,omitempty"`

	// namespace is the Service's namespace. Unset means the tenant's own: each
	// tenant then has a backend of its own.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Namespace string `json:"namespace,omitempty"`

	// port is the Service's port number.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port int32 `json:"port,omitempty"`
}

// Scope is a permission that the product's API knows.
type Scope struct {
	// name is what ApiTokens list, such as orders:read.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([a-z0-9:._/-]*[a-z0-9])?$`
	Name string `json:"name,omitempty"`

	// description tells people what the scope permits.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Description string `json:"description,omitempty"`
}

// SelfRotation says whether a token may replace its own credential.
//
// +kubebuilder:validation:Enum=Forbidden;Allowed
type SelfRotation string

// The values of SelfRotation.
const (
	SelfRotationForbidden SelfRotation = "Forbidden"
	SelfRotationAllowed   SelfRotation = "Allowed"
)

// TokenPolicy bounds the tokens that tenants may have. It applies when a
// credential is issued; tightening it never breaks a live token.
//
// +kubebuilder:validation:XValidation:rule="!has(self.defaultLifetime) || !has(self.maxLifetime) || duration(self.defaultLifetime) <= duration(self.maxLifetime)",message="defaultLifetime (2160h unless set) must not be longer than maxLifetime (8760h unless set)"
type TokenPolicy struct {
	// defaultLifetime is the lifetime of a credential whose ApiToken names
	// neither lifetime nor expiresAt. Whole hours, minutes and seconds; 90 days
	// unless set.
	// +optional
	// +kubebuilder:default="2160h"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]+h)?([0-9]+m)?([0-9]+s)?$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('87600h')",message="must be from 1s to 87600h (ten years)"
	DefaultLifetime *metav1.Duration `json:"defaultLifetime,omitempty"`

	// maxLifetime is the longest time from issuedAt to expiry that is issued.
	// Whole hours, minutes and seconds; 365 days unless set.
	// +optional
	// +kubebuilder:default="8760h"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]+h)?([0-9]+m)?([0-9]+s)?$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('87600h')",message="must be from 1s to 87600h (ten years)"
	MaxLifetime *metav1.Duration `json:"maxLifetime,omitempty"`

	// maxOverlap is the longest time for which a replaced credential may go on
	// working beside its successor. Whole hours, minutes and seconds; 7 days
	// unless set.
	// +optional
	// +kubebuilder:default="168h"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]+h)?([0-9]+m)?([0-9]+s)?$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('8760h')",message="must be from 0s to 8760h"
	MaxOverlap *metav1.Duration `json:"maxOverlap,omitempty"`

	// maxPerTenant is how many ApiTokens of one tenant may have a live
	// credential at a time.
	// +optional
	// +kubebuilder:default=1000
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000
	MaxPerTenant int32 `json:"maxPerTenant,omitempty"`

	// selfRotation says whether a token may replace its own credential, by POST to
	// /token/rotate below the base path: Forbidden, the default, or Allowed. The new
	// credential expires no later than the one that it replaces: more time takes a
	// person.
	// +optional
	// +kubebuilder:default=Forbidden
	SelfRotation SelfRotation `json:"selfRotation,omitempty"`

	// noticeDays are the days before expiry at which a token's owner is told.
	// The largest begins the time in which ExpiringSoon is True.
	// +optional
	// +listType=set
	// +kubebuilder:default={14,7,1}
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:Minimum=1
	// +kubebuilder:validation:items:Maximum=365
	NoticeDays []int32 `json:"noticeDays,omitempty"`

	// retention is how long an expired or revoked token's record is kept, so
	// that the answer to its use can say why it fails. After it the answer is
	// that of an unknown token. Whole hours, minutes and seconds; 30 days unless
	// set.
	// +optional
	// +kubebuilder:default="720h"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]+h)?([0-9]+m)?([0-9]+s)?$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('87600h')",message="must be from 0s to 87600h (ten years)"
	Retention *metav1.Duration `json:"retention,omitempty"`
}

// CORS permits pages of other origins to call the API from a browser.
type CORS struct {
	// allowedOrigins are the origins whose pages may call, such as
	// https://app.example.com, or a single * for every origin. Credentials such
	// as cookies are never permitted; a token in the Authorization header is.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=256
	// +kubebuilder:validation:items:Pattern=`^(\*|https?://[a-z0-9.-]+(:[0-9]{1,5})?)$`
	AllowedOrigins []string `json:"allowedOrigins,omitempty"`
}

// PublicApiStatus is what the controller found.
type PublicApiStatus struct {
	// observedGeneration is the metadata.generation that this status is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// document is the last OpenAPI document that was found good: the one in use.
	// +optional
	Document *Document `json:"document,omitempty"`

	// conditions are what the controller found. Known: Ready, DocumentCurrent.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:XValidation:rule="self.all(c, c.lastTransitionTime >= timestamp('1970-01-01T00:00:00Z'))",message="lastTransitionTime must be a time such as 2027-01-31T00:00:00Z"
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// PublicApiList is a list of PublicApis.
//
// +kubebuilder:object:root=true
type PublicApiList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`
	Items           []PublicApi `json:"items"`
}
