package lifecycletest

import (
	"flag"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/token"
)

// System carries out what the machine commands, for one tenant.
type System interface {
	// Tenant is the tenant's name.
	Tenant() string
	// Write creates the ApiToken or, where there is one of the name, replaces its spec.
	// It fails as the Kubernetes API refuses it.
	Write(name string, spec *v1alpha1.ApiTokenSpec) error
	// Delete deletes the ApiToken.
	Delete(name string) error
	// Suspend suspends the tenant, or ends that.
	Suspend(suspended bool) error
	// Manage starts the manager, or stops it.
	Manage(runs bool) error
	// Advance sets the clock of every part forward.
	Advance(d time.Duration)
	// Await waits until everything is as wanted, and says what is not where that does
	// not come about.
	Await(wanted Wanted) error
}

// Wanted is what a system has to come to.
type Wanted struct {
	// Issued is what is issued, by the names of the ApiTokens.
	Issued map[string]Issued
	// Tokens are all that there have ever been.
	Tokens []Token
}

// Token is a token that was minted.
type Token struct {
	token.Token
	// Owner is the ApiToken that it was made for.
	Owner string
	// Works says whether it has to be accepted.
	Works bool
}

// Faulty is a System whose manager can be made to fail.
type Faulty interface {
	// Fail makes one of the manager's next writes fail: that after so many others.
	// applied says that it takes effect, and only its answer is lost.
	Fail(after int, applied bool)
}

// machine gives commands to a system and to the model of it.
type machine struct {
	model
	system System
	// minted are all tokens that there have ever been. The name of an ApiToken that was
	// deleted is not used again: count makes new ones.
	minted []Token
	count  int
	// history is what was commanded.
	history []string
}

// Run has a system, which stands at the instant, carry out commands, and compares it
// with the model after each.
func Run(t *rapid.T, system System, now time.Time) {
	m := &machine{
		model:  model{now: now, managed: true, lives: map[string]*life{}, ended: map[string]bool{}},
		system: system,
	}
	commands := map[string]func(*rapid.T){
		"":         m.check,
		"create":   m.create,
		"issue":    m.issueOne,
		"rotate":   m.rotate,
		"revoke":   m.revoke,
		"drop":     m.drop,
		"delete":   m.delete,
		"shorten":  m.shortenOne,
		"expireAt": m.expireAt,
		"reapply":  m.reapply,
		"copy":     m.copy,
		"suspend":  m.suspend,
		"manage":   m.manage,
		"wait":     m.wait,
	}
	if faulty, ok := system.(Faulty); ok {
		commands["fail"] = func(t *rapid.T) {
			after, applied := rapid.IntRange(0, 4).Draw(t, "after"), rapid.Bool().Draw(t, "applied")
			m.note("a write fails after %d others, applied: %t", after, applied)
			faulty.Fail(after, applied)
		}
	}
	t.Repeat(commands)
}

// Bound sets how many lives of how many steps the test has rapid try, unless the flags
// of rapid's say it. rapid has no other way.
func Bound(t *testing.T, checks, steps int) {
	t.Helper()
	given := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { given[f.Name] = true })
	for name, value := range map[string]int{"rapid.checks": checks, "rapid.steps": steps} {
		if given[name] {
			continue
		}
		if err := flag.Set(name, strconv.Itoa(value)); err != nil {
			t.Fatal(err)
		}
	}
}

// check compares the system with the model.
func (m *machine) check(t *rapid.T) {
	m.settle()
	m.bury()
	wanted, works := Wanted{Issued: map[string]Issued{}}, map[string]bool{}
	for name, l := range m.lives {
		wanted.Issued[name] = l.issued
		ids := m.accepted(l)
		if len(ids) > 2 {
			m.fail(t, "by the model %d credentials of %s work", len(ids), name)
		}
		for _, id := range ids {
			works[id] = true
			if m.ended[id] {
				m.fail(t, "by the model %s works, which had ended", id)
			}
		}
	}
	for _, minted := range m.minted {
		minted.Works = works[minted.ID()]
		wanted.Tokens = append(wanted.Tokens, minted)
	}
	if err := m.system.Await(wanted); err != nil {
		m.fail(t, "%v", err)
	}
}

func (m *machine) fail(t *rapid.T, format string, args ...any) {
	t.Helper()
	t.Fatalf(format+"\nat %s, after\n%s", append(args, m.now.UTC().Format(time.TimeOnly), strings.Join(m.history, "\n"))...)
}

func (m *machine) note(format string, args ...any) {
	m.history = append(m.history, m.now.UTC().Format(time.TimeOnly)+" "+fmt.Sprintf(format, args...))
}

// pick picks an ApiToken that the condition holds for, or skips the command.
func (m *machine) pick(t *rapid.T, holds func(l *life) bool) (string, *life) {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(m.lives)) {
		if holds(m.lives[name]) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		t.Skip("there is no such ApiToken")
	}
	name := rapid.SampledFrom(names).Draw(t, "name")
	return name, m.lives[name]
}

// mint makes a token for the ApiToken, in a second of its own: a successor has to be
// issued later than what it replaces.
func (m *machine) mint(t *rapid.T, owner string) *v1alpha1.Credential {
	m.advance(time.Second)
	minted, err := token.Mint(v1alpha1.DefaultTokenPrefix)
	if err != nil {
		t.Fatal(err)
	}
	m.minted = append(m.minted, Token{Token: minted, Owner: owner})
	return &v1alpha1.Credential{ID: minted.ID(), Digest: minted.Digest(m.system.Tenant()).String(), IssuedAt: metav1.NewTime(m.now)}
}

func (m *machine) advance(d time.Duration) {
	m.now = m.now.Add(d)
	m.system.Advance(d)
	// What passes by itself passes before anything else happens: the manager, where it
	// runs, is asked at the next command only.
	m.bury()
}

// write writes a changed spec, which has to be accepted.
func (m *machine) write(t *rapid.T, name string, change func(spec *v1alpha1.ApiTokenSpec)) {
	l := m.lives[name]
	spec := l.spec.DeepCopy()
	change(spec)
	if err := m.system.Write(name, spec); err != nil {
		m.fail(t, "write %s: %v", name, err)
	}
	l.written = append(l.written, l.spec)
	l.spec = *spec
}

func duration(d time.Duration) *metav1.Duration { return &metav1.Duration{Duration: d} }

var (
	lifetimes = rapid.SampledFrom([]time.Duration{30 * time.Second, 5 * time.Minute, 2 * time.Hour})
	overlaps  = rapid.SampledFrom([]time.Duration{0, 10 * time.Second, 5 * time.Minute, 2 * time.Hour})
)

func (m *machine) create(t *rapid.T) {
	if len(m.lives) == 3 {
		t.Skip("there are enough")
	}
	m.count++
	name := fmt.Sprintf("token-%d", m.count)
	spec := v1alpha1.ApiTokenSpec{
		Lifetime: duration(lifetimes.Draw(t, "lifetime")),
		Rotation: &v1alpha1.Rotation{Overlap: duration(overlaps.Draw(t, "overlap"))},
	}
	if rapid.Bool().Draw(t, "issued") {
		spec.Credential = m.mint(t, name)
	}
	m.note("create %s with %s", name, describe(&spec))
	if err := m.system.Write(name, &spec); err != nil {
		m.fail(t, "create %s: %v", name, err)
	}
	m.lives[name] = &life{spec: spec}
}

func (m *machine) issueOne(t *rapid.T) {
	name, _ := m.pick(t, func(l *life) bool { return l.spec.Credential == nil })
	c := m.mint(t, name)
	m.note("issue %s for %s", c.ID, name)
	m.write(t, name, func(spec *v1alpha1.ApiTokenSpec) { spec.Credential = c })
}

func (m *machine) rotate(t *rapid.T) {
	name, l := m.pick(t, func(l *life) bool { return l.spec.Credential != nil })
	c := m.mint(t, name)
	m.note("rotate %s from %s to %s", name, l.spec.Credential.ID, c.ID)
	m.write(t, name, func(spec *v1alpha1.ApiTokenSpec) { spec.Credential = c })
	l.copied = false
}

func (m *machine) revoke(t *rapid.T) {
	name, _ := m.pick(t, func(l *life) bool { return !l.spec.Revoked })
	m.note("revoke %s", name)
	m.write(t, name, func(spec *v1alpha1.ApiTokenSpec) { spec.Revoked = true })
}

func (m *machine) drop(t *rapid.T) {
	name, l := m.pick(t, func(l *life) bool { return l.issued.Previous.ID != "" && !m.dropped(l) })
	m.note("drop %s of %s", l.issued.Previous.ID, name)
	m.write(t, name, func(spec *v1alpha1.ApiTokenSpec) { spec.Rotation.DropPrevious = l.issued.Previous.ID })
}

func (m *machine) delete(t *rapid.T) {
	name, l := m.pick(t, func(*life) bool { return true })
	m.note("delete %s", name)
	if err := m.system.Delete(name); err != nil {
		m.fail(t, "delete %s: %v", name, err)
	}
	for _, c := range []Credential{l.issued.Current, l.issued.Previous} {
		if c.ID != "" {
			m.ended[c.ID] = true
		}
	}
	delete(m.lives, name)
}

func (m *machine) shortenOne(t *rapid.T) {
	name, _ := m.pick(t, func(l *life) bool { return l.spec.Lifetime != nil && l.spec.Lifetime.Duration > 20*time.Second })
	m.note("shorten the lifetime of %s to 20s", name)
	m.write(t, name, func(spec *v1alpha1.ApiTokenSpec) { spec.Lifetime = duration(20 * time.Second) })
}

func (m *machine) expireAt(t *rapid.T) {
	name, _ := m.pick(t, func(*life) bool { return true })
	in := rapid.SampledFrom([]time.Duration{0, 10 * time.Second, time.Hour}).Draw(t, "in")
	m.note("%s expires in %s", name, in)
	m.write(t, name, func(spec *v1alpha1.ApiTokenSpec) {
		spec.Lifetime, spec.ExpiresAt = nil, new(metav1.NewTime(m.now.Add(in)))
	})
}

// reapply applies YAML from before once more, as a GitOps tool would.
func (m *machine) reapply(t *rapid.T) {
	name, l := m.pick(t, func(l *life) bool { return len(l.written) > 0 })
	n := rapid.IntRange(0, len(l.written)-1).Draw(t, "revision")
	spec := l.written[n].DeepCopy()
	err := m.system.Write(name, spec)
	m.note("apply revision %d of %s once more, %s: %v", n, name, describe(spec), err)
	if refused := Undoes(&l.spec, l.issued.Previous.ID, spec); (err != nil) != refused {
		m.fail(t, "revision %d of %s was applied: %v, want it refused: %t", n, name, err, refused)
	}
	if err == nil {
		l.written = append(l.written, l.spec)
		l.spec = *spec
	}
}

// Undoes says whether a spec undoes what can't be: a credential, a revocation, a drop of
// the credential that is the previous one. The Kubernetes API refuses it.
func Undoes(present *v1alpha1.ApiTokenSpec, previous string, spec *v1alpha1.ApiTokenSpec) bool {
	was, is := present.Credential, spec.Credential
	same := was == nil || is != nil && is.ID == was.ID && is.Digest == was.Digest && is.IssuedAt.Equal(&was.IssuedAt)
	forward := same || is != nil && was.IssuedAt.Before(&is.IssuedAt) && is.ID != was.ID && is.Digest != was.Digest
	dropped := previous != "" && present.Rotation.DropPrevious == previous
	return !forward || present.Revoked && !spec.Revoked || dropped && same && spec.Rotation.DropPrevious != previous
}

// copy makes an ApiToken with the credential of another, which holds it.
func (m *machine) copy(t *rapid.T) {
	if len(m.lives) >= 3 {
		t.Skip("there are enough")
	}
	held := func(l *life) bool { return l.spec.Credential != nil && l.spec.Credential.ID == l.issued.Current.ID }
	holder, l := m.pick(t, held)
	m.count++
	name := fmt.Sprintf("token-%d", m.count)
	m.note("create %s with the credential of %s", name, holder)
	spec := l.spec.DeepCopy()
	spec.Revoked = false
	if err := m.system.Write(name, spec); err != nil {
		m.fail(t, "create %s: %v", name, err)
	}
	m.lives[name] = &life{spec: *spec, copied: true}
}

func (m *machine) suspend(t *rapid.T) {
	m.suspended = !m.suspended
	m.note("suspended: %t", m.suspended)
	if err := m.system.Suspend(m.suspended); err != nil {
		t.Fatal(err)
	}
}

func (m *machine) manage(t *rapid.T) {
	m.managed = !m.managed
	m.note("managed: %t", m.managed)
	if err := m.system.Manage(m.managed); err != nil {
		t.Fatal(err)
	}
}

func (m *machine) wait(t *rapid.T) {
	d := rapid.SampledFrom([]time.Duration{time.Second, 5 * time.Second, 59 * time.Second, 61 * time.Second, 10 * time.Minute, 3 * time.Hour}).Draw(t, "time")
	m.note("%s pass", d)
	m.advance(d)
}

func describe(spec *v1alpha1.ApiTokenSpec) string {
	credential := "no credential"
	if spec.Credential != nil {
		credential = spec.Credential.ID
	}
	return fmt.Sprintf("%s, lifetime %v, expiresAt %v, overlap %s, dropPrevious %q, revoked %t",
		credential, spec.Lifetime, spec.ExpiresAt, overlap(spec), spec.Rotation.DropPrevious, spec.Revoked)
}
