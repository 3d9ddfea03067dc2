package portal

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/audit"
	"github.com/latchkey-dev/latchkey/internal/directory"
)

// exceedingScopes says which scopes the calling token lacks.
func exceedingScopes(caller *directory.Token, scopes []string) (exceeds []string) {
	for _, scope := range scopes {
		if !slices.Contains(caller.Scopes, scope) {
			exceeds = append(exceeds, "scope "+scope)
		}
	}
	return exceeds
}

// exceedingAddresses says which addresses the calling token does not work from.
func exceedingAddresses(caller *directory.Token, cidrs []string) (exceeds []string) {
	if len(caller.AllowedCIDRs) == 0 {
		return nil
	}
	if len(cidrs) == 0 {
		return []string{"any address"}
	}
	for _, cidr := range cidrs {
		prefix, err := netip.ParsePrefix(cidr)
		if err != nil || !within(caller.AllowedCIDRs, prefix) {
			exceeds = append(exceeds, "addresses "+cidr)
		}
	}
	return exceeds
}

// within says whether one of the networks holds all of the prefix.
func within(networks []netip.Prefix, prefix netip.Prefix) bool {
	return slices.ContainsFunc(networks, func(network netip.Prefix) bool {
		return network.Bits() <= prefix.Bits() && network.Contains(prefix.Addr())
	})
}

// exceedingExpiry says which expiry is asked for that lies beyond the calling
// token's. Where none is asked for, the credential's notAfter bounds it.
func exceedingExpiry(caller *directory.Token, spec *v1alpha1.ApiTokenSpec, now time.Time) []string {
	own := caller.NotAfter.UTC().Format(time.RFC3339)
	switch {
	case spec.ExpiresAt != nil && spec.ExpiresAt.After(caller.NotAfter):
		return []string{fmt.Sprintf("expiresAt %s, while the calling token expires at %s", spec.ExpiresAt.UTC().Format(time.RFC3339), own)}
	case spec.Lifetime != nil && now.Add(spec.Lifetime.Duration).After(caller.NotAfter):
		return []string{fmt.Sprintf("lifetime %s, while the calling token expires at %s", spec.Lifetime.Duration, own)}
	}
	return nil
}

// exceedingChange says in what a token that a change lets do more would have more
// than the caller. It has to be within the caller as a whole: a scope of the
// caller's is too much for a token that outlives it. To take away is always
// permitted.
func exceedingChange(caller *directory.Token, before *v1alpha1.ApiTokenSpec, t *v1alpha1.ApiToken) []string {
	after := &t.Spec
	if len(added(before.Scopes, after.Scopes)) == 0 && !wider(before.AllowedCIDRs, after.AllowedCIDRs) {
		return nil
	}
	exceeds := append(exceedingScopes(caller, after.Scopes), exceedingAddresses(caller, after.AllowedCIDRs)...)
	if expiry := audit.Expiry(t); expiry.After(caller.NotAfter) {
		exceeds = append(exceeds, fmt.Sprintf("a token that expires at %s, while the calling token expires at %s",
			expiry.UTC().Format(time.RFC3339), caller.NotAfter.UTC().Format(time.RFC3339)))
	}
	return exceeds
}

// wider says whether a token would work from more addresses than before.
func wider(before, after []string) bool {
	if len(before) == 0 || len(after) == 0 {
		return len(before) != 0
	}
	var present []netip.Prefix
	for _, cidr := range before {
		if prefix, err := netip.ParsePrefix(cidr); err == nil {
			present = append(present, prefix)
		}
	}
	return slices.ContainsFunc(after, func(cidr string) bool {
		prefix, err := netip.ParsePrefix(cidr)
		return err != nil || !within(present, prefix)
	})
}

func added(before, after []string) []string {
	return slices.DeleteFunc(slices.Clone(after), func(s string) bool { return slices.Contains(before, s) })
}
