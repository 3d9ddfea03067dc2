package apitoken

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/managedfields"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/directory"
	"github.com/latchkey-dev/latchkey/internal/policy"
	"github.com/latchkey-dev/latchkey/internal/testing/directorytest"
	"github.com/latchkey-dev/latchkey/internal/testing/lifecycletest"
	"github.com/latchkey-dev/latchkey/internal/token"
)

// A token's life is that of the model, whatever happens in whatever order. Here the
// controller and the directory are real and the rest is in memory, so that there are
// many lives; controllers/life_test.go has fewer, with everything real.
func TestLife(t *testing.T) {
	lifecycletest.Bound(t, 20, 40)
	rapid.Check(t, func(rt *rapid.T) {
		s := newLife(t)
		lifecycletest.Run(rt, s, s.clock.Now())
	})
}

var lifeStart = time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)

const lifeTenant = "acme"

var lifeScheme = func() *runtime.Scheme {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	return scheme
}()

// life is a cluster in memory, with the controller of ApiTokens and a directory.
type life struct {
	t          *testing.T
	clock      *clocktesting.FakeClock
	cluster    client.WithWatch
	reconciler *Reconciler
	directory  *directory.Directory
	stores     directory.Stores
	managed    bool
	uids       int
	// writes counts those of the controller.
	writes int
	// digests are the ApiTokens' credentials, by their names.
	digests map[string][]token.Digest
	// failing is how many writes go before the one that fails, or negative.
	failing int
	applied bool
	// excess is set once more than two credentials of an ApiToken worked.
	excess error
}

// indexer registers the controller's indexes with the cluster in memory.
type indexer struct{ builder *fake.ClientBuilder }

// IndexField implements client.FieldIndexer.
func (i indexer) IndexField(_ context.Context, object client.Object, name string, values client.IndexerFunc) error {
	i.builder.WithIndex(object, name, values)
	return nil
}

func newLife(t *testing.T) *life {
	s := &life{t: t, clock: clocktesting.NewFakeClock(lifeStart), managed: true, failing: -1,
		directory: directory.New(slog.New(slog.DiscardHandler)), digests: map[string][]token.Digest{}}
	s.stores = s.directory.Stores()
	directorytest.Sync(t, s.stores)
	api, tenant := directorytest.PublicApi("http://127.0.0.1:9"), directorytest.Tenant(lifeTenant)
	// The default converter parses the schema of all of Kubernetes, for each life anew.
	builder := fake.NewClientBuilder().WithScheme(lifeScheme).WithTypeConverters(managedfields.NewDeducedTypeConverter()).WithStatusSubresource(&v1alpha1.ApiToken{}).WithObjects(api, tenant)
	directorytest.Must(t, addIndexes(t.Context(), indexer{builder}))
	s.cluster = builder.Build()
	directorytest.Must(t, s.stores.PublicApis.Add(api))
	directorytest.Must(t, s.stores.Tenants.Add(tenant))
	manager := interceptor.NewClient(s.cluster, s.interceptors())
	s.reconciler = &Reconciler{
		Client: manager, APIReader: s.cluster, Recorder: &events.FakeRecorder{}, Clock: s.clock,
		RecordsNamespace: v1alpha1.RecordsNamespace, SystemNamespace: v1alpha1.SystemNamespace, Workers: 1,
	}
	return s
}

// interceptors are around the manager's writes: one may fail, and after each the
// directory is told of it, as by a watch.
func (s *life) interceptors() interceptor.Funcs {
	return interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.CreateOption) error {
			return s.write(o, s.put, func() error { return c.Create(ctx, o, options...) })
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.UpdateOption) error {
			return s.write(o, s.put, func() error { return c.Update(ctx, o, options...) })
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.DeleteOption) error {
			return s.write(o, s.remove, func() error { return c.Delete(ctx, o, options...) })
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, options ...client.SubResourcePatchOption) error {
			return s.write(o, s.put, func() error { return c.SubResource(sub).Patch(ctx, o, p, options...) })
		},
	}
}

var errInjected = errors.New("the write failed, as the test wants")

// write does a write of the controller's, and tells the directory of it by deliver.
func (s *life) write(object client.Object, deliver func(client.Object) error, do func() error) error {
	fails := s.failing == 0
	if s.failing >= 0 {
		s.failing--
	}
	if fails && !s.applied {
		return errInjected
	}
	err := do()
	if err == nil {
		s.writes++
		err = deliver(object)
	}
	if fails {
		return errInjected
	}
	return err
}

// Fail implements lifecycletest.Faulty.
func (s *life) Fail(after int, applied bool) { s.failing, s.applied = after, applied }

// Tenant implements lifecycletest.System, as the methods below do.
func (s *life) Tenant() string { return lifeTenant }

// Write refuses what the API server does by the rules of the CRD, which are tested
// with a real one.
func (s *life) Write(name string, spec *v1alpha1.ApiTokenSpec) error {
	key := client.ObjectKey{Namespace: directorytest.Namespace(lifeTenant), Name: name}
	present := &v1alpha1.ApiToken{}
	err := s.cluster.Get(s.t.Context(), key, present)
	switch {
	case apierrors.IsNotFound(err):
		s.uids++
		present = &v1alpha1.ApiToken{ObjectMeta: metav1.ObjectMeta{
			Namespace: key.Namespace, Name: key.Name, UID: types.UID(fmt.Sprintf("00000000-0000-4000-8000-%012d", s.uids)), CreationTimestamp: metav1.NewTime(s.clock.Now()),
		}, Spec: *spec.DeepCopy()}
		err = s.cluster.Create(s.t.Context(), present)
	case err == nil:
		if lifecycletest.Undoes(&present.Spec, lifecycletest.IssuedOf(present).Previous.ID, spec) {
			return errors.New("the CRD's rules refuse it")
		}
		spec.DeepCopyInto(&present.Spec)
		err = s.cluster.Update(s.t.Context(), present)
	}
	if err != nil {
		return err
	}
	if c := spec.Credential; c != nil {
		digest, err := token.ParseDigest(c.Digest)
		if err != nil {
			return err
		}
		if !s.isAnothers(digest, name) {
			s.digests[name] = append(s.digests[name], digest)
		}
	}
	return s.put(present)
}

// isAnothers says whether a credential is another ApiToken's than that of the name: one that was
// copied may work, as that of whose it is.
func (s *life) isAnothers(digest token.Digest, name string) bool {
	for other, digests := range s.digests {
		if other != name && slices.Contains(digests, digest) {
			return true
		}
	}
	return false
}

// Delete deletes an ApiToken.
func (s *life) Delete(name string) error {
	object := &v1alpha1.ApiToken{}
	err := s.cluster.Get(s.t.Context(), client.ObjectKey{Namespace: directorytest.Namespace(lifeTenant), Name: name}, object)
	if err == nil {
		err = s.cluster.Delete(s.t.Context(), object)
	}
	if err != nil {
		return err
	}
	return s.remove(object)
}

// Suspend changes the Tenant.
func (s *life) Suspend(suspended bool) error {
	tenant := &v1alpha1.Tenant{}
	if err := s.cluster.Get(s.t.Context(), client.ObjectKey{Name: lifeTenant}, tenant); err != nil {
		return err
	}
	tenant.Spec.Suspended = suspended
	if err := s.cluster.Update(s.t.Context(), tenant); err != nil {
		return err
	}
	return s.stores.Tenants.Update(tenant)
}

// Manage starts or stops the controller.
func (s *life) Manage(runs bool) error {
	s.managed = runs
	return nil
}

// Advance sets the clock forward.
func (s *life) Advance(d time.Duration) { s.clock.Step(d) }

// works asks as the server does.
func (s *life) works(digest token.Digest) bool {
	t, ok := s.directory.Token(lifeTenant, digest)
	if !ok {
		return false
	}
	tenant, _ := s.directory.Tenant(lifeTenant)
	return policy.Decide(t.State(tenant), s.clock.Now()) == policy.Works
}

// Await has the controller work until nothing changes any more.
func (s *life) Await(wanted lifecycletest.Wanted) error {
	for round := 0; s.managed; round++ {
		before := s.writes
		err := s.reconcile()
		if err == nil && before == s.writes {
			break
		}
		if round > 20 {
			return fmt.Errorf("the controller does not come to an end: %w", err)
		}
	}
	if s.excess != nil {
		return s.excess
	}
	status := func(name string) (lifecycletest.Issued, error) {
		object := &v1alpha1.ApiToken{}
		err := s.cluster.Get(s.t.Context(), client.ObjectKey{Namespace: directorytest.Namespace(lifeTenant), Name: name}, object)
		return lifecycletest.IssuedOf(object), err
	}
	return wanted.Compare(status, func(t *lifecycletest.Token) (bool, error) { return s.works(t.Digest(lifeTenant)), nil })
}

// reconcile looks at everything once.
func (s *life) reconcile() error {
	ctx := s.t.Context()
	var tokens v1alpha1.ApiTokenList
	var secrets corev1.SecretList
	if err := errors.Join(s.cluster.List(ctx, &tokens), s.cluster.List(ctx, &secrets)); err != nil {
		return err
	}
	var failed error
	for i := range tokens.Items {
		_, err := s.reconciler.Reconcile(ctx, &tokens.Items[i])
		failed = errors.Join(failed, err)
	}
	for i := range secrets.Items {
		_, err := orphans{s.reconciler}.Reconcile(ctx, &secrets.Items[i])
		failed = errors.Join(failed, err)
	}
	return failed
}

// put tells the directory of an object that was stored, and counts what works then.
func (s *life) put(object client.Object) error {
	defer s.count()
	switch object := object.DeepCopyObject().(type) {
	case *v1alpha1.ApiToken:
		return s.stores.ApiTokens.Update(object)
	case *corev1.Secret:
		return s.stores.Records.Update(object)
	default:
		return fmt.Errorf("%T is not fed to the directory", object)
	}
}

// remove tells the directory of an object that was deleted.
func (s *life) remove(object client.Object) error {
	if object, ok := object.(*v1alpha1.ApiToken); ok {
		return s.stores.ApiTokens.Delete(object)
	}
	return s.stores.Records.Delete(object)
}

// count notes where more than two credentials of an ApiToken work, also between two
// writes.
func (s *life) count() {
	for name, digests := range s.digests {
		working := map[token.Digest]bool{}
		for _, digest := range digests {
			if s.works(digest) {
				working[digest] = true
			}
		}
		if len(working) > 2 {
			s.excess = fmt.Errorf("%d credentials of %s work", len(working), name)
		}
	}
}
