package tenant

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	networkingv1ac "k8s.io/client-go/applyconfigurations/networking/v1"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// wildcardName is the name of the one Ingress for all Tenants, and the value of
// the label that marks it as ours: nothing owns it that could be asked.
const (
	wildcardName  = "latchkey-wildcard"
	labelRouting  = "latchkey.dev/routing"
	wildcardRetry = time.Minute
)

func isWildcard(ingress *networkingv1.Ingress) bool {
	return ingress.Labels[v1alpha1.LabelManagedBy] == v1alpha1.ManagedBy &&
		ingress.Labels[labelRouting] == string(RoutingWildcardIngress)
}

// WildcardReconciler keeps the Ingress for *.<base domain>, or removes it where
// tenants are routed otherwise. It has one request, whatever changed.
type WildcardReconciler struct {
	// Client reads from the manager's cache and writes to the API server.
	Client client.Client
	// APIReader reads from the API server itself.
	APIReader client.Reader
	// Config is what the installation says.
	Config Config
}

// SetupWithManager registers the controller.
func (r *WildcardReconciler) SetupWithManager(mgr ctrl.Manager) error {
	if r.Client == nil || r.APIReader == nil || r.Config.BaseDomain == "" || r.Config.SystemNamespace == "" {
		return errors.New("tenant.WildcardReconciler: Client, APIReader, Config.BaseDomain and Config.SystemNamespace are required")
	}
	request := reconcile.Request{NamespacedName: client.ObjectKey{Namespace: r.Config.SystemNamespace, Name: wildcardName}}
	always := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request {
		return []reconcile.Request{request}
	})
	ours := handler.EnqueueRequestsFromMapFunc(func(_ context.Context, object client.Object) []reconcile.Request {
		if object.GetName() != wildcardName {
			return nil
		}
		return []reconcile.Request{request}
	})
	// Without any PublicApi there is still something to remove.
	once := source.Func(func(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		queue.Add(request)
		return nil
	})
	err := ctrl.NewControllerManagedBy(mgr).
		Named("wildcard-ingress").
		Watches(&v1alpha1.PublicApi{}, always).
		Watches(&networkingv1.Ingress{}, ours).
		WatchesRawSource(once).
		Complete(r)
	if err != nil {
		return fmt.Errorf("wildcard Ingress controller: %w", err)
	}
	return nil
}

// Reconcile makes the Ingress what it should be. One of its name that is not ours
// stays untouched, and every Tenant says so.
func (r *WildcardReconciler) Reconcile(ctx context.Context, _ reconcile.Request) (ctrl.Result, error) {
	existing, err := readIngress(ctx, r.APIReader, r.Config.SystemNamespace, wildcardName)
	if err != nil {
		return ctrl.Result{}, err
	}
	wanted, err := r.wanted(ctx)
	switch {
	case err != nil:
		return ctrl.Result{}, err
	case existing != nil && !isWildcard(existing):
		if wanted == nil {
			return ctrl.Result{}, nil
		}
		ctrl.LoggerFrom(ctx).Info("an Ingress that is not ours has the name of the one for all tenants", "ingress", wildcardName)
		return ctrl.Result{RequeueAfter: wildcardRetry}, nil
	case wanted != nil:
		if err := apply(ctx, r.Client, wanted, cmp.Or(existing, &networkingv1.Ingress{}), networkingv1ac.ExtractIngress); err != nil {
			return ctrl.Result{}, fmt.Errorf("apply Ingress %s/%s: %w", r.Config.SystemNamespace, wildcardName, err)
		}
	case existing != nil:
		return ctrl.Result{}, deleteIngress(ctx, r.Client, existing)
	}
	return ctrl.Result{}, nil
}

// wanted is the Ingress with the paths of every PublicApi, or nil where there
// should be none.
func (r *WildcardReconciler) wanted(ctx context.Context) (*networkingv1ac.IngressApplyConfiguration, error) {
	if r.Config.Ingress.Routing != RoutingWildcardIngress {
		return nil, nil
	}
	var apis v1alpha1.PublicApiList
	if err := r.Client.List(ctx, &apis); err != nil {
		return nil, fmt.Errorf("list PublicApis: %w", err)
	}
	slices.SortFunc(apis.Items, func(a, b v1alpha1.PublicApi) int { return cmp.Compare(a.Spec.BasePath, b.Spec.BasePath) })
	var paths []*networkingv1ac.HTTPIngressPathApplyConfiguration
	routed := map[string]bool{}
	for i := range apis.Items {
		if !apis.Items[i].DeletionTimestamp.IsZero() {
			continue
		}
		for _, path := range r.Config.Ingress.paths(pathsOf(&apis.Items[i])) {
			if !routed[*path.Path] {
				routed[*path.Path] = true
				paths = append(paths, path)
			}
		}
	}
	if len(paths) == 0 {
		return nil, nil
	}
	return r.Config.Ingress.ingress(wildcardName, r.Config.SystemNamespace, "*."+r.Config.BaseDomain, paths).
		WithLabels(map[string]string{
			v1alpha1.LabelManagedBy: v1alpha1.ManagedBy,
			labelRouting:            string(RoutingWildcardIngress),
		}), nil
}
