package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// MaxSignInLifetime is how long an ApiToken with the scope settings may live: as
// long as somebody takes who was sent to the Settings page with it. The policy's own
// longest lifetime is about tokens that are kept, and does not count here.
const MaxSignInLifetime = 10 * time.Minute

// SignsIn says whether scopes are those of an ApiToken that signs its maker in on the
// Settings page, and does nothing else.
func SignsIn(scopes []string) bool { return slices.Contains(scopes, v1alpha1.ScopeSettings) }

// signInViolations is Violations for an ApiToken with the scope settings. It does
// not count among the tenant's tokens, and is not refused for their number: a tenant
// that has too many needs the page to revoke some.
func (p Policy) signInViolations(spec *v1alpha1.ApiTokenSpec, issuedAt, now time.Time) []string {
	var found []string
	if lifetime := p.Expiry(spec, issuedAt, now).Sub(start(issuedAt, now)); lifetime > MaxSignInLifetime {
		found = append(found, fmt.Sprintf("the token would live %s from its issuedAt, with the scope %s at most %s", lifetime, v1alpha1.ScopeSettings, MaxSignInLifetime))
	}
	return append(found, p.ScopeViolations(spec.Scopes)...)
}

func (p Policy) signInScopeViolations(scopes []string) []string {
	var found []string
	if !p.TokenSignIn {
		found = append(found, fmt.Sprintf("the PublicApi does not permit the scope %s (spec.settings.tokenSignIn)", v1alpha1.ScopeSettings))
	}
	others := slices.DeleteFunc(slices.Clone(scopes), func(s string) bool { return s == v1alpha1.ScopeSettings })
	if len(others) > 0 {
		found = append(found, fmt.Sprintf("the scope %s goes with no other: leave out %s", v1alpha1.ScopeSettings, strings.Join(others, ", ")))
	}
	return found
}

// AddedScopeViolations says which scopes a token can't be given besides those that it
// has. The scope settings is never given to a token that lives already, which may live
// for long, nor another one to a token that signs in.
func (p Policy) AddedScopeViolations(has, added []string) []string {
	if len(added) > 0 && (SignsIn(has) || SignsIn(added)) {
		return []string{fmt.Sprintf("the scope %s is a new ApiToken's alone, from its first credential on: make another ApiToken instead of adding %s",
			v1alpha1.ScopeSettings, strings.Join(added, ", "))}
	}
	return p.ScopeViolations(added)
}

// CanAdd says whether a token can be given the scope besides those that it has.
func (p Policy) CanAdd(has []string, scope string) bool {
	return len(p.AddedScopeViolations(has, []string{scope})) == 0
}

// RotationViolations says why a credential with the wanted scopes can't replace one
// with the scopes that it has. Both would work side by side for the overlap, with the
// same scopes: a token that signs in is made anew instead.
func RotationViolations(has, wanted []string) []string {
	if !SignsIn(has) && !SignsIn(wanted) {
		return nil
	}
	return []string{fmt.Sprintf("an ApiToken with the scope %s has one credential, which replaces none and is not replaced: make another ApiToken", v1alpha1.ScopeSettings)}
}
