// Package publicapi reconciles PublicApis: it checks what needs another object
// than the PublicApi itself.
package publicapi

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	latchkeyac "github.com/latchkey-dev/latchkey/api/v1alpha1/applyconfiguration/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/conditions"
)

// Reconciler checks PublicApis.
type Reconciler struct {
	// Client reads from the manager's cache and writes to the API server.
	Client client.Client
	// Recorder records events.
	Recorder events.EventRecorder
	// Clock tells the time; clock.RealClock{} outside tests.
	Clock clock.PassiveClock
}

// SetupWithManager registers the controller.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	if r.Client == nil || r.Recorder == nil || r.Clock == nil {
		return errors.New("publicapi.Reconciler: Client, Recorder and Clock are required")
	}
	err := ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.PublicApi{}).
		WatchesMetadata(&corev1.Service{}, handler.EnqueueRequestsFromMapFunc(r.apisOfService)).
		Complete(reconcile.AsReconciler(r.Client, r))
	if err != nil {
		return fmt.Errorf("publicapi controller: %w", err)
	}
	return nil
}

// Reconcile checks a PublicApi.
func (r *Reconciler) Reconcile(ctx context.Context, api *v1alpha1.PublicApi) (ctrl.Result, error) {
	status := api.Status.DeepCopy()
	status.ObservedGeneration = api.Generation
	set := func(ready bool, reason, message string) {
		conditions.Set(&status.Conditions, v1alpha1.ConditionReady, ready, reason, message, api.Generation, r.Clock.Now())
	}
	missing, err := r.missingBackend(ctx, api)
	if err != nil {
		return ctrl.Result{}, fmt.Errorf("PublicApi %s: %w", api.Name, err)
	}
	if missing != "" {
		set(false, v1alpha1.ReasonBackendNotFound, missing)
	} else {
		set(true, v1alpha1.ReasonAccepted, "Tenants are served below "+api.Spec.BasePath+".")
	}
	return ctrl.Result{}, r.writeStatus(ctx, api, status)
}

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

func (r *Reconciler) writeStatus(ctx context.Context, api *v1alpha1.PublicApi, status *v1alpha1.PublicApiStatus) error {
	if equality.Semantic.DeepEqual(&api.Status, status) {
		return nil
	}
	applied := latchkeyac.PublicApi(api.Name).WithUID(api.UID).WithResourceVersion(api.ResourceVersion).WithStatus(latchkeyac.PublicApiStatus().
		WithObservedGeneration(status.ObservedGeneration).
		WithConditions(conditions.Apply(status.Conditions)...))
	err := r.Client.Status().Apply(ctx, applied, client.FieldOwner(v1alpha1.FieldOwnerPublicApi), client.ForceOwnership)
	if apierrors.IsNotFound(err) {
		return nil // deleted meanwhile
	}
	if err != nil {
		return fmt.Errorf("status of PublicApi %s: %w", api.Name, err)
	}
	conditions.Announce(r.Recorder, api, v1alpha1.ConditionReady, api.Status.Conditions, status.Conditions)
	return nil
}

func (r *Reconciler) apisOfService(ctx context.Context, object client.Object) []reconcile.Request {
	var apis v1alpha1.PublicApiList
	if err := r.Client.List(ctx, &apis); err != nil {
		return nil // the cache's List of everything does not fail
	}
	var requests []reconcile.Request
	for i := range apis.Items {
		service := apis.Items[i].Spec.Backend.Service
		if service != nil && service.Name == object.GetName() && service.Namespace == object.GetNamespace() {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&apis.Items[i])})
		}
	}
	return requests
}
