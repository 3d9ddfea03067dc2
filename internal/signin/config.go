package signin

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"k8s.io/utils/clock"
)

const (
	// NoPrefix as a prefix is none at all.
	NoPrefix = "-"
	// DefaultTimeout bounds each request to the provider.
	DefaultTimeout = 10 * time.Second

	defaultUsernameClaim = "sub"
	defaultGroupsClaim   = "groups"
	defaultPrefix        = "oidc:"
	// maxPrefix bounds a prefix, in bytes.
	maxPrefix = 64
)

// Config says which provider people sign in at, and who they are in Kubernetes. Its
// fields are flags, up to Timeout; the zero value signs nobody in.
type Config struct {
	// IssuerURL is the provider, exactly as it calls itself in its tokens. It must be
	// https, except on loopback: tests and `make run` have one there, and nobody
	// listens in between. Empty means that there is none.
	IssuerURL string
	// ClientID is what the provider knows Latchkey as.
	ClientID string
	// ClientSecretFile holds the client's secret, and is read whenever one is needed,
	// so that a rotated one counts at once. Empty means a public client, which has
	// PKCE alone.
	ClientSecretFile string
	// CAFile holds, as PEM, the only authorities that are believed when they vouch for
	// the provider. It is read again about once an hour. Empty means the system's.
	CAFile string
	// Scopes are asked for, openid among them; none means DefaultScopes.
	Scopes []string
	// UsernameClaim is the claim of the ID token that becomes the Kubernetes user; sub
	// if empty. A user by email needs email_verified to be true as well.
	UsernameClaim string
	// UsernamePrefix begins every user, so that no provider names one that exists;
	// "oidc:" if empty, none if NoPrefix.
	UsernamePrefix string
	// GroupsClaim is the claim that becomes the Kubernetes groups, a text or a list of
	// them; groups if empty. An ID token without it means no groups.
	GroupsClaim string
	// GroupsPrefix begins every group; "oidc:" if empty, none if NoPrefix.
	GroupsPrefix string
	// TrustPrompt takes a sign-in that was asked for anew for a recent one even if the
	// provider doesn't say when it authenticated the person: see [Provider.Begin].
	TrustPrompt bool
	// Timeout bounds each request to the provider, with its answer; DefaultTimeout if
	// zero.
	Timeout time.Duration
	// Clock tells the time; the system's if nil.
	Clock clock.PassiveClock
}

// DefaultScopes are the scopes that OpenID Connect defines and that say who somebody
// is. A provider may refuse a sign-in for a scope that it doesn't know, so groups is
// not among them.
func DefaultScopes() []string { return []string{"openid", "profile", "email"} }

// AddFlags adds a flag for each field, with its default.
func (c *Config) AddFlags(flags *flag.FlagSet) {
	c.Scopes = DefaultScopes()
	flags.StringVar(&c.IssuerURL, "oidc-issuer-url", "", "the OpenID provider that people sign in at for /settings, exactly as it calls itself; https, except on loopback; empty where there is none")
	flags.StringVar(&c.ClientID, "oidc-client-id", "", "what the OpenID provider knows this installation as")
	flags.StringVar(&c.ClientSecretFile, "oidc-client-secret-file", "", "the client's secret; it is read again for every sign-in; empty for a public client")
	flags.StringVar(&c.CAFile, "oidc-ca-file", "", "the CAs, as PEM, that alone may vouch for the OpenID provider (default: the system's)")
	flags.Var((*list)(&c.Scopes), "oidc-scopes", "comma-separated scopes to ask the OpenID provider for, openid among them")
	flags.StringVar(&c.UsernameClaim, "oidc-username-claim", defaultUsernameClaim, "the claim of the ID token that is the Kubernetes user; email counts only with email_verified")
	flags.StringVar(&c.UsernamePrefix, "oidc-username-prefix", defaultPrefix, `what Kubernetes users that the OpenID provider names begin with; "-" for nothing`)
	flags.StringVar(&c.GroupsClaim, "oidc-groups-claim", defaultGroupsClaim, "the claim of the ID token that is the Kubernetes groups: a text, or a list of them")
	flags.StringVar(&c.GroupsPrefix, "oidc-groups-prefix", defaultPrefix, `what Kubernetes groups that the OpenID provider names begin with; "-" for nothing`)
	flags.BoolVar(&c.TrustPrompt, "oidc-trust-prompt", false, "where an ID token has no auth_time, believe that the provider authenticated again because prompt=login asked for it; who uses a person's signed-in browser can leave that out of the address")
}

// list is a flag of comma-separated texts.
type list []string

func (l *list) String() string { return strings.Join(*l, ",") }

func (l *list) Set(text string) error {
	*l = strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
	return nil
}

// Enabled says whether there is a provider.
func (c *Config) Enabled() bool { return c.IssuerURL != "" }

// Validate says which flag is wrong and what to do. It reads no file.
func (c *Config) Validate() error {
	if !c.Enabled() {
		if c.ClientID != "" || c.ClientSecretFile != "" || c.CAFile != "" {
			return errors.New("--oidc-client-id, --oidc-client-secret-file and --oidc-ca-file need --oidc-issuer-url: set that too, or none of them")
		}
		return nil
	}
	if err := validateIssuer(c.IssuerURL); err != nil {
		return fmt.Errorf("--oidc-issuer-url=%s: %w", c.IssuerURL, err)
	}
	if c.ClientID == "" {
		return errors.New("--oidc-issuer-url needs --oidc-client-id: register this installation at the provider and set the client id that it gives")
	}
	if err := validateScopes(c.Scopes); err != nil {
		return fmt.Errorf("--oidc-scopes=%s: %w", strings.Join(c.Scopes, ","), err)
	}
	for flagName, claim := range map[string]string{"--oidc-username-claim": c.UsernameClaim, "--oidc-groups-claim": c.GroupsClaim} {
		if !printable(claim) {
			return fmt.Errorf("%s=%q: must be the name of a claim, such as email", flagName, claim)
		}
	}
	for flagName, prefix := range map[string]string{"--oidc-username-prefix": c.UsernamePrefix, "--oidc-groups-prefix": c.GroupsPrefix} {
		switch {
		case !printable(prefix), len(prefix) > maxPrefix:
			return fmt.Errorf("%s=%q: must be printable, such as oidc:, and at most %d bytes long", flagName, prefix, maxPrefix)
		case strings.HasPrefix(prefix, systemPrefix):
			return fmt.Errorf("%s=%q: must not begin with %s, which Kubernetes keeps for itself", flagName, prefix, systemPrefix)
		}
	}
	return nil
}

// withDefaults is a copy that says everything.
func (c *Config) withDefaults() Config {
	d := *c
	if len(d.Scopes) == 0 {
		d.Scopes = DefaultScopes()
	}
	if d.Clock == nil {
		d.Clock = clock.RealClock{}
	}
	d.Timeout = cmp.Or(d.Timeout, DefaultTimeout)
	d.UsernameClaim = cmp.Or(d.UsernameClaim, defaultUsernameClaim)
	d.GroupsClaim = cmp.Or(d.GroupsClaim, defaultGroupsClaim)
	d.UsernamePrefix = prefix(d.UsernamePrefix)
	d.GroupsPrefix = prefix(d.GroupsPrefix)
	return d
}

func prefix(text string) string {
	if text == NoPrefix {
		return ""
	}
	return cmp.Or(text, defaultPrefix)
}

func validateIssuer(issuer string) error {
	u, err := parseSecure(issuer, true)
	switch {
	case err != nil:
		return err
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Contains(issuer, "#"):
		return errors.New("must have no query and no fragment (OpenID Connect Discovery, section 3)")
	}
	return nil
}

// parseSecure parses the address of something that is sent secrets, or that says whom
// to believe. Plain HTTP is for loopback alone, and only where that is allowed.
func parseSecure(address string, loopback bool) (*url.URL, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return nil, errors.New("must be an address such as https://id.example.com")
	case u.Host == "" || u.Opaque != "":
		return nil, errors.New("must be an absolute address such as https://id.example.com")
	case u.User != nil:
		return nil, errors.New("must have no user and no password")
	case u.Scheme == "https", u.Scheme == "http" && loopback && onLoopback(u):
		return u, nil
	}
	return nil, errors.New("must be https; plain http is for a provider on localhost alone")
}

// onLoopback says whether the host is this machine (RFC 6761, section 6.3).
func onLoopback(u *url.URL) bool {
	host := strings.ToLower(u.Hostname())
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// validateScopes checks what goes to the provider (RFC 6749, section 3.3). None is the
// default ones.
func validateScopes(scopes []string) error {
	for _, scope := range scopes {
		for _, r := range scope {
			if r < 0x21 || r > 0x7e || r == '"' || r == '\\' {
				return fmt.Errorf("%q is no scope: it has a character that scopes can't have", scope)
			}
		}
	}
	if len(scopes) > 0 && !slices.Contains(scopes, "openid") {
		return errors.New("openid must be among them: without it there is no ID token")
	}
	return nil
}
