package tokens

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/audit"
	"github.com/latchkey-dev/latchkey/internal/directory"
	"github.com/latchkey-dev/latchkey/internal/policy"
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
func exceedingAddresses(caller *directory.Token, cidrs []string) []string {
	if len(caller.AllowedCIDRs) == 0 {
		return nil
	}
	return addressesOutside(caller.AllowedCIDRs, cidrs)
}

// addressesOutside says which addresses lie in none of the networks.
func addressesOutside(networks []netip.Prefix, cidrs []string) (outside []string) {
	if len(cidrs) == 0 {
		return []string{"any address"}
	}
	for _, cidr := range cidrs {
		prefix, err := netip.ParsePrefix(cidr)
		if err != nil || !within(networks, prefix) {
			outside = append(outside, "addresses "+cidr)
		}
	}
	return outside
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
// permitted. To itself the caller adds nothing: what this replica knows of its rights
// may be more than was left of them a moment ago.
func exceedingChange(caller *directory.Token, before *v1alpha1.ApiTokenSpec, t *v1alpha1.ApiToken, p *policy.Policy, now time.Time) (exceeds []string) {
	after := &t.Spec
	more, isWider := added(before.Scopes, after.Scopes), wider(before.AllowedCIDRs, after.AllowedCIDRs)
	if len(more) == 0 && !isWider {
		return nil
	}
	if caller.Name == t.Name {
		for _, scope := range more {
			exceeds = append(exceeds, "scope "+scope)
		}
		if isWider {
			exceeds = append(exceeds, addressesOutside(parsed(before.AllowedCIDRs), after.AllowedCIDRs)...)
		}
		return exceeds
	}
	exceeds = append(exceedingScopes(caller, after.Scopes), exceedingAddresses(caller, after.AllowedCIDRs)...)
	return append(exceeds, outliving(caller, t, p, now)...)
}

// outliving says that a token may work for longer than the caller. What awaits being
// issued has no expiry in status yet.
func outliving(caller *directory.Token, t *v1alpha1.ApiToken, p *policy.Policy, now time.Time) []string {
	own := caller.NotAfter.UTC().Format(time.RFC3339)
	expiry, wanted, issued := audit.Expiry(t), t.Spec.Credential, t.Status.Credential
	switch isPending := wanted != nil && (issued == nil || issued.Digest != wanted.Digest) && wanted.ID != t.Status.RefusedCredentialID; {
	case isPending:
		if end := p.Expiry(&t.Spec, wanted.IssuedAt.Time, now); end.After(expiry) {
			expiry = end
		}
	case issued == nil && t.Spec.ExpiresAt != nil:
		expiry = t.Spec.ExpiresAt.Time
	case issued == nil:
		return []string{fmt.Sprintf("a token that awaits being issued, whose time then begins, while the calling token expires at %s", own)}
	}
	if !expiry.After(caller.NotAfter) {
		return nil
	}
	return []string{fmt.Sprintf("a token that expires at %s, while the calling token expires at %s", expiry.UTC().Format(time.RFC3339), own)}
}

// wider says whether a token would work from more addresses than before.
func wider(before, after []string) bool {
	if len(before) == 0 || len(after) == 0 {
		return len(before) != 0
	}
	return len(addressesOutside(parsed(before), after)) > 0
}

// parsed are the networks that are written, without those that are none.
func parsed(cidrs []string) (networks []netip.Prefix) {
	for _, cidr := range cidrs {
		if prefix, err := netip.ParsePrefix(cidr); err == nil {
			networks = append(networks, prefix)
		}
	}
	return networks
}

func added(before, after []string) []string {
	return slices.DeleteFunc(slices.Clone(after), func(s string) bool { return slices.Contains(before, s) })
}
