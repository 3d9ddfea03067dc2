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
	confirmer := d.newConfirmer(latchkey)
	var watches [feedCount]*attentive.ListerWatcher
	stores := d.stores(func(of int, count func()) { confirmer.Confirm(watches[of], count) })
	isRecord := func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector("type", string(record.SecretType)).String()
	}
	isDocument := func(o *metav1.ListOptions) {
		o.LabelSelector = v1alpha1.LabelPublicApi + "," + v1alpha1.LabelManagedBy + "=" + v1alpha1.ManagedBy
	}
	everything := func(*metav1.ListOptions) {}
	var reflectors []*cache.Reflector
	add := func(of int, client *rest.RESTClient, resource, namespace string, selection func(*metav1.ListOptions), object runtime.Object, store cache.ReflectorStore) {
		watches[of] = d.listerWatcher(of, cache.ToListWatcherWithWatchListSemantics(cache.NewFilteredListWatchFromClient(client, resource, namespace, selection), client))
		reflectors = append(reflectors, cache.NewReflectorWithOptions(watches[of], object, store, cache.ReflectorOptions{Name: "directory/" + resource}))
	}
	add(feedRecords, core, "secrets", in.Records, isRecord, &corev1.Secret{}, stores.Records)
	add(feedApiTokens, latchkey, "apitokens", metav1.NamespaceAll, everything, &v1alpha1.ApiToken{}, stores.ApiTokens)
	add(feedTenants, latchkey, "tenants", metav1.NamespaceAll, everything, &v1alpha1.Tenant{}, stores.Tenants)
	add(feedPublicApis, latchkey, "publicapis", metav1.NamespaceAll, everything, &v1alpha1.PublicApi{}, stores.PublicApis)
	add(feedDocuments, core, "configmaps", in.System, isDocument, &corev1.ConfigMap{}, stores.Documents)
	var running sync.WaitGroup
	running.Go(func() { confirmer.Run(ctx) })
	for _, r := range reflectors {
		running.Go(func() { r.RunWithContext(ctx) })
	}
	running.Wait()
	return nil
}

func (d *Directory) listerWatcher(of int, lister cache.ListerWatcher) *attentive.ListerWatcher {
	o := attentive.Options{Resource: feedNames[of], Silence: d.freshness.Silence, Clock: d.freshness.Clock, Logger: d.logger}
	return attentive.New(lister, feed{directory: d, index: of}, o)
}

// newConfirmer has the API server show, by a list of one object at most, that it reads its
// storage.
func (d *Directory) newConfirmer(client *rest.RESTClient) *attentive.Confirmer {
	o := attentive.ConfirmerOptions{
		Read: func(ctx context.Context) error {
			return client.Get().Resource("tenants").Param("limit", "1").MaxRetries(0).Do(ctx).Error()
		},
		Reconnect: d.freshness.Reconnect, Silence: d.freshness.Silence, Clock: d.freshness.Clock, Logger: d.logger,
	}
	for of := range feedCount {
		o.Feeds = append(o.Feeds, feed{directory: d, index: of})
	}
	return attentive.NewConfirmer(o)
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
