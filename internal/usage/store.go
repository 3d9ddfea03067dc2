package usage

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/rest"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// FieldOwner is whom managedFields name for what this package writes.
const FieldOwner = "latchkey-apiserver"

// Store is where ApiTokens are.
type Store interface {
	// Get reads an ApiToken.
	Get(ctx context.Context, namespace, name string) (*v1alpha1.ApiToken, error)
	// PatchStatus sends a merge patch to an ApiToken's status.
	PatchStatus(ctx context.Context, namespace, name string, patch []byte) error
}

var scheme = func() *runtime.Scheme {
	scheme := runtime.NewScheme()
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	return scheme
}()

type cluster struct{ client *rest.RESTClient }

// NewStore returns the Store of a cluster. It needs the right to get apitokens and
// to patch apitokens/status.
func NewStore(config *rest.Config) (Store, error) {
	c := rest.CopyConfig(config)
	c.APIPath, c.GroupVersion = "/apis", &v1alpha1.SchemeGroupVersion
	c.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	c.QPS = -1 // the Recorder has a bound of its own
	client, err := rest.RESTClientFor(c)
	if err != nil {
		return nil, fmt.Errorf("client for last uses: %w", err)
	}
	return cluster{client}, nil
}

func (c cluster) Get(ctx context.Context, namespace, name string) (*v1alpha1.ApiToken, error) {
	object := &v1alpha1.ApiToken{}
	err := c.client.Get().Namespace(namespace).Resource("apitokens").Name(name).Do(ctx).Into(object)
	return object, err
}

func (c cluster) PatchStatus(ctx context.Context, namespace, name string, patch []byte) error {
	return c.client.Patch(types.MergePatchType).Namespace(namespace).Resource("apitokens").Name(name).
		SubResource("status").Param("fieldManager", FieldOwner).Body(patch).Do(ctx).Error()
}
