package controllers

import (
	"context"
	"fmt"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// The values of the label state: every ApiToken counts as one of them.
const (
	stateActive    = "active"
	stateAwaiting  = "awaiting"
	stateExpired   = "expired"
	stateRevoked   = "revoked"
	stateSuspended = "suspended"
	// stateRefused is that of a token that does not work for another reason, which
	// its condition Active tells.
	stateRefused = "refused"
	// statePending is that of a token that no controller has seen yet.
	statePending = "pending"
)

var (
	tokenStates  = []string{stateActive, stateAwaiting, stateExpired, stateRevoked, stateSuspended, stateRefused, statePending}
	tenantStates = []string{"true", "false", "unknown"}

	descTokens  = prometheus.NewDesc("latchkey_tokens", "ApiTokens by what their condition Active says.", []string{"state"}, nil)
	descStalled = prometheus.NewDesc("latchkey_tokens_stalled", "ApiTokens that only their author can mend, whatever their state.", nil, nil)
	descTenants = prometheus.NewDesc("latchkey_tenants", "Tenants by the status of their condition Ready.", []string{"ready"}, nil)
)

func tokenState(t *v1alpha1.ApiToken) string {
	active := meta.FindStatusCondition(t.Status.Conditions, v1alpha1.ConditionActive)
	switch {
	case active == nil:
		return statePending
	case active.Status == metav1.ConditionTrue:
		return stateActive
	}
	switch active.Reason {
	case v1alpha1.ReasonAwaitingCredential:
		return stateAwaiting
	case v1alpha1.ReasonExpired:
		return stateExpired
	case v1alpha1.ReasonRevoked:
		return stateRevoked
	case v1alpha1.ReasonTenantSuspended:
		return stateSuspended
	}
	return stateRefused
}

func tenantState(t *v1alpha1.Tenant) string {
	switch ready := meta.FindStatusCondition(t.Status.Conditions, v1alpha1.ConditionReady); {
	case ready == nil:
		return "unknown"
	case ready.Status == metav1.ConditionTrue:
		return "true"
	}
	return "false"
}

// states counts ApiTokens and Tenants by state, as the informers tell of their
// changes: a scrape costs the same however many there are.
type states struct {
	mu      sync.Mutex
	tokens  map[string]int
	stalled int
	tenants map[string]int
}

// addStates registers the metrics by state while the manager is the leader: from
// several replicas every object would count several times.
func addStates(ctx context.Context, mgr ctrl.Manager, registry prometheus.Registerer) error {
	s := &states{tokens: map[string]int{}, tenants: map[string]int{}}
	for _, object := range []client.Object{&v1alpha1.ApiToken{}, &v1alpha1.Tenant{}} {
		informer, err := mgr.GetCache().GetInformer(ctx, object, cache.BlockUntilSynced(false))
		if err != nil {
			return fmt.Errorf("metrics by state: %w", err)
		}
		if _, err := informer.AddEventHandler(s.handler()); err != nil {
			return fmt.Errorf("metrics by state: %w", err)
		}
	}
	return mgr.Add(whileLeading(func(ctx context.Context) error {
		if err := registry.Register(s); err != nil {
			return fmt.Errorf("metrics by state: %w", err)
		}
		defer registry.Unregister(s)
		<-ctx.Done()
		return nil
	}))
}

// whileLeading is run by the leader alone.
type whileLeading func(ctx context.Context) error

// Start implements manager.Runnable.
func (f whileLeading) Start(ctx context.Context) error { return f(ctx) }

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (whileLeading) NeedLeaderElection() bool { return true }

func (s *states) handler() toolscache.ResourceEventHandler {
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc: func(object any) { s.count(object, 1) },
		UpdateFunc: func(before, after any) {
			s.count(before, -1)
			s.count(after, 1)
		},
		DeleteFunc: func(object any) {
			if unknown, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
				object = unknown.Obj
			}
			s.count(object, -1)
		},
	}
}

func (s *states) count(object any, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch object := object.(type) {
	case *v1alpha1.ApiToken:
		s.tokens[tokenState(object)] += n
		if meta.IsStatusConditionTrue(object.Status.Conditions, v1alpha1.ConditionStalled) {
			s.stalled += n
		}
	case *v1alpha1.Tenant:
		s.tenants[tenantState(object)] += n
	}
}

// Describe implements prometheus.Collector.
func (s *states) Describe(descs chan<- *prometheus.Desc) {
	descs <- descTokens
	descs <- descStalled
	descs <- descTenants
}

// Collect implements prometheus.Collector.
func (s *states) Collect(collected chan<- prometheus.Metric) {
	s.mu.Lock()
	defer s.mu.Unlock()
	gauge := func(desc *prometheus.Desc, value int, labels ...string) {
		collected <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(value), labels...)
	}
	for _, state := range tokenStates {
		gauge(descTokens, s.tokens[state], state)
	}
	gauge(descStalled, s.stalled)
	for _, ready := range tenantStates {
		gauge(descTenants, s.tenants[ready], ready)
	}
}
