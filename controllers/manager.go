// Package controllers puts the controllers of its subpackages, one a kind, into
// one manager.
package controllers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/controllers/apitoken"
	"github.com/latchkey-dev/latchkey/controllers/publicapi"
	"github.com/latchkey-dev/latchkey/controllers/sessionkeys"
	"github.com/latchkey-dev/latchkey/controllers/tenant"
	"github.com/latchkey-dev/latchkey/internal/attentive"
	"github.com/latchkey-dev/latchkey/internal/session/keyring"
)

// LeaseName is the name of the Lease by which managers elect a leader.
const LeaseName = "latchkey-manager"

// Leader election: a manager that ends in order gives the lease up at once; see
// LongestTakeover for one that was killed. client-go's usual 15 s and 2 s would be up
// to 23.8 s.
const (
	leaseDuration = 13 * time.Second
	renewDeadline = 10 * time.Second
	retryPeriod   = time.Second
	// longestRetry is what client-go's jitter makes of the period at most
	// (leaderelection.JitterFactor is 1.2).
	longestRetry = retryPeriod * 22 / 10
)

// LongestTakeover is how long at most after a manager was killed another that stands
// by leads: it notices the last renewal a retry late, waits for the lease's duration
// from then on, and sees that it is over a retry later.
const LongestTakeover = longestRetry + leaseDuration + longestRetry

// DefaultWorkers is that of Options.Workers. Each waits for two writes; a kube-apiserver
// takes about a thousand a second.
const DefaultWorkers = 64

// beginLimit is how long all that was read may take to be handed to the controllers; the
// library's 2 minutes would end the manager of an installation with very many tokens each
// time.
const beginLimit = 10 * time.Minute

// probeLimit is how long the probe of readiness waits, below kubelet's second.
const probeLimit = 500 * time.Millisecond

// DefaultReconcileTimeout is that of Options.ReconcileTimeout: as long as a kube-apiserver
// lets a request live (its --request-timeout).
const DefaultReconcileTimeout = time.Minute

// Options are what an installation says of its manager.
type Options struct {
	// Tenant is what the installation says of its tenants.
	Tenant tenant.Config
	// RecordsNamespace is where the records are kept.
	RecordsNamespace string
	// LeaderElection makes one of several managers work at a time.
	LeaderElection bool
	// MetricsAddress and HealthAddress are where metrics and probes are served;
	// "0" means nowhere.
	MetricsAddress, HealthAddress string
	// Metrics is where the metrics by state are registered; nil means where
	// MetricsAddress serves from.
	Metrics prometheus.Registerer
	// TokenExpiryMetrics is how many tokens have a metric of their expiry: those
	// that expire next. 0 means none.
	TokenExpiryMetrics int
	// Logger is where the controllers log.
	Logger logr.Logger
	// Clock tells the time; nil means the system's.
	Clock clock.PassiveClock
	// ReconcileTimeout bounds one attempt to reconcile an object, which is then made again:
	// client-go waits for ever for the answer to a write that was lost on a connection that
	// stays alive. 0 means DefaultReconcileTimeout.
	ReconcileTimeout time.Duration
	// Workers is how many ApiTokens are reconciled at a time. 0 means DefaultWorkers.
	Workers int
	// SkipNameValidation permits several managers in one process, for tests.
	SkipNameValidation bool
}

// NewManager makes a manager with every controller. It works once started.
func NewManager(ctx context.Context, restConfig *rest.Config, o Options) (ctrl.Manager, error) {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	mgr, err := ctrl.NewManager(restConfig, ctrl.Options{
		Scheme:                        newScheme(),
		Logger:                        o.Logger,
		Cache:                         cacheOptions(o),
		Client:                        client.Options{FieldValidation: metav1.FieldValidationStrict},
		Metrics:                       metricsserver.Options{BindAddress: o.MetricsAddress},
		HealthProbeBindAddress:        o.HealthAddress,
		LeaderElection:                o.LeaderElection,
		LeaderElectionID:              LeaseName,
		LeaderElectionNamespace:       o.Tenant.SystemNamespace,
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 new(leaseDuration),
		RenewDeadline:                 new(renewDeadline),
		RetryPeriod:                   new(retryPeriod),
		Controller: config.Controller{
			SkipNameValidation:    &o.SkipNameValidation,
			ReconciliationTimeout: cmp.Or(o.ReconcileTimeout, DefaultReconcileTimeout),
			CacheSyncTimeout:      beginLimit,
		},
	})
	if err != nil {
		return nil, fmt.Errorf("manager: %w", err)
	}
	if err := addControllers(ctx, mgr, o); err != nil {
		return nil, err
	}
	if err := fillCaches(ctx, mgr.GetCache()); err != nil {
		return nil, err
	}
	if err := addStates(ctx, mgr, cmp.Or(o.Metrics, prometheus.Registerer(metrics.Registry))); err != nil {
		return nil, err
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return nil, err
	}
	return mgr, mgr.AddReadyzCheck("caches", cachesFilled(mgr.GetCache()))
}

// cachesFilled has a manager be ready once it has read all that it keeps, whether it leads
// or stands by: who replaces managers one by one, each when the one before is ready, always
// leaves one that can take over at once.
func cachesFilled(c cache.Cache) healthz.Checker {
	return func(request *http.Request) error {
		ctx, cancel := context.WithTimeout(request.Context(), probeLimit)
		defer cancel()
		if !c.WaitForCacheSync(ctx) {
			return errors.New("not everything was read yet")
		}
		return nil
	}
}

// fillCaches has the cache read everything that the controllers watch from the start. Those
// that do not stand by would ask for it only when they lead.
func fillCaches(ctx context.Context, c cache.Cache) error {
	for _, object := range []client.Object{
		&v1alpha1.ApiToken{}, &v1alpha1.Tenant{}, &v1alpha1.PublicApi{},
		&corev1.Secret{}, &corev1.ConfigMap{}, &rbacv1.RoleBinding{}, &networkingv1.Ingress{},
		metadataOf(corev1.SchemeGroupVersion.WithKind("Namespace")), metadataOf(corev1.SchemeGroupVersion.WithKind("Service")),
	} {
		if _, err := c.GetInformer(ctx, object, cache.BlockUntilSynced(false)); err != nil {
			return fmt.Errorf("watch %T: %w", object, err)
		}
	}
	return nil
}

func metadataOf(kind schema.GroupVersionKind) *metav1.PartialObjectMetadata {
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(kind)
	return object
}

func addControllers(ctx context.Context, mgr ctrl.Manager, o Options) error {
	publicApis := &publicapi.Reconciler{
		Client: mgr.GetClient(), APIReader: mgr.GetAPIReader(),
		Recorder: mgr.GetEventRecorder("latchkey-publicapi-controller"), Clock: o.Clock,
		SystemNamespace: o.Tenant.SystemNamespace, HTTP: publicapi.NewHTTPClient(),
	}
	if err := publicApis.SetupWithManager(mgr); err != nil {
		return err
	}
	tenants := &tenant.Reconciler{
		Client: mgr.GetClient(), APIReader: mgr.GetAPIReader(),
		Recorder: mgr.GetEventRecorder("latchkey-tenant-controller"), Clock: o.Clock, Config: o.Tenant,
	}
	if err := tenants.SetupWithManager(mgr); err != nil {
		return err
	}
	wildcard := &tenant.WildcardReconciler{Client: mgr.GetClient(), APIReader: mgr.GetAPIReader(), Config: o.Tenant}
	if err := wildcard.SetupWithManager(mgr); err != nil {
		return err
	}
	tokens := &apitoken.Reconciler{
		Client: mgr.GetClient(), APIReader: mgr.GetAPIReader(),
		Recorder: mgr.GetEventRecorder("latchkey-apitoken-controller"), Clock: o.Clock,
		RecordsNamespace: o.RecordsNamespace, SystemNamespace: o.Tenant.SystemNamespace,
		Workers: cmp.Or(o.Workers, DefaultWorkers),
	}
	if err := tokens.SetupWithManager(ctx, mgr); err != nil {
		return err
	}
	sessions := &sessionkeys.Reconciler{Client: mgr.GetClient(), Clock: o.Clock, Namespace: o.Tenant.SystemNamespace}
	if err := sessions.SetupWithManager(mgr); err != nil {
		return err
	}
	if o.TokenExpiryMetrics == 0 {
		return nil
	}
	expiry := &apitoken.ExpiryCollector{Reader: mgr.GetClient(), Elected: mgr.Elected(), Clock: o.Clock, Limit: o.TokenExpiryMetrics}
	if err := cmp.Or(o.Metrics, prometheus.Registerer(metrics.Registry)).Register(expiry); err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	return nil
}

// cacheOptions keep in memory only what the controllers look at: no Secret but the
// records and the session keys, no ConfigMap but the installation's, and of RoleBindings
// and Ingresses only those made here.
func cacheOptions(o Options) cache.Options {
	ours := labels.SelectorFromSet(labels.Set{v1alpha1.LabelManagedBy: v1alpha1.ManagedBy})
	// The one Secret is asked for by its name, which is all that RBAC permits there.
	sessionKeys := fields.OneTermEqualSelector(metav1.ObjectNameField, keyring.SecretName)
	return cache.Options{
		DefaultTransform:            tenant.CacheTransform(),
		ReaderFailOnMissingInformer: true,
		NewInformer:                 newInformer,
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Secret{}: {Namespaces: map[string]cache.Config{
				o.RecordsNamespace:       {},
				o.Tenant.SystemNamespace: {FieldSelector: sessionKeys},
			}},
			&corev1.ConfigMap{}:     {Namespaces: map[string]cache.Config{o.Tenant.SystemNamespace: {}}},
			&networkingv1.Ingress{}: {Namespaces: map[string]cache.Config{o.Tenant.SystemNamespace: {LabelSelector: ours}}},
			&rbacv1.RoleBinding{}:   {Label: ours},
		},
	}
}

// newInformer returns an informer that starts over where etcd may have been restored from
// an older copy. A manager with objects that the store no longer has would keep records of
// them, and miss changes.
func newInformer(lister toolscache.ListerWatcher, object runtime.Object, resync time.Duration, indexers toolscache.Indexers) toolscache.SharedIndexInformer {
	return toolscache.NewSharedIndexInformer(attentive.NewRestoreGuard(lister), object, resync, indexers)
}

func newScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	return scheme
}
