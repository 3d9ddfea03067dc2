package apitoken

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/conditions"
	"github.com/latchkey-dev/latchkey/internal/openapi"
	"github.com/latchkey-dev/latchkey/internal/policy"
	"github.com/latchkey-dev/latchkey/internal/record"
	"github.com/latchkey-dev/latchkey/internal/token"
)

// facts are everything that a plan depends on. Of the stored record there is only
// whether it is up to date, which ends a handover: a forged one must not turn into a
// vouched one.
type facts struct {
	now   time.Time
	token *v1alpha1.ApiToken
	// tenant is the accepted Tenant of the token's namespace, or nil.
	tenant *v1alpha1.Tenant
	// policy is the PublicApi's, or nil where the tenant's PublicApi is missing.
	policy *policy.Policy
	// operations are those of the PublicApi's OpenAPI document, if there is one.
	operations  []*openapi.Operation
	hasDocument bool
	// countLater says that they are not known at the moment.
	countLater bool
	// holder is the name of another ApiToken that holds this one's credential.
	holder string
	// live is how many other ApiTokens of the tenant are live.
	live int
	// handedOver says that the stored record has the credential that status says was
	// issued last.
	handedOver bool
}

// plan is what should be.
type plan struct {
	// record is the record that should be stored, or nil for none.
	record *record.Record
	// catchUp is the record of what status says that was issued before, if the
	// plan issues another credential; else nil.
	catchUp *record.Record
	status  v1alpha1.ApiTokenStatus
	// retire says that the ApiToken itself should go.
	retire bool
	// later is when what was left open is to be looked at again, or zero.
	later time.Time
	// next is when the plan changes without anybody's doing, or zero.
	next time.Time
}

func needsIssuing(t *v1alpha1.ApiToken) bool {
	issued, wanted := t.Status.Credential, t.Spec.Credential
	return wanted != nil && (issued == nil || issued.Digest != wanted.Digest)
}

// makePlan decides everything about one ApiToken. It fails only for an object
// that the API server's validation can't have let through.
func makePlan(f facts) (*plan, error) {
	p := &plan{status: *f.token.Status.DeepCopy()}
	p.status.ObservedGeneration = f.token.Generation
	if f.token.Spec.Revoked && p.status.RevokedAt == nil {
		p.status.RevokedAt = new(metav1.NewTime(f.now.Truncate(time.Second)))
	}
	if f.tenant == nil {
		message := fmt.Sprintf("Namespace %s belongs to no accepted Tenant; see kubectl get tenants.", f.token.Namespace)
		p.settle(f, policy.Unknown, &refusal{reason: v1alpha1.ReasonNoTenant, message: message})
		return p, nil
	}
	var refused *refusal
	if needsIssuing(f.token) {
		if refused = mayIssue(f); refused == nil {
			if err := p.planCatchUp(f); err != nil {
				return nil, err
			}
			p.issue(f)
			f.handedOver = false // it was the one before that is stored
		} else {
			p.refuse(f, refused)
		}
	}
	if p.status.Credential == nil {
		if refused == nil {
			refused = awaiting(f.token)
		}
		p.settle(f, policy.Unknown, refused)
		return p, nil
	}
	p.complete(f)
	p.bringForward(f)
	p.endHandover(f)
	p.dropPrevious(f)
	if refused == nil {
		refused = p.scopesRefusal(f)
	}
	p.status.Credential.Scopes = p.grantedScopes(f)
	p.countOperations(f)
	p.settle(f, policy.Decide(p.state(f), f.now), refused)
	return p, p.makeRecord(f)
}

// recountAfter is when operations are counted that were not known.
const recountAfter = 10 * time.Second

// countOperations says how many operations the token can call. It is told to people,
// and nothing waits for it.
func (p *plan) countOperations(f facts) {
	switch {
	case f.countLater:
		p.later = f.now.Add(recountAfter)
	case f.hasDocument:
		p.status.Operations = callable(f.operations, p.status.Credential.Scopes)
	default:
		p.status.Operations = nil
	}
}

// handover is how long a replaced credential goes on working at least while its
// successor's record is not known to be stored, unless it expires, is dropped or
// revoked. Without it an overlap of 0, or one that ended while no manager ran, would
// have an instant in which neither works. It is the time that a manager has to die and
// be replaced in, or to fail in writing the record, and makes up for clocks that differ.
const handover = time.Minute

// settling is how long it goes on working once the record is stored: the time that the
// watches of every replica of the API server need.
const settling = 2 * time.Second

// after is the instant in whole seconds that is a duration from now, or a little later.
func (f facts) after(d time.Duration) metav1.Time {
	return metav1.NewTime(f.now.Add(d + time.Second - 1).Truncate(time.Second))
}

// planCatchUp plans the record of what was issued before. Where it was not stored,
// because the manager died or its write failed, it has to be before another
// credential is issued: status would no more vouch for what the stored record holds,
// and nothing would work until the next one is.
func (p *plan) planCatchUp(f facts) error {
	if p.status.Credential == nil {
		return nil
	}
	before := *f.token
	before.Spec.Credential = nil
	f.token = &before
	present, err := makePlan(f)
	if err != nil {
		return err
	}
	p.catchUp = present.record
	return nil
}

// issue makes the credential in spec the current one. The overlap of the one
// that it replaces counts from the new one's issuedAt, so that a manager that
// was down meanwhile does not prolong it beyond the handover. The one before that
// ends at once: two credentials work at a time, never three.
func (p *plan) issue(f facts) {
	spec := &f.token.Spec
	issuedAt := spec.Credential.IssuedAt.Time
	if previous := p.status.Credential; previous != nil {
		end := metav1.NewTime(issuedAt.Add(policy.Overlap(spec)))
		if soonest := f.after(handover); end.Before(&soonest) {
			end = soonest
		}
		if end.Before(&previous.ExpiresAt) {
			previous.ExpiresAt = end
		}
		p.status.PreviousCredential = previous
	}
	p.status.RefusedCredentialID = ""
	p.status.Credential = &v1alpha1.IssuedCredential{
		ID:        spec.Credential.ID,
		Digest:    spec.Credential.Digest,
		ExpiresAt: metav1.NewTime(f.policy.Expiry(spec, issuedAt, f.now)),
		Scopes:    slices.Clone(spec.Scopes),
	}
}

// complete fills in what a status from before these fields existed lacks.
func (p *plan) complete(f facts) {
	current, wanted := p.status.Credential, f.token.Spec.Credential
	if current.IssuedAt == nil && wanted != nil && wanted.Digest == current.Digest {
		current.IssuedAt = new(wanted.IssuedAt)
	}
	if p.status.UseRecordedSince == nil {
		p.status.UseRecordedSince = new(metav1.NewTime(f.now.Truncate(time.Second)))
	}
}

// bringForward shortens what was issued to what spec says now. It never
// lengthens: that takes a new credential.
func (p *plan) bringForward(f facts) {
	spec := &f.token.Spec
	issued := []*v1alpha1.IssuedCredential{p.status.Credential}
	if p.status.PreviousCredential != nil {
		issued = append(issued, p.status.PreviousCredential)
	}
	for _, credential := range issued {
		if spec.ExpiresAt != nil && spec.ExpiresAt.Before(&credential.ExpiresAt) {
			credential.ExpiresAt = *spec.ExpiresAt
		}
	}
	current := p.status.Credential
	if spec.Lifetime != nil && spec.Credential != nil && spec.Credential.Digest == current.Digest {
		end := metav1.NewTime(spec.Credential.IssuedAt.Add(spec.Lifetime.Duration))
		if end.Before(&current.ExpiresAt) {
			current.ExpiresAt = end
		}
	}
}

// endHandover ends the overlap of the previous credential when spec says, if only the
// handover had prolonged it and the record is stored now. What is to end later than a
// handover from now was not prolonged: there, a shorter overlap counts with the next
// rotation only.
func (p *plan) endHandover(f facts) {
	current, previous, wanted := p.status.Credential, p.status.PreviousCredential, f.token.Spec.Credential
	if !f.handedOver || previous == nil || wanted == nil || wanted.Digest != current.Digest {
		return
	}
	if latest := f.after(handover); latest.Before(&previous.ExpiresAt) {
		return
	}
	end := metav1.NewTime(wanted.IssuedAt.Add(policy.Overlap(&f.token.Spec)))
	if soonest := f.after(settling); end.Before(&soonest) {
		end = soonest
	}
	if end.Before(&previous.ExpiresAt) {
		previous.ExpiresAt = end
	}
}

// dropPrevious ends the previous credential if spec says so. It stays in status,
// with the moment at which it ended: status is what remembers that it was
// replaced, and who looks can see until when it was used.
func (p *plan) dropPrevious(f facts) {
	previous, rotation := p.status.PreviousCredential, f.token.Spec.Rotation
	if previous != nil && rotation != nil && rotation.DropPrevious == previous.ID && f.now.Before(previous.ExpiresAt.Time) {
		previous.ExpiresAt = metav1.NewTime(f.now.Truncate(time.Second))
	}
}

func (p *plan) state(f facts) policy.State {
	s := policy.State{Tenant: policy.TenantMissing, Revoked: f.token.Spec.Revoked, NotAfter: p.notAfter()}
	if f.tenant != nil {
		s.Tenant = policy.TenantActive
		if f.tenant.Spec.Suspended {
			s.Tenant = policy.TenantSuspended
		}
	}
	return s
}

// notAfter is when the last of the token's credentials expires.
func (p *plan) notAfter() time.Time {
	end := p.status.Credential.ExpiresAt.Time
	if previous := p.status.PreviousCredential; previous != nil && previous.ExpiresAt.After(end) {
		end = previous.ExpiresAt.Time
	}
	return end
}

// settle turns the verdict and what was refused into conditions, and finds the
// next instant at which they change.
func (p *plan) settle(f facts, verdict policy.Verdict, refused *refusal) {
	set := func(conditionType string, status bool, reason, message string) {
		conditions.Set(&p.status.Conditions, conditionType, status, reason, message, f.token.Generation, f.now)
	}
	active := map[policy.Verdict]func() (reason, message string){
		policy.Works:   func() (string, string) { return v1alpha1.ReasonIssued, "Works until " + stamp(p.notAfter()) + "." },
		policy.Expired: func() (string, string) { return v1alpha1.ReasonExpired, "Expired at " + stamp(p.notAfter()) + "." },
		policy.Revoked: func() (string, string) {
			return v1alpha1.ReasonRevoked, "Revoked; seen at " + stamp(p.status.RevokedAt.Time) + "."
		},
		policy.Suspended: func() (string, string) {
			return v1alpha1.ReasonTenantSuspended, "Tenant " + f.tenant.Name + " is suspended."
		},
		policy.Unknown: func() (string, string) { return refused.reason, refused.message },
	}
	reason, message := active[verdict]()
	set(v1alpha1.ConditionActive, verdict == policy.Works, reason, message)

	// Beside a credential that works, Active does not tell of a refusal.
	if refused != nil && (refused.stalled || verdict != policy.Unknown) {
		set(v1alpha1.ConditionStalled, true, refused.reason, refused.message)
	} else {
		meta.RemoveStatusCondition(&p.status.Conditions, v1alpha1.ConditionStalled)
	}
	instants := p.expiryInstants(f, verdict, set)
	if refused != nil {
		instants = append(instants, refused.retry)
	}
	instants = append(instants, p.later)
	p.next, _ = policy.Earliest(f.now, instants...)
}

// expiryInstants sets ExpiringSoon and returns when anything about the expiry
// changes.
func (p *plan) expiryInstants(f facts, verdict policy.Verdict, set func(string, bool, string, string)) []time.Time {
	if p.status.Credential == nil {
		meta.RemoveStatusCondition(&p.status.Conditions, v1alpha1.ConditionExpiringSoon)
		return nil
	}
	end := p.status.Credential.ExpiresAt.Time
	instants := []time.Time{end}
	if p.status.PreviousCredential != nil {
		instants = append(instants, p.status.PreviousCredential.ExpiresAt.Time)
	}
	if f.policy == nil {
		meta.RemoveStatusCondition(&p.status.Conditions, v1alpha1.ConditionExpiringSoon)
		return instants
	}
	state := p.state(f)
	state.NotAfter = end
	notice := f.policy.Notice
	switch {
	case verdict != policy.Works:
		set(v1alpha1.ConditionExpiringSoon, false, v1alpha1.ReasonNotActive, "The token does not work.")
	case policy.ExpiringSoon(state, notice, f.now):
		left := policy.DaysLeft(end, f.now)
		set(v1alpha1.ConditionExpiringSoon, true, v1alpha1.ReasonWithinNotice, p.expiryMessage(left))
		p.notice(f)
		instants = append(instants, end.Add(-time.Duration(left-1)*24*time.Hour))
	default:
		set(v1alpha1.ConditionExpiringSoon, false, v1alpha1.ReasonNotExpiringSoon, "Expires at "+stamp(end)+".")
	}
	return append(instants, end.Add(-notice), p.retainedUntil(f))
}

func (p *plan) expiryMessage(daysLeft int) string {
	days := "a day"
	if daysLeft > 1 {
		days = fmt.Sprintf("%d days", daysLeft)
	}
	return fmt.Sprintf("Credential %s expires within %s, at %s. Mint a new one before.",
		p.status.Credential.ID, days, stamp(p.status.Credential.ExpiresAt.Time))
}

// notice notes in status which notice of the expiry is due. Whoever writes the
// status then gives it: once, whatever is restarted in between.
func (p *plan) notice(f facts) {
	current, last := p.status.Credential, p.status.Notice
	issuedAt := time.Time{}
	if current.IssuedAt != nil {
		issuedAt = current.IssuedAt.Time
	}
	due := f.policy.NoticeDue(issuedAt, current.ExpiresAt.Time, f.now)
	if due != 0 && (last == nil || last.CredentialID != current.ID || due < last.Days) {
		p.status.Notice = &v1alpha1.Notice{CredentialID: current.ID, Days: due}
	}
}

// retainedUntil is when the record of a token that works no more is deleted, and
// the ApiToken itself if our own API made it. One that only signed in is not missed by
// anybody who calls the API, and is not kept.
func (p *plan) retainedUntil(f facts) time.Time {
	end := p.notAfter()
	if policy.SignsIn(p.status.Credential.Scopes) {
		return end
	}
	if p.status.RevokedAt != nil && p.status.RevokedAt.Time.Before(end) {
		end = p.status.RevokedAt.Time
	}
	return end.Add(f.policy.Retention)
}

// madeByUs says whether the ApiToken was made by our own API or pages. Others have
// a source that would bring them back, such as a GitOps tool.
func madeByUs(t *v1alpha1.ApiToken) bool {
	via := t.Annotations[v1alpha1.AnnotationCreatedVia]
	return via == v1alpha1.ViaAPI || via == v1alpha1.ViaSettings
}

// makeRecord fills in the record from what was issued.
func (p *plan) makeRecord(f facts) error {
	if f.policy != nil && !f.now.Before(p.retainedUntil(f)) {
		p.retire = madeByUs(f.token)
		return nil
	}
	r := &record.Record{
		Tenant:    f.tenant.Name,
		Namespace: f.token.Namespace,
		Name:      f.token.Name,
		UID:       f.token.UID,
		Owner:     f.token.Spec.Owner,
		Scopes:    p.status.Credential.Scopes,
	}
	for _, cidr := range f.token.Spec.AllowedCIDRs {
		prefix, err := netip.ParsePrefix(cidr)
		if err != nil {
			return fmt.Errorf("spec.allowedCIDRs has %q: %w", cidr, err)
		}
		r.AllowedCIDRs = append(r.AllowedCIDRs, prefix.Masked())
	}
	current, err := recorded(p.status.Credential)
	if err != nil {
		return fmt.Errorf("status.credential: %w", err)
	}
	r.Current = *current
	if p.status.PreviousCredential != nil {
		if r.Previous, err = recorded(p.status.PreviousCredential); err != nil {
			return fmt.Errorf("status.previousCredential: %w", err)
		}
	}
	p.record = r
	return nil
}

// grantedScopes are the scopes of spec that the policy knows or that were granted
// while it knew them.
func (p *plan) grantedScopes(f facts) []string {
	var granted []string
	issued := p.status.Credential.Scopes
	for _, scope := range f.token.Spec.Scopes {
		if slices.Contains(issued, scope) || f.policy != nil && f.policy.CanAdd(issued, scope) {
			granted = append(granted, scope)
		}
	}
	return granted
}

func recorded(c *v1alpha1.IssuedCredential) (*record.Credential, error) {
	digest, err := token.ParseDigest(c.Digest)
	if err != nil {
		return nil, err
	}
	return &record.Credential{ID: c.ID, Digest: digest, NotAfter: c.ExpiresAt.UTC()}, nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
