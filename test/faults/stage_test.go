//go:build linux

package faults_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
	"github.com/latchkey-dev/latchkey/internal/token"
	"github.com/latchkey-dev/latchkey/test/faults/history"
)

// bound is how long after a write a replica that hears everything may accept what it
// ended (promise 2). The tests that run beside others, with the race detector in
// this process, are not held to the figure.
func bound() time.Duration {
	if *full {
		return 3 * time.Second
	}
	return 10 * time.Second
}

// effectLimit is within what 99 of 100 writes take effect where nothing keeps a replica from
// hearing of them (promise 2).
const effectLimit = time.Second

// slack is for a machine that is busy with other things: a run fails where something comes
// later than is stated, and by more than this. What is accepted has no slack.
const slack = 3 * time.Second

// stage is where a scenario is played: the world, with traffic, and its history.
type stage struct {
	*world
	scenario scenario
	history  *history.History
	traffic  *traffic
	// steady are tokens that work throughout, expiring those whose time ends meanwhile.
	steady, expiring []*issued
	garbage          []question
	doomed           *doomed
	// row is what the scenario adds to what the check finds.
	row row

	mu    sync.Mutex
	extra []*replica
	// left are those that get no traffic any more, or at the moment.
	left []*replica
}

// issued is a token. The plaintext is nowhere but here and in requests.
type issued struct {
	tenant, name, plaintext string
	expires                 time.Time
	object                  *v1alpha1.ApiToken
}

// play plays a scenario and checks what came of it.
func (w *world) play(t *testing.T, s scenario) row {
	t.Helper()
	return w.perform(t, s).check()
}

// perform plays a scenario.
func (w *world) perform(t *testing.T, s scenario) *stage {
	t.Helper()
	parent := w.t
	w.t = t
	defer func() { w.t = parent }()
	st := &stage{world: w, scenario: s, history: history.New(time.Now())}
	st.cast()
	st.traffic = st.startTraffic()
	defer st.traffic.end()
	for _, r := range w.replicas {
		st.traffic.to(r)
	}
	churning, stop := context.WithCancel(t.Context())
	var churn sync.WaitGroup
	churn.Go(func() { st.doomed.churn(churning, st.long(250*time.Millisecond, 500*time.Millisecond)) })
	st.lasts(st.long(time.Second, 5*time.Second)) // all is well at first
	s.run(st)
	st.lasts(st.long(time.Second, 5*time.Second)) // and afterwards
	stop()
	churn.Wait()
	st.traffic.end()
	return st
}

// long is one or the other, for the short form and the full length.
func (s *stage) long(short, long time.Duration) time.Duration {
	if *full {
		return long
	}
	return short
}

// cast issues the tokens of the scenario.
func (s *stage) cast() {
	s.t.Helper()
	year := time.Now().Add(365 * 24 * time.Hour)
	doom := 32
	if *full {
		doom = 200
	}
	for _, tenant := range tenants {
		for range 3 {
			s.steady = append(s.steady, s.mint(tenant, year))
		}
	}
	s.doomed = &doomed{stage: s, refused: map[[2]string]bool{}}
	for n := range doom {
		s.doomed.all = append(s.doomed.all, s.mint(tenants[n%len(tenants)], year))
	}
	s.issue(slices.Concat(s.steady, s.doomed.all)...) // a manager may have to take over first
	for n := range 10 {
		s.expiring = append(s.expiring, s.mint(tenants[n%len(tenants)], time.Now().Add(time.Duration(6+n*(n+1)/4)*time.Second)))
	}
	s.issue(s.expiring...)
	unknown := s.mint("acme", year)
	good := s.steady[0].plaintext
	for name, sent := range map[string]string{
		"unknown": "token " + unknown.plaintext, "bearer": "Bearer " + unknown.plaintext, "none": "", "scheme alone": "token ",
		"cut": "token " + good[:len(good)-1], "longer": "token " + good + "0", "another case": "TOKEN " + flipped(good), "twice": "token " + good + " " + good,
		"junk": "token lk_00000000_" + good[len(good)-20:], "basic": "Basic dXNlcjpwYXNz", "digest": "token " + s.steady[0].object.Spec.Credential.Digest,
	} {
		s.garbage = append(s.garbage, question{"acme", "garbage: " + name, sent})
	}
}

// flipped is a token with its last character changed.
func flipped(plaintext string) string {
	last := byte('0')
	if plaintext[len(plaintext)-1] == last {
		last = '1'
	}
	return plaintext[:len(plaintext)-1] + string(last)
}

// mint makes a token that nobody has issued yet.
func (s *stage) mint(tenant string, expires time.Time) *issued {
	s.t.Helper()
	minted, err := token.Mint(v1alpha1.DefaultTokenPrefix)
	must(s.t, err)
	s.serial++
	i := &issued{tenant: tenant, name: fmt.Sprintf("token-%06d", s.serial), plaintext: minted.Reveal(), expires: expires.Truncate(time.Second)}
	i.object = &v1alpha1.ApiToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.TenantNamespacePrefix + tenant, Name: i.name},
		Spec: v1alpha1.ApiTokenSpec{
			ExpiresAt: &metav1.Time{Time: i.expires},
			Credential: &v1alpha1.Credential{
				ID: minted.ID(), Digest: minted.Digest(tenant).String(), IssuedAt: metav1.NewTime(time.Now().Truncate(time.Second)),
			},
		},
	}
	return i
}

// issue has the manager issue tokens, and waits until every replica accepts them.
func (s *stage) issue(all ...*issued) {
	s.t.Helper()
	group, ctx := errgroup.WithContext(s.t.Context())
	group.SetLimit(16)
	for _, i := range all {
		group.Go(func() error { return s.client.Create(ctx, i.object.DeepCopy()) })
	}
	must(s.t, group.Wait())
	for _, r := range s.asked() {
		s.awaitAccepted(r, all...)
	}
	now := s.history.Now()
	for _, i := range all {
		s.history.Issue(history.Token{Name: i.name, Tenant: i.tenant, Expires: s.history.At(i.expires), Works: now})
	}
}

// awaitAccepted waits until a replica accepts tokens, each while its time lasts.
func (s *stage) awaitAccepted(r *replica, all ...*issued) {
	s.t.Helper()
	c := newCaller(r)
	defer c.close()
	for _, i := range all {
		testenv.Eventually(s.t, func() error {
			s.reviveManagers() // who issues them
			status, code, _, err := c.request(s.t.Context(), i.ask())
			if err == nil && status != http.StatusOK && time.Now().Before(i.expires) {
				err = fmt.Errorf("%s answers token %s with %d %s", r.name, i.name, status, code)
			}
			return err
		})
	}
}

// asked are the replicas that get traffic.
func (s *stage) asked() []*replica {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Concat(s.replicas, s.extra), func(r *replica) bool { return slices.Contains(s.left, r) })
}

// join begins to ask another replica, once it is ready and accepts what the others do.
func (s *stage) join(r *replica) {
	s.t.Helper()
	awaitReady(s.t, r.Process, r.admin)
	s.awaitAccepted(r, s.steady...)
	s.awaitAccepted(r, s.expiring...)
	s.mu.Lock()
	s.extra = append(s.extra, r)
	s.mu.Unlock()
	s.traffic.to(r)
}

// leave ends the traffic to a replica, as where a Service has it no more, until rejoin is
// called. What it hears of meanwhile shows in no answer.
func (s *stage) leave(r *replica) (rejoin func()) {
	s.mu.Lock()
	s.left = append(s.left, r)
	s.mu.Unlock()
	s.traffic.from(r)
	asked := s.deaf(r)
	return func() {
		s.mu.Lock()
		s.left = slices.DeleteFunc(s.left, func(l *replica) bool { return l == r })
		s.mu.Unlock()
		asked(s.history.Now())
		s.traffic.to(r)
	}
}

// lasts lets time pass under traffic: until every replica has been asked, and answered or
// not, for so long.
func (s *stage) lasts(d time.Duration) {
	s.t.Helper()
	begin, since := time.Now(), s.history.Now()
	testenv.Eventually(s.t, func() error {
		if left := d - time.Since(begin); left > 0 {
			return fmt.Errorf("for %s more", left)
		}
		for _, r := range s.asked() {
			if s.history.Count(func(a *history.Answer) bool { return a.Replica == r.name && a.Sent >= since }) == 0 {
				return fmt.Errorf("%s was not asked", r.name)
			}
		}
		return nil
	})
}

// until waits for what must come in time, and says how long it took. The short form gives
// it all the time that it takes.
func (s *stage) until(limit time.Duration, what string, condition func() error) time.Duration {
	s.t.Helper()
	begin := time.Now()
	testenv.Eventually(s.t, condition)
	took := time.Since(begin)
	if took > limit+slack && *full {
		s.t.Errorf("%s took %s, must be within %s", what, took.Round(time.Millisecond), limit)
	}
	return took
}

// mended ends the spans of a fault once a write that was made after it has taken effect on
// every replica, and notes how long that took.
func (s *stage) mended(ends ...func(history.Instant)) {
	s.t.Helper()
	begin := time.Now()
	marker := s.doomed.take()
	ctx, cancel := context.WithTimeout(s.t.Context(), 5*time.Minute)
	defer cancel()
	must(s.t, s.endToken(ctx, marker, history.Revoked))
	for _, r := range s.asked() {
		s.awaitRefused(r, marker)
	}
	s.recovered(time.Since(begin))
	for _, end := range ends {
		end(s.history.Now())
	}
}

// recovered notes the time that recovery took.
func (s *stage) recovered(took time.Duration) {
	s.t.Helper()
	s.row.recovery = max(s.row.recovery, took)
	if limit := s.scenario.recovery; took > limit+slack && *full {
		s.t.Errorf("it took %s from the end of the fault until a write took effect on every replica, must be at most %s", took, limit)
	}
}

func (s *stage) awaitRefused(r *replica, i *issued) {
	s.t.Helper()
	s.awaitStatus(r, i, http.StatusUnauthorized)
}

// awaitStatus waits until a replica answers to a token with a status.
func (s *stage) awaitStatus(r *replica, i *issued, want int) {
	s.t.Helper()
	c := newCaller(r)
	defer c.close()
	testenv.Eventually(s.t, func() error { return s.answers(c, r, i, want) })
}

// refused returns nil if a replica refuses a token.
func (s *stage) refused(r *replica, i *issued) error {
	c := newCaller(r)
	defer c.close()
	return s.answers(c, r, i, http.StatusUnauthorized)
}

// answers returns nil if a replica answers a token with a status.
func (s *stage) answers(c *caller, r *replica, i *issued, want int) error {
	a := c.ask(s.t.Context(), s.history, i.ask())
	s.history.Answer(a)
	if a.Status != want {
		return fmt.Errorf("%s answers token %s with %d %s", r.name, i.name, a.Status, a.Code)
	}
	return nil
}

// deaf notes that a replica, or every one if nil, hears nothing from now on.
func (s *stage) deaf(r *replica) (end func(history.Instant)) {
	name := ""
	if r != nil {
		name = r.name
	}
	return s.history.Span(history.Span{Replica: name, From: s.history.Now(), Late: true})
}

// check goes over the history.
func (s *stage) check() row {
	s.t.Helper()
	result := history.Check(s.history, bound())
	for _, found := range []struct {
		what string
		all  []history.Finding
	}{{"wrong accept", result.WrongAccepts}, {"wrong reject", result.WrongRejects}} {
		for n, f := range found.all {
			if n == 10 {
				s.t.Errorf("… and %d more", len(found.all)-n)
				break
			}
			s.t.Errorf("%s: %s", found.what, f)
		}
	}
	if p99 := history.Quantile(result.Effects, .99); *full && p99 > effectLimit {
		s.t.Errorf("99 of 100 writes took effect within %s; want %s (promise 2)", p99, effectLimit)
	}
	if result.Requests == 0 || len(result.Effects)+len(result.Behind) == 0 {
		s.t.Error("nothing was tried")
	}
	s.row.name, s.row.Result = s.scenario.name, result
	return s.row
}
