package portal

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/policy"
	"github.com/latchkey-dev/latchkey/internal/portal/tokenapi"
	"github.com/latchkey-dev/latchkey/internal/problem"
	"github.com/latchkey-dev/latchkey/internal/serverdate"
	"github.com/latchkey-dev/latchkey/internal/token"
)

// issued is a token that was minted for an ApiToken.
type issued struct {
	tenant string
	minted token.Token
	object *v1alpha1.ApiToken
	// confirmed says that the manager has accepted it.
	confirmed bool
}

func (i *issued) body() tokenapi.IssuedToken {
	return tokenapi.IssuedToken{Plaintext: i.minted.Reveal(), Token: represent(i.object)}
}

func (i *issued) response() tokenapi.IssuedJSONResponse {
	return tokenapi.IssuedJSONResponse{Body: i.body(), Headers: tokenapi.IssuedResponseHeaders{ETag: etag(i.object)}}
}

func (i *issued) unconfirmed() tokenapi.UnconfirmedJSONResponse {
	return tokenapi.UnconfirmedJSONResponse{Body: i.body(), Headers: tokenapi.UnconfirmedResponseHeaders{ETag: etag(i.object)}}
}

// create makes an ApiToken with a credential. One that does not come to work is
// deleted again, since nobody is given its plaintext.
func (h *handlers) create(ctx context.Context, e *exchange, asked *tokenapi.NewToken) (*issued, error) {
	object, err := newObject(e, asked)
	if err != nil {
		return nil, err
	}
	now, err := h.nameIsFree(ctx, e, object.Name)
	if err != nil {
		return nil, err
	}
	if caller := e.Caller.Token; caller != nil {
		exceeds := append(exceedingScopes(caller, object.Spec.Scopes), exceedingAddresses(caller, object.Spec.AllowedCIDRs)...)
		if exceeds = append(exceeds, exceedingExpiry(caller, &object.Spec, now)...); len(exceeds) > 0 {
			return nil, exceedsCaller(exceeds)
		}
	}
	if err := permitted(e, &object.Spec, now); err != nil {
		return nil, err
	}
	i := &issued{tenant: e.Tenant.Name, object: object}
	if i.minted, err = h.mint(e, object, now); err != nil {
		return nil, err
	}
	// From here on what was made has to be known or withdrawn, whoever hangs up.
	ctx, cancel := detached(ctx)
	defer cancel()
	if err := h.store(ctx, object, h.config.Client.Create(ctx, object)); err != nil {
		return nil, err
	}
	v := h.await(ctx, i)
	if !v.works {
		h.withdraw(ctx, e, object)
		return nil, v.problem()
	}
	h.log(e, "create", object.Name, i.minted.ID())
	return i, nil
}

// newObject is the ApiToken that is asked for. What is not asked for is the calling
// token's.
func newObject(e *exchange, asked *tokenapi.NewToken) (*v1alpha1.ApiToken, error) {
	object := &v1alpha1.ApiToken{ObjectMeta: metav1.ObjectMeta{Namespace: e.Tenant.Namespace, Name: asked.Name}}
	spec := &object.Spec
	spec.Description, spec.Owner = value(asked.Description, ""), value(asked.Owner, "")
	spec.Scopes, spec.AllowedCIDRs = value(asked.Scopes, nil), value(asked.AllowedCIDRs, nil)
	if caller := e.Caller.Token; caller != nil {
		spec.RateLimit = caller.RateLimit.Spec()
		if asked.Owner == nil {
			spec.Owner = caller.Owner
		}
		if asked.AllowedCIDRs == nil {
			for _, network := range caller.AllowedCIDRs {
				spec.AllowedCIDRs = append(spec.AllowedCIDRs, network.String())
			}
		}
	} else if asked.Owner == nil && isOwner(e.Caller.User.Name) {
		spec.Owner = e.Caller.User.Name
	}
	var err error
	if spec.Lifetime, err = duration("lifetime", asked.Lifetime); err != nil {
		return nil, err
	}
	overlap, err := duration("overlap", asked.Overlap)
	if err != nil {
		return nil, err
	}
	if overlap != nil {
		spec.Rotation = &v1alpha1.Rotation{Overlap: overlap}
	}
	if at := asked.ExpiresAt; at != nil {
		if at.Nanosecond() != 0 {
			return nil, invalid("expiresAt must be in whole seconds.")
		}
		spec.ExpiresAt = new(metav1.NewTime(at.UTC()))
	}
	annotate(object, v1alpha1.AnnotationCreatedBy, e.Caller.name())
	annotate(object, v1alpha1.AnnotationCreatedVia, v1alpha1.ViaAPI)
	return object, nil
}

// isOwner says whether a user's name can be a token's owner.
func isOwner(name string) bool {
	return len(name) <= 253 && !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' })
}

// nameIsFree looks whether there is an ApiToken of the name, and takes the time
// from the answer.
func (h *handlers) nameIsFree(ctx context.Context, e *exchange, name string) (now time.Time, err error) {
	if name == "" || !isLabel(name) {
		return now, invalid("name must be a DNS label: at most 63 lower-case letters, digits and hyphens.")
	}
	ctx, date := serverdate.With(ctx)
	err = h.config.Client.Get(ctx, client.ObjectKey{Namespace: e.Tenant.Namespace, Name: name}, &v1alpha1.ApiToken{})
	switch {
	case err == nil:
		return now, conflict(fmt.Sprintf("There is a token named %s. Choose another name, or rotate it.", name))
	case !apierrors.IsNotFound(err):
		return now, clusterProblem(err)
	}
	if now, err = date.Time(); err != nil {
		return now, internal(err)
	}
	return now, nil
}

// mint puts a new credential into the object. One that a token had minted ends with
// that token.
func (h *handlers) mint(e *exchange, object *v1alpha1.ApiToken, issuedAt time.Time) (token.Token, error) {
	minted, err := token.Mint(h.config.TokenPrefix)
	if err != nil {
		return minted, internal(fmt.Errorf("mint a token: %w", err))
	}
	object.Spec.Credential = &v1alpha1.Credential{
		ID:       minted.ID(),
		Digest:   minted.Digest(e.Tenant.Name).String(),
		IssuedAt: metav1.NewTime(issuedAt),
	}
	if e.Caller.Token != nil {
		object.Spec.Credential.NotAfter = new(metav1.NewTime(e.Caller.Token.NotAfter.UTC().Truncate(time.Second)))
	}
	annotate(object, v1alpha1.AnnotationIssuedBy, e.Caller.name())
	return minted, nil
}

// store judges the error of a write. Where the answer was lost it finds out what
// happened.
func (h *handlers) store(ctx context.Context, object *v1alpha1.ApiToken, err error) error {
	var refused apierrors.APIStatus
	switch {
	case err == nil:
		return nil
	case apierrors.IsAlreadyExists(err):
		return conflict(fmt.Sprintf("There is a token named %s. Choose another name, or rotate it.", object.Name))
	case errors.As(err, &refused):
		return clusterProblem(err)
	}
	stored := &v1alpha1.ApiToken{}
	if getErr := h.config.Client.Get(ctx, client.ObjectKeyFromObject(object), stored); getErr != nil {
		return unavailable(errors.Join(err, client.IgnoreNotFound(getErr)))
	}
	if stored.Spec.Credential == nil || stored.Spec.Credential.Digest != object.Spec.Credential.Digest {
		return unavailable(err)
	}
	*object = *stored
	return nil
}

// withdraw deletes an ApiToken that came to nothing.
func (h *handlers) withdraw(ctx context.Context, e *exchange, object *v1alpha1.ApiToken) {
	ctx, cancel := detached(ctx)
	defer cancel()
	err := h.config.Client.Delete(ctx, object, client.Preconditions{UID: &object.UID})
	if client.IgnoreNotFound(err) != nil {
		h.config.Logger.Error("an ApiToken that came to nothing could not be deleted: delete it", "namespace", object.Namespace, "token", object.Name, "error", err)
	}
	h.log(e, "withdraw", object.Name, credentialID(object))
}

// rotate replaces a token's credential.
func (h *handlers) rotate(ctx context.Context, e *exchange, name string, ifMatch *string) (*issued, error) {
	// A token that replaces itself ends its own request.
	ctx, cancel := detached(ctx)
	defer cancel()
	ctx, date := serverdate.With(ctx)
	i := &issued{tenant: e.Tenant.Name}
	object, err := h.write(ctx, e, name, ifMatch, func(t *v1alpha1.ApiToken) (bool, error) {
		now, err := date.Time()
		if err != nil {
			return false, internal(err)
		}
		if err := h.mayRotate(e, t, now); err != nil {
			return false, err
		}
		issuedAt := now
		if present := t.Spec.Credential; present != nil && !issuedAt.After(present.IssuedAt.Time) {
			issuedAt = present.IssuedAt.Add(time.Second) // credentials only move forward
		}
		i.minted, err = h.mint(e, t, issuedAt)
		return true, err
	})
	if object != nil && asLost(err) {
		err = h.store(ctx, object, asProblem(err).Cause)
	}
	if err != nil {
		return nil, err
	}
	i.object = object
	h.log(e, "rotate", name, i.minted.ID())
	v := h.await(ctx, i)
	if v.refusal != nil {
		return nil, v.problem()
	}
	// Unconfirmed, it may still come to work, and then its predecessor ends: who
	// does not have it would be left with nothing.
	i.confirmed = v.works
	return i, nil
}

// asLost says that nobody knows whether a write was done.
func asLost(err error) bool { return err != nil && asProblem(err).Code == problem.CodeStale }

// mayRotate says why the credential may not be replaced by this caller.
func (h *handlers) mayRotate(e *exchange, t *v1alpha1.ApiToken, now time.Time) error {
	if t.Spec.Revoked {
		return conflict("The token is revoked, for good. Create another one.")
	}
	if present := t.Spec.Credential; present != nil && present.IssuedAt.After(now.Add(policy.ClockTolerance)) {
		return conflict("The present credential's issuedAt is in the future. Create another token.")
	}
	if caller := e.Caller.Token; caller != nil {
		if caller.Name == t.Name {
			if err := mayRotateItself(e, t); err != nil {
				return err
			}
		} else if exceeds := slices.Concat(exceedingScopes(caller, t.Spec.Scopes), exceedingAddresses(caller, t.Spec.AllowedCIDRs), exceedingRate(caller, t.Spec.RateLimit)); len(exceeds) > 0 {
			return exceedsCaller(exceeds)
		}
	}
	return permitted(e, &t.Spec, now)
}

// permitted asks the policy before anything is written. The manager, which also
// counts the tenant's tokens, has the last word.
func permitted(e *exchange, spec *v1alpha1.ApiTokenSpec, now time.Time) error {
	asked := *spec
	asked.Credential = nil // is to be replaced
	violations := e.API.Policy.Violations(&asked, now, now, 0)
	if expiry := e.API.Policy.Expiry(&asked, now, now); !now.Before(expiry) {
		violations = append(violations, "it would have expired at "+expiry.Format(time.RFC3339))
	}
	if len(violations) > 0 {
		return policyViolation(violations...)
	}
	return nil
}

// mayRotateItself lets only the present credential be the one that rotates: whoever
// found the one before must not get its successor's successor.
func mayRotateItself(e *exchange, t *v1alpha1.ApiToken) error {
	if !e.API.SelfRotation {
		return selfRotationForbidden
	}
	if present := t.Status.Credential; present == nil || present.ID != e.Caller.Token.ID || credentialID(t) != e.Caller.Token.ID {
		return conflict("The calling credential was replaced already. Rotate with its successor.")
	}
	return nil
}

// verdict is what the manager makes of a credential: it works, or it is refused, or
// neither is known.
type verdict struct {
	works   bool
	refusal *metav1.Condition
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
func (h *handlers) await(ctx context.Context, i *issued) (v verdict) {
	written := i.object.Generation
	key := client.ObjectKeyFromObject(i.object)
	// Its only error is the time-out, after which v is undecided.
	_ = wait.PollUntilContextTimeout(ctx, pollInterval, h.config.ConfirmTimeout, true, func(ctx context.Context) (bool, error) {
		latest := &v1alpha1.ApiToken{}
		err := h.config.Client.Get(ctx, key, latest)
		switch {
		case apierrors.IsNotFound(err):
			v.refusal = &metav1.Condition{Message: "It was deleted meanwhile."}
		case err == nil && latest.UID == i.object.UID:
			v = judge(latest, i.object.Spec.Credential, written)
			i.object = latest
		}
		return v.refusal != nil || v.works && h.accepts(i), nil
	})
	return v
}

// accepts says whether a request with the token would be accepted here.
func (h *handlers) accepts(i *issued) bool {
	_, ok := h.config.Directory.Token(i.tenant, i.minted.Digest(i.tenant))
	return ok
}

// judge reads the verdict from the latest state of an ApiToken.
func judge(latest *v1alpha1.ApiToken, credential *v1alpha1.Credential, generation int64) (v verdict) {
	active := meta.FindStatusCondition(latest.Status.Conditions, v1alpha1.ConditionActive)
	if active == nil || active.ObservedGeneration < generation {
		return v
	}
	present := latest.Status.Credential
	if stalled := meta.FindStatusCondition(latest.Status.Conditions, v1alpha1.ConditionStalled); stalled != nil && (present == nil || present.ID != credential.ID) {
		v.refusal = stalled
		return v
	}
	switch {
	case active.Status != metav1.ConditionTrue && active.Reason != v1alpha1.ReasonAwaitingCredential && active.Reason != v1alpha1.ReasonIssuedInFuture:
		v.refusal = active
	case active.Status == metav1.ConditionTrue && present != nil && present.ID == credential.ID:
		v.works = true
		if credential.NotAfter != nil && present.ExpiresAt.After(credential.NotAfter.Time) {
			return verdict{refusal: &metav1.Condition{Message: "The manager gave it more time than was asked for: it is older than the API server."}}
		}
	}
	return v
}
