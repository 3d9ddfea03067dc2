// Package publicapi reconciles PublicApis: it checks what needs another object than
// the PublicApi itself (backend.go), and reads, checks and keeps its OpenAPI document
// (document.go), which comes from the backend (fetch.go) or from a ConfigMap.
package publicapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	latchkeyac "github.com/latchkey-dev/latchkey/api/v1alpha1/applyconfiguration/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/conditions"
)

// workers are several, because a backend may take its time to give a document, and
// others' must not wait for it.
const workers = 16

// Reconciler checks PublicApis and keeps their documents.
type Reconciler struct {
	// Client reads from the manager's cache and writes to the API server.
	Client client.Client
	// APIReader reads from the API server itself.
	APIReader client.Reader
	// Recorder records events.
	Recorder events.EventRecorder
	// Clock tells the time; clock.RealClock{} outside tests.
	Clock clock.PassiveClock
	// SystemNamespace is where documents are kept, and read from ConfigMaps.
	SystemNamespace string
	// HTTP fetches documents from backends; NewHTTPClient() outside tests.
	HTTP *http.Client

	seen memory
}

// scope is what the phases of one reconciliation share.
type scope struct {
	api *v1alpha1.PublicApi
	// status is what will be written.
	status *v1alpha1.PublicApiStatus
	// next is when to look again without anybody's doing, or zero.
	next time.Duration
}

func (s *scope) set(now time.Time, conditionType string, status bool, reason, message string) {
	conditions.Set(&s.status.Conditions, conditionType, status, reason, message, s.api.Generation, now)
}

// SetupWithManager registers the controller.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	if r.Client == nil || r.APIReader == nil || r.Recorder == nil || r.Clock == nil || r.SystemNamespace == "" || r.HTTP == nil {
		return errors.New("publicapi.Reconciler: Client, APIReader, Recorder, Clock, SystemNamespace and HTTP are required")
	}
	err := ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.PublicApi{}).
		WatchesMetadata(&corev1.Service{}, handler.EnqueueRequestsFromMapFunc(r.apisOfService)).
		Watches(&corev1.ConfigMap{}, handler.EnqueueRequestsFromMapFunc(r.apisOfConfigMap)).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers}).
		Complete(reconcile.AsReconciler(r.Client, r))
	if err != nil {
		return fmt.Errorf("publicapi controller: %w", err)
	}
	return nil
}

// Reconcile checks a PublicApi and sees that its document is current.
func (r *Reconciler) Reconcile(ctx context.Context, api *v1alpha1.PublicApi) (ctrl.Result, error) {
	if !api.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil // the garbage collector takes its document
	}
	if err := r.forgetDeleted(ctx); err != nil {
		return ctrl.Result{}, err
	}
	s := &scope{api: api, status: api.Status.DeepCopy()}
	s.status.ObservedGeneration = api.Generation
	err := r.reconcileDocument(ctx, s)
	if err != nil {
		return ctrl.Result{}, fmt.Errorf("PublicApi %s: %w", api.Name, err)
	}
	missing, err := r.missingBackend(ctx, api)
	if err != nil {
		return ctrl.Result{}, fmt.Errorf("PublicApi %s: %w", api.Name, err)
	}
	r.concludeReady(s, missing)
	return ctrl.Result{RequeueAfter: s.next}, r.writeStatus(ctx, api, s.status)
}

// concludeReady says whether tenants are served.
func (r *Reconciler) concludeReady(s *scope, missingBackend string) {
	set := func(ready bool, reason, message string) {
		s.set(r.Clock.Now(), v1alpha1.ConditionReady, ready, reason, message)
	}
	switch {
	case missingBackend != "":
		set(false, v1alpha1.ReasonBackendNotFound, missingBackend)
	case s.api.Spec.OpenAPI != nil && s.status.Document == nil:
		set(false, v1alpha1.ReasonDocumentUnavailable,
			"No OpenAPI document has been read yet: requests are answered 503. The condition "+v1alpha1.ConditionDocumentCurrent+" says why.")
	default:
		set(true, v1alpha1.ReasonAccepted, "Tenants are served below "+s.api.Spec.BasePath+".")
	}
}

func (r *Reconciler) writeStatus(ctx context.Context, api *v1alpha1.PublicApi, status *v1alpha1.PublicApiStatus) error {
	if equality.Semantic.DeepEqual(&api.Status, status) {
		return nil
	}
	applied := latchkeyac.PublicApiStatus().
		WithObservedGeneration(status.ObservedGeneration).
		WithConditions(conditions.Apply(status.Conditions)...)
	if d := status.Document; d != nil {
		document := latchkeyac.Document().WithConfigMap(d.ConfigMap).WithDigest(d.Digest).
			WithTitle(d.Title).WithVersion(d.Version).WithOperations(d.Operations)
		for _, scope := range d.Scopes {
			document.WithScopes(latchkeyac.Scope().WithName(scope.Name).WithDescription(scope.Description))
		}
		applied.WithDocument(document)
	}
	err := r.Client.Status().Apply(ctx,
		latchkeyac.PublicApi(api.Name).WithUID(api.UID).WithResourceVersion(api.ResourceVersion).WithStatus(applied),
		client.FieldOwner(v1alpha1.FieldOwnerPublicApi), client.ForceOwnership)
	if apierrors.IsNotFound(err) {
		return nil // deleted meanwhile
	}
	if err != nil {
		return fmt.Errorf("status of PublicApi %s: %w", api.Name, err)
	}
	conditions.Announce(r.Recorder, api, v1alpha1.ConditionReady, api.Status.Conditions, status.Conditions)
	conditions.Announce(r.Recorder, api, v1alpha1.ConditionDocumentCurrent, api.Status.Conditions, status.Conditions)
	return nil
}

// forgetDocument leaves no trace in status of a document that is no longer wanted.
func (s *scope) forgetDocument() {
	s.status.Document = nil
	meta.RemoveStatusCondition(&s.status.Conditions, v1alpha1.ConditionDocumentCurrent)
}
