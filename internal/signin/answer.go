package signin

import (
	"crypto/subtle"
	"fmt"
	"net/url"
	"time"
)

// maxParameter bounds each parameter of an answer, in bytes. Codes of some providers
// are sealed texts of one or two thousand.
const maxParameter = 8 << 10

// answer is what the browser brings back from the provider (RFC 6749, section 4.1.2).
type answer struct {
	state, code, issuer, problem, description string
	hasIssuer                                 bool
}

// parseAnswer reads an answer; everything in it may be anybody's. A parameter that comes
// twice is refused: one reader could take the first and another the last.
func parseAnswer(query url.Values) (answer, error) {
	var a answer
	for name, into := range map[string]*string{
		"state": &a.state, "code": &a.code, "iss": &a.issuer, "error": &a.problem, "error_description": &a.description,
	} {
		switch values := query[name]; {
		case len(values) > 1:
			return answer{}, fmt.Errorf("%w: the answer has %s more than once", ErrRefused, name)
		case len(values) == 1 && len(values[0]) > maxParameter:
			return answer{}, fmt.Errorf("%w: the answer's %s is longer than %d bytes", ErrRefused, name, maxParameter)
		case len(values) == 1:
			*into = values[0]
		}
	}
	a.hasIssuer = query.Has("iss")
	return a, nil
}

// matches checks that the answer is to this flow, and that the flow is young enough.
func (f *Flow) matches(a answer, now time.Time) error {
	switch {
	case f.State == "" || f.Nonce == "" || f.Verifier == "" || f.RedirectURI == "":
		return fmt.Errorf("%w: there is no sign-in under way in this browser", ErrRefused)
	case a.state == "":
		return fmt.Errorf("%w: the answer has no state", ErrRefused)
	case subtle.ConstantTimeCompare([]byte(a.state), []byte(f.State)) != 1:
		return fmt.Errorf("%w: the answer's state is another sign-in's", ErrRefused)
	case !now.Before(f.BegunAt.Add(MaxFlow)):
		return fmt.Errorf("%w: it began at %s, more than %s ago", ErrRefused, f.BegunAt.Format(time.RFC3339), MaxFlow)
	case f.BegunAt.After(now.Add(MaxClockSkew)):
		return fmt.Errorf("%w: it began at %s, which is yet to come; are the replicas' clocks right?", ErrRefused, f.BegunAt.Format(time.RFC3339))
	}
	return nil
}

// from checks that the answer is the provider's own, and not one of another provider
// whose code would be given away here (mix-up, RFC 9207).
func (a *answer) from(issuer string, namesItself bool, f Flow) error {
	switch {
	case a.hasIssuer && a.issuer != issuer:
		return fmt.Errorf("%w: the answer is from %s, not from %s", ErrRefused, redact(a.issuer, a.secrets(f)), issuer)
	case namesItself && !a.hasIssuer:
		return fmt.Errorf("%w: the answer does not say whom it is from, though %s says that it always does", ErrRefused, issuer)
	}
	return nil
}

// failure is what an answer without a code says (RFC 6749, section 4.1.2.1; OpenID
// Connect Core, section 3.1.2.6).
func (a *answer) failure(f Flow) error {
	switch a.problem {
	case "":
		if a.code == "" {
			return fmt.Errorf("%w: the answer has neither code nor error", ErrRefused)
		}
		return nil
	case "access_denied":
		return fmt.Errorf("%w: %s", ErrDenied, a.said(f))
	case "server_error", "temporarily_unavailable", "unauthorized_client", "invalid_scope", "unsupported_response_type":
		// The last three are of what the installation asks for, not of the person.
		return fmt.Errorf("%w: %s", ErrUnavailable, a.said(f))
	}
	return fmt.Errorf("%w: %s", ErrRefused, a.said(f))
}

func (a *answer) said(f Flow) string {
	return said(a.problem, a.description, a.secrets(f)...)
}

func (a *answer) secrets(f Flow) []string { return []string{a.code, f.State, f.Nonce, f.Verifier} }
