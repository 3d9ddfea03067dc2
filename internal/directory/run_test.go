package directory_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/directory"
	"github.com/latchkey-dev/latchkey/internal/policy"
	"github.com/latchkey-dev/latchkey/internal/testing/controlplane"
	"github.com/latchkey-dev/latchkey/internal/testing/directorytest"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

var env func() *testenv.Environment

func TestMain(m *testing.M) {
	os.Exit(testenv.Run(m, &env, controlplane.Options{}))
}

// apiserverConfig is the access of the API server's ServiceAccount, over
// connections of its own, so that closing them leaves nothing behind.
func apiserverConfig(t *testing.T) (*rest.Config, *http.Transport) {
	t.Helper()
	config, err := env().ServiceAccountConfig(t.Context(), v1alpha1.SystemNamespace, "latchkey-apiserver", time.Hour)
	directorytest.Must(t, err)
	tlsConfig, err := rest.TLSConfigFor(config)
	directorytest.Must(t, err)
	transport := &http.Transport{TLSClientConfig: tlsConfig, ForceAttemptHTTP2: true}
	config.Transport, config.TLSClientConfig = transport, rest.TLSClientConfig{}
	return config, transport
}

// run feeds a directory from the cluster until the test ends, and then wants
// every goroutine to have ended.
func run(t *testing.T, logger *slog.Logger, recordsNamespace string) *directory.Directory {
	t.Helper()
	config, transport := apiserverConfig(t)
	before := goleak.IgnoreCurrent()
	d := directory.New(logger)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- d.Run(ctx, config, directory.Namespaces{Records: recordsNamespace, System: v1alpha1.SystemNamespace})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		wantNoneLeft(t, transport, before)
	})
	return d
}

// wantNoneLeft wants every goroutine to have ended. A connection is idle only some
// moments after its last stream.
func wantNoneLeft(t *testing.T, transport *http.Transport, before goleak.Option) {
	t.Helper()
	var left error
	for range 10 {
		transport.CloseIdleConnections()
		if left = goleak.Find(before); left == nil {
			return
		}
	}
	t.Error(left)
}

func create(t *testing.T, object client.Object) {
	t.Helper()
	env().Create(t, object)
}

// createTenant makes an accepted Tenant with its namespace, as the manager would.
func createTenant(t *testing.T, name string) *v1alpha1.Tenant {
	t.Helper()
	directorytest.Must(t, client.IgnoreAlreadyExists(env().Client.Create(t.Context(),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: directorytest.Namespace(name)}})))
	tenant := directorytest.Tenant(name)
	create(t, tenant)
	tenant.Status.Namespace = directorytest.Namespace(name)
	directorytest.Must(t, env().Client.Status().Update(t.Context(), tenant))
	return tenant
}

// createIssued makes an ApiToken and its record, as a user and the manager would.
// The change is made to the record last.
func createIssued(t *testing.T, tenant string, change func(*corev1.Secret)) *directorytest.Issued {
	t.Helper()
	i := directorytest.Issue(t, tenant, expiry)
	status := i.ApiToken.Status
	i.ApiToken.UID = ""
	create(t, i.ApiToken)
	i.ApiToken.Status = status
	directorytest.Must(t, env().Client.Status().Update(t.Context(), i.ApiToken))
	i.Record.UID = i.ApiToken.UID
	secret := i.Secret()
	change(secret)
	create(t, secret)
	return i
}

func unchanged(*corev1.Secret) {}

// wantVerdict waits until the directory says so of the token of acme.
func wantVerdict(t *testing.T, d *directory.Directory, i *directorytest.Issued, want policy.Verdict) {
	t.Helper()
	testenv.Eventually(t, func() error {
		if got := verdict(d, "acme", i.Digest(), now); got != want {
			return fmt.Errorf("verdict %d, want %d", got, want)
		}
		return nil
	})
}

func wantSynced(t *testing.T, d *directory.Directory) {
	t.Helper()
	testenv.Eventually(t, func() error {
		if !d.Synced() {
			return fmt.Errorf("not synced: %v", d.Unsynced())
		}
		return nil
	})
}

// Under the rights of the API server's ServiceAccount, and no others.
func TestRunFollowsTheCluster(t *testing.T) {
	tenant := createTenant(t, "acme")
	api := directorytest.PublicApi("http://backend:8080")
	create(t, api)
	early := createIssued(t, "acme", unchanged)
	foreign := createIssued(t, "acme", func(s *corev1.Secret) { s.Type = corev1.SecretTypeOpaque })
	var logs bytes.Buffer // read once Run has ended
	t.Cleanup(func() {
		if bytes.Contains(logs.Bytes(), []byte("record ignored")) {
			t.Errorf("Secrets that are no records were sent to the directory:\n%s", logs.Bytes())
		}
	})
	d := run(t, slog.New(slog.NewTextHandler(&logs, nil)), v1alpha1.RecordsNamespace)
	wantSynced(t, d)

	if got := verdict(d, "acme", early.Digest(), now); got != policy.Works {
		t.Errorf("verdict %d of a token that was there before, want Works as soon as it is synced", got)
	}
	if got, ok := d.API("default"); !ok || got.Backend(nil) != "http://backend:8080" {
		t.Error("the PublicApi is missing")
	}
	late := createIssued(t, "acme", unchanged)
	wantVerdict(t, d, late, policy.Works)
	if got := verdict(d, "acme", foreign.Digest(), now); got != policy.Unknown {
		t.Errorf("verdict %d of a Secret of another type, want Unknown", got)
	}

	late.ApiToken.Spec.Revoked = true
	directorytest.Must(t, env().Client.Update(t.Context(), late.ApiToken))
	wantVerdict(t, d, late, policy.Revoked)
	directorytest.Must(t, env().Client.Delete(t.Context(), early.ApiToken))
	wantVerdict(t, d, early, policy.Unknown)

	tenant.Spec.Suspended = true
	directorytest.Must(t, env().Client.Update(t.Context(), tenant))
	testenv.Eventually(t, func() error {
		if got, ok := d.Tenant("acme"); !ok || !got.Suspended {
			return errors.New("the tenant is not suspended")
		}
		return nil
	})
	directorytest.Must(t, env().Client.Delete(t.Context(), tenant))
	directorytest.Must(t, env().Client.Delete(t.Context(), api))
	testenv.Eventually(t, func() error {
		if got := d.Count(); got.Tenants != 0 || got.APIs != 0 {
			return fmt.Errorf("the directory holds %+v", got)
		}
		return nil
	})
}

// An ApiToken that a finalizer of others holds is gone all the same.
func TestRunTakesAnApiTokenBeingDeletedForGone(t *testing.T) {
	createTenant(t, "acme")
	i := createIssued(t, "acme", unchanged)
	i.ApiToken.Finalizers = []string{"example.com/hold"}
	directorytest.Must(t, env().Client.Update(t.Context(), i.ApiToken))
	d := run(t, slog.New(slog.DiscardHandler), v1alpha1.RecordsNamespace)
	wantVerdict(t, d, i, policy.Works)
	directorytest.Must(t, env().Client.Delete(t.Context(), i.ApiToken))
	wantVerdict(t, d, i, policy.Unknown)
	directorytest.Must(t, env().Client.Get(t.Context(), client.ObjectKeyFromObject(i.ApiToken), i.ApiToken))
	i.ApiToken.Finalizers = nil
	directorytest.Must(t, env().Client.Update(t.Context(), i.ApiToken))
}

// A feed that is not permitted keeps the directory from being synced.
func TestRunIsNotSyncedWhileAFeedIsForbidden(t *testing.T) {
	d := run(t, slog.New(slog.DiscardHandler), "default")
	testenv.Eventually(t, func() error {
		if got := d.Unsynced(); !slices.Equal(got, []string{"records"}) {
			return fmt.Errorf("unsynced are %v, want the records only", got)
		}
		return nil
	})
	if d.Synced() {
		t.Error("synced without the records")
	}
}

func TestRunRefusesABrokenConfig(t *testing.T) {
	d, _ := newDirectory()
	if err := d.Run(t.Context(), &rest.Config{Host: "://"}, directory.Namespaces{Records: "latchkey-records", System: "latchkey-system"}); err == nil {
		t.Error("no error")
	}
}
