package apitoken

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/policy"
)

// refusal says why a credential was not issued.
type refusal struct {
	reason, message string
	// stalled says that only the author can mend it.
	stalled bool
	// retry is when to look again, or zero.
	retry time.Time
}

// retryLimit is how soon a tenant that had too many live tokens is looked at again:
// nothing tells this token when another one ends.
const retryLimit = time.Minute

func awaiting(t *v1alpha1.ApiToken) *refusal {
	if t.Spec.Revoked {
		return &refusal{reason: v1alpha1.ReasonRevoked, message: "Revoked before a credential was issued."}
	}
	return &refusal{
		reason:  v1alpha1.ReasonAwaitingCredential,
		message: fmt.Sprintf("No credential has been minted yet. Run: kubectl latchkey issue %s -n %s", t.Name, t.Namespace),
	}
}

// mintAgain ends the message of a refusal that is for good.
const mintAgain = "Mint a new credential: a refused one stays refused."

// refuse notes in status a refusal that is for good. Another ApiToken's credential is
// never issued here. Beside a credential that works, neither is what the policy or the
// time did not permit: whoever was told that the rotation came to nothing has thrown
// the new token away, and if it were issued after all the one in use would end. A
// first credential ends nothing, so it is issued once what stood in its way is gone.
func (p *plan) refuse(f facts, refused *refusal) {
	switch refused.reason {
	case v1alpha1.ReasonCredentialConflict:
	case v1alpha1.ReasonPolicyViolation, v1alpha1.ReasonExpired:
		if p.status.Credential == nil {
			return
		}
		if f.token.Status.RefusedCredentialID != f.token.Spec.Credential.ID {
			refused.message += " " + mintAgain
		}
		refused.stalled, refused.retry = true, time.Time{}
	default:
		return
	}
	p.status.RefusedCredentialID = f.token.Spec.Credential.ID
}

// refusedBefore repeats why the credential was refused, as far as status tells.
func refusedBefore(t *v1alpha1.ApiToken) *refusal {
	if t.Status.Credential != nil {
		stalled := meta.FindStatusCondition(t.Status.Conditions, v1alpha1.ConditionStalled)
		if stalled != nil && (stalled.Reason == v1alpha1.ReasonPolicyViolation || stalled.Reason == v1alpha1.ReasonExpired) {
			return &refusal{reason: stalled.Reason, stalled: true, message: stalled.Message}
		}
	}
	return &refusal{reason: v1alpha1.ReasonCredentialConflict, stalled: true,
		message: fmt.Sprintf("Credential %s was refused when it was applied here. %s", t.Spec.Credential.ID, mintAgain)}
}

// mayIssue decides whether the credential in spec may be issued.
func mayIssue(f facts) *refusal {
	spec := &f.token.Spec
	issuedAt := spec.Credential.IssuedAt.Time
	switch {
	case spec.Revoked:
		return &refusal{reason: v1alpha1.ReasonRevoked, message: "Revoked before the credential was issued."}
	case f.holder != "":
		return &refusal{reason: v1alpha1.ReasonCredentialConflict, stalled: true,
			message: fmt.Sprintf("Credential %s belongs to ApiToken %s. %s", spec.Credential.ID, f.holder, mintAgain)}
	case f.token.Status.RefusedCredentialID == spec.Credential.ID:
		return refusedBefore(f.token)
	case f.wasReplaced(spec.Credential):
		return &refusal{reason: v1alpha1.ReasonCredentialConflict, stalled: true,
			message: fmt.Sprintf("Credential %s is the one that was replaced here. %s", spec.Credential.ID, mintAgain)}
	case f.policy == nil:
		return &refusal{reason: v1alpha1.ReasonPublicApiNotFound,
			message: fmt.Sprintf("PublicApi %s of Tenant %s does not exist, so that no policy says what may be issued.", f.tenant.PublicApiName(), f.tenant.Name)}
	case issuedAt.After(f.now.Add(policy.ClockTolerance)):
		return &refusal{reason: v1alpha1.ReasonIssuedInFuture, retry: issuedAt.Add(-policy.ClockTolerance),
			message: fmt.Sprintf("credential.issuedAt %s is in the future: the manager's clock says %s. If it is far ahead, make a new ApiToken.", stamp(issuedAt), stamp(f.now))}
	}
	violations := f.policy.Violations(spec, issuedAt, f.now, f.live)
	if issued := f.token.Status.Credential; issued != nil {
		violations = append(violations, policy.RotationViolations(issued.Scopes, spec.Scopes)...)
	}
	if len(violations) > 0 {
		refused := &refusal{reason: v1alpha1.ReasonPolicyViolation, stalled: true, message: "Not issued: " + strings.Join(violations, "; ") + "."}
		if f.live >= f.policy.MaxPerTenant {
			refused.retry = f.now.Add(retryLimit)
		}
		return refused
	}
	if expiry := f.policy.Expiry(spec, issuedAt, f.now); !f.now.Before(expiry) {
		return &refusal{reason: v1alpha1.ReasonExpired, message: fmt.Sprintf("Not issued: it would have expired at %s.", stamp(expiry))}
	}
	return nil
}

// wasReplaced says whether the credential is the one before the present one: to
// issue it again would lengthen it.
func (f facts) wasReplaced(c *v1alpha1.Credential) bool {
	previous := f.token.Status.PreviousCredential
	return previous != nil && (previous.ID == c.ID || previous.Digest == c.Digest)
}

func (p *plan) scopesRefusal(f facts) *refusal {
	if f.policy == nil {
		return nil
	}
	issued := p.status.Credential.Scopes
	added := slices.DeleteFunc(slices.Clone(f.token.Spec.Scopes), func(scope string) bool {
		return slices.Contains(issued, scope)
	})
	if violations := f.policy.AddedScopeViolations(issued, added); len(violations) > 0 {
		return &refusal{reason: v1alpha1.ReasonPolicyViolation, stalled: true,
			message: "Not granted: " + strings.Join(violations, "; ") + "."}
	}
	return nil
}
