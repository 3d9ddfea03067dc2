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
)

// missingBackend says what is missing, or nothing. A Service in the tenants' own
// namespaces can't be checked here: it may exist in some of them.
func (r *Reconciler) missingBackend(ctx context.Context, api *v1alpha1.PublicApi) (string, error) {
	reference := api.Spec.Backend.Service
	if reference == nil || reference.Namespace == "" {
		return "", nil
	}
	service := &metav1.PartialObjectMetadata{}
	service.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Service"))
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: reference.Namespace, Name: reference.Name}, service)
	if apierrors.IsNotFound(err) {
		return fmt.Sprintf("Service %s in namespace %s does not exist: requests are answered with backend-unavailable.",
			reference.Name, reference.Namespace), nil
	}
	return "", err
}

// apisOfService maps a Service to the PublicApis whose backend it is.
func (r *Reconciler) apisOfService(ctx context.Context, object client.Object) []reconcile.Request {
	return r.apisWhere(ctx, func(api *v1alpha1.PublicApi) bool {
		service := api.Spec.Backend.Service
		return service != nil && service.Name == object.GetName() && service.Namespace == object.GetNamespace()
	})
}

func (r *Reconciler) apisWhere(ctx context.Context, holds func(*v1alpha1.PublicApi) bool) []reconcile.Request {
	var apis v1alpha1.PublicApiList
	if err := r.Client.List(ctx, &apis); err != nil {
		return nil // the cache's List of everything does not fail
	}
	var requests []reconcile.Request
	for i := range apis.Items {
		if holds(&apis.Items[i]) {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&apis.Items[i])})
		}
	}
	return requests
}
