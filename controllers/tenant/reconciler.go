// Package tenant reconciles Tenants into what a customer gets: a namespace
// (namespace.go), RoleBindings for its members (members.go), and an Ingress for
// its host (ingress.go) unless one Ingress serves all (wildcard.go). All are owned
// by the Tenant, so that Kubernetes' garbage collector removes them with it and no
// finalizer is needed.
package tenant

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	latchkeyac "github.com/latchkey-dev/latchkey/api/v1alpha1/applyconfiguration/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/controllers/precedence"
	"github.com/latchkey-dev/latchkey/internal/conditions"
)

// Config is what an installation says of its tenants.
type Config struct {
	// BaseDomain is what every tenant's host ends with, such as example.com.
	BaseDomain string
	// PublicScheme is what clients use, https unless set; PublicPort is the port
	// that they reach tenants' hosts on, or 0 for the scheme's own. They are only
	// shown to people.
	PublicScheme string
	PublicPort   int
	// SystemNamespace is where the Ingresses are made.
	SystemNamespace string
	// ReservedNames are subdomains that no new Tenant gets.
	ReservedNames []string
	// TokenPrefix is what new tokens begin with.
	TokenPrefix string
	// Ingress says how tenants' hosts are routed.
	Ingress IngressConfig
}

// Reconciler provisions Tenants.
type Reconciler struct {
	// Client reads from the manager's cache and writes to the API server.
	Client client.Client
	// APIReader reads from the API server itself.
	APIReader client.Reader
	// Recorder records events.
	Recorder events.EventRecorder
	// Clock tells the time; clock.RealClock{} outside tests.
	Clock clock.PassiveClock
	// Config is what the installation says.
	Config Config
}

// problem stops provisioning with a condition: it is a user's to mend, or passes
// by itself, and trying again at once would not help.
type problem struct {
	reason, message string
	// stalled says that only the author can mend it.
	stalled bool
	// retry is when to look again where no event would tell of a change, or zero.
	retry time.Duration
}

func (p *problem) Error() string { return p.reason + ": " + p.message }

// scope is what the phases of one reconciliation share.
type scope struct {
	tenant *v1alpha1.Tenant
	// api is the tenant's PublicApi, or nil if there is none.
	api *v1alpha1.PublicApi
	// status is what will be written.
	status *v1alpha1.TenantStatus
}

// SetupWithManager registers the controller.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	if r.Client == nil || r.APIReader == nil || r.Recorder == nil || r.Clock == nil || r.Config.BaseDomain == "" || r.Config.SystemNamespace == "" {
		return errors.New("tenant.Reconciler: Client, APIReader, Recorder, Clock, Config.BaseDomain and Config.SystemNamespace are required")
	}
	b := ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.Tenant{}).
		Owns(&rbacv1.RoleBinding{}).
		Owns(&networkingv1.Ingress{}).
		WatchesMetadata(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(r.tenantsOfNamespace)).
		Watches(&v1alpha1.PublicApi{}, precedence.Behind(r.tenantsOfPublicApi), builder.WithPredicates(precedence.NotListed))
	err := precedence.StandBy(mgr, b, controller.Options{}, r.everything).
		Complete(reconcile.AsReconciler(r.Client, r))
	if err != nil {
		return fmt.Errorf("tenant controller: %w", err)
	}
	return nil
}

// everything is, when a manager begins to lead, every Tenant: first those whose spec no
// manager has seen.
func (r *Reconciler) everything(ctx context.Context, first, last func(...reconcile.Request)) error {
	var tenants v1alpha1.TenantList
	if err := r.Client.List(ctx, &tenants, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("list Tenants: %w", err)
	}
	all := make([]reconcile.Request, len(tenants.Items))
	for i := range tenants.Items {
		tenant := &tenants.Items[i]
		all[i].NamespacedName = client.ObjectKeyFromObject(tenant)
		if tenant.Generation != tenant.Status.ObservedGeneration {
			first(all[i])
		}
	}
	last(all...)
	return nil
}

// Reconcile provisions a Tenant.
func (r *Reconciler) Reconcile(ctx context.Context, tenant *v1alpha1.Tenant) (ctrl.Result, error) {
	if !tenant.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil // the garbage collector takes what it owns
	}
	s := &scope{tenant: tenant, status: tenant.Status.DeepCopy()}
	s.status.ObservedGeneration = tenant.Generation

	err := r.provision(ctx, s)
	var found *problem
	switch {
	case errors.As(err, &found):
		err = nil
	case apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err):
		return ctrl.Result{}, err // the cache lags behind: nothing that a user should see
	case err != nil:
		err = fmt.Errorf("tenant %s: %w", tenant.Name, err)
		found = &problem{reason: v1alpha1.ReasonProvisioningFailed, message: err.Error()}
	}
	r.conclude(s, found)
	if err := errors.Join(err, r.writeStatus(ctx, s)); err != nil || found == nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{RequeueAfter: found.retry}, nil
}

// provision runs the phases in order and stops at the first that fails.
func (r *Reconciler) provision(ctx context.Context, s *scope) error {
	for _, phase := range []func(context.Context, *scope) error{
		r.checkName,
		r.findPublicApi,
		r.reconcileNamespace,
		r.reconcileMembers,
		r.removeIngress,
		r.requirePublicApi,
		r.reconcileRouting,
	} {
		if err := phase(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// checkName refuses reserved names, but not those of Tenants whose name passed
// before it was reserved: that would break a customer.
func (r *Reconciler) checkName(_ context.Context, s *scope) error {
	if s.status.Host == "" && slices.Contains(r.Config.ReservedNames, s.tenant.Name) {
		return &problem{reason: v1alpha1.ReasonNameReserved, stalled: true,
			message: fmt.Sprintf("The subdomain %s is reserved by this installation (--reserved-names). Choose another name.", s.tenant.Name)}
	}
	s.status.Host = r.host(s.tenant)
	return nil
}

func (r *Reconciler) host(t *v1alpha1.Tenant) string { return t.Name + "." + r.Config.BaseDomain }

// origin is where clients reach the tenant's host.
func (r *Reconciler) origin(t *v1alpha1.Tenant) string {
	origin := cmp.Or(r.Config.PublicScheme, "https") + "://" + r.host(t)
	if r.Config.PublicPort != 0 {
		origin += ":" + strconv.Itoa(r.Config.PublicPort)
	}
	return origin
}

func (r *Reconciler) findPublicApi(ctx context.Context, s *scope) error {
	var api v1alpha1.PublicApi
	err := r.Client.Get(ctx, client.ObjectKey{Name: s.tenant.PublicApiName()}, &api)
	if err == nil {
		s.api = &api
	}
	return client.IgnoreNotFound(err)
}

// requirePublicApi comes after namespace and members, which do not need one.
func (r *Reconciler) requirePublicApi(_ context.Context, s *scope) error {
	if s.api == nil {
		return &problem{reason: v1alpha1.ReasonPublicApiNotFound,
			message: fmt.Sprintf("PublicApi %s does not exist: apply it, or change spec.publicApi.", s.tenant.PublicApiName())}
	}
	return nil
}

// conclude sets the conditions.
func (r *Reconciler) conclude(s *scope, found *problem) {
	set := func(conditionType string, status bool, reason, message string) {
		conditions.Set(&s.status.Conditions, conditionType, status, reason, message, s.tenant.Generation, r.Clock.Now())
	}
	switch {
	case found != nil:
		set(v1alpha1.ConditionReady, false, found.reason, found.message)
	case s.tenant.Spec.Suspended:
		set(v1alpha1.ConditionReady, true, v1alpha1.ReasonSuspended, "Provisioned; spec.suspended stops every token.")
	default:
		set(v1alpha1.ConditionReady, true, v1alpha1.ReasonProvisioned, "Served on "+s.status.Host+".")
	}
	if found != nil && found.stalled {
		set(v1alpha1.ConditionStalled, true, found.reason, found.message)
	} else {
		meta.RemoveStatusCondition(&s.status.Conditions, v1alpha1.ConditionStalled)
	}
}

// writeStatus applies the status where it differs, and announces what changed.
func (r *Reconciler) writeStatus(ctx context.Context, s *scope) error {
	if equality.Semantic.DeepEqual(&s.tenant.Status, s.status) {
		return nil
	}
	status := latchkeyac.TenantStatus().
		WithObservedGeneration(s.status.ObservedGeneration).
		WithConditions(conditions.Apply(s.status.Conditions)...)
	if s.status.Namespace != "" {
		status.WithNamespace(s.status.Namespace)
	}
	if s.status.Host != "" {
		status.WithHost(s.status.Host)
	}
	applied := latchkeyac.Tenant(s.tenant.Name).WithUID(s.tenant.UID).WithResourceVersion(s.tenant.ResourceVersion).WithStatus(status)
	err := r.Client.Status().Apply(ctx, applied, client.FieldOwner(v1alpha1.FieldOwnerTenant), client.ForceOwnership)
	if apierrors.IsNotFound(err) {
		return nil // deleted meanwhile
	}
	if err != nil {
		return fmt.Errorf("status of Tenant %s: %w", s.tenant.Name, err)
	}
	conditions.Announce(r.Recorder, s.tenant, v1alpha1.ConditionReady, s.tenant.Status.Conditions, s.status.Conditions)
	return nil
}

// owner is the owner reference that makes an object go with its Tenant.
func (s *scope) owner() *metav1ac.OwnerReferenceApplyConfiguration {
	return metav1ac.OwnerReference().
		WithAPIVersion(v1alpha1.SchemeGroupVersion.String()).
		WithKind("Tenant").
		WithName(s.tenant.Name).
		WithUID(s.tenant.UID).
		WithController(true)
}

// labels mark what the controller made for a Tenant.
func (s *scope) labels() map[string]string {
	return map[string]string{
		v1alpha1.LabelManagedBy: v1alpha1.ManagedBy,
		v1alpha1.LabelTenant:    s.tenant.Name,
	}
}

func (r *Reconciler) tenantsOfPublicApi(ctx context.Context, object client.Object) []reconcile.Request {
	return r.tenantsWhere(ctx, func(t *v1alpha1.Tenant) bool { return t.PublicApiName() == object.GetName() })
}

func (r *Reconciler) tenantsOfNamespace(ctx context.Context, object client.Object) []reconcile.Request {
	return r.tenantsWhere(ctx, func(t *v1alpha1.Tenant) bool { return t.NamespaceName() == object.GetName() })
}

func (r *Reconciler) tenantsWhere(ctx context.Context, matches func(*v1alpha1.Tenant) bool) []reconcile.Request {
	var tenants v1alpha1.TenantList
	if err := r.Client.List(ctx, &tenants, client.UnsafeDisableDeepCopy); err != nil {
		return nil // the cache's List of everything does not fail
	}
	var requests []reconcile.Request
	for i := range tenants.Items {
		if matches(&tenants.Items[i]) {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&tenants.Items[i])})
		}
	}
	return requests
}
