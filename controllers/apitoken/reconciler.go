// Package apitoken reconciles ApiTokens into records: the Secrets by which the
// API server knows them. Two files decide (plan.go, refuse.go), one reads and writes
// (reconciler.go), one finds who holds a credential (holder.go), one says what a new
// leader looks at first (begin.go), and one deletes the records of ApiTokens that are
// gone (orphan.go).
package apitoken

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/controllers/precedence"
	"github.com/latchkey-dev/latchkey/internal/conditions"
	"github.com/latchkey-dev/latchkey/internal/fault"
	"github.com/latchkey-dev/latchkey/internal/policy"
	"github.com/latchkey-dev/latchkey/internal/record"
)

// Reconciler turns ApiTokens into records and conditions.
type Reconciler struct {
	// Client reads from the manager's cache and writes to the API server.
	Client client.Client
	// APIReader reads from the API server itself.
	APIReader client.Reader
	// Recorder records events.
	Recorder events.EventRecorder
	// Clock tells the time; clock.RealClock{} outside tests.
	Clock clock.PassiveClock
	// RecordsNamespace is where the records are kept.
	RecordsNamespace string
	// SystemNamespace is where OpenAPI documents are kept.
	SystemNamespace string
	// Workers is how many ApiTokens are reconciled at a time.
	Workers int

	documents documents
}

// SetupWithManager registers the controllers of this package.
func (r *Reconciler) SetupWithManager(ctx context.Context, mgr ctrl.Manager) error {
	if r.Client == nil || r.APIReader == nil || r.Recorder == nil || r.Clock == nil || r.RecordsNamespace == "" || r.SystemNamespace == "" || r.Workers < 1 {
		return errors.New("apitoken.Reconciler: Client, APIReader, Recorder, Clock, RecordsNamespace, SystemNamespace and Workers are required")
	}
	if err := addIndexes(ctx, mgr.GetFieldIndexer()); err != nil {
		return err
	}
	notListed := builder.WithPredicates(precedence.NotListed)
	b := ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.ApiToken{}, builder.WithPredicates(predicate.Funcs{UpdateFunc: worthReconciling})).
		Watches(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(r.tokenOfRecord), notListed).
		Watches(&v1alpha1.Tenant{}, precedence.Behind(r.tokensOfTenant), notListed).
		Watches(&v1alpha1.PublicApi{}, precedence.Behind(r.tokensOfPublicApi), notListed)
	err := precedence.StandBy(mgr, b, controller.Options{MaxConcurrentReconciles: r.Workers}, r.everything).
		Complete(reconcile.AsReconciler(r.Client, r))
	if err != nil {
		return fmt.Errorf("apitoken controller: %w", err)
	}
	return r.setupOrphans(mgr)
}

// worthReconciling says whether an update changed more than the last use, which
// the API server notes in status and no plan depends on.
func worthReconciling(e event.UpdateEvent) bool {
	before, after := e.ObjectOld.(*v1alpha1.ApiToken), e.ObjectNew.(*v1alpha1.ApiToken)
	return before.ResourceVersion == after.ResourceVersion || before.Generation != after.Generation ||
		!equality.Semantic.DeepEqual(before.Annotations, after.Annotations) ||
		!equality.Semantic.DeepEqual(before.Labels, after.Labels) ||
		!equality.Semantic.DeepEqual(before.DeletionTimestamp, after.DeletionTimestamp) ||
		!equality.Semantic.DeepEqual(withoutUse(&before.Status), withoutUse(&after.Status))
}

func withoutUse(s *v1alpha1.ApiTokenStatus) *v1alpha1.ApiTokenStatus {
	s = s.DeepCopy()
	for _, c := range []*v1alpha1.IssuedCredential{s.Credential, s.PreviousCredential} {
		if c != nil {
			c.LastUsedAt = nil
		}
	}
	return s
}

// Reconcile makes record and status of an ApiToken what they should be now.
func (r *Reconciler) Reconcile(ctx context.Context, object *v1alpha1.ApiToken) (ctrl.Result, error) {
	fault.ForToken(object.Name, "read", object)
	if needsIssuing(object) {
		// A refusal that the cache does not show yet must not be overlooked.
		if err := r.APIReader.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
			return ctrl.Result{}, client.IgnoreNotFound(err)
		}
	}
	if !object.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil // the record goes when the ApiToken is gone; the server sees this itself
	}
	stored, foreign, err := r.storedRecord(ctx, r.Client, object)
	if err != nil {
		return ctrl.Result{}, err
	}
	f, err := r.gather(ctx, object)
	if err != nil {
		return ctrl.Result{}, err
	}
	f.handedOver = hasCurrent(stored, object.Status.Credential)
	p, err := makePlan(f)
	if err != nil {
		return ctrl.Result{}, reconcile.TerminalError(fmt.Errorf("ApiToken %s/%s: %w", object.Namespace, object.Name, err))
	}
	if p.catchUp != nil && !foreign && !f.handedOver {
		// The record's change brings the object back here, to issue what spec names.
		return ctrl.Result{}, r.mendRecord(ctx, object, stored, p.catchUp)
	}
	if object, err = r.store(ctx, f, p, stored, foreign); err != nil || object == nil {
		return ctrl.Result{}, err
	}
	if p.retire {
		return ctrl.Result{}, r.retire(ctx, object)
	}
	if p.next.IsZero() {
		return ctrl.Result{}, nil
	}
	return ctrl.Result{RequeueAfter: p.next.Sub(f.now)}, nil
}

// store writes what was planned: the status first, so that no record is ever stored
// that status does not vouch for, then the record (docs/adr/0003). It returns the
// ApiToken as it is then, or nil if it is gone.
func (r *Reconciler) store(ctx context.Context, f facts, p *plan, stored *corev1.Secret, foreign bool) (*v1alpha1.ApiToken, error) {
	conflicts := foreign && p.record != nil
	if conflicts {
		p.recordConflict(f, record.Name(f.token.UID), r.RecordsNamespace)
	}
	written, err := r.writeStatus(ctx, f.token, &p.status)
	if err != nil || written == nil || conflicts {
		return written, err
	}
	fault.ForToken(f.token.Name, "recorded", p)
	if written == f.token {
		err = r.mendRecord(ctx, written, stored, p.record)
	} else {
		err = r.storeRecord(ctx, stored, p.record)
	}
	if errors.Is(err, errForeignRecord) { // it was made since the cache was read
		p.recordConflict(f, record.Name(f.token.UID), r.RecordsNamespace)
		return r.writeStatus(ctx, written, &p.status)
	}
	return written, err
}

// retire deletes an ApiToken as it was read: one that got a new credential
// meanwhile stays.
func (r *Reconciler) retire(ctx context.Context, object *v1alpha1.ApiToken) error {
	err := r.Client.Delete(ctx, object, client.Preconditions{UID: &object.UID, ResourceVersion: &object.ResourceVersion})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete ApiToken %s/%s, whose retention is over: %w", object.Namespace, object.Name, err)
	}
	return nil
}

// gather collects the facts that a plan depends on.
func (r *Reconciler) gather(ctx context.Context, object *v1alpha1.ApiToken) (facts, error) {
	f := facts{now: r.Clock.Now(), token: object}
	tenant, err := r.tenantOf(ctx, object.Namespace)
	if err != nil || tenant == nil {
		return f, err
	}
	f.tenant = tenant
	api, err := r.publicApiOf(ctx, tenant)
	if err != nil {
		return f, err
	}
	if api != nil {
		f.policy = new(policy.Of(api))
		if f.operations, f.hasDocument, err = r.operationsOf(ctx, api); err != nil {
			ctrl.LoggerFrom(ctx).V(1).Info("operations not counted yet", "reason", err.Error())
			f.countLater = true
		}
	}
	if !needsIssuing(object) {
		return f, nil
	}
	if f.holder, err = r.holderOf(ctx, object); err != nil {
		return f, err
	}
	if !isLive(object, f.now) { // to rotate one that counts already adds none
		f.live, err = r.liveBeside(ctx, object, f.now)
	}
	return f, err
}

// tenantOf is the accepted Tenant that has the namespace, or nil.
func (r *Reconciler) tenantOf(ctx context.Context, namespace string) (*v1alpha1.Tenant, error) {
	var tenants v1alpha1.TenantList
	if err := r.Client.List(ctx, &tenants, client.MatchingFields{indexTenantNamespace: namespace}); err != nil {
		return nil, fmt.Errorf("tenants of namespace %s: %w", namespace, err)
	}
	var found *v1alpha1.Tenant
	for i := range tenants.Items {
		tenant := &tenants.Items[i]
		if tenant.DeletionTimestamp.IsZero() && (found == nil || tenant.CreationTimestamp.Before(&found.CreationTimestamp)) {
			found = tenant
		}
	}
	return found, nil
}

// publicApiOf is the tenant's PublicApi, or nil.
func (r *Reconciler) publicApiOf(ctx context.Context, tenant *v1alpha1.Tenant) (*v1alpha1.PublicApi, error) {
	api := &v1alpha1.PublicApi{}
	err := r.Client.Get(ctx, client.ObjectKey{Name: tenant.PublicApiName()}, api)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("PublicApi %s: %w", tenant.PublicApiName(), err)
	}
	return api, nil
}

// writeStatus writes the status where it differs, and announces what changed. It
// returns the ApiToken with the status, or nil if it is gone. It
// is a merge patch, which costs a kube-apiserver less than server-side apply does
// (docs/adr/0008-status-by-merge-patch.md). With the resourceVersion it can't reach
// a successor of the same name, nor undo what a newer reconciliation wrote.
func (r *Reconciler) writeStatus(ctx context.Context, object *v1alpha1.ApiToken, status *v1alpha1.ApiTokenStatus) (*v1alpha1.ApiToken, error) {
	if equality.Semantic.DeepEqual(&object.Status, status) {
		return object, nil
	}
	changed := object.DeepCopy()
	status.DeepCopyInto(&changed.Status)
	patch := client.MergeFromWithOptions(object, client.MergeFromWithOptimisticLock{})
	err := r.Client.Status().Patch(ctx, changed, patch, client.FieldOwner(v1alpha1.FieldOwnerApiToken))
	if apierrors.IsNotFound(err) {
		return nil, nil // deleted meanwhile
	}
	if err != nil {
		return nil, fmt.Errorf("status of ApiToken %s/%s: %w", object.Namespace, object.Name, err)
	}
	conditions.Announce(r.Recorder, object, v1alpha1.ConditionActive, object.Status.Conditions, status.Conditions,
		v1alpha1.ReasonAwaitingCredential, v1alpha1.ReasonTenantSuspended, v1alpha1.ReasonNoTenant)
	r.giveNotice(object, status)
	return changed, nil
}

// giveNotice records the event of a notice that the status now says was given. In
// this order a manager that dies in between loses an event, and repeats none.
func (r *Reconciler) giveNotice(object *v1alpha1.ApiToken, status *v1alpha1.ApiTokenStatus) {
	if status.Notice == nil || equality.Semantic.DeepEqual(object.Status.Notice, status.Notice) {
		return
	}
	if c := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionExpiringSoon); c != nil {
		r.Recorder.Eventf(object, nil, corev1.EventTypeWarning, v1alpha1.ConditionExpiringSoon, "Reconcile", "%s", c.Message)
	}
}
