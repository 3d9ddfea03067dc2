package session

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/latchkey-dev/latchkey/internal/attentive"
	"github.com/latchkey-dev/latchkey/internal/session/ended"
	"github.com/latchkey-dev/latchkey/internal/session/keyring"
)

// FieldOwner is whom managedFields name for what this package writes.
const FieldOwner = "latchkey-portal"

var scheme = func() *runtime.Scheme {
	scheme := runtime.NewScheme()
	utilruntime.Must(corev1.AddToScheme(scheme))
	metav1.AddToGroupVersion(scheme, corev1.SchemeGroupVersion)
	return scheme
}()

// Run watches keys and ended sessions, and stores those that end here, until ctx ends. It
// needs the rights to list and watch the Secret and the ConfigMap, and to get and update
// the ConfigMap, each by its name.
func (s *Store) Run(ctx context.Context, config *rest.Config) error {
	const contentType = "application/vnd.kubernetes.protobuf"
	c := rest.CopyConfig(config)
	c.APIPath, c.GroupVersion = "/api", &corev1.SchemeGroupVersion
	c.ContentType, c.AcceptContentTypes = contentType, contentType+",application/json"
	c.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	client, err := rest.RESTClientFor(c)
	if err != nil {
		return fmt.Errorf("client for sessions: %w", err)
	}
	confirmer := attentive.NewConfirmer(attentive.ConfirmerOptions{
		Read: func(ctx context.Context) error {
			return client.Get().Namespace(s.namespace).Resource("configmaps").Param("fieldSelector", named(ended.ConfigMapName)).Param("limit", "1").MaxRetries(0).Do(ctx).Error()
		},
		Reconnect: s.reconnect, Feeds: []attentive.Feed{s.keys, s.ended}, Silence: s.silence, Clock: s.clock, Logger: s.logger,
	})
	keysWatch := s.listerWatcher(client, "secrets", keyring.SecretName, s.keys)
	endedWatch := s.listerWatcher(client, "configmaps", ended.ConfigMapName, s.ended)
	stores := s.stores(
		func(count func()) { confirmer.Confirm(keysWatch, count) },
		func(count func()) { confirmer.Confirm(endedWatch, count) },
	)
	keys := cache.NewReflectorWithOptions(keysWatch, &corev1.Secret{}, stores.Keys, cache.ReflectorOptions{Name: "session/secrets"})
	list := cache.NewReflectorWithOptions(endedWatch, &corev1.ConfigMap{}, stores.Ended, cache.ReflectorOptions{Name: "session/configmaps"})
	var running errgroup.Group
	running.Go(func() error { confirmer.Run(ctx); return nil })
	running.Go(func() error { keys.RunWithContext(ctx); return nil })
	running.Go(func() error { list.RunWithContext(ctx); return nil })
	running.Go(func() error { return s.Write(ctx, cluster{client, s.namespace}) })
	return running.Wait()
}

// listerWatcher watches one object. A selector by its name is what RBAC permits to those
// that may watch this one only.
func (s *Store) listerWatcher(client *rest.RESTClient, resource, name string, feed attentive.Feed) *attentive.ListerWatcher {
	listWatch := cache.ToListWatcherWithWatchListSemantics(cache.NewFilteredListWatchFromClient(client, resource, s.namespace,
		func(o *metav1.ListOptions) { o.FieldSelector = named(name) }), client)
	o := attentive.Options{Resource: resource + "/" + name, Silence: s.silence, Clock: s.clock, Logger: s.logger}
	return attentive.New(listWatch, feed, o)
}

func named(name string) string {
	return fields.OneTermEqualSelector(metav1.ObjectNameField, name).String()
}

// cluster is the ConfigMap of a cluster.
type cluster struct {
	client    *rest.RESTClient
	namespace string
}

// Get implements ConfigMap.
func (c cluster) Get(ctx context.Context) (*corev1.ConfigMap, error) {
	configMap := &corev1.ConfigMap{}
	err := c.client.Get().Namespace(c.namespace).Resource("configmaps").Name(ended.ConfigMapName).Do(ctx).Into(configMap)
	return configMap, err
}

// Update implements ConfigMap.
func (c cluster) Update(ctx context.Context, configMap *corev1.ConfigMap) error {
	return c.client.Put().Namespace(c.namespace).Resource("configmaps").Name(ended.ConfigMapName).
		Param("fieldManager", FieldOwner).Body(configMap).Do(ctx).Error()
}
