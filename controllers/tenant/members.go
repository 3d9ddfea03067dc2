package tenant

import (
	"context"
	"fmt"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	rbacv1ac "k8s.io/client-go/applyconfigurations/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// The names of the RoleBindings in a tenant's namespace.
const (
	adminsRoleBinding  = "latchkey-admins"
	viewersRoleBinding = "latchkey-viewers"
)

// reconcileMembers binds the members of each role, and unbinds a role that no
// member has.
func (r *Reconciler) reconcileMembers(ctx context.Context, s *scope) error {
	subjects := map[v1alpha1.MemberRole][]*rbacv1ac.SubjectApplyConfiguration{}
	for _, member := range s.tenant.Spec.Members {
		if strings.HasPrefix(member.Name, "system:") {
			continue // the CRD refuses them; binding one would be an escalation
		}
		role := member.Role
		if role == "" {
			role = v1alpha1.MemberAdmin
		}
		subjects[role] = append(subjects[role], rbacv1ac.Subject().
			WithAPIGroup(rbacv1.GroupName).WithKind(string(member.Kind)).WithName(member.Name))
	}
	if err := r.bind(ctx, s, adminsRoleBinding, v1alpha1.TenantAdminClusterRole, subjects[v1alpha1.MemberAdmin]); err != nil {
		return err
	}
	return r.bind(ctx, s, viewersRoleBinding, v1alpha1.TenantViewerClusterRole, subjects[v1alpha1.MemberViewer])
}

func (r *Reconciler) bind(ctx context.Context, s *scope, name, clusterRole string, subjects []*rbacv1ac.SubjectApplyConfiguration) error {
	namespace := s.status.Namespace
	if len(subjects) == 0 {
		return r.unbind(ctx, s, namespace, name)
	}
	existing := &rbacv1.RoleBinding{}
	if err := client.IgnoreNotFound(r.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, existing)); err != nil {
		return fmt.Errorf("RoleBinding %s/%s: %w", namespace, name, err)
	}
	binding := rbacv1ac.RoleBinding(name, namespace).
		WithLabels(s.labels()).
		WithOwnerReferences(s.owner()).
		WithRoleRef(rbacv1ac.RoleRef().WithAPIGroup(rbacv1.GroupName).WithKind("ClusterRole").WithName(clusterRole)).
		WithSubjects(subjects...)
	if err := apply(ctx, r.Client, binding, existing, rbacv1ac.ExtractRoleBinding); err != nil {
		return fmt.Errorf("apply RoleBinding %s/%s: %w", namespace, name, err)
	}
	return nil
}

func (r *Reconciler) unbind(ctx context.Context, s *scope, namespace, name string) error {
	binding := &rbacv1.RoleBinding{}
	if err := r.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, binding); err != nil {
		return client.IgnoreNotFound(err)
	}
	if !metav1.IsControlledBy(binding, s.tenant) {
		return nil
	}
	if err := client.IgnoreNotFound(r.Client.Delete(ctx, binding, client.Preconditions{UID: &binding.UID})); err != nil {
		return fmt.Errorf("delete RoleBinding %s/%s: %w", namespace, name, err)
	}
	return nil
}
