package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ApiToken is one API token of a tenant, in the tenant's namespace. It never
// holds the token itself, only the credential's id and digest: the token is
// shown once, by whoever minted it (kubectl latchkey create or issue).
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Namespaced,path=apitokens,singular=apitoken,shortName=apitok,categories=latchkey
// +kubebuilder:selectablefield:JSONPath=`.spec.owner`
// +kubebuilder:printcolumn:name="ACTIVE",type=string,JSONPath=`.status.conditions[?(@.type=="Active")].status`
// +kubebuilder:printcolumn:name="REASON",type=string,JSONPath=`.status.conditions[?(@.type=="Active")].reason`
// +kubebuilder:printcolumn:name="ID",type=string,JSONPath=`.status.credential.id`
// +kubebuilder:printcolumn:name="EXPIRES",type=string,JSONPath=`.status.credential.expiresAt`
// +kubebuilder:printcolumn:name="LAST USED",type=string,JSONPath=`.status.credential.lastUsedAt`
// +kubebuilder:printcolumn:name="OWNER",type=string,JSONPath=`.spec.owner`,priority=1
// +kubebuilder:printcolumn:name="AGE",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.status) || !has(oldSelf.status.previousCredential) || !has(oldSelf.spec.rotation) || !has(oldSelf.spec.rotation.dropPrevious) || oldSelf.spec.rotation.dropPrevious != oldSelf.status.previousCredential.id || (has(self.spec.rotation) && has(self.spec.rotation.dropPrevious) && self.spec.rotation.dropPrevious == oldSelf.spec.rotation.dropPrevious) || (has(self.spec.credential) && (!has(oldSelf.spec.credential) || self.spec.credential.id != oldSelf.spec.credential.id))",message="spec.rotation.dropPrevious names the previous credential, which stays dropped: it changes together with spec.credential only"
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 63 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="metadata.name must be a DNS label: at most 63 lower-case letters, digits and hyphens"
type ApiToken struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard object metadata. The name is a DNS label.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is what the token may do and until when.
	// +optional
	// +kubebuilder:default={}
	Spec ApiTokenSpec `json:"spec,omitzero"`

	// status is what the controller made of it.
	// +optional
	Status ApiTokenStatus `json:"status,omitzero"`
}

// ApiTokenSpec is what a token may do and until when.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.lifetime) && has(self.expiresAt))",message="set lifetime or expiresAt, not both"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.credential) || has(self.credential)",message="credential can't be removed: delete the ApiToken, or set revoked"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.credential) || !has(self.credential) || self.credential == oldSelf.credential || (timestamp(self.credential.issuedAt) > timestamp(oldSelf.credential.issuedAt) && self.credential.id != oldSelf.credential.id && self.credential.digest != oldSelf.credential.digest)",message="credential only moves forward: a replacement needs another id, another digest and a later issuedAt than the present one"
// +kubebuilder:validation:XValidation:rule="!(has(oldSelf.revoked) && oldSelf.revoked) || (has(self.revoked) && self.revoked)",message="a revoked ApiToken can't be reinstated: make a new one"
type ApiTokenSpec struct {
	// description says what the token is for.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Description string `json:"description,omitempty"`

	// owner is who answers for the token: a user's name or an e-mail address, in
	// printable ASCII. The backend is told it in the header Latchkey-Token-Owner.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[!-~]([ -~]*[!-~])?$`
	Owner string `json:"owner,omitempty"`

	// scopes are what the token may do, of those that the PublicApi knows. The
	// backend is told them in the header Latchkey-Token-Scopes.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:items:Pattern=`^[a-z0-9]([a-z0-9:._/-]*[a-z0-9])?$`
	Scopes []string `json:"scopes,omitempty"`

	// lifetime is how long a credential works, counted from its issuedAt, in
	// whole hours, minutes and seconds, such as 720h. Not together with
	// expiresAt; where neither is set the policy's defaultLifetime counts. A
	// shorter lifetime also shortens the present credential; a longer one begins
	// to count with the next credential.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]+h)?([0-9]+m)?([0-9]+s)?$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('87600h')",message="must be from 1s to 87600h (ten years)"
	Lifetime *metav1.Duration `json:"lifetime,omitempty"`

	// expiresAt is the instant at which the token stops working, in UTC and whole
	// seconds, such as 2027-01-31T00:00:00Z. Not together with lifetime. An
	// earlier instant also shortens the present credential; a later one begins to
	// count with the next credential.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=20
	// +kubebuilder:validation:Pattern=`^2[0-9]{3}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z$`
	ExpiresAt *metav1.Time `json:"expiresAt,omitempty"`

	// allowedCIDRs are the client addresses that the token works from, such as
	// 192.0.2.0/24 or 2001:db8::/32. Empty means from anywhere.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=49
	// +kubebuilder:validation:XValidation:rule="self.all(c, isCIDR(c))",message="each must be a CIDR, such as 192.0.2.0/24 or 2001:db8::/32"
	AllowedCIDRs []string `json:"allowedCIDRs,omitempty"`

	// rateLimit is how often this token may call. It can only lower what the PublicApi
	// allows: both limits hold, so asking for more is no error and has no effect. A
	// change counts at once, also for the present credential.
	// +optional
	RateLimit *RateLimit `json:"rateLimit,omitempty"`

	// rotation says what happens when the credential is replaced.
	// +optional
	Rotation *Rotation `json:"rotation,omitempty"`

	// revoked stops the token at once and for good.
	// +optional
	Revoked bool `json:"revoked,omitempty"`

	// credential is what a minted token left here: its public id and its digest,
	// from which nobody can get the token back. kubectl latchkey create and issue
	// write it. It can be replaced by one with a later issuedAt, never removed.
	// Do not keep it under version control.
	// +optional
	// +structType=atomic
	Credential *Credential `json:"credential,omitempty"`
}

// Rotation says what happens when a credential is replaced.
type Rotation struct {
	// overlap is how long the replaced credential goes on working, never past its
	// own expiry, in whole hours, minutes and seconds. 0s (the default) stops it
	// seconds after its successor was issued. A second rotation within the overlap
	// ends the older of the two at once: never do more than two credentials work.
	// +optional
	// +kubebuilder:default="0s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]+h)?([0-9]+m)?([0-9]+s)?$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('8760h')",message="must be from 0s to 8760h"
	Overlap *metav1.Duration `json:"overlap,omitempty"`

	// dropPrevious is the id of a replaced credential that stops working now,
	// before its overlap is over, also while no manager runs. Any other id than
	// that of status.previousCredential does nothing. Once it names that one it stays
	// until the next rotation, so that what was dropped does not come back.
	// +optional
	// +kubebuilder:validation:MaxLength=10
	// +kubebuilder:validation:Pattern=`^[0-9A-Za-z]{10}$`
	DropPrevious string `json:"dropPrevious,omitempty"`
}

// Credential is what a minted token leaves in the cluster.
type Credential struct {
	// id is the token's public id, its ten characters after the prefix. It is
	// safe to log and to search for.
	// +required
	// +kubebuilder:validation:MinLength=10
	// +kubebuilder:validation:MaxLength=10
	// +kubebuilder:validation:Pattern=`^[0-9A-Za-z]{10}$`
	ID string `json:"id,omitempty"`

	// digest is the token's SHA-256 digest, bound to the tenant, as sha256: and
	// 64 lower-case hexadecimal digits.
	// +required
	// +kubebuilder:validation:MinLength=71
	// +kubebuilder:validation:MaxLength=71
	// +kubebuilder:validation:Pattern=`^sha256:[0-9a-f]{64}$`
	// +kubebuilder:validation:XValidation:rule="!self.matches('^sha256:0+$')",message="all zeros is the digest of no token"
	Digest string `json:"digest,omitempty"`

	// issuedAt is when the token was minted, by the Kubernetes API server's
	// clock, in UTC and whole seconds. A lifetime counts from it. It may not lie
	// in the future.
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=20
	// +kubebuilder:validation:Pattern=`^2[0-9]{3}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z$`
	IssuedAt metav1.Time `json:"issuedAt,omitzero"`

	// notAfter is the latest instant at which the credential may work, in UTC and
	// whole seconds, whatever spec and policy allow. Whoever had a credential
	// minted by the rights of another token sets it, so that no token outlives the
	// one that made it.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=20
	// +kubebuilder:validation:Pattern=`^2[0-9]{3}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z$`
	NotAfter *metav1.Time `json:"notAfter,omitempty"`
}

// ApiTokenStatus is what the controller made of an ApiToken. A record works only
// for the credentials that status names, and not beyond their expiry here.
type ApiTokenStatus struct {
	// observedGeneration is the metadata.generation that this status is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// credential is the credential that was issued last.
	// +optional
	Credential *IssuedCredential `json:"credential,omitempty"`

	// previousCredential is the one before it. It works until its expiresAt,
	// which is the end of the overlap or of its own time, whichever comes first.
	// +optional
	PreviousCredential *IssuedCredential `json:"previousCredential,omitempty"`

	// operations is how many operations of the PublicApi's OpenAPI document the
	// credential's scopes permit. It is unset where there is no document.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Operations *int32 `json:"operations,omitempty"`

	// useRecordedSince is the instant, in UTC, since when uses are recorded. Of a
	// credential without a lastUsedAt no more is known than that it was not used
	// since then, or since it was issued, whichever is later.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=20
	// +kubebuilder:validation:Pattern=`^2[0-9]{3}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z$`
	UseRecordedSince *metav1.Time `json:"useRecordedSince,omitempty"`

	// notice is the last notice of the expiry that was given as an event.
	// +optional
	Notice *Notice `json:"notice,omitempty"`

	// revokedAt is when the controller first saw spec.revoked, in UTC.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=20
	// +kubebuilder:validation:Pattern=`^2[0-9]{3}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z$`
	RevokedAt *metav1.Time `json:"revokedAt,omitempty"`

	// refusedCredentialID is the id of a credential that stays refused, whatever
	// becomes of the cause: another ApiToken of the tenant held it when it was applied
	// here, or it was to replace the present one and was not permitted.
	// +optional
	// +kubebuilder:validation:MaxLength=10
	RefusedCredentialID string `json:"refusedCredentialID,omitempty"`

	// conditions are what the controller found. Known: Active, ExpiringSoon,
	// Stalled.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:XValidation:rule="self.all(c, c.lastTransitionTime >= timestamp('1970-01-01T00:00:00Z'))",message="lastTransitionTime must be a time such as 2027-01-31T00:00:00Z"
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// IssuedCredential is a credential that the controller accepted.
type IssuedCredential struct {
	// id is the credential's public id.
	// +required
	// +kubebuilder:validation:MaxLength=10
	ID string `json:"id,omitempty"`

	// digest is the credential's digest.
	// +required
	// +kubebuilder:validation:MaxLength=71
	Digest string `json:"digest,omitempty"`

	// expiresAt is the instant, in UTC, at which the credential stops working. It
	// is only ever brought forward.
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=20
	// +kubebuilder:validation:Pattern=`^2[0-9]{3}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z$`
	ExpiresAt metav1.Time `json:"expiresAt,omitzero"`

	// scopes are those that were granted to it. Taking one from the PublicApi's
	// list later does not take it from here.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=64
	Scopes []string `json:"scopes,omitempty"`

	// issuedAt is when the credential was minted, in UTC.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=20
	// +kubebuilder:validation:Pattern=`^2[0-9]{3}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z$`
	IssuedAt *metav1.Time `json:"issuedAt,omitempty"`

	// lastUsedAt is when the credential was last accepted, in UTC. The API server
	// writes it: the first use at once, later ones about hourly.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=20
	// +kubebuilder:validation:Pattern=`^2[0-9]{3}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z$`
	LastUsedAt *metav1.Time `json:"lastUsedAt,omitempty"`
}

// Notice is a notice of a credential's expiry.
type Notice struct {
	// credentialID is the public id of the credential that the notice is about.
	// +required
	// +kubebuilder:validation:MaxLength=10
	CredentialID string `json:"credentialID,omitempty"`

	// days is which of the policy's noticeDays it was.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=365
	Days int32 `json:"days,omitempty"`
}

// ApiTokenList is a list of ApiTokens.
//
// +kubebuilder:object:root=true
type ApiTokenList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`
	Items           []ApiToken `json:"items"`
}
