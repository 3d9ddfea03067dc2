// Package kubecontrollers runs the controllers of Kubernetes that Latchkey depends on, and no
// others: deleted namespaces end, what an owner leaves behind is collected, namespaces get
// their default ServiceAccount, and the usage that ResourceQuotas limit is counted.
// The code is kube-controller-manager's own. Its other controllers would more than double
// what has to be compiled for them.
package kubecontrollers

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
)

// Main runs the controllers until the process is asked to end.
func Main() {
	kubeconfig := flag.String("kubeconfig", "", "file with an administrator's access to the API server")
	listen := flag.String("health-listen", "", "address where /healthz answers over HTTP once the controllers run")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *kubeconfig, *listen); err != nil {
		klog.ErrorS(err, "The controllers ended")
		klog.Flush()
		os.Exit(1)
	}
	klog.Flush()
}

func run(ctx context.Context, kubeconfig, listen string) error {
	if kubeconfig == "" || listen == "" {
		return errors.New("--kubeconfig and --health-listen are both required")
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return fmt.Errorf("read the kubeconfig %s: %w", kubeconfig, err)
	}
	config.UserAgent = "kube-controllers"
	config.QPS, config.Burst = 500, 1000
	all, err := newControllers(ctx, config)
	if err != nil {
		return err
	}
	return all.run(ctx, listen)
}

// run runs the controllers, and answers on the address once they do.
func (c *controllers) run(ctx context.Context, listen string) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", listen)
	if err != nil {
		return fmt.Errorf("listen for --health-listen: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel(nil)
	for _, loop := range c.loops {
		running.Go(func() { loop(ctx) })
	}
	c.startInformers(ctx)

	health := http.NewServeMux()
	health.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok")) })
	server := &http.Server{Handler: health, ReadHeaderTimeout: 5 * time.Second}
	running.Go(func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			cancel(fmt.Errorf("serve /healthz: %w", err))
		}
	})
	<-ctx.Done()
	_ = server.Close()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// withRate is the access with as many times the rate of requests.
func withRate(config *rest.Config, qps float32, burst int) *rest.Config {
	faster := rest.CopyConfig(config)
	faster.QPS *= qps
	faster.Burst *= burst
	return faster
}
