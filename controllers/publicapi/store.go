package publicapi

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/document"
)

// storedDocument is the ConfigMap that keeps the PublicApi's document, or nil. One of
// its name that is not ours is a failure, and left as it is.
func (r *Reconciler) storedDocument(ctx context.Context, api *v1alpha1.PublicApi) (*corev1.ConfigMap, error) {
	stored := &corev1.ConfigMap{}
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: r.SystemNamespace, Name: document.Name(api.Name)}, stored)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("ConfigMap %s/%s: %w", r.SystemNamespace, document.Name(api.Name), err)
	}
	// What was made for the PublicApi stays ours where somebody took its labels away.
	if !document.IsDocument(stored) && !metav1.IsControlledBy(stored, api) {
		return nil, &failure{v1alpha1.ReasonDocumentConflict, fmt.Sprintf(
			"ConfigMap %s in namespace %s exists and was not made by Latchkey. Delete it, and Latchkey makes its own.", stored.Name, r.SystemNamespace)}
	}
	return stored, nil
}

// storeDocument creates or updates the ConfigMap where it keeps something else than
// what was read. known is what it keeps, or nil.
func (r *Reconciler) storeDocument(ctx context.Context, api *v1alpha1.PublicApi, stored *corev1.ConfigMap, known, read *document.Document) error {
	if known != nil && known.Equal(read) && metav1.IsControlledBy(stored, api) && document.IsDocument(stored) {
		return nil
	}
	wanted, err := read.ConfigMap(r.SystemNamespace, api)
	if err != nil {
		return err
	}
	if stored == nil {
		if err := r.Client.Create(ctx, wanted, client.FieldOwner(v1alpha1.FieldOwnerPublicApi)); err != nil {
			return fmt.Errorf("create ConfigMap %s/%s: %w", wanted.Namespace, wanted.Name, err)
		}
		return nil
	}
	wanted.UID, wanted.ResourceVersion = stored.UID, stored.ResourceVersion
	if err := r.Client.Update(ctx, wanted, client.FieldOwner(v1alpha1.FieldOwnerPublicApi)); err != nil {
		return fmt.Errorf("update ConfigMap %s/%s: %w", wanted.Namespace, wanted.Name, err)
	}
	return nil
}

func (r *Reconciler) deleteDocument(ctx context.Context, stored *corev1.ConfigMap) error {
	if stored == nil {
		return nil
	}
	if err := client.IgnoreNotFound(r.Client.Delete(ctx, stored, client.Preconditions{UID: &stored.UID})); err != nil {
		return fmt.Errorf("delete ConfigMap %s/%s: %w", stored.Namespace, stored.Name, err)
	}
	return nil
}

// apisOfConfigMap maps a ConfigMap to the PublicApis that read it, or whose document
// it keeps.
func (r *Reconciler) apisOfConfigMap(ctx context.Context, object client.Object) []reconcile.Request {
	return r.apisWhere(ctx, func(api *v1alpha1.PublicApi) bool {
		o := api.Spec.OpenAPI
		return object.GetName() == document.Name(api.Name) || o != nil && o.ConfigMap != nil && o.ConfigMap.Name == object.GetName()
	})
}
