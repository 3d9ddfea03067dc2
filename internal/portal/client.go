package portal

import (
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/serverdate"
)

// NewClient makes a portal's client. It knows the three kinds that the portal
// needs, so that it has nothing to discover.
func NewClient(config *rest.Config) (client.Client, error) {
	config = rest.CopyConfig(config)
	config.Wrap(serverdate.Record)
	config.QPS, config.Burst = 100, 200 // of all tenants together; the API server's own fairness comes on top
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, authenticationv1.AddToScheme, authorizationv1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	mapper := meta.NewDefaultRESTMapper(nil)
	for gv, kinds := range map[schema.GroupVersion]map[string]meta.RESTScope{
		v1alpha1.SchemeGroupVersion:         {"ApiToken": meta.RESTScopeNamespace},
		authenticationv1.SchemeGroupVersion: {"TokenReview": meta.RESTScopeRoot},
		authorizationv1.SchemeGroupVersion:  {"SubjectAccessReview": meta.RESTScopeRoot},
	} {
		for kind, scope := range kinds {
			mapper.Add(gv.WithKind(kind), scope)
		}
	}
	return client.New(config, client.Options{Scheme: scheme, Mapper: mapper})
}
