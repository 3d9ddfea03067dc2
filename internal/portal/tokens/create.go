package tokens

import (
	"context"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/fault"
	"github.com/latchkey-dev/latchkey/internal/problem"
	"github.com/latchkey-dev/latchkey/internal/serverdate"
	"github.com/latchkey-dev/latchkey/internal/token"
)

// Issued is a token that was minted for an ApiToken.
type Issued struct {
	// Object is the ApiToken as it was read last.
	Object *v1alpha1.ApiToken
	// Confirmed says that the manager has accepted it.
	Confirmed bool

	tenant string
	minted token.Token
}

// Plaintext is the token itself: for the caller, and for nobody and nothing else.
func (i *Issued) Plaintext() string { return i.minted.Reveal() }

// ID is the token's public id.
func (i *Issued) ID() string { return i.minted.ID() }

// Request is the ApiToken that is asked for.
type Request struct {
	Name, Description string
	// Owner is who answers for it; if nil, who the calling token's does, or the user.
	Owner  *string
	Scopes []string
	// AllowedCIDRs are where it works from; if nil, where the calling token does.
	AllowedCIDRs *[]string
	// Lifetime or ExpiresAt, in whole seconds, say until when; the policy if both are nil.
	Lifetime  *metav1.Duration
	ExpiresAt *time.Time
	// Overlap is for how long a replaced credential goes on working; not at all if nil.
	Overlap *metav1.Duration
}

// Create makes an ApiToken with a credential. One that does not come to work is
// deleted again, since nobody is given its plaintext.
func (s *Service) Create(ctx context.Context, c *Call, asked *Request) (*Issued, error) {
	if err := s.Authorize(ctx, c, VerbCreate, ""); err != nil {
		return nil, err
	}
	object, err := newObject(c, asked)
	if err != nil {
		return nil, err
	}
	now, err := s.nameIsFree(ctx, c, object.Name)
	if err != nil {
		return nil, err
	}
	if caller := c.Caller.Token; caller != nil {
		exceeds := append(exceedingScopes(caller, object.Spec.Scopes), exceedingAddresses(caller, object.Spec.AllowedCIDRs)...)
		if exceeds = append(exceeds, exceedingExpiry(caller, &object.Spec, now)...); len(exceeds) > 0 {
			return nil, exceedsCaller(exceeds)
		}
	}
	if err := permitted(c, &object.Spec, now); err != nil {
		return nil, err
	}
	i := &Issued{tenant: c.Tenant.Name, Object: object}
	if i.minted, err = s.mint(c, object, now); err != nil {
		return nil, err
	}
	// From here on what was made has to be known or withdrawn, whoever hangs up.
	ctx, cancel := detached(ctx)
	defer cancel()
	if err := s.store(ctx, object, s.config.Client.Create(ctx, object)); err != nil {
		return nil, err
	}
	fault.ForToken(object.Name, "stored", i)
	v := s.await(ctx, i)
	if !v.works {
		s.withdraw(ctx, c, object)
		return nil, v.problem()
	}
	s.log(c, "create", object.Name, i.minted.ID())
	return i, nil
}

// newObject is the ApiToken that is asked for. What is not asked for is the calling
// token's.
func newObject(c *Call, asked *Request) (*v1alpha1.ApiToken, error) {
	object := &v1alpha1.ApiToken{ObjectMeta: metav1.ObjectMeta{Namespace: c.Tenant.Namespace, Name: asked.Name}}
	spec := &object.Spec
	spec.Description, spec.Owner = asked.Description, valueOr(asked.Owner, "")
	spec.Scopes, spec.AllowedCIDRs = asked.Scopes, valueOr(asked.AllowedCIDRs, nil)
	if caller := c.Caller.Token; caller != nil {
		spec.RateLimit = caller.RateLimit.Spec()
		if asked.Owner == nil {
			spec.Owner = caller.Owner
		}
		if asked.AllowedCIDRs == nil {
			for _, network := range caller.AllowedCIDRs {
				spec.AllowedCIDRs = append(spec.AllowedCIDRs, network.String())
			}
		}
	} else if asked.Owner == nil && IsOwner(c.Caller.User.Name) {
		spec.Owner = c.Caller.User.Name
	}
	spec.Lifetime = asked.Lifetime
	if asked.Overlap != nil {
		spec.Rotation = &v1alpha1.Rotation{Overlap: asked.Overlap}
	}
	if at := asked.ExpiresAt; at != nil {
		if at.Nanosecond() != 0 {
			return nil, problem.Invalid("expiresAt must be in whole seconds.")
		}
		spec.ExpiresAt = new(metav1.NewTime(at.UTC()))
	}
	annotate(object, v1alpha1.AnnotationCreatedBy, c.Caller.name())
	annotate(object, v1alpha1.AnnotationCreatedVia, c.Via)
	return object, nil
}

// IsOwner says whether a user's name can be a token's owner.
func IsOwner(name string) bool {
	return len(name) <= 253 && !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' })
}

// nameIsFree looks whether there is an ApiToken of the name, and takes the time
// from the answer.
func (s *Service) nameIsFree(ctx context.Context, c *Call, name string) (now time.Time, err error) {
	if name == "" || !isLabel(name) {
		return now, problem.Invalid("name must be a DNS label: at most 63 lower-case letters, digits and hyphens.")
	}
	ctx, date := serverdate.With(ctx)
	err = s.config.Client.Get(ctx, client.ObjectKey{Namespace: c.Tenant.Namespace, Name: name}, &v1alpha1.ApiToken{})
	switch {
	case err == nil:
		return now, conflict(fmt.Sprintf("There is a token named %s. Choose another name, or rotate it.", name))
	case !apierrors.IsNotFound(err):
		return now, clusterProblem(err)
	}
	if now, err = date.Time(); err != nil {
		return now, problem.Fault(err)
	}
	return now, nil
}

// mint puts a new credential into the object. One that a token had minted ends with
// that token.
func (s *Service) mint(c *Call, object *v1alpha1.ApiToken, issuedAt time.Time) (token.Token, error) {
	minted, err := token.Mint(s.config.TokenPrefix)
	if err != nil {
		return minted, problem.Fault(fmt.Errorf("mint a token: %w", err))
	}
	object.Spec.Credential = &v1alpha1.Credential{
		ID:       minted.ID(),
		Digest:   minted.Digest(c.Tenant.Name).String(),
		IssuedAt: metav1.NewTime(issuedAt),
	}
	if c.Caller.Token != nil {
		object.Spec.Credential.NotAfter = new(metav1.NewTime(c.Caller.Token.NotAfter.UTC().Truncate(time.Second)))
	}
	annotate(object, v1alpha1.AnnotationIssuedBy, c.Caller.name())
	fault.Minted(object.Name, minted)
	return minted, nil
}

// withdraw deletes an ApiToken that came to nothing.
func (s *Service) withdraw(ctx context.Context, c *Call, object *v1alpha1.ApiToken) {
	ctx, cancel := detached(ctx)
	defer cancel()
	err := s.config.Client.Delete(ctx, object, client.Preconditions{UID: &object.UID})
	if client.IgnoreNotFound(err) != nil {
		s.config.Logger.Error("an ApiToken that came to nothing could not be deleted: delete it", "namespace", object.Namespace, "token", object.Name, "error", err)
	}
	s.log(c, "withdraw", object.Name, credentialID(object))
}

// permitted asks the policy before anything is written. The manager, which also
// counts the tenant's tokens, has the last word.
func permitted(c *Call, spec *v1alpha1.ApiTokenSpec, now time.Time) error {
	asked := *spec
	asked.Credential = nil // is to be replaced
	violations := c.API.Policy.Violations(&asked, now, now, 0)
	if expiry := c.API.Policy.Expiry(&asked, now, now); !now.Before(expiry) {
		violations = append(violations, "it would have expired at "+expiry.Format(time.RFC3339))
	}
	if len(violations) > 0 {
		return policyViolation(violations...)
	}
	return nil
}
