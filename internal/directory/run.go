package directory

import (
	"context"
	"fmt"
	"net/http"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/attentive"
	"github.com/latchkey-dev/latchkey/internal/directory/quickjson"
	"github.com/latchkey-dev/latchkey/internal/record"
)

var scheme = func() *runtime.Scheme {
	scheme := runtime.NewScheme()
	utilruntime.Must(corev1.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	return scheme
}()

// Namespaces are where the directory finds what is in no tenant's namespace.
type Namespaces struct {
	// Records is the namespace of the records.
	Records string
	// System is the installation's, where OpenAPI documents are kept.
	System string
}

// Run feeds the directory from a cluster until ctx ends. It may read Secrets in
// the records' namespace only, and asks only for those of the records' type.
func (d *Directory) Run(ctx context.Context, config *rest.Config, in Namespaces) error {
	// Both clients share one connection: what an API server shows on it is about its watches.
	connection, err := rest.HTTPClientFor(config)
	if err != nil {
		return fmt.Errorf("connection to the API server: %w", err)
	}
	core, err := restClient(config, connection, "/api", corev1.SchemeGroupVersion, "application/vnd.kubernetes.protobuf")
	if err != nil {
		return err
	}
	latchkey, err := restClient(config, connection, "/apis", v1alpha1.SchemeGroupVersion, "application/json")
	if err != nil {
		return err
	}
	storage := d.newStorage(latchkey)
	stores := d.stores(storage.Confirm)
	isRecord := func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector("type", string(record.SecretType)).String()
	}
	isDocument := func(o *metav1.ListOptions) {
		o.LabelSelector = v1alpha1.LabelPublicApi + "," + v1alpha1.LabelManagedBy + "=" + v1alpha1.ManagedBy
	}
	everything := func(*metav1.ListOptions) {}
	reflectors := []*cache.Reflector{
		d.reflector(feedRecords, core, "secrets", in.Records, isRecord, &corev1.Secret{}, stores.Records),
		d.reflector(feedApiTokens, latchkey, "apitokens", metav1.NamespaceAll, everything, &v1alpha1.ApiToken{}, stores.ApiTokens),
		d.reflector(feedTenants, latchkey, "tenants", metav1.NamespaceAll, everything, &v1alpha1.Tenant{}, stores.Tenants),
		d.reflector(feedPublicApis, latchkey, "publicapis", metav1.NamespaceAll, everything, &v1alpha1.PublicApi{}, stores.PublicApis),
		d.reflector(feedDocuments, core, "configmaps", in.System, isDocument, &corev1.ConfigMap{}, stores.Documents),
	}
	var running sync.WaitGroup
	running.Go(func() { storage.Run(ctx) })
	for _, r := range reflectors {
		running.Go(func() { r.RunWithContext(ctx) })
	}
	running.Wait()
	return nil
}

func (d *Directory) reflector(of int, client *rest.RESTClient, resource, namespace string, selection func(*metav1.ListOptions), object runtime.Object, store cache.ReflectorStore) *cache.Reflector {
	listWatch := cache.ToListWatcherWithWatchListSemantics(
		cache.NewFilteredListWatchFromClient(client, resource, namespace, selection), client)
	o := attentive.Options{Resource: feedNames[of], Silence: d.freshness.Silence, Clock: d.freshness.Clock, Logger: d.logger}
	return cache.NewReflectorWithOptions(attentive.New(listWatch, feed{directory: d, index: of}, o), object, store, cache.ReflectorOptions{Name: "directory/" + resource})
}

// newStorage has the API server show, by a list of one object at most, that it reads its
// storage.
func (d *Directory) newStorage(client *rest.RESTClient) *attentive.Storage {
	o := attentive.StorageOptions{
		Read: func(ctx context.Context) error {
			return client.Get().Resource("tenants").Param("limit", "1").Do(ctx).Error()
		},
		Reconnect: d.freshness.Reconnect, Silence: d.freshness.Silence, Clock: d.freshness.Clock, Logger: d.logger,
	}
	for of := range feedCount {
		o.Feeds = append(o.Feeds, feed{directory: d, index: of})
	}
	return attentive.NewStorage(o)
}

func restClient(config *rest.Config, connection *http.Client, path string, gv schema.GroupVersion, contentType string) (*rest.RESTClient, error) {
	c := rest.CopyConfig(config)
	c.APIPath, c.GroupVersion = path, &gv
	c.ContentType = contentType
	c.AcceptContentTypes = contentType + ",application/json"
	c.NegotiatedSerializer = quickjson.Serializer(serializer.NewCodecFactory(scheme).WithoutConversion())
	client, err := rest.RESTClientForConfigAndClient(c, connection)
	if err != nil {
		return nil, fmt.Errorf("client for %s: %w", gv, err)
	}
	return client, nil
}
