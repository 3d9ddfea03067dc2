package cli

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

const pollInterval = 200 * time.Millisecond

// settleTime is what is given the manager to store the record after the status, and
// the replicas of the API server to hear of both, which takes milliseconds: whoever
// is handed a token uses it at once (docs/adr/0003).
const settleTime = 250 * time.Millisecond

// verdict is what the manager makes of a credential that was just recorded. It
// works, or failure says why not; until one is known, neither is set.
type verdict struct {
	works   bool
	failure string
	// refused says that the failure is for good: whatever becomes of its cause, the
	// credential is never issued.
	refused bool
	// over says that nothing of the ApiToken works any more.
	over bool
	// pending says what the manager waits for, as far as it has said.
	pending string
	// expiresAt is the manager's word, nil before it.
	expiresAt *metav1.Time
	// previousEnd is the manager's word on the credential before, if any.
	previousEnd *metav1.Time
}

// awaitVerdict waits for the manager, as long as the user wants to.
func (i *issuance) awaitVerdict(ctx context.Context) (v verdict) {
	if i.wait == 0 {
		return v
	}
	// The poll's only errors are its time-out and the user's interrupt. Neither
	// is one here: v stays undecided.
	_ = wait.PollUntilContextTimeout(ctx, pollInterval, i.wait, true, func(ctx context.Context) (bool, error) {
		latest := &v1alpha1.ApiToken{}
		err := i.client.Get(ctx, i.key(i.object.Name), latest)
		switch {
		case apierrors.IsNotFound(err):
			v.failure, v.over = "it was deleted meanwhile", true
		case err == nil:
			v = judge(latest, i.object)
		}
		return v.works || v.failure != "", nil
	})
	if v.works {
		select {
		case <-ctx.Done():
		case <-time.After(settleTime):
		}
	}
	return v
}

// judge reads the verdict from the latest state of an ApiToken that was written
// as written.
func judge(latest, written *v1alpha1.ApiToken) (v verdict) {
	active := meta.FindStatusCondition(latest.Status.Conditions, v1alpha1.ConditionActive)
	if active == nil || active.ObservedGeneration < written.Generation {
		return v
	}
	issued := latest.Status.Credential
	isIssued := issued != nil && issued.ID == written.Spec.Credential.ID
	if isIssued {
		v.expiresAt = &issued.ExpiresAt
		if previous := latest.Status.PreviousCredential; previous != nil {
			v.previousEnd = &previous.ExpiresAt
		}
	}
	v.refused, v.over = latest.Status.RefusedCredentialID == written.Spec.Credential.ID, latest.Spec.Revoked
	text := fmt.Sprintf("%s: %s", active.Reason, printable(active.Message))
	switch {
	case active.Status == metav1.ConditionTrue && !isIssued:
		// What works is the credential before, and Stalled says why this one was refused.
		v.failure, v.pending = stalled(latest, written)
	case active.Status == metav1.ConditionTrue:
		v.works = true
	case active.Status == metav1.ConditionFalse && !passes(active.Reason):
		v.failure = text
	default:
		v.pending = fmt.Sprintf(" (%s)", text)
	}
	return v
}

// stalled is why a credential was refused beside one that works, or else that
// this is not known yet.
func stalled(latest, written *v1alpha1.ApiToken) (failure, pending string) {
	condition := meta.FindStatusCondition(latest.Status.Conditions, v1alpha1.ConditionStalled)
	if condition == nil || condition.Status != metav1.ConditionTrue || condition.ObservedGeneration < written.Generation {
		return "", ""
	}
	text := fmt.Sprintf("%s: %s", condition.Reason, printable(condition.Message))
	if passes(condition.Reason) {
		return "", fmt.Sprintf(" (%s)", text)
	}
	return text, ""
}

// passes says whether a reason for not working goes away by itself: the manager
// has yet to see the credential, or its clock is a little behind the API
// server's.
func passes(reason string) bool {
	return reason == v1alpha1.ReasonAwaitingCredential || reason == v1alpha1.ReasonIssuedInFuture
}

// err is what the command ends with: the token has been handed over, since it
// can't be shown again, but a script must not take it for one that works.
func (v verdict) err(object *v1alpha1.ApiToken) error {
	if v.failure == "" {
		return nil
	}
	return fmt.Errorf("the token with id %s was minted and handed over, but does not work. %s: %s",
		object.Spec.Credential.ID, describe(object.Namespace, object.Name), v.failure)
}
