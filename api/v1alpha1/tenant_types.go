package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Tenant is a customer of the product. Its name is its subdomain: the Tenant
// acme is served on acme.<base domain>.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,path=tenants,singular=tenant,shortName=tnt,categories=latchkey
// +kubebuilder:printcolumn:name="READY",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="REASON",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="HOST",type=string,JSONPath=`.status.host`
// +kubebuilder:printcolumn:name="NAMESPACE",type=string,JSONPath=`.status.namespace`
// +kubebuilder:printcolumn:name="AGE",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 56 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="metadata.name must be a DNS label of at most 56 lower-case letters, digits and hyphens: it is the subdomain, and tenant-<name> the namespace"
// +kubebuilder:validation:XValidation:rule="!self.metadata.name.matches('^..--')",message="metadata.name must not have hyphens in third and fourth place: such labels (xn--…) are reserved (RFC 5891, section 4.2.3.1)"
type Tenant struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard object metadata. The name is the subdomain.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is what the platform team says of the customer.
	// +optional
	// +kubebuilder:default={}
	Spec TenantSpec `json:"spec,omitzero"`

	// status is what the controller made.
	// +optional
	Status TenantStatus `json:"status,omitzero"`
}

// TenantSpec is what the platform team says of a customer.
//
// +kubebuilder:validation:XValidation:rule="has(self.__namespace__) == has(oldSelf.__namespace__) && (!has(self.__namespace__) || self.__namespace__ == oldSelf.__namespace__)",message="namespace is immutable: delete the Tenant and make a new one"
type TenantSpec struct {
	// displayName is the customer's name as people write it.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	DisplayName string `json:"displayName,omitempty"`

	// publicApi is the name of the PublicApi that is served on this tenant's
	// host.
	// +optional
	// +kubebuilder:default=default
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	PublicApi string `json:"publicApi,omitempty"`

	// namespace is where the tenant's ApiTokens live; tenant-<name> unless set.
	// It is made if it doesn't exist. One that does must carry the label
	// latchkey.dev/allow-tenant with this Tenant's name; it is then never
	// relabelled or deleted. Immutable.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Namespace string `json:"namespace,omitempty"`

	// members are the people of the customer, or of its support, who may see or
	// manage its tokens through Kubernetes.
	// +optional
	// +listType=map
	// +listMapKey=kind
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=256
	Members []Member `json:"members,omitempty"`

	// suspended stops every token of the tenant at once; false lets them work
	// again, those that have not expired meanwhile.
	// +optional
	Suspended bool `json:"suspended,omitempty"`
}

// MemberKind says what a member's name refers to.
//
// +kubebuilder:validation:Enum=User;Group
type MemberKind string

// The kinds of member, as in RBAC subjects.
const (
	MemberUser  MemberKind = "User"
	MemberGroup MemberKind = "Group"
)

// MemberRole says what a member may do.
//
// +kubebuilder:validation:Enum=Admin;Viewer
type MemberRole string

// The roles of members.
const (
	// MemberAdmin creates, issues, revokes and deletes ApiTokens.
	MemberAdmin MemberRole = "Admin"
	// MemberViewer reads ApiTokens.
	MemberViewer MemberRole = "Viewer"
)

// Member is a user or a group as Kubernetes authenticates them.
//
// +kubebuilder:validation:XValidation:rule="!self.name.startsWith('system:')",message="system: users and groups are Kubernetes' own and can't be members"
type Member struct {
	// kind is User or Group.
	// +required
	Kind MemberKind `json:"kind,omitempty"`

	// name is the user's or group's name in Kubernetes.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// role is Admin (create, issue, revoke and delete ApiTokens; the default) or
	// Viewer (read them).
	// +optional
	// +kubebuilder:default=Admin
	Role MemberRole `json:"role,omitempty"`
}

// TenantStatus is what the controller made.
type TenantStatus struct {
	// observedGeneration is the metadata.generation that this status is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// namespace is the namespace that was accepted for this Tenant. Tokens of
	// this tenant live there; until it is set none works.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`

	// host is where the Public API is served, such as acme.example.com.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Host string `json:"host,omitempty"`

	// conditions are what the controller found. Known: Ready, Stalled.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:XValidation:rule="self.all(c, c.lastTransitionTime >= timestamp('1970-01-01T00:00:00Z'))",message="lastTransitionTime must be a time such as 2027-01-31T00:00:00Z"
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// NamespaceName is the namespace that the Tenant asks for: spec.namespace, or
// tenant-<name>. Whether it was accepted, status.namespace says.
func (t *Tenant) NamespaceName() string {
	if t.Spec.Namespace != "" {
		return t.Spec.Namespace
	}
	return TenantNamespacePrefix + t.Name
}

// PublicApiName is the name of the PublicApi that the Tenant asks for.
func (t *Tenant) PublicApiName() string {
	if t.Spec.PublicApi != "" {
		return t.Spec.PublicApi
	}
	return DefaultPublicApi
}

// TenantList is a list of Tenants.
//
// +kubebuilder:object:root=true
type TenantList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`
	Items           []Tenant `json:"items"`
}
