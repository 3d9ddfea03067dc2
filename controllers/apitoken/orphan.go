package apitoken

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/controllers/precedence"
	"github.com/latchkey-dev/latchkey/internal/record"
)

// orphans deletes records whose ApiToken is gone. Its key is the record's, so
// that records left from a time when no manager ran are found at its start.
type orphans struct{ *Reconciler }

func (r *Reconciler) setupOrphans(mgr ctrl.Manager) error {
	ours := predicate.NewPredicateFuncs(func(o client.Object) bool {
		return o.GetNamespace() == r.RecordsNamespace && isOurs(o.(*corev1.Secret)) // the cache has another namespace's Secret too
	})
	// Of a hundred thousand that are listed at the start, where a manager leads at once, hardly
	// one is an orphan: the others are not worth a worker, while somebody may wait elsewhere.
	suspected := predicate.Funcs{CreateFunc: func(e event.CreateEvent) bool {
		return !e.IsInInitialList || len(r.tokenOfRecord(context.Background(), e.Object)) == 0
	}}
	recordOf := func(_ context.Context, o client.Object) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: r.RecordsNamespace, Name: record.Name(o.GetUID())}}}
	}
	onDelete := predicate.Funcs{
		CreateFunc:  func(event.CreateEvent) bool { return false },
		UpdateFunc:  func(event.UpdateEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
	b := ctrl.NewControllerManagedBy(mgr).
		Named("record-orphans").
		For(&corev1.Secret{}, builder.WithPredicates(ours, suspected)).
		Watches(&v1alpha1.ApiToken{}, handler.EnqueueRequestsFromMapFunc(recordOf), builder.WithPredicates(onDelete))
	err := precedence.StandBy(mgr, b, controller.Options{MaxConcurrentReconciles: r.Workers}, orphans{r}.suspects).
		Complete(reconcile.AsReconciler[*corev1.Secret](r.Client, orphans{r}))
	if err != nil {
		return fmt.Errorf("record-orphans controller: %w", err)
	}
	return nil
}

// suspects are, when a manager begins to lead, all records of ApiTokens that are gone.
func (o orphans) suspects(ctx context.Context, _, last func(...reconcile.Request)) error {
	var tokens v1alpha1.ApiTokenList
	if err := o.Client.List(ctx, &tokens, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("list ApiTokens: %w", err)
	}
	owned := make(map[string]struct{}, len(tokens.Items))
	for i := range tokens.Items {
		owned[record.Name(tokens.Items[i].UID)] = struct{}{}
	}
	var records corev1.SecretList
	if err := o.Client.List(ctx, &records, client.UnsafeDisableDeepCopy, client.InNamespace(o.RecordsNamespace)); err != nil {
		return fmt.Errorf("list records: %w", err)
	}
	for i := range records.Items {
		if _, ok := owned[records.Items[i].Name]; !ok && isOurs(&records.Items[i]) {
			last(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&records.Items[i])})
		}
	}
	return nil
}

// Reconcile deletes the record if its ApiToken is gone. The cache only raises
// the suspicion: after a change of leader it may lag behind the records.
func (o orphans) Reconcile(ctx context.Context, secret *corev1.Secret) (ctrl.Result, error) {
	key := apiTokenKey(secret)
	for _, reader := range []client.Reader{o.Client, o.APIReader} {
		var owner v1alpha1.ApiToken
		err := reader.Get(ctx, key, &owner)
		if err == nil && secret.Name == record.Name(owner.UID) {
			return ctrl.Result{}, nil
		}
		if client.IgnoreNotFound(err) != nil {
			return ctrl.Result{}, fmt.Errorf("ApiToken %s of record %s: %w", key, secret.Name, err)
		}
	}
	if err := o.refuseClaimants(ctx, secret); err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{}, o.deleteRecord(ctx, secret)
}

// refuseClaimants refuses for good the ApiTokens that name a credential of the
// record. They were applied beside its holder, perhaps while no manager ran to
// refuse them; once the record is gone nothing would show that the credential
// was another's, and a revoked one would come back under another name.
func (o orphans) refuseClaimants(ctx context.Context, secret *corev1.Secret) error {
	r, err := record.Decode(secret)
	if err != nil {
		return nil //nolint:nilerr // it never opened anything, and who made it is not known
	}
	held := []string{r.Current.ID, r.Current.Digest.String()}
	if r.Previous != nil {
		held = append(held, r.Previous.ID, r.Previous.Digest.String())
	}
	for _, key := range held {
		var claimants v1alpha1.ApiTokenList
		err := o.Client.List(ctx, &claimants, client.InNamespace(r.Namespace), client.MatchingFields{indexCredential: key})
		if err != nil {
			return fmt.Errorf("ApiTokens with credential %s: %w", key, err)
		}
		for i := range claimants.Items {
			if err := o.refuse(ctx, &claimants.Items[i], held); err != nil {
				return err
			}
		}
	}
	return nil
}

func (o orphans) refuse(ctx context.Context, claimant *v1alpha1.ApiToken, held []string) error {
	wanted := claimant.Spec.Credential
	if !needsIssuing(claimant) || claimant.Status.RefusedCredentialID == wanted.ID ||
		!slices.Contains(held, wanted.ID) && !slices.Contains(held, wanted.Digest) {
		return nil
	}
	status := claimant.Status.DeepCopy()
	status.RefusedCredentialID = wanted.ID
	_, err := o.writeStatus(ctx, claimant, status)
	return err
}
