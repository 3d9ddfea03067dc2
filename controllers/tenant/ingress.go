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
	"github.com/latchkey-dev/latchkey/internal/surface"
)

// annotationClusterIssuer makes cert-manager issue the certificate of an Ingress.
const annotationClusterIssuer = "cert-manager.io/cluster-issuer"

// Routing says what brings the requests for tenants' hosts to the API server.
type Routing string

const (
	// RoutingIngress makes an Ingress for each Tenant.
	RoutingIngress Routing = "ingress"
	// RoutingWildcardIngress makes one Ingress for all Tenants.
	RoutingWildcardIngress Routing = "wildcard-ingress"
	// RoutingNone makes none: somebody else routes.
	RoutingNone Routing = "none"
)

// IngressConfig says how tenants' hosts are routed. Nothing in an Ingress comes
// from text that a tenant or its users write: annotations that do are how
// CVE-2021-25742 and CVE-2025-1974 were exploited.
type IngressConfig struct {
	// Routing is RoutingIngress if empty. What another routing made before is
	// removed.
	Routing Routing
	// Class is the Ingress class, or empty for the cluster's default.
	Class string
	// TLSSecret is a Secret in the system namespace with a certificate for every
	// tenant's host, such as a wildcard's. Empty means none.
	TLSSecret string
	// ClusterIssuer is the cert-manager ClusterIssuer that makes a certificate per
	// Ingress. Empty means none.
	ClusterIssuer string
	// Service and PortalService are the Services of the API server's surfaces, in
	// the system namespace, both with the port Port. They may be the same.
	Service, PortalService string
	Port                   int32
}

// paths are what is routed to Latchkey on a tenant's host: the portal's own paths
// and, below the base path, all else to the API. A longer path goes before a
// shorter one.
func (c *IngressConfig) paths(of surface.Paths) []*networkingv1ac.HTTPIngressPathApplyConfiguration {
	var paths []*networkingv1ac.HTTPIngressPathApplyConfiguration
	for _, p := range of.Portal() {
		paths = append(paths, c.path(p, c.PortalService))
	}
	return append(paths, c.path(of.Base, c.Service))
}

// pathsOf are a PublicApi's. Where nobody can read its documentation, the path of it
// stays with the product.
func pathsOf(api *v1alpha1.PublicApi) surface.Paths {
	paths := surface.Paths{Base: api.Spec.BasePath, Settings: api.Spec.Settings.Path, Document: api.Spec.OpenAPI != nil}
	if api.Spec.OpenAPI != nil && api.Spec.Docs.Visibility != v1alpha1.DocsDisabled {
		paths.Docs = api.Spec.Docs.Path
	}
	return paths
}

func (c *IngressConfig) path(path, service string) *networkingv1ac.HTTPIngressPathApplyConfiguration {
	return networkingv1ac.HTTPIngressPath().
		WithPath(path).
		WithPathType(networkingv1.PathTypePrefix).
		WithBackend(networkingv1ac.IngressBackend().WithService(networkingv1ac.IngressServiceBackend().
			WithName(service).
			WithPort(networkingv1ac.ServiceBackendPort().WithNumber(c.Port))))
}

// ingress is an Ingress for the host, in the system namespace.
func (c *IngressConfig) ingress(name, namespace, host string, paths []*networkingv1ac.HTTPIngressPathApplyConfiguration) *networkingv1ac.IngressApplyConfiguration {
	ingress := networkingv1ac.Ingress(name, namespace)
	spec := networkingv1ac.IngressSpec().WithRules(networkingv1ac.IngressRule().
		WithHost(host).
		WithHTTP(networkingv1ac.HTTPIngressRuleValue().WithPaths(paths...)))
	if c.Class != "" {
		spec.WithIngressClassName(c.Class)
	}
	secret := c.TLSSecret
	if c.ClusterIssuer != "" {
		secret = name + "-tls"
		ingress.WithAnnotations(map[string]string{annotationClusterIssuer: c.ClusterIssuer})
	}
	if secret != "" {
		spec.WithTLS(networkingv1ac.IngressTLS().WithHosts(host).WithSecretName(secret))
	}
	return ingress.WithSpec(spec)
}

// reconcileRouting routes our paths on the tenant's host to the API server, or
// sees that what routes all tenants' can be ours.
func (r *Reconciler) reconcileRouting(ctx context.Context, s *scope) error {
	switch r.Config.Ingress.Routing {
	case RoutingNone:
		return nil
	case RoutingWildcardIngress:
		existing, err := readIngress(ctx, r.APIReader, r.Config.SystemNamespace, wildcardName)
		if existing != nil && !isWildcard(existing) {
			return ingressConflict(wildcardName, r.Config.SystemNamespace, "by this installation's manager")
		}
		return err
	}
	return r.reconcileIngress(ctx, s)
}

// reconcileIngress routes our paths on the tenant's host to the API server; the
// rest of the host stays with the product's own Ingress.
func (r *Reconciler) reconcileIngress(ctx context.Context, s *scope) error {
	name := v1alpha1.TenantNamespacePrefix + s.tenant.Name
	existing, err := r.findIngress(ctx, s, name)
	if err != nil {
		return err
	}
	ingress := r.Config.Ingress.ingress(name, r.Config.SystemNamespace, r.host(s.tenant), r.Config.Ingress.paths(pathsOf(s.api))).
		WithLabels(s.labels()).
		WithOwnerReferences(s.owner())
	if err := apply(ctx, r.Client, ingress, existing, networkingv1ac.ExtractIngress); err != nil {
		return fmt.Errorf("apply Ingress %s/%s: %w", r.Config.SystemNamespace, name, err)
	}
	return nil
}

// removeIngress removes the Tenant's Ingress where it is routed otherwise.
func (r *Reconciler) removeIngress(ctx context.Context, s *scope) error {
	if routing := r.Config.Ingress.Routing; routing == "" || routing == RoutingIngress {
		return nil
	}
	existing := &networkingv1.Ingress{}
	key := client.ObjectKey{Namespace: r.Config.SystemNamespace, Name: v1alpha1.TenantNamespacePrefix + s.tenant.Name}
	if err := r.Client.Get(ctx, key, existing); err != nil {
		return client.IgnoreNotFound(err)
	}
	if !metav1.IsControlledBy(existing, s.tenant) {
		return nil
	}
	return deleteIngress(ctx, r.Client, existing)
}

// findIngress returns an empty one where there is none, and refuses one that is not
// this Tenant's.
func (r *Reconciler) findIngress(ctx context.Context, s *scope, name string) (*networkingv1.Ingress, error) {
	cached := &networkingv1.Ingress{}
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: r.Config.SystemNamespace, Name: name}, cached)
	if err == nil && metav1.IsControlledBy(cached, s.tenant) {
		return cached, nil
	}
	if client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("ingress %s/%s: %w", r.Config.SystemNamespace, name, err)
	}
	existing, err := readIngress(ctx, r.APIReader, r.Config.SystemNamespace, name)
	switch {
	case err != nil:
		return nil, err
	case existing == nil:
		return &networkingv1.Ingress{}, nil
	case !metav1.IsControlledBy(existing, s.tenant):
		return nil, ingressConflict(name, r.Config.SystemNamespace, "for this Tenant")
	}
	return existing, nil
}

// readIngress returns nil where there is none. It asks the API server itself: the
// cache holds only Ingresses of ours.
func readIngress(ctx context.Context, reader client.Reader, namespace, name string) (*networkingv1.Ingress, error) {
	existing := &networkingv1.Ingress{}
	err := reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, existing)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("ingress %s/%s: %w", namespace, name, err)
	}
	return existing, nil
}

func deleteIngress(ctx context.Context, c client.Client, ingress *networkingv1.Ingress) error {
	if err := client.IgnoreNotFound(c.Delete(ctx, ingress, client.Preconditions{UID: &ingress.UID})); err != nil {
		return fmt.Errorf("delete Ingress %s/%s: %w", ingress.Namespace, ingress.Name, err)
	}
	return nil
}

func ingressConflict(name, namespace, made string) *problem {
	return &problem{reason: v1alpha1.ReasonIngressConflict, stalled: true, retry: time.Minute,
		message: fmt.Sprintf("Ingress %s in namespace %s exists and was not made %s. Delete it, and within a minute Latchkey makes its own.",
			name, namespace, made)}
}
