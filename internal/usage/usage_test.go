package usage_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/directory"
	"github.com/latchkey-dev/latchkey/internal/testing/controlplane"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
	"github.com/latchkey-dev/latchkey/internal/token"
	"github.com/latchkey-dev/latchkey/internal/usage"
)

var (
	env   func() *testenv.Environment
	start = time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)
)

func TestMain(m *testing.M) {
	os.Exit(testenv.Run(m, &env, controlplane.Options{}))
}

var resource = schema.GroupResource{Group: v1alpha1.SchemeGroupVersion.Group, Resource: "apitokens"}

// memory is a Store that keeps every ApiToken's writes, and refuses as the API
// server does a write whose resourceVersion is not the present one.
type memory struct {
	mu      sync.Mutex
	objects map[string]*v1alpha1.ApiToken
	// writes are the uses that were written, by digest.
	writes map[string][]time.Time
	gets   int
	fail   error
	// unwritable says why writes of an ApiToken fail, by its name.
	unwritable map[string]error
	// refused is how many of them have failed.
	refused int
}

func newMemory() *memory {
	return &memory{objects: map[string]*v1alpha1.ApiToken{}, writes: map[string][]time.Time{}}
}

func (m *memory) Get(_ context.Context, namespace, name string) (*v1alpha1.ApiToken, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gets++
	if m.fail != nil {
		return nil, m.fail
	}
	object, ok := m.objects[namespace+"/"+name]
	if !ok {
		return nil, apierrors.NewNotFound(resource, name)
	}
	return object.DeepCopy(), nil
}

func (m *memory) PatchStatus(_ context.Context, namespace, name string, patch []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	object, ok := m.objects[namespace+"/"+name]
	if !ok {
		return apierrors.NewNotFound(resource, name)
	}
	if err := m.unwritable[name]; err != nil {
		m.refused++
		return err
	}
	var p struct {
		Metadata struct{ ResourceVersion string }
		Status   struct {
			Credential, PreviousCredential *struct{ LastUsedAt metav1.Time }
		}
	}
	if err := json.Unmarshal(patch, &p); err != nil {
		return err
	}
	if p.Metadata.ResourceVersion != object.ResourceVersion {
		return apierrors.NewConflict(resource, name, errors.New("changed meanwhile"))
	}
	if c := p.Status.Credential; c != nil {
		object.Status.Credential.LastUsedAt = &c.LastUsedAt
		m.wrote(object.Status.Credential)
	}
	if c := p.Status.PreviousCredential; c != nil {
		object.Status.PreviousCredential.LastUsedAt = &c.LastUsedAt
		m.wrote(object.Status.PreviousCredential)
	}
	bump(object)
	return nil
}

func (m *memory) wrote(c *v1alpha1.IssuedCredential) {
	m.writes[c.Digest] = append(m.writes[c.Digest], c.LastUsedAt.Time)
}

func bump(object *v1alpha1.ApiToken) {
	n, _ := strconv.Atoi(object.ResourceVersion)
	object.ResourceVersion = strconv.Itoa(n + 1)
}

func (m *memory) count() (writes int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, w := range m.writes {
		writes += len(w)
	}
	return writes
}

// writesOf are the uses that were written of the credential.
func (m *memory) writesOf(t *directory.Token) []time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.writes[t.Digest.String()]
}

func digestOf(text string) token.Digest { return token.DigestOf("acme", text) }

// issue puts an ApiToken into the store, and returns it as requests see it.
func (m *memory) issue(name string) *directory.Token {
	digest := digestOf(name)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.objects["tenant-acme/"+name] = &v1alpha1.ApiToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: "tenant-acme", Name: name, ResourceVersion: "1"},
		Status: v1alpha1.ApiTokenStatus{Credential: &v1alpha1.IssuedCredential{
			ID: "0123456789", Digest: digest.String(), IssuedAt: new(metav1.NewTime(start.Add(-time.Hour))),
		}},
	}
	return &directory.Token{Digest: digest, Tenant: "acme", Namespace: "tenant-acme", Name: name}
}

// rotate makes a successor the current credential, and returns it.
func (m *memory) rotate(name string, at time.Time) *directory.Token {
	m.mu.Lock()
	defer m.mu.Unlock()
	object := m.objects["tenant-acme/"+name]
	digest := digestOf(name + " again")
	object.Status.PreviousCredential = object.Status.Credential
	object.Status.Credential = &v1alpha1.IssuedCredential{ID: "abcdefghij", Digest: digest.String(), IssuedAt: new(metav1.NewTime(at))}
	bump(object)
	return &directory.Token{Digest: digest, Tenant: "acme", Namespace: "tenant-acme", Name: name}
}

// used is what the status now says of the ApiToken's credentials.
func (m *memory) used(name string) (current, previous *metav1.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.objects["tenant-acme/"+name].Status
	if s.PreviousCredential != nil {
		previous = s.PreviousCredential.LastUsedAt
	}
	return s.Credential.LastUsedAt, previous
}

func newRecorder(t *testing.T, store usage.Store, clock *clocktesting.FakeClock, change ...func(*usage.Config)) *usage.Recorder {
	t.Helper()
	c := usage.Config{
		Store: store, Clock: clock, Logger: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
		Serves: func(string, token.Digest) bool { return true }, WritesPerSecond: 100,
	}
	for _, f := range change {
		f(&c)
	}
	r, err := usage.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func wantUsed(t *testing.T, what string, got *metav1.Time, want time.Time) {
	t.Helper()
	if got == nil || !got.Time.Equal(want) {
		t.Errorf("%s was last used at %v, want %s", what, got, want)
	}
}

// The first use is written at once, later ones once an interval, and what was not
// used again is not written again.
func TestFirstUseAtOnceThenHourly(t *testing.T) {
	store, clock := newMemory(), clocktesting.NewFakeClock(start)
	r := newRecorder(t, store, clock)
	ci := store.issue("ci")
	for minute := range 149 {
		r.Use(ci, clock.Now())
		r.Flush(t.Context())
		if minute == 0 {
			current, _ := store.used("ci")
			wantUsed(t, "it", current, start)
			ci.Used = true // as the watch tells
		}
		clock.Step(time.Minute)
	}
	for range 3 {
		clock.Step(24 * time.Hour)
		r.Flush(t.Context())
	}
	want := []time.Time{start, start.Add(time.Hour), start.Add(2 * time.Hour)}
	if got := store.writesOf(ci); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("written were %s, want %s", got, want)
	}
	if store.gets != len(want) {
		t.Errorf("%d reads for %d writes", store.gets, len(want))
	}
}

// The old credential's first use after a rotation is written at once, so that its
// owner sees that it is still in use; so is the new one's. Both go to their place.
func TestRotationShowsAtOnceWhoStillUsesTheOldOne(t *testing.T) {
	store, clock := newMemory(), clocktesting.NewFakeClock(start)
	r := newRecorder(t, store, clock)
	old := store.issue("ci")
	r.Use(old, clock.Now())
	r.Flush(t.Context())
	clock.Step(time.Minute)
	fresh := store.rotate("ci", clock.Now())
	r.Flush(t.Context())
	if current, previous := store.used("ci"); current != nil || !previous.Time.Equal(start) {
		t.Errorf("after the rotation alone: %v and %v", current, previous)
	}
	clock.Step(10 * time.Second)
	r.Use(old, clock.Now()) // Used is false: status knows of no use since
	r.Flush(t.Context())
	_, previous := store.used("ci")
	wantUsed(t, "the previous one", previous, clock.Now())
	clock.Step(10 * time.Second)
	r.Use(fresh, clock.Now())
	r.Flush(t.Context())
	current, _ := store.used("ci")
	wantUsed(t, "the current one", current, clock.Now())
}

// A replica writes nothing that is earlier than, or within the interval of, what
// another wrote.
func TestLaterLiveValueStays(t *testing.T) {
	store, clock := newMemory(), clocktesting.NewFakeClock(start)
	r := newRecorder(t, store, clock)
	ci := store.issue("ci")
	r.Use(ci, clock.Now())
	later := metav1.NewTime(start.Add(time.Second))
	store.objects["tenant-acme/ci"].Status.Credential.LastUsedAt = &later
	r.Flush(t.Context())
	clock.Step(59 * time.Minute)
	r.Use(ci, clock.Now())
	r.Flush(t.Context())
	if n := store.count(); n != 0 {
		t.Errorf("%d writes beside another replica's", n)
	}
	clock.Step(2 * time.Minute)
	r.Flush(t.Context())
	if got := store.writesOf(ci); len(got) != 0 {
		t.Errorf("a use within the interval of the live value was written: %s", got)
	}
}

// Nothing is written to an ApiToken that has other credentials by now, or is gone.
func TestOnlyTheCredentialThatWasUsed(t *testing.T) {
	store, clock := newMemory(), clocktesting.NewFakeClock(start)
	r := newRecorder(t, store, clock)
	replaced, gone := store.issue("replaced"), store.issue("gone")
	r.Use(replaced, clock.Now())
	r.Use(gone, clock.Now())
	store.rotate("replaced", start)
	store.rotate("replaced", start)
	store.objects["tenant-acme/replaced"].Status.PreviousCredential.Digest = digestOf("third").String()
	delete(store.objects, "tenant-acme/gone")
	for range 100 {
		r.Flush(t.Context())
		clock.Step(time.Second)
	}
	if n := store.count(); n != 0 {
		t.Errorf("%d writes", n)
	}
	if store.gets > 25 {
		t.Errorf("%d reads in 100 s for credentials that are not there", store.gets)
	}
}

// While the Kubernetes API fails it is left in peace, and no use is lost.
func TestStoreFails(t *testing.T) {
	store, clock := newMemory(), clocktesting.NewFakeClock(start)
	r := newRecorder(t, store, clock)
	var tokens []*directory.Token
	for i := range 50 {
		tokens = append(tokens, store.issue(fmt.Sprint(i)))
		r.Use(tokens[i], clock.Now())
	}
	store.fail = apierrors.NewServiceUnavailable("etcd has no leader")
	for range 60 {
		r.Flush(t.Context())
		clock.Step(time.Second)
	}
	if store.gets > 7 {
		t.Errorf("%d requests in a minute in which all failed", store.gets)
	}
	store.fail = nil
	clock.Step(time.Minute)
	r.Flush(t.Context())
	for _, token := range tokens {
		if got := store.writesOf(token); len(got) != 1 || !got[0].Equal(start) {
			t.Errorf("%s: written were %s, want %s", token.Name, got, start)
		}
	}
}

// ApiTokens that can't be written keep nobody else's from being written, and are tried less
// and less often. One that can be written again is.
func TestUnwritableApiTokens(t *testing.T) {
	for name, err := range map[string]error{
		"too large":       apierrors.NewInternalError(errors.New("etcdserver: request is too large")),
		"a webhook hangs": fmt.Errorf("patch: %w", context.DeadlineExceeded),
		"a policy denies": apierrors.NewForbidden(resource, "padded", errors.New("denied")),
		"invalid":         apierrors.NewInvalid(v1alpha1.SchemeGroupVersion.WithKind("ApiToken").GroupKind(), "padded", nil),
	} {
		t.Run(name, func(t *testing.T) {
			store, clock := newMemory(), clocktesting.NewFakeClock(start)
			r := newRecorder(t, store, clock)
			store.unwritable = map[string]error{}
			var padded, others []*directory.Token
			for i := range 5 {
				padded = append(padded, store.issue(fmt.Sprint("padded", i)))
				store.unwritable[padded[i].Name] = err
			}
			for i := range 20 {
				others = append(others, store.issue(fmt.Sprint("other", i)))
			}
			const step = time.Minute
			for range 6 * time.Hour / step {
				for _, token := range slices.Concat(padded, others) {
					r.Use(token, clock.Now())
				}
				r.Flush(t.Context())
				clock.Step(step)
			}
			for _, token := range others {
				if got := store.writesOf(token); len(got) != 6 {
					t.Fatalf("%d uses of %s were written in six hours, want 6", len(got), token.Name)
				}
			}
			if most := len(padded) * 16; store.refused > most {
				t.Errorf("%d writes that can't succeed were tried in six hours, want %d at most", store.refused, most)
			}
			clear(store.unwritable)
			for range time.Hour / step {
				r.Flush(t.Context())
				clock.Step(step)
			}
			if got := store.writesOf(padded[0]); len(got) == 0 {
				t.Error("an ApiToken that can be written again is not")
			}
		})
	}
}

// Many tokens in use at two replicas: each is written once an interval by both together,
// none more often, and no second has more writes than allowed. Their first uses alone take
// both replicas ten seconds.
func TestManyTokensAndTwoReplicas(t *testing.T) {
	const tokens, perSecond, minutes = 2000, 100, 13
	const interval = 10 * time.Minute
	store, clock := newMemory(), clocktesting.NewFakeClock(start)
	bounds := func(c *usage.Config) { c.Interval, c.WritesPerSecond = interval, perSecond }
	replicas := []*usage.Recorder{newRecorder(t, store, clock, bounds), newRecorder(t, store, clock, bounds)}
	var all []*directory.Token
	for i := range tokens {
		all = append(all, store.issue(fmt.Sprint(i)))
	}
	random := rand.New(rand.NewPCG(1, 2))
	before := 0
	for second := range minutes * 60 {
		if second%60 == 0 {
			for _, token := range all {
				token.Used = len(store.writesOf(token)) > 0 // as the watch tells
				replicas[random.IntN(2)].Use(token, clock.Now())
			}
		}
		var flushing sync.WaitGroup
		for _, r := range replicas {
			flushing.Go(func() { r.Flush(t.Context()) })
		}
		flushing.Wait()
		after := store.count()
		if after-before > 2*perSecond {
			t.Fatalf("%d writes in one second", after-before)
		}
		before = after
		clock.Step(time.Second)
	}
	// 13 minutes have room for two writes each, 10 minutes apart.
	if n := store.count(); n > 2*tokens || n < 19*tokens/10 {
		t.Errorf("%d writes, want about %d and no more", n, 2*tokens)
	}
	if store.gets > 4*store.count() {
		t.Errorf("%d reads for %d writes", store.gets, store.count())
	}
	for _, token := range all {
		written := store.writesOf(token)
		for i := 1; i < len(written); i++ {
			if gap := written[i].Sub(written[i-1]); gap < interval {
				t.Fatalf("%s was written %s after the last time", token.Name, gap)
			}
		}
	}
	t.Logf("%d writes and %d reads for %d tokens in %d minutes", store.count(), store.gets, tokens, minutes)
}

// Where there is more to write than the bound allows, everything is written less
// often, in turn.
func TestBoundStretchesTheInterval(t *testing.T) {
	const tokens, seconds = 300, 1500
	store, clock := newMemory(), clocktesting.NewFakeClock(start)
	r := newRecorder(t, store, clock, func(c *usage.Config) { c.Interval, c.WritesPerSecond = 10*time.Second, 1 })
	var all []*directory.Token
	for i := range tokens {
		all = append(all, store.issue(fmt.Sprint(i)))
	}
	for range seconds {
		for _, token := range all {
			token.Used = len(store.writesOf(token)) > 0
			r.Use(token, clock.Now())
		}
		r.Flush(t.Context())
		clock.Step(time.Second)
	}
	if n := store.count(); n > seconds+1 || n < seconds*9/10 {
		t.Errorf("%d writes in %d s, want about one a second", n, seconds)
	}
	for _, token := range all {
		if n := len(store.writesOf(token)); n < 3 || n > seconds/tokens+1 {
			t.Errorf("%s was written %d times, want about %d", token.Name, n, seconds/tokens)
		}
	}
}

// A use costs no memory once the credential is known, and memory is bounded.
func TestUseAllocatesNothing(t *testing.T) {
	store, clock := newMemory(), clocktesting.NewFakeClock(start)
	registry := prometheus.NewRegistry()
	r := newRecorder(t, store, clock, func(c *usage.Config) { c.MaxCredentials, c.Metrics = 2, registry })
	known := store.issue("known")
	r.Use(known, clock.Now())
	if n := testing.AllocsPerRun(100, func() { r.Use(known, clock.Now().Add(time.Second)) }); n != 0 {
		t.Errorf("%v allocations for a known credential", n)
	}
	for i := range 5 {
		r.Use(store.issue(fmt.Sprint(i)), clock.Now())
	}
	for name, want := range map[string]float64{"latchkey_last_used_credentials": 2, "latchkey_last_used_dropped_total": 4} {
		if got := metric(t, registry, name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
}

// What is gone or idle is forgotten; an idle one that comes back is noted again.
func TestForgets(t *testing.T) {
	store, clock := newMemory(), clocktesting.NewFakeClock(start)
	registry := prometheus.NewRegistry()
	serves := true
	r := newRecorder(t, store, clock, func(c *usage.Config) {
		c.Metrics, c.Serves = registry, func(string, token.Digest) bool { return serves }
	})
	kept := func() float64 { return metric(t, registry, "latchkey_last_used_credentials") }
	ci := store.issue("ci")
	r.Use(ci, clock.Now())
	r.Flush(t.Context())
	if got := kept(); got != 1 {
		t.Fatalf("%v credentials are kept, want 1", got)
	}
	clock.Step(3 * time.Hour)
	r.Flush(t.Context())
	if got := kept(); got != 0 {
		t.Errorf("%v credentials are kept after three hours without a use", got)
	}
	ci.Used = true
	r.Use(ci, clock.Now())
	back := clock.Now()
	clock.Step(time.Hour)
	r.Flush(t.Context())
	current, _ := store.used("ci")
	wantUsed(t, "it", current, back)
	serves = false
	clock.Step(time.Hour)
	r.Flush(t.Context())
	if got := kept(); got != 0 {
		t.Errorf("%v credentials are kept that are gone", got)
	}
}

func metric(t *testing.T, registry *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == name {
			m := family.GetMetric()[0]
			return m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

// After a restart nothing is urgent, and yet the one use of a token that is used once
// a day is written.
func TestRareUseAfterARestart(t *testing.T) {
	store, clock := newMemory(), clocktesting.NewFakeClock(start)
	daily := store.issue("daily")
	daily.Used = true
	store.objects["tenant-acme/daily"].Status.Credential.LastUsedAt = new(metav1.NewTime(start.Add(-24 * time.Hour)))
	r := newRecorder(t, store, clock)
	r.Use(daily, clock.Now())
	for range 62 {
		r.Flush(t.Context())
		clock.Step(time.Minute)
	}
	current, _ := store.used("daily")
	wantUsed(t, "it", current, start)
	if store.gets != 1 {
		t.Errorf("%d reads for one use", store.gets)
	}
}

// Run writes by its clock, and what is left when it ends.
func TestRun(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	store, clock := newMemory(), clocktesting.NewFakeClock(start)
	r := newRecorder(t, store, clock)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- r.Run(ctx) }()
	r.Use(store.issue("first"), clock.Now())
	testenv.Eventually(t, func() error {
		if clock.HasWaiters() {
			clock.Step(time.Second)
		}
		if store.count() == 0 {
			return errors.New("nothing was written")
		}
		return nil
	})
	r.Use(store.issue("last"), clock.Now())
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if got := store.count(); got != 2 {
		t.Errorf("%d writes, want 2", got)
	}
}
