package apitoken

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// waitingFirst has a manager that begins to lead look first at the ApiTokens that
// somebody waits for. All that it lists then comes after what happens later
// (handler.LowPriority), and in no order: among 100,000 a token that was asked for while
// nobody led would wait for a minute.
func (r *Reconciler) waitingFirst() handler.EventHandler {
	return handler.Funcs{CreateFunc: func(ctx context.Context, e event.CreateEvent, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		ordered, ok := queue.(priorityqueue.PriorityQueue[reconcile.Request])
		if object := e.Object.(*v1alpha1.ApiToken); ok && e.IsInInitialList && r.isWaitedFor(ctx, object) {
			ordered.AddWithOpts(priorityqueue.AddOpts{Priority: new(0)}, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(object)})
		}
	}}
}

// isWaitedFor says whether no manager has seen what spec says, or one ended between the
// writes of status and record.
func (r *Reconciler) isWaitedFor(ctx context.Context, object *v1alpha1.ApiToken) bool {
	if object.Generation != object.Status.ObservedGeneration {
		return true
	}
	current := object.Status.Credential
	if current == nil || object.Spec.Revoked || !r.Clock.Now().Before(current.ExpiresAt.Time) {
		return false
	}
	var records corev1.SecretList
	err := r.Client.List(ctx, &records, client.UnsafeDisableDeepCopy, client.InNamespace(r.RecordsNamespace),
		client.MatchingFields{indexCredential: recordKey(object.Namespace, current.Digest)})
	return err == nil && len(records.Items) == 0
}
