// Package audit holds the pure questions of an audit: which ApiTokens are idle,
// never used, without an owner, against today's policy, and so on. The kubectl
// plugin and the API for tokens ask them alike.
package audit

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/policy"
)

// Check is the name of a question, as flags, query parameters and reports have
// it.
type Check string

// The checks.
const (
	// CheckIdle: a live token was not used for longer than Checks.Idle.
	CheckIdle Check = "idle"
	// CheckNeverUsed: no use of a live token was ever recorded, though uses are.
	CheckNeverUsed Check = "never-used"
	// CheckExpiring: a live token expires within Checks.Expiring.
	CheckExpiring Check = "expiring"
	// CheckExpired: the token's time is over.
	CheckExpired Check = "expired"
	// CheckWithoutOwner: nobody answers for a token whose time is not over.
	CheckWithoutOwner Check = "without-owner"
	// CheckOwnerGone: no member of the Tenant's that is a user has the name of the
	// owner of a token whose time is not over.
	CheckOwnerGone Check = "owner-gone"
	// CheckViolatesPolicy: today's policy would not issue the live token.
	CheckViolatesPolicy Check = "violates-policy"
	// CheckWideScopes: the live token has more scopes than Checks.MaxScopes, or one
	// that matches Checks.ScopePattern.
	CheckWideScopes Check = "wide-scopes"
	// CheckPreviousInUse: a replaced credential works still, and was used since its
	// successor was issued.
	CheckPreviousInUse Check = "previous-in-use"
)

// Finding is a check that a token did not pass, and why, in a few words.
type Finding struct {
	Check  Check  `json:"check"`
	Detail string `json:"detail"`
}

// Checks are the questions that are asked. The zero value asks none.
type Checks struct {
	// Idle is how long a token may go unused; 0 does not ask.
	Idle time.Duration
	// Expiring is how soon an expiry is worth a word; 0 does not ask.
	Expiring time.Duration
	// MaxScopes is how many scopes are not many; nil does not ask.
	MaxScopes *int
	// ScopePattern matches scopes that are wide; nil does not ask.
	ScopePattern *regexp.Regexp

	NeverUsed, Expired, WithoutOwner, OwnerGone, ViolatesPolicy, PreviousInUse bool
}

// Facts are what an audit needs to know besides the ApiToken.
type Facts struct {
	// Now is the instant of the audit.
	Now time.Time
	// Tenant is the name of the ApiToken's Tenant; empty if unknown, which leaves out
	// CheckOwnerGone.
	Tenant string
	// Users are the names of the Tenant's members that are users.
	Users []string
	// Policy is today's; nil if unknown, which leaves out CheckViolatesPolicy.
	Policy *policy.Policy
}

// Findings asks the checks of an ApiToken.
func (c Checks) Findings(t *v1alpha1.ApiToken, f Facts) []Finding {
	found, _ := c.ask(t, f)
	return found
}

// AllFind says whether each check that is asked finds the ApiToken. Where none is
// asked it is found.
func (c Checks) AllFind(t *v1alpha1.ApiToken, f Facts) bool {
	found, asked := c.ask(t, f)
	return len(found) == asked
}

// ask returns what was found, and how many checks were asked.
func (c Checks) ask(t *v1alpha1.ApiToken, f Facts) (found []Finding, asked int) {
	ask := func(check Check, isAsked, applies bool, detail string) {
		if !isAsked {
			return
		}
		if asked++; applies && detail != "" {
			found = append(found, Finding{check, detail})
		}
	}
	live, over := IsLive(t, f.Now), isOver(t, f.Now)
	isKept := !signsIn(t)
	ask(CheckIdle, c.Idle > 0, live, c.idle(t, f.Now))
	ask(CheckNeverUsed, c.NeverUsed, live && isKept, neverUsed(t))
	ask(CheckExpiring, c.Expiring > 0, live && isKept, c.expiring(t, f.Now))
	ask(CheckExpired, c.Expired, isKept, expired(t, f.Now))
	ask(CheckWithoutOwner, c.WithoutOwner, !over, withoutOwner(t))
	ask(CheckOwnerGone, c.OwnerGone, !over, ownerGone(t, f))
	ask(CheckViolatesPolicy, c.ViolatesPolicy, live, violations(t, f))
	ask(CheckWideScopes, c.MaxScopes != nil || c.ScopePattern != nil, live, c.wideScopes(t))
	ask(CheckPreviousInUse, c.PreviousInUse, live, PreviousUse(t, f.Now))
	return found, asked
}

// signsIn says whether the ApiToken only signs its maker in on the Settings page: it is
// meant to end unused within minutes, which is worth nobody's attention.
func signsIn(t *v1alpha1.ApiToken) bool {
	return t.Status.Credential != nil && policy.SignsIn(t.Status.Credential.Scopes)
}

// IsLive says whether a credential of the ApiToken's works, or would if its
// tenant were not suspended.
func IsLive(t *v1alpha1.ApiToken, now time.Time) bool {
	return !t.Spec.Revoked && t.DeletionTimestamp.IsZero() && now.Before(Expiry(t))
}

// isOver says whether the ApiToken's last credential works no more.
func isOver(t *v1alpha1.ApiToken, now time.Time) bool {
	return t.Spec.Revoked || t.Status.Credential != nil && !now.Before(Expiry(t))
}

// Expiry is when the last of an ApiToken's credentials expires; zero if none was
// issued.
func Expiry(t *v1alpha1.ApiToken) (end time.Time) {
	for _, c := range []*v1alpha1.IssuedCredential{t.Status.Credential, t.Status.PreviousCredential} {
		if c != nil && c.ExpiresAt.After(end) {
			end = c.ExpiresAt.Time
		}
	}
	return end
}

// LastUse is when either credential of an ApiToken was last used, as far as
// recorded; nil if never.
func LastUse(t *v1alpha1.ApiToken) (last *metav1.Time) {
	for _, c := range []*v1alpha1.IssuedCredential{t.Status.Credential, t.Status.PreviousCredential} {
		if c != nil && c.LastUsedAt != nil && (last == nil || last.Before(c.LastUsedAt)) {
			last = c.LastUsedAt
		}
	}
	return last
}

// IssuedAt is when the present credential was minted; nil if that is unknown.
func IssuedAt(t *v1alpha1.ApiToken) *metav1.Time {
	issued, asked := t.Status.Credential, t.Spec.Credential
	switch {
	case issued != nil && issued.IssuedAt != nil:
		return issued.IssuedAt
	case asked != nil && (issued == nil || issued.ID == asked.ID):
		return &asked.IssuedAt
	default:
		return nil
	}
}

// UnusedSince is the instant since when a credential without a recorded use is
// known to be unused: the later of its issue and of the first record of uses.
// It is nil where uses are not recorded.
func UnusedSince(t *v1alpha1.ApiToken, issuedAt *metav1.Time) *metav1.Time {
	since := t.Status.UseRecordedSince
	if since != nil && issuedAt != nil && since.Before(issuedAt) {
		return issuedAt
	}
	return since
}

func (c Checks) idle(t *v1alpha1.ApiToken, now time.Time) string {
	since, what := LastUse(t), "last used"
	if since == nil {
		since, what = UnusedSince(t, IssuedAt(t)), "not used since"
	}
	if since == nil || now.Sub(since.Time) <= c.Idle {
		return ""
	}
	return what + " " + stamp(since.Time)
}

func neverUsed(t *v1alpha1.ApiToken) string {
	since := UnusedSince(t, IssuedAt(t))
	if t.Status.Credential == nil || LastUse(t) != nil || since == nil {
		return ""
	}
	return "never used since " + stamp(since.Time)
}

func (c Checks) expiring(t *v1alpha1.ApiToken, now time.Time) string {
	current := t.Status.Credential
	if current == nil || !now.Before(current.ExpiresAt.Time) || current.ExpiresAt.Sub(now) > c.Expiring {
		return ""
	}
	return "expires at " + stamp(current.ExpiresAt.Time)
}

func expired(t *v1alpha1.ApiToken, now time.Time) string {
	if t.Spec.Revoked || t.Status.Credential == nil || now.Before(Expiry(t)) {
		return ""
	}
	return "expired at " + stamp(Expiry(t))
}

func withoutOwner(t *v1alpha1.ApiToken) string {
	if t.Spec.Owner != "" {
		return ""
	}
	return "no owner"
}

func ownerGone(t *v1alpha1.ApiToken, f Facts) string {
	if t.Spec.Owner == "" || f.Tenant == "" || slices.Contains(f.Users, t.Spec.Owner) {
		return ""
	}
	return fmt.Sprintf("%s is no user among the members of Tenant %s", t.Spec.Owner, f.Tenant)
}

// Users are the names of a Tenant's members that are users.
func Users(t *v1alpha1.Tenant) (names []string) {
	for _, member := range t.Spec.Members {
		if member.Kind == v1alpha1.MemberUser {
			names = append(names, member.Name)
		}
	}
	return names
}

// violations judges what was issued, and what it was issued for, as if it were
// issued today: that it counts from its own issue, and does not count itself.
func violations(t *v1alpha1.ApiToken, f Facts) string {
	issuedAt, current := IssuedAt(t), t.Status.Credential
	if f.Policy == nil || current == nil || issuedAt == nil {
		return ""
	}
	var found []string
	longest := f.Policy.MaxLifetime
	if signsIn(t) {
		longest = policy.MaxSignInLifetime
	}
	if lifetime := current.ExpiresAt.Sub(issuedAt.Time); lifetime > longest {
		found = append(found, fmt.Sprintf("lives %s, the policy permits at most %s", lifetime, longest))
	}
	if overlap := policy.Overlap(&t.Spec); overlap > f.Policy.MaxOverlap {
		found = append(found, fmt.Sprintf("rotation.overlap is %s, the policy permits at most %s", overlap, f.Policy.MaxOverlap))
	}
	return strings.Join(append(found, f.Policy.ScopeViolations(t.Spec.Scopes)...), "; ")
}

func (c Checks) wideScopes(t *v1alpha1.ApiToken) string {
	if c.MaxScopes != nil && len(t.Spec.Scopes) > *c.MaxScopes {
		return fmt.Sprintf("%d scopes", len(t.Spec.Scopes))
	}
	if c.ScopePattern == nil {
		return ""
	}
	wide := slices.DeleteFunc(slices.Clone(t.Spec.Scopes), func(s string) bool { return !c.ScopePattern.MatchString(s) })
	return strings.Join(wide, ", ")
}

// PreviousUse tells of a replaced credential that works still and was used after
// its successor was issued; empty if there is none.
func PreviousUse(t *v1alpha1.ApiToken, now time.Time) string {
	previous, since := t.Status.PreviousCredential, IssuedAt(t)
	if previous == nil || !now.Before(previous.ExpiresAt.Time) || previous.LastUsedAt == nil || since == nil || !previous.LastUsedAt.After(since.Time) {
		return ""
	}
	return fmt.Sprintf("%s was last used %s and ends %s", previous.ID, stamp(previous.LastUsedAt.Time), stamp(previous.ExpiresAt.Time))
}

// FreshUse is for how long after its last recorded use a credential has to be taken for
// one in use: twice the default interval at which uses are written, of which a replica
// under load may miss one.
const FreshUse = 2 * time.Hour

// AskingWideScopes is the checks that ask as well for ApiTokens with more scopes than
// a number, or with one like a pattern, whichever the text is. Empty asks nothing.
func (c Checks) AskingWideScopes(text string) (Checks, error) {
	n, err := strconv.Atoi(text)
	switch {
	case err == nil && n < 0:
		return c, fmt.Errorf("%d: must not be negative", n)
	case err == nil:
		c.MaxScopes = &n
	case text != "":
		c.ScopePattern = Pattern(text)
	}
	return c, nil
}

// Pattern compiles a pattern of scopes, in which * stands for anything.
func Pattern(pattern string) *regexp.Regexp {
	parts := strings.Split(pattern, "*")
	for i, part := range parts {
		parts[i] = regexp.QuoteMeta(part)
	}
	return regexp.MustCompile("^" + strings.Join(parts, ".*") + "$")
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
