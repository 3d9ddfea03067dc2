package tokens

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/fairqueue"
	"github.com/latchkey-dev/latchkey/internal/policy"
	"github.com/latchkey-dev/latchkey/internal/problem"
)

// List gives up to limit of the tenant's ApiTokens to use, and returns where the next page
// begins. Few callers of a tenant list at a time.
func (s *Service) List(ctx context.Context, c *Call, limit int, continueAt string, use func(*v1alpha1.ApiToken)) (next string, err error) {
	if err := s.Authorize(ctx, c, VerbList, ""); err != nil {
		return "", err
	}
	if !isPage(continueAt) {
		return "", notAPage
	}
	leave, ok := inPlace(ctx, s.lists, c.Tenant.Name)
	if !ok {
		return "", tooManyLists
	}
	defer leave()
	for next, left, chunk := continueAt, limit, maxChunk; ; {
		found, err := s.chunk(ctx, c, min(chunk, left), next)
		switch {
		case errors.Is(err, ErrAnswerTooLarge) && chunk > 1:
			chunk = max(1, chunk/8)
			continue
		case apierrors.IsBadRequest(err):
			return "", notAPage
		case errors.Is(err, tooManyReads):
			return "", tooManyReads
		case err != nil:
			return "", clusterProblem(err)
		}
		for i := range found.Items {
			use(&found.Items[i])
		}
		left -= len(found.Items)
		if next = found.Continue; next == "" || left <= 0 {
			return next, nil
		}
	}
}

// chunk reads few ApiTokens, because each may be as large as etcd takes, and few such pieces
// at a time.
func (s *Service) chunk(ctx context.Context, c *Call, limit int, continueAt string) (*v1alpha1.ApiTokenList, error) {
	leave, ok := inPlace(ctx, s.reads, c.Tenant.Name)
	if !ok {
		return nil, tooManyReads
	}
	defer leave()
	found := &v1alpha1.ApiTokenList{}
	err := s.config.Client.List(ctx, found, client.InNamespace(c.Tenant.Namespace), client.Limit(int64(limit)), client.Continue(continueAt))
	return found, err
}

// inPlace waits a little for a place.
func inPlace(ctx context.Context, places *fairqueue.Places, tenant string) (leave func(), ok bool) {
	ctx, cancel := context.WithTimeout(ctx, readPatience)
	defer cancel()
	return places.Enter(ctx, tenant)
}

const (
	// listsPerTenant is how many lists of one tenant are read at a time, and maxLists how
	// many of all tenants.
	listsPerTenant, maxLists = 2, 1000
	// maxReads is how many pieces of lists are read at a time. Each takes up to 25 MB while
	// it is decoded.
	maxReads = 12
	// readPatience is how long another waits for its turn.
	readPatience = 5 * time.Second
)

// maxChunk is how many ApiTokens are read at a time, unless they are so large that fewer are.
const maxChunk = 50

// ErrAnswerTooLarge is the error of a client whose answer would take too much memory.
var ErrAnswerTooLarge = errors.New("the answer of the Kubernetes API is too large")

// notAPage says that a list can't be continued so.
var notAPage = problem.Invalid("continue is not what a page before gave.")

// isPage says whether a text can be what the API server gave to continue a list by: JSON
// in base64. Nothing else is sent to it.
func isPage(text string) bool {
	if text == "" {
		return true
	}
	decoded, err := base64.RawURLEncoding.DecodeString(text)
	return err == nil && json.Valid(decoded)
}

// Show returns one ApiToken.
func (s *Service) Show(ctx context.Context, c *Call, name string) (*v1alpha1.ApiToken, error) {
	if err := s.Authorize(ctx, c, VerbGet, name); err != nil {
		return nil, err
	}
	return s.read(ctx, c, name)
}

// Change is what becomes different in an ApiToken; nil is what stays.
type Change struct {
	Description, Owner   *string
	Scopes, AllowedCIDRs *[]string
	Overlap              *metav1.Duration
	// DropPrevious is the id of the previous credential, which stops working.
	DropPrevious *string
}

// Change changes what a token may do. ifMatch, if not nil, are ETags as If-Match has
// them.
func (s *Service) Change(ctx context.Context, c *Call, name string, ifMatch *string, change *Change) (*v1alpha1.ApiToken, error) {
	if err := s.Authorize(ctx, c, VerbPatch, name); err != nil {
		return nil, err
	}
	t, err := s.write(ctx, c, name, ifMatch, func(t *v1alpha1.ApiToken) (bool, error) {
		return true, s.change(c, t, change)
	})
	if err != nil {
		return nil, err
	}
	s.log(c, "change", t.Name, "")
	return t, nil
}

// change applies a change to the spec, or says why not.
func (s *Service) change(c *Call, t *v1alpha1.ApiToken, change *Change) error {
	before := t.Spec.DeepCopy()
	spec := &t.Spec
	spec.Description = valueOr(change.Description, spec.Description)
	spec.Owner = valueOr(change.Owner, spec.Owner)
	spec.Scopes = valueOr(change.Scopes, spec.Scopes)
	spec.AllowedCIDRs = valueOr(change.AllowedCIDRs, spec.AllowedCIDRs)
	if (change.Overlap != nil || change.DropPrevious != nil) && spec.Rotation == nil {
		spec.Rotation = &v1alpha1.Rotation{}
	}
	if change.Overlap != nil {
		spec.Rotation.Overlap = change.Overlap
	}
	if change.DropPrevious != nil {
		spec.Rotation.DropPrevious = *change.DropPrevious
	}
	if caller := c.Caller.Token; caller != nil {
		if exceeds := exceedingChange(caller, before, t, &c.API.Policy, s.config.Clock.Now()); len(exceeds) > 0 {
			return exceedsCaller(exceeds)
		}
	}
	violations := c.API.Policy.AddedScopeViolations(before.Scopes, added(before.Scopes, spec.Scopes))
	if overlap := policy.Overlap(spec); change.Overlap != nil && overlap > c.API.Policy.MaxOverlap {
		violations = append(violations, fmt.Sprintf("overlap is %s, the policy permits at most %s", overlap, c.API.Policy.MaxOverlap))
	}
	if len(violations) > 0 {
		return policyViolation(violations...)
	}
	return nil
}

func valueOr[T any](p *T, fallback T) T {
	if p == nil {
		return fallback
	}
	return *p
}

// Revoke revokes a token for good. To revoke it again changes nothing. What it asks of the
// cluster goes before what others ask.
func (s *Service) Revoke(ctx context.Context, c *Call, name string, ifMatch *string) error {
	ctx = fairqueue.Urgent(ctx)
	if err := s.Authorize(ctx, c, VerbDelete, name); err != nil {
		return err
	}
	return s.revoke(ctx, c, name, ifMatch)
}

// RevokeCaller revokes the calling token, which takes nothing but having it.
func (s *Service) RevokeCaller(ctx context.Context, c *Call) error {
	return s.revoke(fairqueue.Urgent(ctx), c, c.Caller.Token.Name, nil)
}

func (s *Service) revoke(ctx context.Context, c *Call, name string, ifMatch *string) error {
	// Revoking ends the caller's own request, where it revokes itself.
	ctx, cancel := detached(ctx)
	defer cancel()
	changed := false
	t, err := s.write(ctx, c, name, ifMatch, func(t *v1alpha1.ApiToken) (bool, error) {
		if caller := c.Caller.Token; caller != nil && caller.Name == name && !holds(t, caller.ID) {
			return false, conflict("The token's name belongs to another token now.")
		}
		changed = !t.Spec.Revoked
		t.Spec.Revoked = true
		annotate(t, v1alpha1.AnnotationRevokedBy, c.Caller.name())
		return changed, nil
	})
	if err != nil {
		return err
	}
	if changed {
		s.log(c, "revoke", name, credentialID(t))
	}
	return nil
}

// holds says whether a credential is or was the ApiToken's.
func holds(t *v1alpha1.ApiToken, id string) bool {
	return t.Spec.Credential != nil && t.Spec.Credential.ID == id ||
		t.Status.Credential != nil && t.Status.Credential.ID == id ||
		t.Status.PreviousCredential != nil && t.Status.PreviousCredential.ID == id
}

// read reads a token of the tenant.
func (s *Service) read(ctx context.Context, c *Call, name string) (*v1alpha1.ApiToken, error) {
	t := &v1alpha1.ApiToken{}
	err := s.config.Client.Get(ctx, client.ObjectKey{Namespace: c.Tenant.Namespace, Name: name}, t)
	switch {
	case apierrors.IsNotFound(err), err == nil && !t.DeletionTimestamp.IsZero():
		return nil, tokenNotFound(name)
	case err != nil:
		return nil, clusterProblem(err)
	}
	return t, nil
}

// isLabel keeps what can't be the name of an ApiToken from the cluster.
func isLabel(name string) bool {
	return len(name) <= 63 && !strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-'
	})
}

// writeAttempts are how often a write is tried that others' writes get in the way
// of, such as the manager's to status.
const writeAttempts = 5

// write reads a token, changes it and writes it, unless change says that there is
// nothing to write. With an error it returns the token only if it was sent.
func (s *Service) write(ctx context.Context, c *Call, name string, ifMatch *string, change func(*v1alpha1.ApiToken) (bool, error)) (*v1alpha1.ApiToken, error) {
	for range writeAttempts {
		t, err := s.read(ctx, c, name)
		if err != nil {
			return nil, err
		}
		if !matches(ifMatch, t) {
			return nil, preconditionFailed
		}
		changed, err := change(t)
		if err != nil {
			return nil, err
		}
		if !changed {
			return t, nil
		}
		err = s.config.Client.Update(ctx, t)
		switch {
		case err == nil:
			return t, nil
		case apierrors.IsNotFound(err):
			return nil, tokenNotFound(name)
		case !apierrors.IsConflict(err):
			return t, clusterProblem(err)
		}
	}
	return nil, conflict("Others change it all the time. Try again.")
}

// ETag names the state of an ApiToken (RFC 9110, section 8.8.3).
func ETag(t *v1alpha1.ApiToken) string { return `"` + t.ResourceVersion + `"` }

// matches compares an If-Match with the present state (RFC 9110, section 13.1.1).
func matches(ifMatch *string, t *v1alpha1.ApiToken) bool {
	if ifMatch == nil {
		return true
	}
	for tag := range strings.SplitSeq(*ifMatch, ",") {
		if tag = strings.TrimSpace(tag); tag == "*" || tag == ETag(t) {
			return true
		}
	}
	return false
}

func annotate(t *v1alpha1.ApiToken, name, value string) {
	if t.Annotations == nil {
		t.Annotations = map[string]string{}
	}
	t.Annotations[name] = value
}

func credentialID(t *v1alpha1.ApiToken) string {
	if t.Spec.Credential == nil {
		return ""
	}
	return t.Spec.Credential.ID
}

// asLost says that nobody knows whether a write was done.
func asLost(err error) bool {
	if err == nil {
		return false
	}
	p, ok := errors.AsType[*problem.Problem](err)
	return ok && p.Cause != nil && !isRefusal(p.Cause)
}
