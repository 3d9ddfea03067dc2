// Package sessionkeys keeps the Secret with the keys that seal sessions, and the
// ConfigMap with the sessions that were ended. plan.go decides, the rest reads and
// writes. The API server reads the one and writes the other; this package makes both, and
// mends what somebody broke.
package sessionkeys

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/session/ended"
	"github.com/latchkey-dev/latchkey/internal/session/keyring"
)

// Reconciler keeps both objects. It has one request, whatever changed.
type Reconciler struct {
	// Client reads from the manager's cache and writes to the API server.
	Client client.Client
	// Clock tells the time; clock.RealClock{} outside tests.
	Clock clock.PassiveClock
	// Namespace is the installation's.
	Namespace string
}

// maxWait is how long it takes at most until the time is looked at again: a timer runs by
// another clock than the one by which keys are made, which may be set.
const maxWait = time.Hour

// retry is when what was decided by an old state is decided anew.
const retry = time.Second

// SetupWithManager registers the controller.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	if r.Client == nil || r.Clock == nil || r.Namespace == "" {
		return errors.New("sessionkeys.Reconciler: Client, Clock and Namespace are required")
	}
	request := reconcile.Request{NamespacedName: client.ObjectKey{Namespace: r.Namespace, Name: keyring.SecretName}}
	named := func(name string) handler.EventHandler {
		return handler.EnqueueRequestsFromMapFunc(func(_ context.Context, object client.Object) []reconcile.Request {
			if object.GetNamespace() != r.Namespace || object.GetName() != name {
				return nil
			}
			return []reconcile.Request{request}
		})
	}
	// In a new installation there is nothing that could be watched.
	once := source.Func(func(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		queue.Add(request)
		return nil
	})
	err := ctrl.NewControllerManagedBy(mgr).
		Named("session-keys").
		Watches(&corev1.Secret{}, named(keyring.SecretName)).
		Watches(&corev1.ConfigMap{}, named(ended.ConfigMapName)).
		WatchesRawSource(once).
		Complete(r)
	if err != nil {
		return fmt.Errorf("session-keys controller: %w", err)
	}
	return nil
}

// Reconcile makes both objects what they should be now. The list comes first: where both
// are new, no replica may have keys and not know that everything before was ended.
func (r *Reconciler) Reconcile(ctx context.Context, _ reconcile.Request) (ctrl.Result, error) {
	now := r.Clock.Now()
	err := r.keepEnded(ctx, now)
	next := now.Add(retry)
	if err == nil {
		next, err = r.keepKeys(ctx, now)
	}
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
		// The cache lags behind what was written last, here or by others.
		return ctrl.Result{RequeueAfter: retry}, nil
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{RequeueAfter: min(max(next.Sub(now), retry), maxWait)}, nil
}

func (r *Reconciler) keepEnded(ctx context.Context, now time.Time) error {
	stored := &corev1.ConfigMap{}
	exists, err := r.read(ctx, stored, ended.ConfigMapName)
	if err != nil {
		return err
	}
	list, mend := planEnded(stored.Data[ended.DataKey], now)
	if mend == "" {
		return nil
	}
	if exists {
		ctrl.LoggerFrom(ctx).Info("the list of ended sessions is mended", "configmap", ended.ConfigMapName, "reason", mend)
	}
	stored = stored.DeepCopy()
	stored.Data, stored.BinaryData = map[string]string{ended.DataKey: list.String()}, nil
	return r.write(ctx, stored, ended.ConfigMapName, exists)
}

// keepKeys returns when there will be something to do.
func (r *Reconciler) keepKeys(ctx context.Context, now time.Time) (next time.Time, err error) {
	stored := &corev1.Secret{}
	exists, err := r.read(ctx, stored, keyring.SecretName)
	if err != nil {
		return next, err
	}
	ring, wrong := keyring.Parse(stored.Data)
	for _, err := range wrong {
		ctrl.LoggerFrom(ctx).Info("a session key can't be read, and is removed", "secret", keyring.SecretName, "reason", err.Error())
	}
	p := planKeys(ring, now, keyring.New)
	if !p.made && len(p.removed) == 0 && len(wrong) == 0 {
		return p.next, nil
	}
	stored = stored.DeepCopy()
	stored.Data = p.ring.Data()
	if err := r.write(ctx, stored, keyring.SecretName, exists); err != nil {
		return next, err
	}
	last := p.ring[len(p.ring)-1]
	ctrl.LoggerFrom(ctx).Info("session keys were written", "made", p.made, "last", last.ID, "removed", p.removed, "keys", len(p.ring))
	return p.next, nil
}

func (r *Reconciler) read(ctx context.Context, object client.Object, name string) (exists bool, err error) {
	err = r.Client.Get(ctx, client.ObjectKey{Namespace: r.Namespace, Name: name}, object)
	if err != nil && !apierrors.IsNotFound(err) {
		return false, fmt.Errorf("%T %s/%s: %w", object, r.Namespace, name, err)
	}
	return err == nil, nil
}

// write creates an object, or updates it unless it was changed since it was read. What
// another leader or replica wrote meanwhile stays, and is looked at anew.
func (r *Reconciler) write(ctx context.Context, object client.Object, name string, exists bool) error {
	var err error
	if exists {
		err = r.Client.Update(ctx, object, client.FieldOwner(v1alpha1.FieldOwnerSessionKeys))
	} else {
		object.SetNamespace(r.Namespace)
		object.SetName(name)
		object.SetLabels(map[string]string{v1alpha1.LabelManagedBy: v1alpha1.ManagedBy})
		err = r.Client.Create(ctx, object, client.FieldOwner(v1alpha1.FieldOwnerSessionKeys))
	}
	if err != nil {
		return fmt.Errorf("write %T %s/%s: %w", object, r.Namespace, name, err)
	}
	return nil
}
