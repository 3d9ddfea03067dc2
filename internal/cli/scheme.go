package cli

import (
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// scheme knows the kinds that the plugin reads and writes.
var scheme = func() *runtime.Scheme {
	s := runtime.NewScheme()
	utilruntime.Must(v1alpha1.AddToScheme(s))
	utilruntime.Must(corev1.AddToScheme(s))
	utilruntime.Must(authenticationv1.AddToScheme(s))
	return s
}()

// mapper knows where those kinds are served, so that no discovery is needed:
// neither its requests nor the right to make them.
var mapper = func() meta.RESTMapper {
	m := meta.NewDefaultRESTMapper(nil)
	m.Add(v1alpha1.SchemeGroupVersion.WithKind("ApiToken"), meta.RESTScopeNamespace)
	m.Add(v1alpha1.SchemeGroupVersion.WithKind("Tenant"), meta.RESTScopeRoot)
	m.Add(v1alpha1.SchemeGroupVersion.WithKind("PublicApi"), meta.RESTScopeRoot)
	m.Add(corev1.SchemeGroupVersion.WithKind("Namespace"), meta.RESTScopeRoot)
	m.Add(authenticationv1.SchemeGroupVersion.WithKind("SelfSubjectReview"), meta.RESTScopeRoot)
	return m
}()
