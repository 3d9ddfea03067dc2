package tenant

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/policy"
)

// podSecurityLabels hold whatever might run in a tenant's namespace to the
// strictest Pod Security Standard.
var podSecurityLabels = map[string]string{
	"pod-security.kubernetes.io/enforce": "restricted",
	"pod-security.kubernetes.io/warn":    "restricted",
	"pod-security.kubernetes.io/audit":   "restricted",
}

// reconcileNamespace makes the tenant's namespace, or accepts one that permits
// it. status.namespace is set only then.
func (r *Reconciler) reconcileNamespace(ctx context.Context, s *scope) error {
	name := s.tenant.NamespaceName()
	existing := &metav1.PartialObjectMetadata{}
	existing.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	err := r.Client.Get(ctx, client.ObjectKey{Name: name}, existing)
	if apierrors.IsNotFound(err) {
		if err := r.createNamespace(ctx, s, name); err != nil {
			return err
		}
	} else if err != nil {
		return fmt.Errorf("namespace %s: %w", name, err)
	} else if found := checkNamespace(s, existing); found != nil {
		s.status.Namespace = ""
		return found
	}
	if err := r.applyNamespace(ctx, s, name, existing); err != nil {
		return err
	}
	s.status.Namespace = name
	return nil
}

// createNamespace uses create, not apply: apply would take over a namespace that
// somebody made a moment ago.
func (r *Reconciler) createNamespace(ctx context.Context, s *scope, name string) error {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name:            name,
		Labels:          s.labels(),
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(s.tenant, v1alpha1.SchemeGroupVersion.WithKind("Tenant"))},
	}}
	namespace.OwnerReferences[0].BlockOwnerDeletion = nil
	maps.Copy(namespace.Labels, podSecurityLabels)
	if err := r.Client.Create(ctx, namespace, client.FieldOwner(v1alpha1.FieldOwnerTenant)); err != nil {
		return fmt.Errorf("create namespace %s: %w", name, err)
	}
	return nil
}

// checkNamespace decides whether an existing namespace may be this tenant's.
func checkNamespace(s *scope, namespace *metav1.PartialObjectMetadata) *problem {
	if !namespace.DeletionTimestamp.IsZero() {
		return &problem{reason: v1alpha1.ReasonNamespaceTerminating,
			message: fmt.Sprintf("Namespace %s is being deleted; the Tenant is provisioned once it is gone.", namespace.Name)}
	}
	switch owner := metav1.GetControllerOf(namespace); {
	case metav1.IsControlledBy(namespace, s.tenant):
		return nil
	case owner != nil:
		return &problem{reason: v1alpha1.ReasonNamespaceConflict, stalled: true,
			message: fmt.Sprintf("Namespace %s belongs to another object, %s %s.", namespace.Name, owner.Kind, owner.Name)}
	case namespace.Labels[v1alpha1.LabelAllowTenant] == s.tenant.Name:
		return nil
	}
	return &problem{reason: v1alpha1.ReasonNamespaceConflict, stalled: true,
		message: fmt.Sprintf("Namespace %s exists and was not made for this Tenant. To let the Tenant use it: kubectl label namespace %s %s=%s",
			namespace.Name, namespace.Name, v1alpha1.LabelAllowTenant, s.tenant.Name)}
}

// applyNamespace keeps labels and annotations of a namespace of ours; of one that
// is only used it sets the annotations that the plugin reads, and no label.
func (r *Reconciler) applyNamespace(ctx context.Context, s *scope, name string, existing *metav1.PartialObjectMetadata) error {
	namespace := corev1ac.Namespace(name).WithAnnotations(r.annotations(s))
	if existing.UID == "" || metav1.IsControlledBy(existing, s.tenant) {
		namespace.WithLabels(s.labels()).WithLabels(podSecurityLabels).WithOwnerReferences(s.owner())
	}
	if existing.UID != "" {
		namespace.WithUID(existing.UID)
	}
	if err := apply(ctx, r.Client, namespace, existing, extractNamespace); err != nil {
		return fmt.Errorf("apply namespace %s: %w", name, err)
	}
	return nil
}

// annotations tell the kubectl plugin what a member's rights can't read.
func (r *Reconciler) annotations(s *scope) map[string]string {
	annotations := map[string]string{
		v1alpha1.AnnotationTenant:      s.tenant.Name,
		v1alpha1.AnnotationHost:        r.host(s.tenant),
		v1alpha1.AnnotationOrigin:      r.origin(s.tenant),
		v1alpha1.AnnotationTokenPrefix: r.Config.TokenPrefix,
	}
	if s.api != nil {
		p := policy.Of(s.api)
		annotations[v1alpha1.AnnotationBasePath] = s.api.Spec.BasePath
		annotations[v1alpha1.AnnotationSettingsPath] = s.api.Spec.Settings.Path
		annotations[v1alpha1.AnnotationMaxLifetime] = p.MaxLifetime.String()
		annotations[v1alpha1.AnnotationDefaultLifetime] = p.DefaultLifetime.String()
		annotations[v1alpha1.AnnotationMaxOverlap] = p.MaxOverlap.String()
		annotations[v1alpha1.AnnotationScopes] = scopesAnnotation(s.api)
	}
	return annotations
}

// scopesAnnotation is left empty where it would not fit beside the others: an
// object's annotations have at most 256 KiB together.
func scopesAnnotation(api *v1alpha1.PublicApi) string {
	const limit = 128 << 10
	encoded, err := json.Marshal(policy.Scopes(api))
	if err != nil || len(encoded) > limit {
		return ""
	}
	return string(encoded)
}
