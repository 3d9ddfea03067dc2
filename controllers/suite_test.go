package controllers_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/transport"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/controllers"
	"github.com/latchkey-dev/latchkey/controllers/tenant"
	"github.com/latchkey-dev/latchkey/internal/record"
	"github.com/latchkey-dev/latchkey/internal/testing/controlplane"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
	"github.com/latchkey-dev/latchkey/internal/token"
)

var env func() *testenv.Environment

func TestMain(m *testing.M) {
	ctrllog.SetLogger(logr.Discard())
	os.Exit(testenv.Run(m, &env, controlplane.Options{Controllers: true}))
}

// startManager runs the controllers under the rights of their ServiceAccount,
// until the test ends or stop is called.
func startManager(t *testing.T, mutate ...func(*controllers.Options)) (stop func()) {
	t.Helper()
	return startManagerThrough(t, nil, mutate...)
}

// startManagerThrough sends the manager's requests through wrap.
func startManagerThrough(t *testing.T, wrap transport.WrapperFunc, mutate ...func(*controllers.Options)) (stop func()) {
	t.Helper()
	env() // what the control plane leaves running is not the manager's
	ignored := []goleak.Option{
		goleak.IgnoreCurrent(),
		// client-go keeps its connections for whoever comes next, and its event
		// broadcaster leaves a filter behind that nobody reads.
		goleak.IgnoreAnyFunction("golang.org/x/net/http2.(*ClientConn).readLoop"),
		goleak.IgnoreAnyFunction("k8s.io/apimachinery/pkg/watch.(*filteredWatch).loop"),
	}
	end := runManager(t, wrap, mutate...)
	stop = sync.OnceFunc(func() {
		end()
		goleak.VerifyNone(t, ignored...)
	})
	t.Cleanup(stop)
	return stop
}

// runManager is startManagerThrough for who stops the manager while other things go on,
// so that nobody can tell what it left behind. The caller stops it.
func runManager(t *testing.T, wrap transport.WrapperFunc, mutate ...func(*controllers.Options)) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	config, err := env().ServiceAccountConfig(ctx, v1alpha1.SystemNamespace, "latchkey-manager", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	config.Wrap(wrap)
	options := controllers.Options{
		Tenant: tenant.Config{
			BaseDomain:      "example.com",
			SystemNamespace: v1alpha1.SystemNamespace,
			ReservedNames:   []string{"www"},
			TokenPrefix:     v1alpha1.DefaultTokenPrefix,
			Ingress:         tenant.IngressConfig{Class: "nginx", TLSSecret: "wildcard", Service: "latchkey-apiserver", PortalService: "latchkey-portal", Port: 80},
		},
		RecordsNamespace: v1alpha1.RecordsNamespace,
		MetricsAddress:   "0", HealthAddress: "0",
		Metrics:            prometheus.NewRegistry(),
		Logger:             logr.Discard(),
		SkipNameValidation: true,
	}
	for _, m := range mutate {
		m(&options)
	}
	mgr, err := controllers.NewManager(ctx, config, options)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("manager: %v", err)
		}
	}
}

// startClockedManager runs a manager with a clock that only the test moves.
func startClockedManager(t *testing.T) *clocktesting.FakeClock {
	t.Helper()
	clock := clocktesting.NewFakeClock(time.Now().Truncate(time.Second))
	startManager(t, func(o *controllers.Options) { o.Clock = clock })
	return clock
}

// pass moves the clock, and has the manager look at ApiTokens: its timers are the
// system's. TestApiTokenExpiresAtItsInstant shows that it wakes up by itself.
func pass(t *testing.T, clock *clocktesting.FakeClock, d time.Duration, objects ...*v1alpha1.ApiToken) {
	t.Helper()
	clock.Step(d)
	for _, object := range objects {
		patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"metadata":{"annotations":{"example.com/at":%q}}}`, clock.Now()))
		if err := env().Client.Patch(t.Context(), object, patch); err != nil {
			t.Fatal(err)
		}
	}
}

// create creates an object and deletes it at the end of the test.
func create[T client.Object](t *testing.T, object T) T {
	t.Helper()
	env().Create(t, object)
	return object
}

// change reads an object anew, changes it and writes it.
func change[T client.Object](t *testing.T, object T, mutate func(T)) {
	t.Helper()
	testenv.Eventually(t, func() error {
		if err := env().Client.Get(t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
			return err
		}
		mutate(object)
		return env().Client.Update(t.Context(), object)
	})
}

func get(t *testing.T, object client.Object) error {
	t.Helper()
	return env().Client.Get(t.Context(), client.ObjectKeyFromObject(object), object)
}

// gone waits until an object is. Kubernetes' garbage collector looks for new kinds only
// every 30 seconds, which a busy machine can make it miss once.
func gone(t *testing.T, object client.Object) {
	t.Helper()
	testenv.Within(t, 2*time.Minute, func() error {
		err := get(t, object)
		if err == nil {
			return fmt.Errorf("%T %s still exists", object, object.GetName())
		}
		return client.IgnoreNotFound(err)
	})
}

// waitFor waits until a condition has the status and reason for the object's
// present generation, and returns its message.
func waitFor(t *testing.T, object client.Object, conditionType string, status metav1.ConditionStatus, reason string) string {
	t.Helper()
	var message string
	testenv.Eventually(t, func() error {
		if err := get(t, object); err != nil {
			return err
		}
		c := meta.FindStatusCondition(conditionsOf(object), conditionType)
		if c == nil || c.Status != status || c.Reason != reason || c.ObservedGeneration != object.GetGeneration() {
			return fmt.Errorf("%s is %+v, want %s %s", conditionType, c, status, reason)
		}
		message = c.Message
		return nil
	})
	return message
}

func conditionsOf(object client.Object) []metav1.Condition {
	switch object := object.(type) {
	case *v1alpha1.PublicApi:
		return object.Status.Conditions
	case *v1alpha1.Tenant:
		return object.Status.Conditions
	case *v1alpha1.ApiToken:
		return object.Status.Conditions
	}
	return nil
}

// waitForEvent waits for an event about the object with the reason.
func waitForEvent(t *testing.T, object client.Object, reason string) *eventsv1.Event {
	t.Helper()
	var found *eventsv1.Event
	testenv.Eventually(t, func() error {
		var events eventsv1.EventList
		if err := env().Client.List(t.Context(), &events); err != nil {
			return err
		}
		for i := range events.Items {
			if e := &events.Items[i]; e.Regarding.UID == object.GetUID() && e.Reason == reason {
				found = e
				return nil
			}
		}
		return errors.New("no event with reason " + reason)
	})
	return found
}

// publicApi makes the PublicApi of a test's tenants.
func publicApi(t *testing.T, mutate ...func(*v1alpha1.PublicApi)) *v1alpha1.PublicApi {
	t.Helper()
	api := &v1alpha1.PublicApi{
		ObjectMeta: metav1.ObjectMeta{Name: name(t)},
		Spec: v1alpha1.PublicApiSpec{
			Backend: v1alpha1.Backend{URL: "http://127.0.0.1:9"},
			Scopes:  []v1alpha1.Scope{{Name: "orders:read"}, {Name: "orders:write"}},
		},
	}
	for _, m := range mutate {
		m(api)
	}
	return create(t, api)
}

// readyTenant makes a Tenant of its own for the test and waits for it.
func readyTenant(t *testing.T, mutate ...func(*v1alpha1.PublicApi)) *v1alpha1.Tenant {
	t.Helper()
	api := publicApi(t, mutate...)
	owner := create(t, &v1alpha1.Tenant{
		ObjectMeta: metav1.ObjectMeta{Name: name(t)},
		Spec:       v1alpha1.TenantSpec{PublicApi: api.Name},
	})
	waitFor(t, owner, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonProvisioned)
	return owner
}

// name is a DNS label made from the test's name.
func name(t *testing.T) string {
	label := strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name()))
	return strings.Trim(label[max(0, len(label)-40):], "-")
}

// credential mints a token for the tenant.
func credential(t *testing.T, tenantName string, issuedAt time.Time) (*v1alpha1.Credential, token.Token) {
	t.Helper()
	minted, err := token.Mint(v1alpha1.DefaultTokenPrefix)
	if err != nil {
		t.Fatal(err)
	}
	return &v1alpha1.Credential{
		ID: minted.ID(), Digest: minted.Digest(tenantName).String(), IssuedAt: metav1.NewTime(issuedAt.Truncate(time.Second)),
	}, minted
}

func apiToken(owner *v1alpha1.Tenant, name string, spec v1alpha1.ApiTokenSpec) *v1alpha1.ApiToken {
	return &v1alpha1.ApiToken{ObjectMeta: metav1.ObjectMeta{Namespace: owner.NamespaceName(), Name: name}, Spec: spec}
}

// recordOf is the stored record of an ApiToken.
func recordOf(t *testing.T, object *v1alpha1.ApiToken) (*record.Record, *corev1.Secret, error) {
	t.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.RecordsNamespace, Name: record.Name(object.UID)}}
	if err := get(t, secret); err != nil {
		return nil, nil, err
	}
	decoded, err := record.Decode(secret)
	return decoded, secret, err
}
