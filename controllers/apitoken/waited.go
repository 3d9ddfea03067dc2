package apitoken

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// isWaitedFor says whether no manager has seen what an ApiToken's spec says, or one ended
// between the writes of its status and its record.
func (r *Reconciler) isWaitedFor(ctx context.Context, o client.Object) bool {
	object := o.(*v1alpha1.ApiToken)
	if object.Generation != object.Status.ObservedGeneration {
		return true
	}
	current := object.Status.Credential
	active := meta.FindStatusCondition(object.Status.Conditions, v1alpha1.ConditionActive)
	hasNoRecord := current == nil || object.Spec.Revoked || !r.Clock.Now().Before(current.ExpiresAt.Time) ||
		active != nil && active.Reason == v1alpha1.ReasonNoTenant
	if hasNoRecord {
		return false
	}
	var records corev1.SecretList
	err := r.Client.List(ctx, &records, client.UnsafeDisableDeepCopy, client.InNamespace(r.RecordsNamespace),
		client.MatchingFields{indexCredential: recordKey(object.Namespace, current.Digest)})
	return err == nil && len(records.Items) == 0
}
