package portal

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/audit"
	"github.com/latchkey-dev/latchkey/internal/portal/tokenapi"
	"github.com/latchkey-dev/latchkey/internal/portal/tokens"
	"github.com/latchkey-dev/latchkey/internal/problem"
)

// handlers are the endpoints of the OpenAPI document: what they are asked they ask the
// tokens' service. The problems that they return are sent by the server.
type handlers struct{ *Portal }

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

// RevokeToken revokes the calling token.
func (h *handlers) RevokeToken(ctx context.Context, _ tokenapi.RevokeTokenRequestObject) (tokenapi.RevokeTokenResponseObject, error) {
	e := exchangeOf(ctx)
	if e.Caller.Token == nil {
		return nil, apiTokenRequired
	}
	if err := h.tokens.RevokeCaller(ctx, &e.Call.Call); err != nil {
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
	issued, err := h.tokens.RotateCaller(ctx, &e.Call.Call, tokens.Rotation{IfMatch: r.Params.IfMatch})
	switch {
	case err != nil:
		return nil, err
	case !issued.Confirmed:
		return tokenapi.RotateToken202JSONResponse{UnconfirmedJSONResponse: unconfirmed(issued)}, nil
	}
	return tokenapi.RotateToken200JSONResponse{IssuedJSONResponse: confirmed(issued)}, nil
}

const (
	defaultPage, maxPage = 100, 500
	maxDays              = 3650
	maxScopePattern      = 128
)

// ListTokens lists the tenant's tokens.
func (h *handlers) ListTokens(ctx context.Context, r tokenapi.ListTokensRequestObject) (tokenapi.ListTokensResponseObject, error) {
	e := exchangeOf(ctx)
	if err := h.tokens.Authorize(ctx, &e.Call.Call, tokens.VerbList, ""); err != nil {
		return nil, err
	}
	limit := value(r.Params.Limit, defaultPage)
	if limit < 1 || limit > maxPage {
		return nil, problem.Invalid(fmt.Sprintf("limit must be from 1 to %d.", maxPage))
	}
	checks, err := checksOf(&r.Params)
	if err != nil {
		return nil, err
	}
	page := tokenapi.ListTokens200JSONResponse{Items: []tokenapi.Token{}}
	facts := audit.Facts{Now: h.config.Clock.Now(), Tenant: e.Tenant.Name, Users: e.Tenant.Users, Policy: &e.API.Policy}
	next, err := h.tokens.List(ctx, &e.Call.Call, limit, value(r.Params.Continue, ""), func(t *v1alpha1.ApiToken) {
		if checks.AllFind(t, facts) && (r.Params.Owner == nil || *r.Params.Owner == t.Spec.Owner) {
			page.Items = append(page.Items, represent(t))
		}
	})
	if err != nil {
		return nil, err
	}
	page.Continue = text(next)
	return page, nil
}

// checksOf are the questions of an audit that the parameters ask.
func checksOf(p *tokenapi.ListTokensParams) (audit.Checks, error) {
	const day = 24 * time.Hour
	for name, days := range map[string]*int{"idleDays": p.IdleDays, "expiringWithinDays": p.ExpiringWithinDays} {
		if days != nil && (*days < 1 || *days > maxDays) {
			return audit.Checks{}, problem.Invalid(fmt.Sprintf("%s must be from 1 to %d.", name, maxDays))
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
		return checks, problem.Invalid(fmt.Sprintf("wideScopes must be a number, or a pattern of at most %d characters.", maxScopePattern))
	}
	checks, err := checks.AskingWideScopes(wide)
	if err != nil {
		return checks, problem.Invalid(fmt.Sprintf("wideScopes %v.", err))
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
	// Before anything is said of the body.
	if err := h.tokens.Authorize(ctx, &e.Call.Call, tokens.VerbCreate, ""); err != nil {
		return nil, err
	}
	asked, err := newOf(r.Body)
	if err != nil {
		return nil, err
	}
	issued, err := h.tokens.Create(ctx, &e.Call.Call, asked)
	if err != nil {
		return nil, err
	}
	return tokenapi.CreateToken201JSONResponse{IssuedJSONResponse: confirmed(issued)}, nil
}

func newOf(body *tokenapi.NewToken) (asked *tokens.Request, err error) {
	asked = &tokens.Request{
		Name: body.Name, Description: value(body.Description, ""), Owner: body.Owner,
		Scopes: value(body.Scopes, nil), AllowedCIDRs: body.AllowedCIDRs, ExpiresAt: body.ExpiresAt,
	}
	if asked.Lifetime, err = duration("lifetime", body.Lifetime); err != nil {
		return nil, err
	}
	if asked.Overlap, err = duration("overlap", body.Overlap); err != nil {
		return nil, err
	}
	return asked, nil
}

// duration reads a duration that the cluster then checks.
func duration(member string, s *string) (*metav1.Duration, error) {
	if s == nil {
		return nil, nil
	}
	d, err := time.ParseDuration(*s)
	if err != nil {
		return nil, problem.Invalid(fmt.Sprintf("%s must be a duration such as 24h or 30m.", member))
	}
	return &metav1.Duration{Duration: d}, nil
}

// GetTokenByName shows one token.
func (h *handlers) GetTokenByName(ctx context.Context, r tokenapi.GetTokenByNameRequestObject) (tokenapi.GetTokenByNameResponseObject, error) {
	t, err := h.tokens.Show(ctx, &exchangeOf(ctx).Call.Call, r.Name)
	if err != nil {
		return nil, err
	}
	return tokenapi.GetTokenByName200JSONResponse{TokenJSONResponse: tokenResponse(t)}, nil
}

func tokenResponse(t *v1alpha1.ApiToken) tokenapi.TokenJSONResponse {
	return tokenapi.TokenJSONResponse{Body: represent(t), Headers: tokenapi.TokenResponseHeaders{ETag: tokens.ETag(t)}}
}

// ChangeToken changes what a token may do.
func (h *handlers) ChangeToken(ctx context.Context, r tokenapi.ChangeTokenRequestObject) (tokenapi.ChangeTokenResponseObject, error) {
	e := exchangeOf(ctx)
	// Before anything is said of the body.
	if err := h.tokens.Authorize(ctx, &e.Call.Call, tokens.VerbPatch, r.Name); err != nil {
		return nil, err
	}
	overlap, err := duration("overlap", r.Body.Overlap)
	if err != nil {
		return nil, err
	}
	t, err := h.tokens.Change(ctx, &e.Call.Call, r.Name, r.Params.IfMatch, &tokens.Change{
		Description: r.Body.Description, Owner: r.Body.Owner, Scopes: r.Body.Scopes, AllowedCIDRs: r.Body.AllowedCIDRs,
		Overlap: overlap, DropPrevious: r.Body.DropPrevious,
	})
	if err != nil {
		return nil, err
	}
	return tokenapi.ChangeToken200JSONResponse{TokenJSONResponse: tokenResponse(t)}, nil
}

// RevokeTokenByName revokes a token.
func (h *handlers) RevokeTokenByName(ctx context.Context, r tokenapi.RevokeTokenByNameRequestObject) (tokenapi.RevokeTokenByNameResponseObject, error) {
	if err := h.tokens.Revoke(ctx, &exchangeOf(ctx).Call.Call, r.Name, r.Params.IfMatch); err != nil {
		return nil, err
	}
	return tokenapi.RevokeTokenByName204Response{}, nil
}

// RotateTokenByName replaces a token's credential.
func (h *handlers) RotateTokenByName(ctx context.Context, r tokenapi.RotateTokenByNameRequestObject) (tokenapi.RotateTokenByNameResponseObject, error) {
	issued, err := h.tokens.Rotate(ctx, &exchangeOf(ctx).Call.Call, r.Name, tokens.Rotation{IfMatch: r.Params.IfMatch})
	switch {
	case err != nil:
		return nil, err
	case !issued.Confirmed:
		return tokenapi.RotateTokenByName202JSONResponse{UnconfirmedJSONResponse: unconfirmed(issued)}, nil
	}
	return tokenapi.RotateTokenByName200JSONResponse{IssuedJSONResponse: confirmed(issued)}, nil
}
