// Package lifecycletest tests the life of API tokens against a small model of it. rapid
// makes commands: create, issue, rotate, revoke, drop, delete, suspend, apply old YAML,
// stop and start the manager, let time pass. A System carries them out, and after each
// the same credentials have to be accepted as by the model, never more than two of an
// ApiToken, and none that had ended.
//
// What documentation leaves open is not among the commands: an ApiToken that is made
// anew with a credential of one that was deleted (docs/security.md, "Old YAML").
package lifecycletest

import (
	"fmt"
	"time"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// Credential is a credential that works until an instant. The zero value is none.
type Credential struct {
	ID       string
	NotAfter time.Time
}

// Issued is what of an ApiToken has been issued.
type Issued struct{ Current, Previous Credential }

// life is what the model knows of an ApiToken.
type life struct {
	// spec is the ApiToken's, as it was last written.
	spec v1alpha1.ApiTokenSpec
	// written are the specs before, for whoever applies one of them once more.
	written []v1alpha1.ApiTokenSpec
	issued  Issued
	// refused is the credential that is never issued, and copied says that the one in
	// spec is another ApiToken's.
	refused string
	copied  bool
}

// model is the reference: what is accepted, and nothing of how.
type model struct {
	now time.Time
	// managed says that a manager runs. Without one nothing is issued.
	managed, suspended bool
	lives              map[string]*life
	// ended are the credentials that ended for good.
	ended map[string]bool
}

// settling is how long a replaced credential works at least, once its successor does.
const settling = 2 * time.Second

// settle is what a manager makes of every ApiToken.
func (m *model) settle() {
	if !m.managed {
		return
	}
	for _, l := range m.lives {
		m.issue(l)
		m.shorten(l)
	}
}

// issue issues the credential in spec, if that may be.
func (m *model) issue(l *life) {
	wanted := l.spec.Credential
	if wanted == nil || wanted.ID == l.issued.Current.ID || wanted.ID == l.refused || l.spec.Revoked {
		return
	}
	notAfter := bound(&l.spec)
	switch {
	case l.copied:
		l.refused = wanted.ID
	case m.now.Before(notAfter):
		previous := l.issued.Current
		end := later(wanted.IssuedAt.Add(overlap(&l.spec)), m.now.Add(settling))
		previous.NotAfter = earlier(previous.NotAfter, end)
		l.issued = Issued{Current: Credential{wanted.ID, notAfter}, Previous: previous}
	case l.issued.Current.ID != "":
		l.refused = wanted.ID // a refused rotation stays refused
		m.ended[wanted.ID] = true
	}
}

// shorten brings forward the ends of what was issued to what spec says.
func (m *model) shorten(l *life) {
	current, previous := &l.issued.Current, &l.issued.Previous
	if at := l.spec.ExpiresAt; at != nil {
		current.NotAfter, previous.NotAfter = earlier(current.NotAfter, at.Time), earlier(previous.NotAfter, at.Time)
	}
	if c := l.spec.Credential; c != nil && c.ID == current.ID && l.spec.Lifetime != nil {
		current.NotAfter = earlier(current.NotAfter, bound(&l.spec))
	}
	if m.dropped(l) && m.now.Before(previous.NotAfter) {
		previous.NotAfter = m.now
	}
}

func (m *model) dropped(l *life) bool {
	return l.issued.Previous.ID != "" && l.spec.Rotation != nil && l.spec.Rotation.DropPrevious == l.issued.Previous.ID
}

// accepted are the credentials of the ApiToken that work now.
func (m *model) accepted(l *life) (ids []string) {
	if m.suspended {
		return nil
	}
	for _, c := range []Credential{l.issued.Current, l.issued.Previous} {
		if c.ID != "" && m.lasts(l, c) {
			ids = append(ids, c.ID)
		}
	}
	return ids
}

// lasts says whether a credential works now, or would if its tenant were not suspended.
// Revocation, expiresAt and a drop count at once, without a manager.
func (m *model) lasts(l *life, c Credential) bool {
	switch {
	case l.spec.Revoked, !m.now.Before(c.NotAfter):
		return false
	case l.spec.ExpiresAt != nil && !m.now.Before(l.spec.ExpiresAt.Time):
		return false
	}
	return c.ID != l.issued.Previous.ID || !m.dropped(l)
}

// bury notes what ended for good. What only an expiresAt ended that no manager has seen
// yet may still be lengthened by who wrote it.
func (m *model) bury() {
	for _, l := range m.lives {
		for _, c := range []Credential{l.issued.Current, l.issued.Previous} {
			if c.ID != "" && (l.spec.Revoked || !m.now.Before(c.NotAfter) || c.ID == l.issued.Previous.ID && m.dropped(l)) {
				m.ended[c.ID] = true
			}
		}
	}
}

// bound is when the credential in spec expires.
func bound(spec *v1alpha1.ApiTokenSpec) time.Time {
	if spec.ExpiresAt != nil {
		return spec.ExpiresAt.Time
	}
	return spec.Credential.IssuedAt.Add(spec.Lifetime.Duration)
}

func overlap(spec *v1alpha1.ApiTokenSpec) time.Duration {
	if spec.Rotation == nil || spec.Rotation.Overlap == nil {
		return 0
	}
	return spec.Rotation.Overlap.Duration
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// IssuedOf is what an ApiToken's status says was issued.
func IssuedOf(object *v1alpha1.ApiToken) (i Issued) {
	if c := object.Status.Credential; c != nil {
		i.Current = Credential{c.ID, c.ExpiresAt.Time}
	}
	if c := object.Status.PreviousCredential; c != nil {
		i.Previous = Credential{c.ID, c.ExpiresAt.Time}
	}
	return i
}

// Equal says whether both have the same.
func (i Issued) Equal(other Issued) bool {
	return i.Current.Equal(other.Current) && i.Previous.Equal(other.Previous)
}

// Equal says whether both are the same.
func (c Credential) Equal(other Credential) bool {
	return c.ID == other.ID && c.NotAfter.Equal(other.NotAfter)
}

// Compare says in what of an ApiToken's status and of the tokens that are accepted
// there is another than is wanted, if in anything.
func (w *Wanted) Compare(status func(name string) (Issued, error), accepts func(t *Token) (bool, error)) error {
	for name, want := range w.Issued {
		got, err := status(name)
		if err != nil {
			return err
		}
		if !got.Equal(want) {
			return fmt.Errorf("issued of %s is %+v, by the model %+v", name, got, want)
		}
	}
	for i := range w.Tokens {
		t := &w.Tokens[i]
		accepted, err := accepts(t)
		if err != nil {
			return err
		}
		if accepted != t.Works {
			return fmt.Errorf("%s of %s is accepted: %t, by the model %t", t.ID(), t.Owner, accepted, t.Works)
		}
	}
	return nil
}
