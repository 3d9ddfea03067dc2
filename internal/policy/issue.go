package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// ClockTolerance is how far a credential's issuedAt may be ahead of the clock of
// whoever judges it: clocks of one cluster differ by that much. It never
// lengthens a lifetime.
const ClockTolerance = time.Minute

const day = 24 * time.Hour

// Policy is a PublicApi's token policy with its defaults filled in.
type Policy struct {
	DefaultLifetime time.Duration
	MaxLifetime     time.Duration
	MaxOverlap      time.Duration
	Retention       time.Duration
	// Notice is how long before expiry a token counts as expiring soon: the first
	// of NoticeDays.
	Notice time.Duration
	// NoticeDays are the days before expiry at which the owner is told, the most
	// first.
	NoticeDays []int32
	// MaxPerTenant is how many ApiTokens of a tenant may be live at a time.
	MaxPerTenant int
	// Scopes are those that may be asked for, but for the scope settings.
	Scopes []string
	// TokenSignIn says that the scope settings may be asked for.
	TokenSignIn bool
}

// Of returns the policy of a PublicApi. Its defaults are those of the CRD, for
// objects that no API server has defaulted.
func Of(api *v1alpha1.PublicApi) Policy {
	spec := api.Spec.TokenPolicy
	p := Policy{
		DefaultLifetime: durationOr(spec.DefaultLifetime, 90*day),
		MaxLifetime:     durationOr(spec.MaxLifetime, 365*day),
		MaxOverlap:      durationOr(spec.MaxOverlap, 7*day),
		Retention:       durationOr(spec.Retention, 30*day),
		NoticeDays:      []int32{14, 7, 1},
		MaxPerTenant:    1000,
		TokenSignIn:     api.Spec.Settings.TokenSignIn != v1alpha1.TokenSignInDeny,
	}
	if len(spec.NoticeDays) > 0 {
		p.NoticeDays = slices.Clone(spec.NoticeDays)
		slices.SortFunc(p.NoticeDays, func(a, b int32) int { return cmp.Compare(b, a) })
	}
	p.Notice = time.Duration(p.NoticeDays[0]) * day
	if spec.MaxPerTenant > 0 {
		p.MaxPerTenant = int(spec.MaxPerTenant)
	}
	for _, scope := range Scopes(api) {
		p.Scopes = append(p.Scopes, scope.Name)
	}
	return p
}

// Scopes are what an ApiToken for the PublicApi may ask for: those of Latchkey's own
// API, those that its spec lists, and those that its OpenAPI document names. The scope
// settings is not among them, whoever declares it: it is offered nowhere.
func Scopes(api *v1alpha1.PublicApi) []v1alpha1.Scope {
	scopes := []v1alpha1.Scope{
		{Name: v1alpha1.ScopeTokensRead, Description: "See the tenant's API tokens."},
		{Name: v1alpha1.ScopeTokensWrite, Description: "Create, change, rotate and revoke the tenant's API tokens."},
	}
	more := slices.Clone(api.Spec.Scopes)
	if d := api.Status.Document; d != nil && api.Spec.OpenAPI != nil {
		more = append(more, d.Scopes...)
	}
	for _, scope := range more {
		i := slices.IndexFunc(scopes, func(s v1alpha1.Scope) bool { return s.Name == scope.Name })
		switch {
		case scope.Name == v1alpha1.ScopeSettings:
		case i < 0:
			scopes = append(scopes, scope)
		case scopes[i].Description == "":
			scopes[i].Description = scope.Description
		}
	}
	return scopes
}

func durationOr(d *metav1.Duration, fallback time.Duration) time.Duration {
	if d == nil {
		return fallback
	}
	return d.Duration
}

// Expiry is when a credential of the spec expires: at expiresAt, or a lifetime
// after issuedAt, and at the credential's own notAfter if that is earlier. An
// issuedAt that lies ahead of now counts as now.
func (p Policy) Expiry(spec *v1alpha1.ApiTokenSpec, issuedAt, now time.Time) time.Time {
	end := start(issuedAt, now).Add(durationOr(spec.Lifetime, p.DefaultLifetime)).UTC()
	if spec.ExpiresAt != nil {
		end = spec.ExpiresAt.UTC()
	}
	if c := spec.Credential; c != nil && c.NotAfter != nil && c.NotAfter.Time.Before(end) {
		end = c.NotAfter.UTC()
	}
	return end
}

// start is when a credential's time begins to count.
func start(issuedAt, now time.Time) time.Time {
	if issuedAt.After(now) {
		return now.Truncate(time.Second)
	}
	return issuedAt
}

// Overlap is how long a replaced credential of the spec goes on working.
func Overlap(spec *v1alpha1.ApiTokenSpec) time.Duration {
	if spec.Rotation == nil {
		return 0
	}
	return durationOr(spec.Rotation.Overlap, 0)
}

// Violations says in what the spec asks for more than the policy permits when a
// credential is issued, each with what would be permitted. live is how many
// other ApiTokens of the tenant are live.
func (p Policy) Violations(spec *v1alpha1.ApiTokenSpec, issuedAt, now time.Time, live int) []string {
	if SignsIn(spec.Scopes) {
		return p.signInViolations(spec, issuedAt, now)
	}
	var found []string
	if lifetime := p.Expiry(spec, issuedAt, now).Sub(start(issuedAt, now)); lifetime > p.MaxLifetime {
		found = append(found, fmt.Sprintf("the token would live %s from its issuedAt, the policy permits at most %s", lifetime, p.MaxLifetime))
	}
	if overlap := Overlap(spec); overlap > p.MaxOverlap {
		found = append(found, fmt.Sprintf("rotation.overlap is %s, the policy permits at most %s", overlap, p.MaxOverlap))
	}
	found = append(found, p.ScopeViolations(spec.Scopes)...)
	if live >= p.MaxPerTenant {
		found = append(found, fmt.Sprintf("the tenant has %d live tokens, the policy permits %d: revoke or delete some", live, p.MaxPerTenant))
	}
	return found
}

// ScopeViolations says which scopes the policy does not know, or does not permit
// together.
func (p Policy) ScopeViolations(scopes []string) []string {
	if SignsIn(scopes) {
		return p.signInScopeViolations(scopes)
	}
	var unknown []string
	for _, scope := range scopes {
		if !slices.Contains(p.Scopes, scope) {
			unknown = append(unknown, scope)
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("unknown scopes: %s; the PublicApi knows: %s",
		strings.Join(unknown, ", "), strings.Join(p.Scopes, ", "))}
}
