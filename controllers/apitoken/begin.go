package apitoken

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// everything is, when a manager begins to lead, every ApiToken: first those whose spec no
// manager has seen, then those of which one stored the status and ended before it stored
// the record.
func (r *Reconciler) everything(ctx context.Context, first, last func(...reconcile.Request)) error {
	var all v1alpha1.ApiTokenList
	if err := r.Client.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("list ApiTokens: %w", err)
	}
	for i := range all.Items {
		if t := &all.Items[i]; t.Generation != t.Status.ObservedGeneration {
			first(requestFor(t))
		}
	}
	for i := range all.Items {
		t := &all.Items[i]
		lacks, err := r.lacksRecord(ctx, t)
		if err != nil {
			return err
		}
		if lacks {
			first(requestFor(t))
		}
	}
	last(requestsFor(all.Items)...)
	return nil
}

// lacksRecord says whether no record has the credential that was issued last, though one
// should.
func (r *Reconciler) lacksRecord(ctx context.Context, t *v1alpha1.ApiToken) (bool, error) {
	current := t.Status.Credential
	active := meta.FindStatusCondition(t.Status.Conditions, v1alpha1.ConditionActive)
	if current == nil || t.Spec.Revoked || !r.Clock.Now().Before(current.ExpiresAt.Time) ||
		active != nil && active.Reason == v1alpha1.ReasonNoTenant {
		return false, nil
	}
	var records corev1.SecretList
	err := r.Client.List(ctx, &records, client.UnsafeDisableDeepCopy, client.InNamespace(r.RecordsNamespace),
		client.MatchingFields{indexCredential: recordKey(t.Namespace, current.Digest)})
	if err != nil {
		return false, fmt.Errorf("record of ApiToken %s/%s: %w", t.Namespace, t.Name, err)
	}
	return len(records.Items) == 0, nil
}
