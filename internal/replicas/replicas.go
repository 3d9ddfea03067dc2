// Package replicas counts the ready replicas of this process, by which rate limits are
// shared. It watches the EndpointSlices of the Service that requests come by.
package replicas

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/latchkey-dev/latchkey/internal/attentive"
)

// Counter counts ready replicas. Its methods may be called from any goroutine.
type Counter struct {
	count atomic.Int64
	mu    sync.Mutex
	// slices are the ready addresses in each EndpointSlice, by its name.
	slices map[string]slice
}

// New returns a counter that knows of nobody.
func New() *Counter { return &Counter{slices: map[string]slice{}} }

// Count is how many replicas were ready when that was last heard of, at least one:
// whoever asks is one. Until the first list has come it is one, so that a replica that
// starts, or may not watch, refuses nobody who keeps the limit; it then lets more
// through than its share.
func (c *Counter) Count() int { return int(max(1, c.count.Load())) }

var scheme = func() *runtime.Scheme {
	scheme := runtime.NewScheme()
	utilruntime.Must(discoveryv1.AddToScheme(scheme))
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	return scheme
}()

// Run counts the ready endpoints of a Service until ctx ends. It needs the right to
// list and watch endpointslices in the namespace. While the watch is broken, the last
// count stands.
func (c *Counter) Run(ctx context.Context, config *rest.Config, namespace, service string) error {
	const contentType = "application/vnd.kubernetes.protobuf"
	copied := rest.CopyConfig(config)
	copied.APIPath, copied.GroupVersion = "/apis", &discoveryv1.SchemeGroupVersion
	copied.ContentType, copied.AcceptContentTypes = contentType, contentType+",application/json"
	copied.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	client, err := rest.RESTClientFor(copied)
	if err != nil {
		return fmt.Errorf("client for %s: %w", discoveryv1.SchemeGroupVersion, err)
	}
	ofService := labels.SelectorFromSet(labels.Set{discoveryv1.LabelServiceName: service}).String()
	listWatch := cache.ToListWatcherWithWatchListSemantics(cache.NewFilteredListWatchFromClient(client, "endpointslices", namespace,
		func(o *metav1.ListOptions) { o.LabelSelector = ofService }), client)
	cache.NewReflectorWithOptions(attentive.NewRestoreGuard(listWatch), &discoveryv1.EndpointSlice{}, c.Store(), cache.ReflectorOptions{Name: "replicas"}).RunWithContext(ctx)
	return nil
}
