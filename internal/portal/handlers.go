package portal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/audit"
	"github.com/latchkey-dev/latchkey/internal/policy"
	"github.com/latchkey-dev/latchkey/internal/portal/tokenapi"
	"github.com/latchkey-dev/latchkey/internal/problem"
)

// handlers are the endpoints of the OpenAPI document. The problems that they return
// are sent by the server.
type handlers struct{ *Portal }

// The verbs of Kubernetes that stand for what can be done.
const (
	verbGet    = "get"
	verbList   = "list"
	verbCreate = "create"
	verbPatch  = "patch"
	verbDelete = "delete"
)

// authorize says whether the caller may do something to a token, or to all.
func (h *handlers) authorize(ctx context.Context, e *exchange, verb, name string) error {
	if e.Caller.User != nil {
		allowed, refused := h.reviews.mayDo(ctx, e.Caller.User, verb, e.Tenant.Namespace, name)
		switch {
		case refused != nil:
			return refused
		case !allowed:
			return forbidden(e.Caller.User.Name, verb, e.Tenant.Namespace)
		}
		return nil
	}
	scope := v1alpha1.ScopeTokensWrite
	if verb == verbGet || verb == verbList {
		scope = v1alpha1.ScopeTokensRead
	}
	if !slices.Contains(e.Caller.Token.Scopes, scope) {
		return problem.InsufficientScope(scope)
	}
	return nil
}

// GetToken tells the calling token what it is.
func (h *handlers) GetToken(ctx context.Context, _ tokenapi.GetTokenRequestObject) (tokenapi.GetTokenResponseObject, error) {
	t := exchangeOf(ctx).Caller.Token
	if t == nil {
		return nil, apiTokenRequired
	}
	return tokenapi.GetToken200JSONResponse{
		ID: t.ID, Name: t.Name, Tenant: t.Tenant, Owner: text(t.Owner), Scopes: list(t.Scopes), ExpiresAt: t.NotAfter.UTC().Truncate(time.Second),
	}, nil
}

// RevokeToken revokes the calling token, which takes nothing but having it.
func (h *handlers) RevokeToken(ctx context.Context, _ tokenapi.RevokeTokenRequestObject) (tokenapi.RevokeTokenResponseObject, error) {
	e := exchangeOf(ctx)
	if e.Caller.Token == nil {
		return nil, apiTokenRequired
	}
	if err := h.revoke(ctx, e, e.Caller.Token.Name, nil); err != nil {
		return nil, err
	}
	return tokenapi.RevokeToken204Response{}, nil
}

// RotateToken replaces the calling token.
func (h *handlers) RotateToken(ctx context.Context, r tokenapi.RotateTokenRequestObject) (tokenapi.RotateTokenResponseObject, error) {
	e := exchangeOf(ctx)
	if e.Caller.Token == nil {
		return nil, apiTokenRequired
	}
	issued, err := h.rotate(ctx, e, e.Caller.Token.Name, r.Params.IfMatch)
	switch {
	case err != nil:
		return nil, err
	case !issued.confirmed:
		return tokenapi.RotateToken202JSONResponse{UnconfirmedJSONResponse: issued.unconfirmed()}, nil
	}
	return tokenapi.RotateToken200JSONResponse{IssuedJSONResponse: issued.response()}, nil
}

const (
	defaultPage, maxPage = 100, 500
	maxDays              = 3650
	maxScopePattern      = 128
)

// ListTokens lists the tenant's tokens.
func (h *handlers) ListTokens(ctx context.Context, r tokenapi.ListTokensRequestObject) (tokenapi.ListTokensResponseObject, error) {
	e := exchangeOf(ctx)
	if err := h.authorize(ctx, e, verbList, ""); err != nil {
		return nil, err
	}
	limit := value(r.Params.Limit, defaultPage)
	if limit < 1 || limit > maxPage {
		return nil, invalid(fmt.Sprintf("limit must be from 1 to %d.", maxPage))
	}
	checks, err := checksOf(&r.Params)
	if err != nil {
		return nil, err
	}
	var found v1alpha1.ApiTokenList
	err = h.config.Client.List(ctx, &found, client.InNamespace(e.Tenant.Namespace), client.Limit(int64(limit)), client.Continue(value(r.Params.Continue, "")))
	if apierrors.IsBadRequest(err) {
		return nil, invalid("continue is not what a page before gave.")
	}
	if err != nil {
		return nil, clusterProblem(err)
	}
	page := tokenapi.ListTokens200JSONResponse{Items: []tokenapi.Token{}, Continue: text(found.Continue)}
	facts := audit.Facts{Now: h.config.Clock.Now(), Tenant: e.Tenant.Name, Users: e.Tenant.Users, Policy: &e.API.Policy}
	for i := range found.Items {
		t := &found.Items[i]
		if checks.AllFind(t, facts) && (r.Params.Owner == nil || *r.Params.Owner == t.Spec.Owner) {
			page.Items = append(page.Items, represent(t))
		}
	}
	return page, nil
}

// checksOf are the questions of an audit that the parameters ask.
func checksOf(p *tokenapi.ListTokensParams) (audit.Checks, error) {
	const day = 24 * time.Hour
	for name, days := range map[string]*int{"idleDays": p.IdleDays, "expiringWithinDays": p.ExpiringWithinDays} {
		if days != nil && (*days < 1 || *days > maxDays) {
			return audit.Checks{}, invalid(fmt.Sprintf("%s must be from 1 to %d.", name, maxDays))
		}
	}
	checks := audit.Checks{
		Idle: time.Duration(value(p.IdleDays, 0)) * day, Expiring: time.Duration(value(p.ExpiringWithinDays, 0)) * day,
		NeverUsed: value(p.NeverUsed, false), Expired: value(p.Expired, false),
		WithoutOwner: value(p.WithoutOwner, false), OwnerGone: value(p.OwnerGone, false),
		ViolatesPolicy: value(p.ViolatesPolicy, false), PreviousInUse: value(p.PreviousInUse, false),
	}
	wide := value(p.WideScopes, "")
	if p.WideScopes != nil && (wide == "" || len(wide) > maxScopePattern) {
		return checks, invalid(fmt.Sprintf("wideScopes must be a number, or a pattern of at most %d characters.", maxScopePattern))
	}
	checks, err := checks.AskingWideScopes(wide)
	if err != nil {
		return checks, invalid(fmt.Sprintf("wideScopes %v.", err))
	}
	return checks, nil
}

func value[T any](p *T, fallback T) T {
	if p == nil {
		return fallback
	}
	return *p
}

// CreateToken makes a token.
func (h *handlers) CreateToken(ctx context.Context, r tokenapi.CreateTokenRequestObject) (tokenapi.CreateTokenResponseObject, error) {
	e := exchangeOf(ctx)
	if err := h.authorize(ctx, e, verbCreate, ""); err != nil {
		return nil, err
	}
	issued, err := h.create(ctx, e, r.Body)
	if err != nil {
		return nil, err
	}
	return tokenapi.CreateToken201JSONResponse{IssuedJSONResponse: issued.response()}, nil
}

// GetTokenByName shows one token.
func (h *handlers) GetTokenByName(ctx context.Context, r tokenapi.GetTokenByNameRequestObject) (tokenapi.GetTokenByNameResponseObject, error) {
	e := exchangeOf(ctx)
	if err := h.authorize(ctx, e, verbGet, r.Name); err != nil {
		return nil, err
	}
	t, err := h.read(ctx, e, r.Name)
	if err != nil {
		return nil, err
	}
	return tokenapi.GetTokenByName200JSONResponse{TokenJSONResponse: tokenResponse(t)}, nil
}

func tokenResponse(t *v1alpha1.ApiToken) tokenapi.TokenJSONResponse {
	return tokenapi.TokenJSONResponse{Body: represent(t), Headers: tokenapi.TokenResponseHeaders{ETag: etag(t)}}
}

// ChangeToken changes what a token may do.
func (h *handlers) ChangeToken(ctx context.Context, r tokenapi.ChangeTokenRequestObject) (tokenapi.ChangeTokenResponseObject, error) {
	e := exchangeOf(ctx)
	if err := h.authorize(ctx, e, verbPatch, r.Name); err != nil {
		return nil, err
	}
	t, err := h.write(ctx, e, r.Name, r.Params.IfMatch, func(t *v1alpha1.ApiToken) (bool, error) {
		return true, h.change(e, t, r.Body)
	})
	if err != nil {
		return nil, err
	}
	h.log(e, "change", t.Name, "")
	return tokenapi.ChangeToken200JSONResponse{TokenJSONResponse: tokenResponse(t)}, nil
}

// change applies a change to the spec, or says why not.
func (h *handlers) change(e *exchange, t *v1alpha1.ApiToken, change *tokenapi.TokenChange) error {
	before := t.Spec.DeepCopy()
	spec := &t.Spec
	spec.Description = value(change.Description, spec.Description)
	spec.Owner = value(change.Owner, spec.Owner)
	spec.Scopes = value(change.Scopes, spec.Scopes)
	spec.AllowedCIDRs = value(change.AllowedCIDRs, spec.AllowedCIDRs)
	if (change.Overlap != nil || change.DropPrevious != nil) && spec.Rotation == nil {
		spec.Rotation = &v1alpha1.Rotation{}
	}
	if change.Overlap != nil {
		overlap, err := duration("overlap", change.Overlap)
		if err != nil {
			return err
		}
		spec.Rotation.Overlap = overlap
	}
	if change.DropPrevious != nil {
		spec.Rotation.DropPrevious = *change.DropPrevious
	}
	if caller := e.Caller.Token; caller != nil {
		if exceeds := exceedingChange(caller, before, t, &e.API.Policy, h.config.Clock.Now()); len(exceeds) > 0 {
			return exceedsCaller(exceeds)
		}
	}
	violations := e.API.Policy.ScopeViolations(added(before.Scopes, spec.Scopes))
	if overlap := policy.Overlap(spec); change.Overlap != nil && overlap > e.API.Policy.MaxOverlap {
		violations = append(violations, fmt.Sprintf("overlap is %s, the policy permits at most %s", overlap, e.API.Policy.MaxOverlap))
	}
	if len(violations) > 0 {
		return policyViolation(violations...)
	}
	return nil
}

// duration reads a duration that the cluster then checks.
func duration(member string, s *string) (*metav1.Duration, error) {
	if s == nil {
		return nil, nil
	}
	d, err := time.ParseDuration(*s)
	if err != nil {
		return nil, invalid(fmt.Sprintf("%s must be a duration such as 24h or 30m.", member))
	}
	return &metav1.Duration{Duration: d}, nil
}

// RevokeTokenByName revokes a token.
func (h *handlers) RevokeTokenByName(ctx context.Context, r tokenapi.RevokeTokenByNameRequestObject) (tokenapi.RevokeTokenByNameResponseObject, error) {
	e := exchangeOf(ctx)
	if err := h.authorize(ctx, e, verbDelete, r.Name); err != nil {
		return nil, err
	}
	if err := h.revoke(ctx, e, r.Name, r.Params.IfMatch); err != nil {
		return nil, err
	}
	return tokenapi.RevokeTokenByName204Response{}, nil
}

// RotateTokenByName replaces a token's credential.
func (h *handlers) RotateTokenByName(ctx context.Context, r tokenapi.RotateTokenByNameRequestObject) (tokenapi.RotateTokenByNameResponseObject, error) {
	e := exchangeOf(ctx)
	if err := h.authorize(ctx, e, verbPatch, r.Name); err != nil {
		return nil, err
	}
	issued, err := h.rotate(ctx, e, r.Name, r.Params.IfMatch)
	switch {
	case err != nil:
		return nil, err
	case !issued.confirmed:
		return tokenapi.RotateTokenByName202JSONResponse{UnconfirmedJSONResponse: issued.unconfirmed()}, nil
	}
	return tokenapi.RotateTokenByName200JSONResponse{IssuedJSONResponse: issued.response()}, nil
}

// revoke revokes a token for good. To revoke it again changes nothing.
func (h *handlers) revoke(ctx context.Context, e *exchange, name string, ifMatch *string) error {
	// Revoking ends the caller's own request, where it revokes itself.
	ctx, cancel := detached(ctx)
	defer cancel()
	changed := false
	t, err := h.write(ctx, e, name, ifMatch, func(t *v1alpha1.ApiToken) (bool, error) {
		if caller := e.Caller.Token; caller != nil && caller.Name == name && !holds(t, caller.ID) {
			return false, conflict("The token's name belongs to another token now.")
		}
		changed = !t.Spec.Revoked
		t.Spec.Revoked = true
		annotate(t, v1alpha1.AnnotationRevokedBy, e.Caller.name())
		return changed, nil
	})
	if err != nil {
		return err
	}
	if changed {
		h.log(e, "revoke", name, credentialID(t))
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
func (h *handlers) read(ctx context.Context, e *exchange, name string) (*v1alpha1.ApiToken, error) {
	t := &v1alpha1.ApiToken{}
	err := h.config.Client.Get(ctx, client.ObjectKey{Namespace: e.Tenant.Namespace, Name: name}, t)
	switch {
	case !isLabel(name), apierrors.IsNotFound(err), err == nil && !t.DeletionTimestamp.IsZero():
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
func (h *handlers) write(ctx context.Context, e *exchange, name string, ifMatch *string, change func(*v1alpha1.ApiToken) (bool, error)) (*v1alpha1.ApiToken, error) {
	for range writeAttempts {
		t, err := h.read(ctx, e, name)
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
		err = h.config.Client.Update(ctx, t)
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

// matches compares an If-Match with the present state (RFC 9110, section 13.1.1).
func matches(ifMatch *string, t *v1alpha1.ApiToken) bool {
	if ifMatch == nil {
		return true
	}
	for tag := range strings.SplitSeq(*ifMatch, ",") {
		if tag = strings.TrimSpace(tag); tag == "*" || tag == etag(t) {
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

// name is how annotations name the caller.
func (c *Caller) name() string {
	if c.User != nil {
		return c.User.Name
	}
	return "apitoken:" + c.Token.Name
}

// log writes a line of the audit log.
func (h *handlers) log(e *exchange, action, name, credential string) {
	attributes := []any{"action", action, "tenant", e.Tenant.Name, "namespace", e.Tenant.Namespace, "token", name}
	if credential != "" {
		attributes = append(attributes, "credentialID", credential)
	}
	if e.Caller.User != nil {
		attributes = append(attributes, "actorKind", "user", "actor", e.Caller.User.Name)
	} else {
		attributes = append(attributes, "actorKind", "apitoken", "actor", e.Caller.Token.Name, "actorCredentialID", e.Caller.Token.ID)
	}
	h.config.Logger.Info("audit", append(attributes, "via", v1alpha1.ViaAPI)...)
}

// detached is a context that goes on when the caller's request ends.
func detached(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
}

// asProblem finds the problem in an error that a handler returns.
func asProblem(err error) *problem.Problem {
	if p, ok := errors.AsType[*problem.Problem](err); ok {
		return p
	}
	return internal(err)
}
