package selfservice

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/latchkey-dev/latchkey/internal/directory"
	"github.com/latchkey-dev/latchkey/internal/portal/settings"
	"github.com/latchkey-dev/latchkey/internal/portal/tokens"
	"github.com/latchkey-dev/latchkey/internal/portal/wording"
)

// createFields are those of the form that creates a token.
var createFields = []string{
	settings.FieldName, settings.FieldDescription, settings.FieldOwner, settings.FieldScope, settings.FieldLifetime,
	settings.FieldExpiresOn, settings.FieldAddresses, settings.FieldResume,
}

// What the kind ApiToken permits; see api/v1alpha1.
const (
	maxDescription = 256 // characters
	maxOwner       = 253 // bytes
	maxNetworks    = 32
)

// requestOf is what the form asks for, or what is wrong with its fields. What the policy
// says of it, the tokens' service finds out.
func requestOf(form settings.Form, api *directory.API, offered []settings.LifetimeChoice, now time.Time) (*tokens.Request, map[string]string) {
	wrong := map[string]string{}
	note := func(field, text string) {
		if text != "" {
			wrong[field] = text
		}
	}
	asked := &tokens.Request{
		Name: strings.TrimSpace(form.Name), Description: strings.TrimSpace(form.Description),
		Owner: new(strings.TrimSpace(form.Owner)), Scopes: slices.Compact(slices.Sorted(slices.Values(form.Scopes))),
	}
	note(settings.FieldName, wrongName(asked.Name))
	if utf8.RuneCountInString(asked.Description) > maxDescription {
		note(settings.FieldDescription, textDescription)
	}
	if len(*asked.Owner) > maxOwner || strings.ContainsFunc(*asked.Owner, func(r rune) bool { return r <= ' ' || r > '~' }) {
		note(settings.FieldOwner, textOwner)
	}
	for _, scope := range asked.Scopes {
		if !slices.Contains(api.Policy.Scopes, scope) {
			note(settings.FieldScope, fmt.Sprintf(textScopeUnknown, scope))
		}
	}
	networks, text := networksOf(form.Addresses)
	asked.AllowedCIDRs = &networks
	note(settings.FieldAddresses, text)
	if form.Lifetime == settings.LifetimeCustom {
		end, text := endOf(form.ExpiresOn, now, api.Policy.MaxLifetime)
		asked.ExpiresAt = &end
		note(settings.FieldExpiresOn, text)
	} else if d, ok := chosen(offered, form.Lifetime); ok {
		asked.Lifetime = duration(d)
	} else {
		note(settings.FieldLifetime, textLifetime)
	}
	return asked, wrong
}

func wrongName(name string) string {
	switch {
	case name == "":
		return textNameMissing
	case !isName(name) || name[0] == '-' || name[len(name)-1] == '-':
		return textNameLabel
	case pathTokens+"/"+name == pathNew:
		return textNameReserved
	}
	return ""
}

// endOf is the beginning of a day, in UTC, that a lifetime of at most longest reaches.
func endOf(date string, now time.Time, longest time.Duration) (end time.Time, wrong string) {
	end, err := time.Parse(time.DateOnly, strings.TrimSpace(date))
	switch {
	case err != nil:
		return end, textExpiresOn
	case !end.After(now):
		return end, textExpiresPast
	case end.Sub(now) > longest:
		return end, fmt.Sprintf(textExpiresFar, wording.Span(longest))
	}
	return end, ""
}

// networksOf reads networks and single addresses.
func networksOf(text string) (networks []string, wrong string) {
	for _, field := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" \t\r\n,;", r) }) {
		network, err := netip.ParsePrefix(field)
		if err != nil {
			address, err := netip.ParseAddr(field)
			if err != nil || address.Zone() != "" {
				return nil, fmt.Sprintf(textAddress, field)
			}
			network = netip.PrefixFrom(address, address.BitLen())
		}
		written := network.String()
		if slices.Contains(networks, written) {
			return nil, fmt.Sprintf(textAddressDouble, field)
		}
		networks = append(networks, written)
	}
	if len(networks) > maxNetworks {
		return nil, fmt.Sprintf(textAddressMany, maxNetworks)
	}
	return networks, ""
}
