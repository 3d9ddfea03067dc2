package cli

import (
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// request is what was asked of the API server, for errors that say what to do.
type request struct {
	// verb and resource are in RBAC's words, such as create and apitokens.
	verb, resource string
	// namespace is where; empty means in all namespaces.
	namespace string
	// name is the object's; empty for a list.
	name string
}

// Resources, for requests.
const (
	apiTokens  = "apitokens"
	namespaces = "namespaces"
)

// explain adds to an error of the API server what is to be done about it.
func (r request) explain(err error) error {
	switch {
	case err == nil:
		return nil
	case isNotServed(err):
		return fmt.Errorf("the cluster does not serve ApiTokens: Latchkey isn't installed there, or this is not the cluster that you mean (see --context): %w", err)
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("the cluster does not know who you are: sign in to it again, or choose another user (see --context and --user): %w", err)
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return fmt.Errorf("namespace %q is being deleted, and its tokens with it: %w", r.namespace, err)
	case apierrors.IsForbidden(err):
		return r.forbidden(err)
	case apierrors.IsNotFound(err):
		return r.notFound(err)
	case apierrors.IsAlreadyExists(err):
		return fmt.Errorf("%s already exists. If it awaits a credential, run '%s issue %s -n %s'. To make a new one by that name, delete it first, which revokes its token: %w",
			r.object(), displayName, r.name, r.namespace, err)
	default:
		return fmt.Errorf("%s %s: %w", r.verb, r.object(), err)
	}
}

func (r request) forbidden(err error) error {
	switch {
	case r.resource == namespaces:
		return fmt.Errorf("you may not get namespace %q: choose the namespace of your tenant with -n, usually %s<name>. The members of a Tenant (spec.members) may get its namespace: %w",
			r.name, v1alpha1.TenantNamespacePrefix, err)
	case r.namespace == "":
		return fmt.Errorf("you may not %s %s in all namespaces, as the members of a single Tenant may not: choose a namespace with -n: %w", r.verb, r.resource, err)
	default:
		return fmt.Errorf("you may not %s %s in namespace %q: those whom the Tenant of this namespace names as members (spec.members) with the role %s may: %w",
			r.verb, r.resource, r.namespace, r.role(), err)
	}
}

// role is the role of members that may make the request.
func (r request) role() string {
	switch r.verb {
	case "get", "list", "watch":
		return fmt.Sprintf("%s or %s", v1alpha1.MemberViewer, v1alpha1.MemberAdmin)
	default:
		return string(v1alpha1.MemberAdmin)
	}
}

func (r request) notFound(err error) error {
	if r.resource == namespaces {
		return fmt.Errorf("namespace %q does not exist: %s: %w", r.name, tenantNamespaceHint, err)
	}
	return fmt.Errorf("%s does not exist: '%s list -n %s' shows which do: %w", r.object(), displayName, r.namespace, err)
}

// object names what the request was about, such as: ApiToken "ci" in namespace
// "tenant-acme".
func (r request) object() string {
	switch {
	case r.resource == namespaces:
		return fmt.Sprintf("namespace %q", r.name)
	case r.name != "":
		return describe(r.namespace, r.name)
	case r.namespace != "":
		return fmt.Sprintf("ApiTokens in namespace %q", r.namespace)
	default:
		return "ApiTokens in all namespaces"
	}
}

func describe(namespace, name string) string {
	return fmt.Sprintf("ApiToken %q in namespace %q", name, namespace)
}

// isNotServed says whether the resource is missing, rather than an object: such
// a 404 does not come from the resource's own handler.
func isNotServed(err error) bool {
	return apierrors.IsNotFound(err) && apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse)
}

// isRefusal says whether the API server answered that it did not do what it was
// asked. After any other error it may have.
func isRefusal(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status) && status.Status().Code >= 400 && status.Status().Code < 500
}
