package tokens

import (
	"cmp"
	"context"
	"net/http"
	"net/netip"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/directory"
	"github.com/latchkey-dev/latchkey/internal/policy"
	"github.com/latchkey-dev/latchkey/internal/problem"
	"github.com/latchkey-dev/latchkey/internal/token"
)

// Ticket is an ApiToken with the scope settings: it signs its maker in, once.
type Ticket struct {
	// User is who made it and had it minted, as its annotations claim.
	User string

	object *v1alpha1.ApiToken
	id     string
	digest string
}

// ID is the public id of the ticket's credential.
func (t *Ticket) ID() string { return t.id }

// The answers to tickets that sign nobody in.
var (
	// TicketUsed answers a ticket that somebody redeemed already, or withdrew.
	TicketUsed = &problem.Problem{Code: problem.CodeTokenRevoked, Status: http.StatusForbidden,
		Title: "This token was used already", Detail: "It signs in once."}
	// TicketUncertain answers one whose redemption nobody can tell the outcome of.
	TicketUncertain = &problem.Problem{Code: problem.CodeStale, Status: http.StatusServiceUnavailable,
		Title: "The sign-in came to nothing", Detail: "The service's cluster did not answer, and the token may be used up. Nobody was signed in by it."}
	// NoTicket answers a token that works, and does not sign in.
	NoTicket = &problem.Problem{Code: problem.CodeInsufficientScope, Status: http.StatusForbidden, Scopes: []string{v1alpha1.ScopeSettings},
		Title: "This token does not sign in", Detail: "It is one for the API."}
)

// ticketPatience is for how long a ticket is waited for that this replica does not know:
// who made it a moment ago saw that it works on another.
const ticketPatience = 2 * time.Second

// Ticket finds the ticket that a text is, in the tenant and for a client at the
// address. It says why where it is none that works now. One that this replica does not
// know yet is waited for where patient says so.
func (s *Service) Ticket(ctx context.Context, tenant *directory.Tenant, plaintext string, address netip.Addr, patient bool) (*Ticket, error) {
	if _, err := token.Parse(s.config.TokenPrefix, plaintext); err != nil {
		return nil, problem.TokenInvalid
	}
	found, err := s.find(ctx, tenant, token.DigestOf(tenant.Name, plaintext), patient)
	if err != nil {
		return nil, err
	}
	switch policy.Decide(found.State(tenant), s.config.Clock.Now()) {
	case policy.Works:
	case policy.Expired:
		return nil, problem.TokenExpired(found.NotAfter)
	case policy.Revoked:
		return nil, TicketUsed
	case policy.Suspended:
		return nil, problem.TenantSuspended
	default:
		return nil, problem.TokenInvalid
	}
	isWithin := func(network netip.Prefix) bool { return network.Contains(address) }
	switch {
	case !slices.Equal(found.Scopes, []string{v1alpha1.ScopeSettings}):
		return nil, NoTicket
	case len(found.AllowedCIDRs) > 0 && !slices.ContainsFunc(found.AllowedCIDRs, isWithin):
		return nil, problem.AddressNotAllowed
	}
	return s.ticket(ctx, found)
}

// find looks a ticket up, and where it may waits a moment for one that is new.
func (s *Service) find(ctx context.Context, tenant *directory.Tenant, digest token.Digest, patient bool) (found *directory.Token, err error) {
	if found, ok := s.config.Directory.Token(tenant.Name, digest); ok || !patient {
		if !ok {
			return nil, problem.TokenInvalid
		}
		return found, nil
	}
	err = wait.PollUntilContextTimeout(ctx, pollInterval, ticketPatience, true, func(context.Context) (ok bool, _ error) {
		found, ok = s.config.Directory.Token(tenant.Name, digest)
		return ok, nil
	})
	if err != nil {
		return nil, problem.TokenInvalid
	}
	return found, nil
}

// ticket reads the ApiToken of a credential that works.
func (s *Service) ticket(ctx context.Context, found *directory.Token) (*Ticket, error) {
	object := &v1alpha1.ApiToken{}
	err := s.config.Client.Get(ctx, client.ObjectKey{Namespace: found.Namespace, Name: found.Name}, object)
	switch {
	case apierrors.IsNotFound(err):
		return nil, TicketUsed
	case err != nil:
		return nil, clusterProblem(err)
	}
	t := &Ticket{object: object, id: found.ID, digest: found.Digest.String(), User: object.Annotations[v1alpha1.AnnotationIssuedBy]}
	maker := object.Annotations[v1alpha1.AnnotationCreatedBy]
	if maker != "" && t.User != "" && maker != t.User {
		return nil, NoTicket // whoever minted a credential into another's ApiToken is not that other
	}
	t.User = cmp.Or(t.User, maker, "apitoken:"+object.Name)
	if !t.isWhole() {
		return nil, TicketUsed
	}
	return t, nil
}

// isWhole says whether the ApiToken is still the one that was found.
func (t *Ticket) isWhole() bool {
	issued := t.object.Status.Credential
	return t.object.DeletionTimestamp.IsZero() && !t.object.Spec.Revoked && hasDigest(t.object, t.digest) && issued != nil && issued.Digest == t.digest
}

// Redeem uses the ticket up: of several who try, on whatever replica, one succeeds. It
// deletes the ApiToken as it was read, so that the API server decides who was first.
// Where the answer is lost, nobody can tell whether it was this attempt that deleted it,
// and so nobody is signed in: the ticket may be lost, never used twice.
func (s *Service) Redeem(ctx context.Context, t *Ticket) error {
	ctx, cancel := detached(ctx)
	defer cancel()
	for range writeAttempts {
		err := s.config.Client.Delete(ctx, t.object, client.Preconditions{UID: &t.object.UID, ResourceVersion: &t.object.ResourceVersion})
		switch {
		case err == nil:
			return nil
		case apierrors.IsNotFound(err):
			return TicketUsed
		case !isRefusal(err):
			s.config.Logger.Error("nobody knows whether an ApiToken that signs in was deleted: nobody was signed in by it",
				"namespace", t.object.Namespace, "token", t.object.Name, "error", err)
			return TicketUncertain
		case !apierrors.IsConflict(err):
			return clusterProblem(err)
		}
		if err := s.reread(ctx, t); err != nil {
			return err
		}
	}
	return conflict("Others change the token all the time. Try again.")
}

// reread reads the ApiToken again that somebody changed, such as the manager its
// status.
func (s *Service) reread(ctx context.Context, t *Ticket) error {
	latest := &v1alpha1.ApiToken{}
	err := s.config.Client.Get(ctx, client.ObjectKeyFromObject(t.object), latest)
	switch {
	case apierrors.IsNotFound(err):
		return TicketUsed
	case err != nil:
		return clusterProblem(err)
	case latest.UID != t.object.UID:
		return TicketUsed
	}
	t.object = latest
	if !t.isWhole() {
		return TicketUsed
	}
	return nil
}
