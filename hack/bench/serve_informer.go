package main

import (
	"context"
	"net"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// serveInformer keeps records, and ApiTokens if asked to, as a program does that
// uses client-go's shared informers as they come. /readyz says when all are there.
func serveInformer(ctx context.Context, listener net.Listener, o *serveOptions) error {
	config, err := clientcmd.BuildConfigFromFlags("", o.kubeconfig)
	if err != nil {
		return err
	}
	var synced []cache.InformerSynced
	for kind := range strings.SplitSeq(o.kinds, ",") {
		informer, err := newInformer(config, kind)
		if err != nil {
			return err
		}
		go informer.RunWithContext(ctx)
		synced = append(synced, informer.HasSynced)
	}
	server := &http.Server{ReadHeaderTimeout: patience, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for _, done := range synced {
			if !done() {
				http.Error(w, "not synced yet", http.StatusServiceUnavailable)
				return
			}
		}
	})}
	return server.Serve(listener)
}

// newInformer makes the informer of a resource that records are made of. Built-in
// kinds are read as protobuf, custom resources are JSON.
func newInformer(config *rest.Config, resource string) (cache.SharedIndexInformer, error) {
	c := rest.CopyConfig(config)
	namespace, object := v1alpha1.RecordsNamespace, runtime.Object(&corev1.Secret{})
	c.APIPath, c.GroupVersion, c.ContentType = "/api", new(corev1.SchemeGroupVersion), runtime.ContentTypeProtobuf
	if resource == "apitokens" {
		namespace, object = metav1.NamespaceAll, &v1alpha1.ApiToken{}
		c.APIPath, c.GroupVersion, c.ContentType = "/apis", new(v1alpha1.SchemeGroupVersion), runtime.ContentTypeJSON
	}
	c.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	client, err := rest.RESTClientFor(c)
	if err != nil {
		return nil, err
	}
	listWatch := cache.ToListWatcherWithWatchListSemantics(
		cache.NewListWatchFromClient(client, resource, namespace, fields.Everything()), client)
	return cache.NewSharedIndexInformer(listWatch, object, 10*time.Hour, cache.Indexers{}), nil
}

// scheme knows Kubernetes' own kinds and Latchkey's.
var scheme = func() *runtime.Scheme {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	return scheme
}()
