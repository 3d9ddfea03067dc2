package v1alpha1

// Conditions. A condition's reason is also the reason of the event that
// accompanies its change.
const (
	// ConditionActive is always present on an ApiToken once the controller has
	// seen it. True means that a request with the token is accepted now. An
	// ApiToken has no Ready condition: to tools that wait for readiness, an
	// expired token is a settled fact, not a failure.
	ConditionActive = "Active"

	// ConditionStalled is present, and True, only while something is wrong that
	// nobody but the object's author can mend.
	ConditionStalled = "Stalled"

	// ConditionExpiringSoon is present on an ApiToken that has a credential.
	// True means that it works and expires within the policy's longest notice.
	ConditionExpiringSoon = "ExpiringSoon"

	// ConditionReady is always present on a Tenant or PublicApi once its
	// controller has seen it. True means that it is served as its spec says.
	ConditionReady = "Ready"

	// ConditionDocumentCurrent is present on a PublicApi whose spec names an OpenAPI
	// document. True means that the document in use is the one that was read last.
	// Where it is False the last good one, if there is one, stays in use.
	ConditionDocumentCurrent = "DocumentCurrent"
)

// Reasons of an ApiToken's conditions.
const (
	// ReasonIssued: the credential works (Active is True).
	ReasonIssued = "Issued"
	// ReasonAwaitingCredential: nobody has minted a credential yet. The message
	// holds the command that does.
	ReasonAwaitingCredential = "AwaitingCredential"
	// ReasonExpired: the credential's time is over.
	ReasonExpired = "Expired"
	// ReasonRevoked: spec.revoked is true.
	ReasonRevoked = "Revoked"
	// ReasonTenantSuspended: the Tenant's spec.suspended is true.
	ReasonTenantSuspended = "TenantSuspended"
	// ReasonNoTenant: no accepted Tenant has this namespace.
	ReasonNoTenant = "NoTenant"
	// ReasonCredentialConflict: another ApiToken of the tenant holds a
	// credential with the same id or digest, or did when this one was applied.
	// A credential that was refused stays refused; mint a new one.
	ReasonCredentialConflict = "CredentialConflict"
	// ReasonRecordConflict: a Secret that Latchkey did not make has the name of
	// this token's record. It is left untouched.
	ReasonRecordConflict = "RecordConflict"
	// ReasonPolicyViolation: the PublicApi's token policy does not permit what
	// spec asks for. The message says what and what would be permitted.
	ReasonPolicyViolation = "PolicyViolation"
	// ReasonIssuedInFuture: credential.issuedAt has not come yet.
	ReasonIssuedInFuture = "IssuedInFuture"
	// ReasonNotExpiringSoon: the expiry is further away than the notice.
	ReasonNotExpiringSoon = "NotExpiringSoon"
	// ReasonWithinNotice: the expiry is nearer than the policy's longest notice.
	ReasonWithinNotice = "WithinNotice"
	// ReasonNotActive: the token does not work, so that no expiry is announced.
	ReasonNotActive = "NotActive"
)

// Reasons of a Tenant's Ready condition. ReasonPublicApiNotFound also tells why
// an ApiToken's credential can't be issued.
const (
	// ReasonProvisioned: namespace, members and Ingress are as spec says.
	ReasonProvisioned = "Provisioned"
	// ReasonSuspended: provisioned, but spec.suspended stops every token.
	ReasonSuspended = "Suspended"
	// ReasonNameReserved: the installation keeps this subdomain for itself.
	ReasonNameReserved = "NameReserved"
	// ReasonNamespaceConflict: the namespace exists and neither was made for
	// this Tenant nor carries the label latchkey.dev/allow-tenant, or another
	// Tenant has it.
	ReasonNamespaceConflict = "NamespaceConflict"
	// ReasonNamespaceTerminating: the namespace is being deleted; the Tenant is
	// provisioned once it is gone.
	ReasonNamespaceTerminating = "NamespaceTerminating"
	// ReasonPublicApiNotFound: the PublicApi that spec names does not exist.
	ReasonPublicApiNotFound = "PublicApiNotFound"
	// ReasonProvisioningFailed: the API server, or an admission webhook, refused
	// something that the Tenant needs. The message quotes it; it is tried again.
	ReasonProvisioningFailed = "ProvisioningFailed"
	// ReasonIngressConflict: an Ingress that Latchkey did not make has the name
	// of this Tenant's Ingress. It is left untouched.
	ReasonIngressConflict = "IngressConflict"
)

// Reasons of a PublicApi's Ready condition.
const (
	// ReasonAccepted: tenants can be served with this PublicApi.
	ReasonAccepted = "Accepted"
	// ReasonBackendNotFound: the Service that spec.backend names does not exist.
	ReasonBackendNotFound = "BackendNotFound"
	// ReasonDocumentUnavailable: no OpenAPI document has been read yet, so that every
	// request is answered 503.
	ReasonDocumentUnavailable = "DocumentUnavailable"
)

// Reasons of a PublicApi's DocumentCurrent condition.
const (
	// ReasonDocumentLoaded: the document was read and is in use. The message tells
	// what of it can't be served as it is.
	ReasonDocumentLoaded = "DocumentLoaded"
	// ReasonDocumentNotFound: the ConfigMap, or the key in it, does not exist.
	ReasonDocumentNotFound = "DocumentNotFound"
	// ReasonDocumentFetchFailed: the backend did not give the document.
	ReasonDocumentFetchFailed = "DocumentFetchFailed"
	// ReasonDocumentInvalid: what was read is no OpenAPI document that can be used.
	// The message says what is wrong and where.
	ReasonDocumentInvalid = "DocumentInvalid"
	// ReasonDocumentConflict: a ConfigMap that Latchkey did not make has the name of
	// the one that would keep the document. It is left untouched.
	ReasonDocumentConflict = "DocumentConflict"
)
