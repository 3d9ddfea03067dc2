package tokens

import (
	"context"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/problem"
)

// verdict is what the manager makes of a credential: it works, or it is refused, or
// neither is known.
type verdict struct {
	works   bool
	refusal *metav1.Condition
	// final says that a refused credential never comes to work. Another may, once
	// what stands in its way is gone.
	final bool
}

// problem is the answer for a token that does not work.
func (v *verdict) problem() *problem.Problem {
	if v.refusal == nil {
		return &problem.Problem{Code: problem.CodeNotConfirmed, Status: http.StatusServiceUnavailable, RetryAfter: 5 * time.Second,
			Title: "The token was not confirmed in time", Detail: "Nothing was made. Try again shortly."}
	}
	switch v.refusal.Reason {
	case v1alpha1.ReasonPolicyViolation:
		return policyViolation(v.refusal.Message)
	case v1alpha1.ReasonTenantSuspended:
		return problem.TenantSuspended
	default:
		return conflict(v.refusal.Message)
	}
}

// pollInterval is how often the status is read.
const pollInterval = 100 * time.Millisecond

// await waits for the manager's verdict, and then until this replica accepts the
// token. It keeps the latest state of the object.
func (s *Service) await(ctx context.Context, i *Issued) (v verdict) {
	written := i.Object.Generation
	key := client.ObjectKeyFromObject(i.Object)
	// Its only error is the time-out, after which v is undecided.
	_ = wait.PollUntilContextTimeout(ctx, pollInterval, s.config.ConfirmTimeout, true, func(ctx context.Context) (bool, error) {
		latest := &v1alpha1.ApiToken{}
		err := s.config.Client.Get(ctx, key, latest)
		switch {
		case apierrors.IsNotFound(err):
			v = verdict{refusal: &metav1.Condition{Message: "It was deleted meanwhile."}, final: true}
		case err == nil && latest.UID == i.Object.UID:
			v = judge(latest, i.Object.Spec.Credential, written)
			i.Object = latest
		}
		return v.refusal != nil || v.works && s.accepts(i), nil
	})
	return v
}

// accepts says whether a request with the token would be accepted here.
func (s *Service) accepts(i *Issued) bool {
	_, ok := s.config.Directory.Token(i.tenant, i.minted.Digest(i.tenant))
	return ok
}

// outlives says whether a credential was given more time than it may have.
func outlives(issued *v1alpha1.IssuedCredential, asked *v1alpha1.Credential) bool {
	return asked.NotAfter != nil && issued.ExpiresAt.After(asked.NotAfter.Time)
}

// judge reads the verdict from the latest state of an ApiToken.
func judge(latest *v1alpha1.ApiToken, credential *v1alpha1.Credential, generation int64) (v verdict) {
	active := meta.FindStatusCondition(latest.Status.Conditions, v1alpha1.ConditionActive)
	if active == nil || active.ObservedGeneration < generation {
		return v
	}
	present := latest.Status.Credential
	isPresent := present != nil && present.ID == credential.ID
	stalled := meta.FindStatusCondition(latest.Status.Conditions, v1alpha1.ConditionStalled)
	switch {
	case stalled != nil && !isPresent:
		v.refusal = stalled
	case active.Status != metav1.ConditionTrue && active.Reason != v1alpha1.ReasonAwaitingCredential:
		v.refusal = active
	case active.Status == metav1.ConditionTrue && isPresent:
		if v.works = !outlives(present, credential); !v.works {
			return verdict{final: true, refusal: &metav1.Condition{Message: "The manager gave it more time than was asked for: it is older than the API server."}}
		}
	}
	if v.refusal != nil && v.refusal.Reason == v1alpha1.ReasonIssuedInFuture {
		v.refusal = nil // which passes
	}
	v.final = v.refusal != nil && (latest.Spec.Revoked || latest.Status.RefusedCredentialID == credential.ID)
	return v
}
