package tenant

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// CacheTransform drops, of what a cache holds, all managed fields but those that
// this package applied: by them it knows that an object needs no apply.
func CacheTransform() toolscache.TransformFunc {
	return func(object any) (any, error) {
		accessor, ok := object.(metav1.Object)
		// Objects that are in the cache already pass here too, and must not be written to.
		if !ok || accessor.GetManagedFields() == nil {
			return object, nil
		}
		var kept []metav1.ManagedFieldsEntry
		for _, entry := range accessor.GetManagedFields() {
			if isApplied(&entry) {
				kept = append(kept, entry)
			}
		}
		if len(kept) < len(accessor.GetManagedFields()) {
			accessor.SetManagedFields(kept)
		}
		return object, nil
	}
}

func isApplied(entry *metav1.ManagedFieldsEntry) bool {
	return entry.Manager == v1alpha1.FieldOwnerTenant && entry.Operation == metav1.ManagedFieldsOperationApply && entry.Subresource == ""
}

// apply applies what is wanted, unless existing, the object as it was read, has
// exactly that: each wanted field with its value, owned by this controller, and no
// other field of this controller's, such as an annotation that it once wanted. So
// a manager that starts sends nothing for what is as it should be.
//
// An existing object without a UID is one that was not found. extract is what
// client-go generates for the kind.
func apply[A runtime.ApplyConfiguration, O client.Object](
	ctx context.Context, c client.Client, wanted A, existing O, extract func(O, string) (A, error),
) error {
	if existing.GetUID() != "" {
		owned, err := extract(existing, v1alpha1.FieldOwnerTenant)
		if err == nil && equality.Semantic.DeepEqual(owned, wanted) {
			return nil
		}
	}
	return c.Apply(ctx, wanted, client.FieldOwner(v1alpha1.FieldOwnerTenant), client.ForceOwnership)
}

// extractNamespace extracts from metadata, which is all that is cached of a
// namespace. An extract has no UID, which an apply has as its guard.
func extractNamespace(namespace *metav1.PartialObjectMetadata, fieldManager string) (*corev1ac.NamespaceApplyConfiguration, error) {
	owned, err := corev1ac.ExtractNamespace(&corev1.Namespace{ObjectMeta: namespace.ObjectMeta}, fieldManager)
	if err != nil {
		return nil, err
	}
	return owned.WithUID(namespace.UID), nil
}
