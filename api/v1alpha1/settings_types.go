package v1alpha1

// Settings are the pages on every tenant's host where its members sign in and manage
// the tenant's tokens.
type Settings struct {
	// path is where the pages are, outside the base path and the documentation's;
	// /settings unless set. An identity provider sends people back to callback below
	// it, which it has to know for each tenant's host.
	// +optional
	// +kubebuilder:default="/settings"
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+$`
	Path string `json:"path,omitempty"`

	// tokenSignIn says whether who may create ApiTokens can sign in by one, as
	// `kubectl latchkey settings` does: Allow, the default, or Deny, which leaves the
	// identity provider alone. With Deny the scope settings is refused.
	// +optional
	// +kubebuilder:default=Allow
	TokenSignIn TokenSignIn `json:"tokenSignIn,omitempty"`
}

// TokenSignIn says whether people can sign in to Settings by an ApiToken.
//
// +kubebuilder:validation:Enum=Allow;Deny
type TokenSignIn string

// The values of TokenSignIn.
const (
	TokenSignInAllow TokenSignIn = "Allow"
	TokenSignInDeny  TokenSignIn = "Deny"
)
