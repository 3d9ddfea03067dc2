package tenant

import (
	"context"
	"fmt"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	networkingv1ac "k8s.io/client-go/applyconfigurations/networking/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// annotationClusterIssuer makes cert-manager issue the certificate of an Ingress.
const annotationClusterIssuer = "cert-manager.io/cluster-issuer"

// IngressConfig says how tenants' hosts are routed. Nothing in an Ingress comes
// from text that a tenant or its users write: annotations that do are how
// CVE-2021-25742 and CVE-2025-1974 were exploited.
type IngressConfig struct {
	// Class is the Ingress class, or empty for the cluster's default.
	Class string
	// TLSSecret is a Secret in the system namespace with a certificate for every
	// tenant's host, such as a wildcard. Empty means none.
	TLSSecret string
	// ClusterIssuer is the cert-manager ClusterIssuer that makes a certificate per
	// tenant. Empty means none.
	ClusterIssuer string
	// Service and Port are the API server's Service, in the system namespace.
	Service string
	Port    int32
}

// reconcileIngress routes our paths on the tenant's host to the API server; the
// rest of the host stays with the product's own Ingress.
func (r *Reconciler) reconcileIngress(ctx context.Context, s *scope) error {
	name := v1alpha1.TenantNamespacePrefix + s.tenant.Name
	if err := r.checkIngress(ctx, s, name); err != nil {
		return err
	}
	ingress := networkingv1ac.Ingress(name, r.Config.SystemNamespace).
		WithLabels(s.labels()).
		WithOwnerReferences(s.owner()).
		WithSpec(r.ingressSpec(s, name))
	if r.Config.Ingress.ClusterIssuer != "" {
		ingress.WithAnnotations(map[string]string{annotationClusterIssuer: r.Config.Ingress.ClusterIssuer})
	}
	if err := r.Client.Apply(ctx, ingress, client.FieldOwner(v1alpha1.FieldOwnerTenant), client.ForceOwnership); err != nil {
		return fmt.Errorf("apply Ingress %s/%s: %w", r.Config.SystemNamespace, name, err)
	}
	return nil
}

// checkIngress refuses an Ingress of that name which is not this Tenant's. It
// asks the API server itself: the cache holds only Ingresses of ours.
func (r *Reconciler) checkIngress(ctx context.Context, s *scope, name string) error {
	existing := &networkingv1.Ingress{}
	err := r.APIReader.Get(ctx, client.ObjectKey{Namespace: r.Config.SystemNamespace, Name: name}, existing)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("ingress %s/%s: %w", r.Config.SystemNamespace, name, err)
	}
	if metav1.IsControlledBy(existing, s.tenant) {
		return nil
	}
	return &problem{reason: v1alpha1.ReasonIngressConflict, stalled: true, retry: time.Minute,
		message: fmt.Sprintf("Ingress %s in namespace %s exists and was not made for this Tenant. Delete it, and within a minute the Tenant gets its own.",
			name, r.Config.SystemNamespace)}
}

func (r *Reconciler) ingressSpec(s *scope, name string) *networkingv1ac.IngressSpecApplyConfiguration {
	config, host := r.Config.Ingress, r.host(s.tenant)
	service := networkingv1ac.IngressServiceBackend().
		WithName(config.Service).
		WithPort(networkingv1ac.ServiceBackendPort().WithNumber(config.Port))
	path := networkingv1ac.HTTPIngressPath().
		WithPath(s.api.Spec.BasePath).
		WithPathType(networkingv1.PathTypePrefix).
		WithBackend(networkingv1ac.IngressBackend().WithService(service))
	spec := networkingv1ac.IngressSpec().WithRules(networkingv1ac.IngressRule().
		WithHost(host).
		WithHTTP(networkingv1ac.HTTPIngressRuleValue().WithPaths(path)))
	if config.Class != "" {
		spec.WithIngressClassName(config.Class)
	}
	secret := config.TLSSecret
	if config.ClusterIssuer != "" {
		secret = name + "-tls"
	}
	if secret != "" {
		spec.WithTLS(networkingv1ac.IngressTLS().WithHosts(host).WithSecretName(secret))
	}
	return spec
}
