package portal

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/policy"
	"github.com/latchkey-dev/latchkey/internal/portal/tokenapi"
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
	digest := ""
	object, err := h.write(ctx, e, name, ifMatch, func(t *v1alpha1.ApiToken) (bool, error) {
		if digest != "" && hasDigest(t, digest) {
			return false, nil // the write in whose way another one seemed to get was done
		}
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
		if i.minted, err = h.mint(e, t, issuedAt); err != nil {
			return false, err
		}
		digest = t.Spec.Credential.Digest
		return true, nil
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
	if v.final {
		return nil, v.problem()
	}
	// Else it may still come to work, and then its predecessor ends: who does not have
	// it would be left with nothing.
	i.confirmed = v.works
	return i, nil
}

// asLost says that nobody knows whether a write was done.
func asLost(err error) bool {
	if err == nil {
		return false
	}
	cause := asProblem(err).Cause
	return cause != nil && !isRefusal(cause)
}

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
	present, wanted := t.Status.Credential, credentialID(t)
	isReplaced := wanted != e.Caller.Token.ID && wanted != t.Status.RefusedCredentialID
	if present == nil || present.ID != e.Caller.Token.ID || isReplaced {
		return conflict("The calling credential was replaced already. Rotate with its successor.")
	}
	return nil
}
