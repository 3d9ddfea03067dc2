package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// OpenAPI says where the API's OpenAPI document is, 3.0 or 3.1, as JSON or YAML,
// and what it means for requests. Its operations name the scopes that they need, in
// security or in x-latchkey-scopes; Latchkey enforces them.
//
// +kubebuilder:validation:ExactlyOneOf=path;configMap
type OpenAPI struct {
	// path is where the backend serves the document, such as /openapi.json. The
	// manager fetches it at refreshInterval; where that fails, the last good one
	// stays in use. The backend must be the same for all tenants.
	// +optional
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern=`^(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+$`
	Path string `json:"path,omitempty"`

	// configMap names the ConfigMap in the installation's namespace that holds the
	// document. A change of it takes effect at once.
	// +optional
	ConfigMap *ConfigMapKey `json:"configMap,omitempty"`

	// refreshInterval is how often the document is fetched from the path. Whole
	// hours, minutes and seconds; 5 minutes unless set.
	// +optional
	// +kubebuilder:default="5m"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]+h)?([0-9]+m)?([0-9]+s)?$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('10s') && duration(self) <= duration('24h')",message="must be from 10s to 24h"
	RefreshInterval *metav1.Duration `json:"refreshInterval,omitempty"`

	// unknownOperations says what becomes of a request for an operation that the
	// document does not name: Deny, the default, answers 404 (405 where it names the
	// path with other methods); Allow forwards it with any token that works.
	// +optional
	// +kubebuilder:default=Deny
	UnknownOperations UnknownOperations `json:"unknownOperations,omitempty"`

	// allowAnonymousOperations forwards requests without a token to operations that
	// the document makes public by `security: []`. Unset or false means that they
	// need a token too, so that a document can't open what nobody meant to.
	// +optional
	AllowAnonymousOperations bool `json:"allowAnonymousOperations,omitempty"`
}

// UnknownOperations says what becomes of requests that the document does not name.
//
// +kubebuilder:validation:Enum=Deny;Allow
type UnknownOperations string

// The values of UnknownOperations.
const (
	UnknownOperationsDeny  UnknownOperations = "Deny"
	UnknownOperationsAllow UnknownOperations = "Allow"
)

// ConfigMapKey names a key of a ConfigMap.
type ConfigMapKey struct {
	// name is the ConfigMap's name.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	Name string `json:"name,omitempty"`

	// key is the key in its data or binaryData; openapi.yaml unless set.
	// +optional
	// +kubebuilder:default=openapi.yaml
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]+$`
	Key string `json:"key,omitempty"`
}

// Docs is the page that shows the API's documentation on every tenant's host. There
// is one where there is an OpenAPI document.
type Docs struct {
	// path is where the page is, outside the base path; /docs unless set.
	// +optional
	// +kubebuilder:default="/docs"
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+$`
	Path string `json:"path,omitempty"`

	// visibility says who can read the page and the document: Public, the default,
	// everyone; Authenticated, holders of a token of the tenant; Disabled, nobody.
	// With Authenticated each request needs the header Authorization, which tools
	// send and browsers do not: the page can't be opened in one. Reading opens no
	// data.
	// +optional
	// +kubebuilder:default=Public
	Visibility DocsVisibility `json:"visibility,omitempty"`
}

// DocsVisibility says who can read the documentation.
//
// +kubebuilder:validation:Enum=Public;Authenticated;Disabled
type DocsVisibility string

// The values of DocsVisibility.
const (
	DocsPublic        DocsVisibility = "Public"
	DocsAuthenticated DocsVisibility = "Authenticated"
	DocsDisabled      DocsVisibility = "Disabled"
)

// Document is an OpenAPI document that was read and found good.
type Document struct {
	// configMap is the ConfigMap in the installation's namespace that keeps it.
	// +required
	// +kubebuilder:validation:MaxLength=253
	ConfigMap string `json:"configMap,omitempty"`

	// digest is the SHA-256 digest of the document as it was read.
	// +required
	// +kubebuilder:validation:MaxLength=71
	Digest string `json:"digest,omitempty"`

	// title and version are those of its info.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Title string `json:"title,omitempty"`
	// version is the version of the API that the document gives.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Version string `json:"version,omitempty"`

	// operations is how many operations it has that are served below the base path.
	// +optional
	Operations int32 `json:"operations,omitempty"`

	// scopes are those that its operations name, which an ApiToken may ask for.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=256
	Scopes []Scope `json:"scopes,omitempty"`
}
