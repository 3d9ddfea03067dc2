package signin

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/latchkey-dev/latchkey/internal/session"
)

const (
	// systemPrefix begins what Kubernetes names itself: system:masters may do anything.
	systemPrefix = "system:"
	// maxName bounds a user's and a group's name, prefix included, in bytes: a longer
	// one could be no member of a Tenant.
	maxName = 253
	// maxGroups bounds how many groups a person may be in.
	maxGroups = 1000
	// maxDisplay bounds the name that a person is shown by, in bytes.
	maxDisplay = 100
)

// identity maps an ID token's claims to who the person is in Kubernetes.
func (p *Provider) identity(c claims, authenticatedAt time.Time) (session.Identity, error) {
	user, err := p.user(c)
	if err != nil {
		return session.Identity{}, err
	}
	groups, err := p.groups(c, user)
	if err != nil {
		return session.Identity{}, err
	}
	return session.Identity{Kind: session.OIDC, User: user, Groups: groups, Display: display(c, user), AuthenticatedAt: authenticatedAt}, nil
}

// user is the Kubernetes user.
func (p *Provider) user(c claims) (string, error) {
	// Every ID token has sub; without one it is nobody's.
	if subject, err := c.text("sub"); err != nil || subject == "" {
		return "", fmt.Errorf("%w: the ID token has no sub", ErrRefused)
	}
	claim := p.config.UsernameClaim
	name, err := c.text(claim)
	switch {
	case err != nil:
		return "", fmt.Errorf("%w: the claim %s, which --oidc-username-claim names, is no text", ErrAccount, clean(claim))
	case name == "":
		return "", fmt.Errorf("%w: the ID token has no claim %s, which --oidc-username-claim names", ErrAccount, clean(claim))
	case claim == "email" && !c.verifiesEmail():
		return "", fmt.Errorf("%w: the ID token does not say that the email is verified (email_verified), so it may be anybody's", ErrAccount)
	}
	user := p.config.UsernamePrefix + name
	switch {
	case strings.TrimSpace(name) != name || !printable(name):
		return "", fmt.Errorf("%w: the user %q has spaces around or characters that can't be seen", ErrAccount, clean(name))
	case len(user) > maxName:
		return "", fmt.Errorf("%w: the user %q is longer than %d bytes", ErrAccount, clean(name), maxName)
	case strings.HasPrefix(user, systemPrefix):
		return "", fmt.Errorf("%w: the user %q would be one of Kubernetes' own: set --oidc-username-prefix", ErrAccount, clean(user))
	}
	return user, nil
}

// verifiesEmail says whether email_verified is true. Some providers send it as a text.
func (c claims) verifiesEmail() bool {
	verified := string(c["email_verified"])
	return verified == "true" || verified == `"true"`
}

// groups are the Kubernetes groups. One that can't be used is left out, and the log says
// so: the person has what the others give.
func (p *Provider) groups(c claims, user string) ([]string, error) {
	claim := p.config.GroupsClaim
	named, ok := c.texts(claim)
	if !ok {
		return nil, fmt.Errorf("%w: the claim %s, which --oidc-groups-claim names, is neither a text nor a list of texts", ErrAccount, clean(claim))
	}
	if len(named) > maxGroups {
		return nil, fmt.Errorf("%w: it is in %d groups, more than %d: have the provider send only those that matter here", ErrAccount, len(named), maxGroups)
	}
	if !c.has(claim) && c.elsewhere(claim) {
		p.logger.Warn("the identity provider sent no groups but an address to ask for them, which is not followed: have it send fewer groups, in the ID token", "user", user, "claim", claim)
	}
	var groups []string
	seen := map[string]bool{}
	for _, name := range named {
		group := p.config.GroupsPrefix + name
		switch {
		case seen[group]:
		case name == "" || !printable(name) || len(group) > maxName:
			p.logger.Warn("a group that the identity provider named is left out: it is empty, longer than a name may be, or has characters that can't be seen", "user", user, "group", clean(name))
		case strings.HasPrefix(group, systemPrefix):
			p.logger.Warn("a group that the identity provider named is left out: it would be one of Kubernetes' own", "user", user, "group", group)
		default:
			groups = append(groups, group)
		}
		seen[group] = true
	}
	return groups, nil
}

// elsewhere says whether the provider keeps a claim somewhere else (distributed claims,
// OpenID Connect Core, section 5.6.2), as some do for people in many groups.
func (c claims) elsewhere(claim string) bool {
	var sources map[string]any
	return c.read("_claim_names", &sources) == nil && sources[claim] != nil
}

// display is what a person is called on a page; it decides nothing.
func display(c claims, user string) string {
	for _, claim := range []string{"name", "preferred_username", "email"} {
		if text, err := c.text(claim); err == nil && utf8.ValidString(text) {
			if text = clean(text); text != "" {
				return cut(text, maxDisplay)
			}
		}
	}
	return cut(user, maxDisplay)
}
