package tokens

import (
	"context"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/fault"
	"github.com/latchkey-dev/latchkey/internal/policy"
	"github.com/latchkey-dev/latchkey/internal/problem"
	"github.com/latchkey-dev/latchkey/internal/serverdate"
	"github.com/latchkey-dev/latchkey/internal/token"
)

// Rotation is how a credential is replaced.
type Rotation struct {
	// IfMatch, if not nil, are ETags as If-Match has them.
	IfMatch *string
	// Replaces, if not nil, is the id of the credential that the caller knows of, empty
	// for none. Where there is another one by now, the answer is Replaced.
	Replaces *string
	// Overlap, if not nil, is for how long the replaced credential goes on working, from
	// now on.
	Overlap *metav1.Duration
	// Renew gives a token whose expiresAt has passed the policy's lifetime instead.
	Renew bool
}

// Renew takes an expiresAt that has passed from the spec, so that its next credential
// gets the policy's lifetime.
func Renew(spec *v1alpha1.ApiTokenSpec, now time.Time) {
	if spec.ExpiresAt != nil && !now.Before(spec.ExpiresAt.Time) {
		spec.ExpiresAt = nil
	}
}

// Rotate replaces a token's credential, or gives it its first.
func (s *Service) Rotate(ctx context.Context, c *Call, name string, how Rotation) (*Issued, error) {
	if err := s.Authorize(ctx, c, VerbPatch, name); err != nil {
		return nil, err
	}
	return s.rotate(ctx, c, name, how)
}

// RotateCaller replaces the calling token's credential, where it may do that.
func (s *Service) RotateCaller(ctx context.Context, c *Call, how Rotation) (*Issued, error) {
	return s.rotate(ctx, c, c.Caller.Token.Name, how)
}

func (s *Service) rotate(ctx context.Context, c *Call, name string, how Rotation) (*Issued, error) {
	// A token that replaces itself ends its own request.
	ctx, cancel := detached(ctx)
	defer cancel()
	ctx, date := serverdate.With(ctx)
	i := &Issued{tenant: c.Tenant.Name}
	digest := ""
	object, err := s.write(ctx, c, name, how.IfMatch, func(t *v1alpha1.ApiToken) (bool, error) {
		if digest != "" && hasDigest(t, digest) {
			return false, nil // the write in whose way another one seemed to get was done
		}
		if how.Replaces != nil && *how.Replaces != credentialID(t) {
			return false, Replaced
		}
		if how.Overlap != nil {
			t.Spec.Rotation = &v1alpha1.Rotation{Overlap: how.Overlap}
		}
		now, err := date.Time()
		if err != nil {
			return false, problem.Fault(err)
		}
		if i.minted, err = s.replace(c, t, how, now); err != nil {
			return false, err
		}
		digest = t.Spec.Credential.Digest
		return true, nil
	})
	if object != nil && asLost(err) {
		err = s.store(ctx, object, problem.Of(err).Cause)
	}
	if err != nil {
		return nil, err
	}
	i.Object = object
	s.log(c, "rotate", name, i.minted.ID())
	fault.ForToken(name, "rotated", i)
	v := s.await(ctx, i)
	if v.final {
		return nil, v.problem()
	}
	// Else it may still come to work, and then its predecessor ends: who does not have
	// it would be left with nothing.
	i.Confirmed = v.works
	return i, nil
}

// replace gives the ApiToken another credential, or says why the caller may not.
func (s *Service) replace(c *Call, t *v1alpha1.ApiToken, how Rotation, now time.Time) (minted token.Token, err error) {
	if how.Renew {
		Renew(&t.Spec, now)
	}
	if err := s.mayRotate(c, t, now); err != nil {
		return minted, err
	}
	issuedAt := now
	if present := t.Spec.Credential; present != nil && !issuedAt.After(present.IssuedAt.Time) {
		issuedAt = present.IssuedAt.Add(time.Second) // credentials only move forward
	}
	return s.mint(c, t, issuedAt)
}

// mayRotate says why the credential may not be replaced by this caller.
func (s *Service) mayRotate(c *Call, t *v1alpha1.ApiToken, now time.Time) error {
	if t.Spec.Revoked {
		return conflict("The token is revoked, for good. Create another one.")
	}
	if slices.Contains(t.Spec.Scopes, v1alpha1.ScopeSettings) {
		return conflict("A token that signs in is made anew, not rotated: run kubectl latchkey settings.")
	}
	if present := t.Spec.Credential; present != nil && present.IssuedAt.After(now.Add(policy.ClockTolerance)) {
		return conflict("The present credential's issuedAt is in the future. Create another token.")
	}
	if caller := c.Caller.Token; caller != nil {
		if caller.Name == t.Name {
			if err := mayRotateItself(c, t); err != nil {
				return err
			}
		} else if exceeds := slices.Concat(exceedingScopes(caller, t.Spec.Scopes), exceedingAddresses(caller, t.Spec.AllowedCIDRs), exceedingRate(caller, t.Spec.RateLimit)); len(exceeds) > 0 {
			return exceedsCaller(exceeds)
		}
	}
	if issued := t.Status.Credential; issued != nil {
		if violations := policy.RotationViolations(issued.Scopes, t.Spec.Scopes); len(violations) > 0 {
			return policyViolation(violations...)
		}
	}
	return permitted(c, &t.Spec, now)
}

// mayRotateItself lets only the present credential be the one that rotates: whoever
// found the one before must not get its successor's successor.
func mayRotateItself(c *Call, t *v1alpha1.ApiToken) error {
	if !c.API.SelfRotation {
		return selfRotationForbidden
	}
	present, wanted := t.Status.Credential, credentialID(t)
	isReplaced := wanted != c.Caller.Token.ID && wanted != t.Status.RefusedCredentialID
	if present == nil || present.ID != c.Caller.Token.ID || isReplaced {
		return conflict("The calling credential was replaced already. Rotate with its successor.")
	}
	return nil
}
