package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// RateLimits are how often the Public API may be called. Requests beyond a limit are
// answered 429 with Retry-After. Each replica of the API server enforces its share,
// the limit divided by the number of ready replicas.
type RateLimits struct {
	// perToken is what each ApiToken may send, with all its credentials together. An
	// ApiToken's own rateLimit can lower it. Unset means no limit.
	// +optional
	PerToken *RateLimit `json:"perToken,omitempty"`

	// perTenant is what all ApiTokens of a tenant may send together. Unset means no
	// limit.
	// +optional
	PerTenant *RateLimit `json:"perTenant,omitempty"`
}

// RateLimit is how many requests may be sent in a period, and how many of them at
// once. What was used comes back evenly over the period, not at its end.
type RateLimit struct {
	// requests are how many may be sent in a period, over a long time.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	Requests int32 `json:"requests,omitempty"`

	// period is what requests counts for: whole hours, minutes and seconds, from 1s
	// to 24h; a minute unless set.
	// +optional
	// +kubebuilder:default="1m"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]+h)?([0-9]+m)?([0-9]+s)?$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('24h')",message="must be from 1s to 24h"
	Period *metav1.Duration `json:"period,omitempty"`

	// burst is how many may be sent at once after a pause. As many as requests
	// unless set. Each replica lets at least one through.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	Burst int32 `json:"burst,omitempty"`
}
