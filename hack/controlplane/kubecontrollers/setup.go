package kubecontrollers

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apiserver/pkg/quota/v1/generic"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/controller-manager/pkg/informerfactory"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/controller"
	"k8s.io/kubernetes/pkg/controller/garbagecollector"
	"k8s.io/kubernetes/pkg/controller/namespace"
	"k8s.io/kubernetes/pkg/controller/resourcequota"
	"k8s.io/kubernetes/pkg/controller/serviceaccount"
	quota "k8s.io/kubernetes/pkg/quota/v1/install"
)

const (
	// namespacePeriod is how often namespaces are looked at again, changed or not.
	namespacePeriod = 5 * time.Minute
	// quotaPeriod is the same for quotas. In a cluster it is five minutes, for which a quota
	// counts nothing of a kind that was new when the quota was made.
	quotaPeriod = 10 * time.Second
	// discoveryPeriod is how often the garbage collector and the quotas look for kinds
	// that are new. In a cluster it is 30 seconds, which tests would wait for.
	discoveryPeriod = 2 * time.Second
	// initialSync is how long the garbage collector waits for its caches at first.
	initialSync = 30 * time.Second

	namespaceWorkers, garbageWorkers, quotaWorkers, serviceAccountWorkers = 10, 20, 5, 1
)

// controllers are set up with what they share.
type controllers struct {
	config   *rest.Config
	client   kubernetes.Interface
	metadata metadata.Interface
	typed    informers.SharedInformerFactory
	any      informerfactory.InformerFactory
	// started is closed once the informers are.
	started chan struct{}
	// loops run until their context ends.
	loops []func(context.Context)
}

func newControllers(ctx context.Context, config *rest.Config) (*controllers, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	metadataClient, err := metadata.NewForConfig(withRate(config, 2, 2)) // collecting an object takes two requests
	if err != nil {
		return nil, err
	}
	typed := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(withoutManagedFields))
	untyped := metadatainformer.NewSharedInformerFactoryWithOptions(metadataClient, 0, metadatainformer.WithTransform(withoutManagedFields))
	c := &controllers{
		config: config, client: client, metadata: metadataClient,
		typed:   typed,
		any:     informerfactory.NewInformerFactory(typed, untyped),
		started: make(chan struct{}),
	}
	for _, add := range []func(context.Context) error{c.addNamespaces, c.addGarbageCollector, c.addServiceAccounts, c.addQuotas} {
		if err := add(ctx); err != nil {
			return nil, fmt.Errorf("set up the controllers: %w", err)
		}
	}
	return c, nil
}

// startInformers fills the caches that the controllers wait for.
func (c *controllers) startInformers(ctx context.Context) {
	c.any.Start(ctx.Done())
	close(c.started)
}

// withoutManagedFields keeps caches small.
func withoutManagedFields(object any) (any, error) {
	if accessor, err := meta.Accessor(object); err == nil {
		accessor.SetManagedFields(nil)
	}
	return object, nil
}

func (c *controllers) addNamespaces(ctx context.Context) error {
	config := withRate(c.config, 20, 100) // emptying a namespace takes a request for each kind that there is
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	metadataClient, err := metadata.NewForConfig(config)
	if err != nil {
		return err
	}
	namespaces := namespace.NewNamespaceController(ctx, client, metadataClient, client.Discovery().ServerPreferredNamespacedResources,
		c.typed.Core().V1().Namespaces(), namespacePeriod, corev1.FinalizerKubernetes)
	c.loops = append(c.loops, func(ctx context.Context) { namespaces.Run(ctx, namespaceWorkers) })
	return nil
}

func (c *controllers) addGarbageCollector(ctx context.Context) error {
	// A discovery client for the mapper alone: what the collector learns of new kinds
	// invalidates it.
	mapped, err := discovery.NewDiscoveryClientForConfig(c.config)
	if err != nil {
		return err
	}
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(mapped))
	collector, err := garbagecollector.NewGarbageCollector(ctx, c.client, c.metadata, mapper, garbagecollector.DefaultIgnoredResources(), c.any, c.started)
	if err != nil {
		return err
	}
	c.loops = append(c.loops,
		func(ctx context.Context) { collector.Run(ctx, garbageWorkers, initialSync) },
		func(ctx context.Context) { collector.Sync(ctx, c.client.Discovery(), discoveryPeriod) },
	)
	return nil
}

func (c *controllers) addServiceAccounts(ctx context.Context) error {
	accounts, err := serviceaccount.NewServiceAccountsController(klog.FromContext(ctx),
		c.typed.Core().V1().ServiceAccounts(), c.typed.Core().V1().Namespaces(), c.client, serviceaccount.DefaultServiceAccountsControllerOptions())
	if err != nil {
		return err
	}
	c.loops = append(c.loops, func(ctx context.Context) { accounts.Run(ctx, serviceAccountWorkers) })
	return nil
}

// addQuotas counts what ResourceQuotas limit. kube-apiserver's admission refuses what
// goes beyond, and needs the counts for that.
func (c *controllers) addQuotas(ctx context.Context) error {
	configuration, err := quota.NewQuotaConfigurationForControllers(generic.ListerFuncForResourceFunc(c.typed.ForResource), c.typed)
	if err != nil {
		return err
	}
	discover := c.client.Discovery().ServerPreferredNamespacedResources
	quotas, err := resourcequota.NewController(ctx, &resourcequota.ControllerOptions{
		QuotaClient:               c.client.CoreV1(),
		ResourceQuotaInformer:     c.typed.Core().V1().ResourceQuotas(),
		ResyncPeriod:              controller.StaticResyncPeriodFunc(quotaPeriod),
		InformerFactory:           c.any,
		ReplenishmentResyncPeriod: controller.StaticResyncPeriodFunc(0), // by quotaPeriod
		DiscoveryFunc:             discover,
		IgnoredResourcesFunc:      configuration.IgnoredResources,
		InformersStarted:          c.started,
		Registry:                  generic.NewRegistry(configuration.Evaluators()),
		UpdateFilter:              quota.DefaultUpdateFilter(),
	})
	if err != nil {
		return err
	}
	c.loops = append(c.loops,
		func(ctx context.Context) { quotas.Run(ctx, quotaWorkers) },
		func(ctx context.Context) { quotas.Sync(ctx, discover, discoveryPeriod) },
	)
	return nil
}
