// Package v1alpha1 holds Latchkey's kinds (PublicApi, Tenant, ApiToken), their
// conditions and reasons, and the names that other parts of a cluster may rely
// on. It imports apimachinery only, so that anyone can use it.
//
// +kubebuilder:object:generate=true
// +kubebuilder:ac:generate=true
// +kubebuilder:ac:output:package=applyconfiguration
// +groupName=latchkey.dev
package v1alpha1
