package controllers_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/controllers"
	"github.com/latchkey-dev/latchkey/internal/directory"
	"github.com/latchkey-dev/latchkey/internal/proxy"
	"github.com/latchkey-dev/latchkey/internal/server"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
	"github.com/latchkey-dev/latchkey/internal/token"
	"github.com/latchkey-dev/latchkey/internal/usage"
)

// startServer runs an API server under the rights of its ServiceAccount, until the
// test ends.
func startServer(t *testing.T, changes ...func(*server.Config)) *httptest.Server {
	t.Helper()
	config, err := env().ServiceAccountConfig(t.Context(), v1alpha1.SystemNamespace, "latchkey-apiserver", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	logger, registry := slog.New(slog.DiscardHandler), prometheus.NewRegistry()
	view, backends := directory.New(logger), proxy.New(logger)
	store, err := usage.NewStore(config)
	if err != nil {
		t.Fatal(err)
	}
	uses, err := usage.New(usage.Config{Store: store, Logger: logger, Metrics: registry, Serves: func(tenant string, digest token.Digest) bool {
		_, ok := view.Token(tenant, digest)
		return ok
	}})
	if err != nil {
		t.Fatal(err)
	}
	options := server.Config{
		BaseDomain: "example.com", TokenPrefix: v1alpha1.DefaultTokenPrefix, Directory: view, Proxy: backends,
		Uses: uses, Logger: logger, Metrics: registry,
	}
	for _, change := range changes {
		change(&options)
	}
	handler, err := server.New(options)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		_ = view.Run(ctx, config, directory.Namespaces{Records: v1alpha1.RecordsNamespace, System: v1alpha1.SystemNamespace})
	})
	running.Go(func() { _ = uses.Run(ctx) })
	front := httptest.NewServer(handler)
	t.Cleanup(func() {
		front.Close()
		cancel()
		running.Wait()
		backends.Close()
	})
	return front
}

// backendURL is where something answers 200.
func backendURL(t *testing.T) string {
	t.Helper()
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
	t.Cleanup(backend.Close)
	return backend.URL
}

// call makes a request with the token, and says how it was answered.
func call(ctx context.Context, front *httptest.Server, tenant, plaintext string) (int, string) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, front.URL+"/api/v1/orders", nil)
	if err != nil {
		return 0, err.Error()
	}
	r.Host = tenant + ".example.com"
	r.Header.Set("Authorization", "token "+plaintext)
	response, err := front.Client().Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(body)
}

// caller calls with a token over and over until stop is called. From its first
// success on every call has to succeed.
func caller(t *testing.T, front *httptest.Server, tenant, plaintext string) (works <-chan struct{}, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	first, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		pace := time.NewTicker(2 * time.Millisecond)
		defer pace.Stop()
		for calls := 0; ctx.Err() == nil; <-pace.C {
			switch status, body := call(ctx, front, tenant, plaintext); {
			case ctx.Err() != nil:
			case status == http.StatusOK:
				if calls++; calls == 1 {
					close(first)
				}
			case calls > 0:
				t.Errorf("call %d was answered %d %s", calls+1, status, body)
				return
			}
		}
	}()
	return first, func() { cancel(); <-done }
}

func wait(t *testing.T, happens <-chan struct{}) {
	t.Helper()
	select {
	case <-happens:
	case <-time.After(time.Minute):
		t.Fatal("what the test waits for did not happen")
	}
}

// A client that goes on with the old token until the new one works notices nothing,
// however often the credential is rotated; status shows which of the two is in use;
// and the old one can be dropped early.
func TestRotationWithoutDowntime(t *testing.T) {
	startManager(t)
	front := startServer(t)
	owner := readyTenant(t, func(a *v1alpha1.PublicApi) { a.Spec.BasePath, a.Spec.Backend.URL = "/api/v1", backendURL(t) })
	begin := time.Now().Add(-time.Minute)
	first, plaintext := credential(t, owner.Name, begin)
	object := issued(t, owner, "ci", v1alpha1.ApiTokenSpec{
		Lifetime: lifetime(time.Hour), Rotation: &v1alpha1.Rotation{Overlap: lifetime(10 * time.Minute)}, Credential: first,
	})
	works, stop := caller(t, front, owner.Name, plaintext.Reveal())
	wait(t, works)
	var old token.Token
	for i := range 4 {
		var next *v1alpha1.Credential
		old = plaintext
		next, plaintext = credential(t, owner.Name, begin.Add(time.Duration(i+1)*time.Second))
		change(t, object, func(o *v1alpha1.ApiToken) { o.Spec.Credential = next })
		works, stopNext := caller(t, front, owner.Name, plaintext.Reveal())
		wait(t, works)
		stop()
		stop = stopNext
	}
	defer func() { stop() }()
	testenv.Eventually(t, func() error {
		if err := get(t, object); err != nil {
			return err
		}
		current, previous := object.Status.Credential, object.Status.PreviousCredential
		switch {
		case current.ID != plaintext.ID() || previous == nil || previous.ID != old.ID():
			return fmt.Errorf("status has %+v and %+v", current, previous)
		case current.LastUsedAt == nil || previous.LastUsedAt == nil || !current.IssuedAt.Before(previous.LastUsedAt):
			return fmt.Errorf("last used are %v and %v; current was issued at %v", current.LastUsedAt, previous.LastUsedAt, current.IssuedAt)
		case object.Status.UseRecordedSince == nil:
			return errors.New("useRecordedSince is not set")
		}
		return nil
	})
	if status, _ := call(t.Context(), front, owner.Name, old.Reveal()); status != http.StatusOK {
		t.Errorf("the previous token was answered %d within the overlap", status)
	}
	change(t, object, func(o *v1alpha1.ApiToken) { o.Spec.Rotation.DropPrevious = old.ID() })
	testenv.Eventually(t, func() error {
		if status, body := call(t.Context(), front, owner.Name, old.Reveal()); status != http.StatusUnauthorized || !strings.Contains(body, "token-revoked") {
			return fmt.Errorf("the dropped token was answered %d %s", status, body)
		}
		if err := get(t, object); err != nil {
			return err
		}
		if previous := object.Status.PreviousCredential; previous.ExpiresAt.After(time.Now()) {
			return fmt.Errorf("in status it expires at %s", previous.ExpiresAt)
		}
		return nil
	})
}

func awaitStatus(t *testing.T, object *v1alpha1.ApiToken, id string) {
	t.Helper()
	testenv.Eventually(t, func() error {
		if err := get(t, object); err != nil {
			return err
		}
		if c := object.Status.Credential; c == nil || c.ID != id {
			return fmt.Errorf("status has %+v, want credential %s", c, id)
		}
		return nil
	})
}

// kubectl runs kubectl with the file on its standard input.
func kubectl(t *testing.T, manifest []byte, args ...string) error {
	t.Helper()
	config := filepath.Join(t.TempDir(), "kubeconfig")
	if err := env().WriteKubeconfig(config); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(env().Binaries, "kubectl"), append([]string{"--kubeconfig", config}, args...)...)
	cmd.Stdin = strings.NewReader(string(manifest))
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// Whoever applies the YAML from before a rotation once more brings no credential
// back, in whatever way, and changes nothing about those that work.
func TestOldYAMLBringsNoCredentialBack(t *testing.T) {
	startManager(t)
	owner := readyTenant(t)
	for name, args := range map[string][]string{
		"server-side-apply": {"apply", "--server-side", "--field-manager=gitops", "-f", "-"},
		"forced-apply":      {"apply", "--server-side", "--field-manager=gitops", "--force-conflicts", "-f", "-"},
		"client-side-apply": {"apply", "-f", "-"},
		"replace":           {"replace", "-f", "-"},
	} {
		t.Run(name, func(t *testing.T) {
			begin := time.Now().Add(-time.Minute)
			old, _ := credential(t, owner.Name, begin)
			object := apiToken(owner, name, v1alpha1.ApiTokenSpec{
				Rotation: &v1alpha1.Rotation{Overlap: lifetime(time.Hour)}, Credential: old,
			})
			manifest, err := yaml.Marshal(map[string]any{
				"apiVersion": v1alpha1.SchemeGroupVersion.String(), "kind": "ApiToken",
				"metadata": map[string]any{"namespace": object.Namespace, "name": object.Name}, "spec": object.Spec,
			})
			if err != nil {
				t.Fatal(err)
			}
			first := args
			if name == "replace" {
				first = []string{"create", "-f", "-"}
			}
			if err := kubectl(t, manifest, first...); err != nil {
				t.Fatal(err)
			}
			waitFor(t, object, v1alpha1.ConditionActive, isTrue, v1alpha1.ReasonIssued)
			for i := range 2 { // the second rotation forgets the old one
				next, _ := credential(t, owner.Name, begin.Add(time.Duration(i+1)*time.Second))
				change(t, object, func(o *v1alpha1.ApiToken) { o.Spec.Credential = next })
				waitFor(t, object, v1alpha1.ConditionActive, isTrue, v1alpha1.ReasonIssued)
			}
			before, _ := awaitRecord(t, object)
			if err := kubectl(t, manifest, args...); err == nil {
				t.Error("the old YAML was accepted")
			} else if !strings.Contains(err.Error(), "only moves forward") && !strings.Contains(err.Error(), "conflict") {
				t.Errorf("refused for another reason: %v", err)
			}
			// Something harmless makes the manager look again.
			change(t, object, func(o *v1alpha1.ApiToken) { o.Spec.Description = "looked at" })
			waitFor(t, object, v1alpha1.ConditionActive, isTrue, v1alpha1.ReasonIssued)
			after, _, err := recordOf(t, object)
			if err != nil || !cmp.Equal(before.Current, after.Current) || !cmp.Equal(before.Previous, after.Previous) {
				t.Errorf("record was %+v, %+v and is %+v, %+v, %v", before.Current, before.Previous, after.Current, after.Previous, err)
			}
			if after.Current.Digest.String() == old.Digest || after.Previous.Digest.String() == old.Digest {
				t.Error("the old credential is back")
			}
		})
	}
}

// A notice is one event, also when the manager is restarted.
func TestNoticeIsGivenOnce(t *testing.T) {
	stop := startManager(t)
	owner := readyTenant(t)
	minted, _ := credential(t, owner.Name, time.Now().Add(-20*24*time.Hour))
	object := issued(t, owner, "ci", v1alpha1.ApiTokenSpec{Lifetime: lifetime(23 * 24 * time.Hour), Credential: minted})
	event := waitForEvent(t, object, v1alpha1.ConditionExpiringSoon)
	if event.Type != "Warning" || !strings.Contains(event.Note, minted.ID+" expires within 3 days, at ") {
		t.Errorf("event is %s %q", event.Type, event.Note)
	}
	if n := object.Status.Notice; n == nil || n.Days != 7 || n.CredentialID != minted.ID {
		t.Errorf("status.notice is %+v", n)
	}
	stop()
	startManager(t)
	change(t, object, func(o *v1alpha1.ApiToken) { o.Spec.Description = "looked at" })
	waitFor(t, object, v1alpha1.ConditionActive, isTrue, v1alpha1.ReasonIssued)
	// An event that comes after it shows that no other is under way.
	change(t, object, func(o *v1alpha1.ApiToken) { o.Spec.Revoked = true })
	waitForEvent(t, object, v1alpha1.ReasonRevoked)
	var events eventsv1.EventList
	if err := env().Client.List(t.Context(), &events, client.InNamespace(object.Namespace)); err != nil {
		t.Fatal(err)
	}
	notices := 0
	for i := range events.Items {
		if e := &events.Items[i]; e.Reason == v1alpha1.ConditionExpiringSoon && e.Regarding.UID == object.UID {
			if notices++; e.Series != nil {
				t.Errorf("the event is a series of %d", e.Series.Count)
			}
		}
	}
	if notices != 1 {
		t.Errorf("%d notices, want 1", notices)
	}
}

// What our API made goes after its retention, all else stays listed.
func TestExpiredAreRetired(t *testing.T) {
	clock := startClockedManager(t)
	owner := readyTenant(t, func(a *v1alpha1.PublicApi) { a.Spec.TokenPolicy.Retention = lifetime(time.Minute) })
	made := func(name, via string) *v1alpha1.ApiToken {
		minted, _ := credential(t, owner.Name, clock.Now())
		object := apiToken(owner, name, v1alpha1.ApiTokenSpec{Lifetime: lifetime(time.Hour), Credential: minted})
		if via != "" {
			object.Annotations = map[string]string{v1alpha1.AnnotationCreatedVia: via}
		}
		create(t, object)
		awaitRecord(t, object)
		return object
	}
	applied, api := made("applied", ""), made("api", v1alpha1.ViaAPI)
	pass(t, clock, time.Hour, applied, api)
	for _, object := range []*v1alpha1.ApiToken{applied, api} {
		waitFor(t, object, v1alpha1.ConditionActive, isFalse, v1alpha1.ReasonExpired)
		if _, _, err := recordOf(t, object); err != nil {
			t.Errorf("%s has no record within its retention: %v", object.Name, err)
		}
	}
	pass(t, clock, time.Minute, applied, api)
	gone(t, api)
	testenv.Eventually(t, func() error {
		if _, _, err := recordOf(t, applied); !apierrors.IsNotFound(err) {
			return fmt.Errorf("its record is still there: %w", err)
		}
		return nil
	})
	if err := get(t, applied); err != nil {
		t.Error(err)
	}
}

// Those that expired or were revoked do not count to the tenant's number.
func TestMaxPerTenantCountsLiveOnes(t *testing.T) {
	clock := startClockedManager(t)
	owner := readyTenant(t, func(a *v1alpha1.PublicApi) { a.Spec.TokenPolicy.MaxPerTenant = 1 })
	live := func(name string) *v1alpha1.ApiToken {
		minted, _ := credential(t, owner.Name, clock.Now())
		return issued(t, owner, name, v1alpha1.ApiTokenSpec{Credential: minted, Lifetime: lifetime(time.Hour)})
	}
	expired := live("expired")
	pass(t, clock, time.Hour, expired)
	waitFor(t, expired, v1alpha1.ConditionActive, isFalse, v1alpha1.ReasonExpired)
	revoked := live("revoked")
	change(t, revoked, func(o *v1alpha1.ApiToken) { o.Spec.Revoked = true })
	waitFor(t, revoked, v1alpha1.ConditionActive, isFalse, v1alpha1.ReasonRevoked)
	live("live")
	minted, _ := credential(t, owner.Name, clock.Now())
	waitFor(t, create(t, apiToken(owner, "beyond", v1alpha1.ApiTokenSpec{Credential: minted})),
		v1alpha1.ConditionStalled, isTrue, v1alpha1.ReasonPolicyViolation)
}

// A tenant that has as many tokens as it may, or more since the policy changed, goes on
// rotating them: that makes none.
func TestRotatingAddsNoToken(t *testing.T) {
	startManager(t)
	owner := readyTenant(t, func(a *v1alpha1.PublicApi) { a.Spec.TokenPolicy.MaxPerTenant = 1 })
	object := issued(t, owner, "ci", v1alpha1.ApiTokenSpec{})
	next, _ := credential(t, owner.Name, time.Now().Add(time.Second))
	beyond, _ := credential(t, owner.Name, time.Now())
	other := create(t, apiToken(owner, "beyond", v1alpha1.ApiTokenSpec{Credential: beyond}))
	waitFor(t, other, v1alpha1.ConditionStalled, isTrue, v1alpha1.ReasonPolicyViolation)
	change(t, object, func(o *v1alpha1.ApiToken) { o.Spec.Credential = next })
	awaitStatus(t, object, next.ID)
}

// A rotation that was refused comes to nothing for good, also once its cause is gone:
// the token that is in use goes on working.
func TestRefusedRotationStaysRefused(t *testing.T) {
	startManager(t)
	owner := readyTenant(t)
	begin := time.Now().Add(-time.Minute)
	first, _ := credential(t, owner.Name, begin)
	object := issued(t, owner, "ci", v1alpha1.ApiTokenSpec{Credential: first})
	refused, _ := credential(t, owner.Name, begin.Add(time.Second))
	change(t, object, func(o *v1alpha1.ApiToken) {
		o.Spec.Credential, o.Spec.Scopes = refused, []string{"orders:read", "unknown"}
	})
	waitFor(t, object, v1alpha1.ConditionStalled, isTrue, v1alpha1.ReasonPolicyViolation)
	change(t, object, func(o *v1alpha1.ApiToken) { o.Spec.Scopes = []string{"orders:read"} })
	message := waitFor(t, object, v1alpha1.ConditionStalled, isTrue, v1alpha1.ReasonPolicyViolation)
	if !strings.Contains(message, "unknown scopes: unknown") || !strings.Contains(message, "stays refused") {
		t.Errorf("the message is %q", message)
	}
	if stored, _ := awaitRecord(t, object); stored.Current.ID != first.ID || stored.Previous != nil {
		t.Errorf("the record has %+v and %+v", stored.Current, stored.Previous)
	}
	next, _ := credential(t, owner.Name, begin.Add(2*time.Second))
	change(t, object, func(o *v1alpha1.ApiToken) { o.Spec.Credential = next })
	awaitStatus(t, object, next.ID)
	if object.Status.PreviousCredential.ID != first.ID || object.Status.RefusedCredentialID != "" {
		t.Errorf("status is %+v", object.Status)
	}
}

// The tokens that expire next have a metric each, and no more than asked for.
func TestExpiryMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	startManager(t, func(o *controllers.Options) { o.TokenExpiryMetrics, o.Metrics = 2, registry })
	owner := readyTenant(t)
	issued(t, owner, "signs-in", v1alpha1.ApiTokenSpec{Scopes: []string{v1alpha1.ScopeSettings}, Lifetime: lifetime(30 * time.Second)}) // has none
	expiries := map[string]float64{}
	for i, name := range []string{"first", "second", "third"} {
		object := issued(t, owner, name, v1alpha1.ApiTokenSpec{Lifetime: lifetime(time.Duration(i+1) * time.Minute)})
		expiries[name] = float64(object.Status.Credential.ExpiresAt.Unix())
	}
	delete(expiries, "third")
	testenv.Eventually(t, func() error {
		families, err := registry.Gather()
		if err != nil {
			return err
		}
		got, leftOut := map[string]float64{}, 0.
		for _, family := range families {
			for _, m := range family.GetMetric() {
				if family.GetName() == "latchkey_token_expiry_left_out" {
					leftOut = m.GetGauge().GetValue()
					continue
				}
				if family.GetName() != "latchkey_token_expiry_timestamp_seconds" {
					continue
				}
				if namespace := m.GetLabel()[1].GetValue(); namespace != owner.NamespaceName() {
					return fmt.Errorf("a series of namespace %s", namespace)
				}
				got[m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue()
			}
		}
		if !cmp.Equal(got, expiries) || leftOut < 1 {
			return fmt.Errorf("series are %v, want %v; left out are %v", got, expiries, leftOut)
		}
		return nil
	})
}

// A last use in status makes the manager write nothing.
func TestLastUseIsNotReconciled(t *testing.T) {
	startManager(t)
	owner := readyTenant(t)
	object := issued(t, owner, "ci", v1alpha1.ApiTokenSpec{})
	use := func(at time.Time) {
		t.Helper()
		testenv.Eventually(t, func() error {
			if err := get(t, object); err != nil {
				return err
			}
			object.Status.Credential.LastUsedAt = new(metav1.NewTime(at))
			return env().Client.Status().Update(t.Context(), object)
		})
	}
	used := time.Now().Truncate(time.Second)
	use(used)
	noted := object.ResourceVersion
	// A change that the manager does look at keeps what it did not write.
	other := issued(t, owner, "other", v1alpha1.ApiTokenSpec{})
	if err := get(t, object); err != nil || object.ResourceVersion != noted {
		t.Errorf("something wrote to the ApiToken: %v", err)
	}
	change(t, object, func(o *v1alpha1.ApiToken) { o.Spec.Revoked = true })
	waitFor(t, object, v1alpha1.ConditionActive, isFalse, v1alpha1.ReasonRevoked)
	if got := object.Status.Credential.LastUsedAt; got == nil || !got.Time.Equal(used) {
		t.Errorf("last used at %v, want %s", got, used)
	}
	if c := meta.FindStatusCondition(other.Status.Conditions, v1alpha1.ConditionActive); c == nil {
		t.Error("the other one has no condition")
	}
}
