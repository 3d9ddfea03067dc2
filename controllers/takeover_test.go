package controllers_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/leaderelection"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/controllers"
	"github.com/latchkey-dev/latchkey/internal/testing/freeport"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

func lease() *coordinationv1.Lease {
	return &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: controllers.LeaseName}}
}

// A manager that ends in order gives its lease up, so that the next works at once.
func TestLeaseIsReleased(t *testing.T) {
	elect := func(o *controllers.Options) { o.LeaderElection = true }
	stop := startManager(t, elect)
	readyTenant(t)
	stop()
	released := lease()
	if err := get(t, released); err != nil {
		t.Fatal(err)
	}
	if holder := released.Spec.HolderIdentity; holder != nil && *holder != "" {
		t.Errorf("the lease is still held by %s", *holder)
	}
}

// Issuing is back within 20 seconds of a manager's death, however late its successor
// looks. Two of them are for its first work.
func TestTakeoverIsBounded(t *testing.T) {
	if controllers.LongestTakeover > 18*time.Second {
		t.Errorf("another manager leads after %s at most, want 18s", controllers.LongestTakeover)
	}
	if leaderelection.JitterFactor != 1.2 {
		t.Errorf("client-go stretches retries by %v, LongestTakeover counts on 1.2", leaderelection.JitterFactor)
	}
}

// After a manager was killed the next takes over within 20 seconds.
func TestTakeover(t *testing.T) {
	const bound = 20 * time.Second
	killed := time.Now()
	now := metav1.NewMicroTime(killed)
	dead := lease()
	testenv.Eventually(t, func() error { return client.IgnoreNotFound(env().Client.Delete(context.Background(), lease())) })
	dead.Spec = coordinationv1.LeaseSpec{
		HolderIdentity: new("killed"), LeaseDurationSeconds: new(int32(13)), AcquireTime: &now, RenewTime: &now, LeaseTransitions: new(int32(1)),
	}
	create(t, dead)
	// The one that takes over was waiting when the other was killed.
	registry := prometheus.NewRegistry()
	startManager(t, func(o *controllers.Options) { o.LeaderElection, o.Metrics = true, registry })
	wantSilentUntilLeader(t, "killed", registry)
	readyTenant(t)
	if took := time.Since(killed); took > bound {
		t.Errorf("it took %s, want at most %s", took, bound)
	}
	if err := get(t, dead); err != nil || *dead.Spec.HolderIdentity == "killed" {
		t.Errorf("the lease is %+v: %v", dead.Spec, err)
	}
}

// holdLease has somebody else hold the lease.
func holdLease(t *testing.T) *coordinationv1.Lease {
	t.Helper()
	now := metav1.NewMicroTime(time.Now())
	held := lease()
	testenv.Eventually(t, func() error { return client.IgnoreNotFound(env().Client.Delete(context.Background(), lease())) })
	held.Spec = coordinationv1.LeaseSpec{
		HolderIdentity: new("another"), LeaseDurationSeconds: new(int32(3600)), AcquireTime: &now, RenewTime: &now, LeaseTransitions: new(int32(1)),
	}
	create(t, held)
	return held
}

// standBy starts a manager while somebody else holds the lease, until it is ready. It leads
// once that one gives it up.
func standBy(t *testing.T, configure ...func(*controllers.Options)) (lead func()) {
	t.Helper()
	held := holdLease(t)
	address, err := freeport.Address()
	if err != nil {
		t.Fatal(err)
	}
	startManager(t, append(configure, func(o *controllers.Options) { o.LeaderElection, o.HealthAddress = true, address })...)
	testenv.Eventually(t, func() error { return probe(t, address, "readyz", http.StatusOK) })
	return func() {
		held.Spec.HolderIdentity = new("")
		if err := env().Client.Update(t.Context(), held); err != nil {
			t.Fatal(err)
		}
	}
}

// reconciled are the names of objects of a kind, in the order in which a manager looks at
// them for the first time: of those in one namespace, or in none, whose names begin alike.
type reconciled struct {
	controller, namespace, prefix string

	mu      sync.Mutex
	watches bool
	names   []string
}

// log has the manager tell, by what controller-runtime logs.
func (r *reconciled) log(o *controllers.Options) {
	o.Logger = funcr.NewJSON(func(line string) {
		var said struct{ Msg, Controller, Namespace, Name string }
		if err := json.Unmarshal([]byte(line), &said); err != nil || said.Controller != r.controller {
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		switch {
		case said.Msg == "Starting EventSource":
			r.watches = true
		case said.Msg == "Reconciling" && said.Namespace == r.namespace && strings.HasPrefix(said.Name, r.prefix) && !slices.Contains(r.names, said.Name):
			r.names = append(r.names, said.Name)
		}
	}, funcr.Options{Verbosity: 5})
}

// started waits until the controller has started its watches.
func (r *reconciled) started(t *testing.T) {
	t.Helper()
	testenv.Eventually(t, func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if !r.watches {
			return fmt.Errorf("controller %s does not watch yet", r.controller)
		}
		return nil
	})
}

func (r *reconciled) first(n int) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.names[:min(n, len(r.names))])
}

// What somebody waits for since no manager led goes before everything that is as it
// should be, of which there may be a hundred thousand, and which somebody has changed while
// the next manager stood by.
func TestWhatIsWaitedForGoesFirst(t *testing.T) {
	stop := startManager(t)
	owner := readyTenant(t)
	for i := range 40 {
		create(t, apiToken(owner, fmt.Sprint("settled-", i), v1alpha1.ApiTokenSpec{}))
	}
	expired, _ := credential(t, owner.Name, time.Now().Add(-time.Hour))
	ended := create(t, apiToken(owner, "ended", v1alpha1.ApiTokenSpec{Credential: expired, Lifetime: lifetime(30 * time.Minute)}))
	changed, unrecorded := issued(t, owner, "changed", v1alpha1.ApiTokenSpec{}), issued(t, owner, "unrecorded", v1alpha1.ApiTokenSpec{})
	for i := range 40 {
		settled := apiToken(owner, fmt.Sprint("settled-", i), v1alpha1.ApiTokenSpec{})
		waitFor(t, settled, v1alpha1.ConditionActive, isFalse, v1alpha1.ReasonAwaitingCredential)
	}
	waitFor(t, ended, v1alpha1.ConditionActive, isFalse, v1alpha1.ReasonExpired)
	stop()

	minted, _ := credential(t, owner.Name, time.Now())
	asked := create(t, apiToken(owner, "asked", v1alpha1.ApiTokenSpec{Credential: minted}))
	change(t, changed, func(o *v1alpha1.ApiToken) { o.Spec.Revoked = true })
	_, secret, err := recordOf(t, unrecorded)
	if err != nil {
		t.Fatal(err)
	}
	if err := env().Client.Delete(t.Context(), secret); err != nil {
		t.Fatal(err)
	}

	order := reconciled{controller: "apitoken", namespace: owner.NamespaceName()}
	lead := standBy(t, order.log, func(o *controllers.Options) { o.Workers = 1 })
	order.started(t)
	for i := range 40 {
		settled := apiToken(owner, fmt.Sprint("settled-", i), v1alpha1.ApiTokenSpec{})
		change(t, settled, func(o *v1alpha1.ApiToken) { o.Annotations = map[string]string{"example.com/note": "changed"} })
	}
	lead()
	awaitRecord(t, asked)
	awaitRecord(t, unrecorded)
	waitFor(t, changed, v1alpha1.ConditionActive, isFalse, v1alpha1.ReasonRevoked)
	first := order.first(3)
	slices.Sort(first)
	if want := []string{"asked", "changed", "unrecorded"}; !slices.Equal(first, want) {
		t.Errorf("a manager looked at %q first, want %q", first, want)
	}
}

// The same goes for Tenants.
func TestTenantThatIsWaitedForGoesFirst(t *testing.T) {
	stop := startManager(t)
	api := publicApi(t)
	made := func(n int) *v1alpha1.Tenant {
		return create(t, &v1alpha1.Tenant{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("waited-", n)}, Spec: v1alpha1.TenantSpec{PublicApi: api.Name},
		})
	}
	for n := range 20 {
		waitFor(t, made(n), v1alpha1.ConditionReady, isTrue, v1alpha1.ReasonProvisioned)
	}
	stop()
	asked := made(20)
	order := reconciled{controller: "tenant", prefix: "waited-"}
	lead := standBy(t, order.log)
	lead()
	waitFor(t, asked, v1alpha1.ConditionReady, isTrue, v1alpha1.ReasonProvisioned)
	if first := order.first(1); !slices.Equal(first, []string{asked.Name}) {
		t.Errorf("a manager looked at %q first, want %s", first, asked.Name)
	}
}

// What happened while a manager stood by is done once it leads.
func TestWhatHappenedWhileAManagerStoodBy(t *testing.T) {
	stop := startManager(t)
	owner, _ := provisioned(t)
	changed, deleted := issued(t, owner, "changed", v1alpha1.ApiTokenSpec{}), issued(t, owner, "deleted", v1alpha1.ApiTokenSpec{})
	_, orphan, err := recordOf(t, deleted)
	if err != nil {
		t.Fatal(err)
	}
	damaged := issued(t, owner, "damaged", v1alpha1.ApiTokenSpec{})
	_, lost, err := recordOf(t, damaged)
	if err != nil {
		t.Fatal(err)
	}
	stop()

	lead := standBy(t)
	for _, object := range []client.Object{deleted, lost, ingressOf(owner), adminsOf(owner)} {
		if err := env().Client.Delete(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	change(t, changed, func(o *v1alpha1.ApiToken) { o.Spec.Revoked = true })
	minted, _ := credential(t, owner.Name, time.Now())
	asked := create(t, apiToken(owner, "asked", v1alpha1.ApiTokenSpec{Credential: minted}))
	lead()
	awaitRecord(t, asked)
	awaitRecord(t, damaged)
	waitFor(t, changed, v1alpha1.ConditionActive, isFalse, v1alpha1.ReasonRevoked)
	gone(t, orphan)
	for _, object := range []client.Object{ingressOf(owner), adminsOf(owner)} {
		testenv.Eventually(t, func() error { return get(t, object) })
	}
}

// A manager that stands by says that it is ready once it has read everything that it
// works by when it leads.
func TestReadyOnceEverythingWasRead(t *testing.T) {
	held := holdLease(t)
	for _, resource := range []string{"apitokens", "tenants", "publicapis", "secrets", "configmaps", "rolebindings", "ingresses", "namespaces", "services"} {
		t.Run(resource, func(t *testing.T) {
			asked, read := make(chan struct{}, 1), make(chan struct{})
			release := sync.OnceFunc(func() { close(read) })
			defer release()
			address, err := freeport.Address()
			if err != nil {
				t.Fatal(err)
			}
			startManagerThrough(t, withheld(resource, asked, read), func(o *controllers.Options) { o.LeaderElection, o.HealthAddress = true, address })
			wait(t, asked)
			testenv.Eventually(t, func() error { return probe(t, address, "healthz", http.StatusOK) })
			testenv.Eventually(t, func() error { return probe(t, address, "readyz", http.StatusInternalServerError) })
			release()
			testenv.Eventually(t, func() error { return probe(t, address, "readyz", http.StatusOK) })
		})
	}
	if err := get(t, held); err != nil || *held.Spec.HolderIdentity != "another" {
		t.Errorf("the lease is %+v: %v", held.Spec, err)
	}
}

// withheld keeps lists of a resource back until read, and tells that one was asked for.
func withheld(resource string, asked chan<- struct{}, read <-chan struct{}) func(http.RoundTripper) http.RoundTripper {
	return func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(request *http.Request) (*http.Response, error) {
			if strings.HasSuffix(request.URL.Path, "/"+resource) {
				select {
				case asked <- struct{}{}:
				default:
				}
				select {
				case <-read:
				case <-request.Context().Done():
					return nil, request.Context().Err()
				}
			}
			return next.RoundTrip(request)
		})
	}
}

// probe wants a status of a probe.
func probe(t *testing.T, address, name string, status int) error {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/"+name, http.NoBody)
	if err != nil {
		return err
	}
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != status {
		return errors.New(name + ": " + response.Status + ": " + string(body))
	}
	return nil
}
