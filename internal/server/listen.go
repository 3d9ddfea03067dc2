package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"

	"github.com/latchkey-dev/latchkey/internal/directory"
)

// Listeners are where a server listens.
type Listeners struct {
	// HTTP is the address for plain HTTP, behind an Ingress. Empty means none.
	HTTP string
	// HTTPS is the address for HTTPS with the certificate in the two files, which
	// are read again when they change. Empty means none.
	HTTPS, CertFile, KeyFile string
	// Gateway is the address where gateways ask by GatewayHandler, in plain HTTP.
	// Empty means none.
	Gateway string
	// Admin is the address for /healthz, /readyz and /metrics. Empty means none.
	Admin string
	// Limits bound what connections can use up.
	Limits Limits
	// ShutdownDelay and ShutdownGracePeriod are explained in limits.go.
	ShutdownDelay, ShutdownGracePeriod time.Duration
}

// Run serves until ctx ends, then drains: it says that it is not ready, goes on
// serving for the delay, takes no more requests, and gives those under way the
// grace period.
func (s *Server) Run(ctx context.Context, l Listeners, gatherer prometheus.Gatherer) error {
	logger := s.config.Logger
	var draining atomic.Bool
	servers := &serverGroup{logger: logger, failed: make(chan error, 4)}
	defer servers.close()
	stopFollowing := s.inflight.followClock() // also while requests drain
	defer stopFollowing()
	if l.Admin != "" {
		server := adminServer(s.config.Directory, gatherer, &draining)
		servers.admin = append(servers.admin, server)
		if err := servers.listen(ctx, "admin", l.Admin, server, nil, 0); err != nil {
			return err
		}
	}
	for _, plain := range []struct {
		name, address string
		handler       http.Handler
	}{{"http", l.HTTP, s}, {"gateway", l.Gateway, s.GatewayHandler()}} {
		if plain.address == "" {
			continue
		}
		server := publicServer(plain.handler, l.Limits)
		servers.public = append(servers.public, server)
		if err := servers.listen(ctx, plain.name, plain.address, server, nil, l.Limits.WriteTimeout); err != nil {
			return err
		}
	}
	if l.HTTPS != "" {
		config, err := servers.tlsConfig(ctx, l)
		if err != nil {
			return err
		}
		s.metrics.certificate.Store(&config.GetCertificate)
		server := publicServer(s, l.Limits)
		servers.public = append(servers.public, server)
		if err := servers.listen(ctx, "https", l.HTTPS, server, config, l.Limits.WriteTimeout); err != nil {
			return err
		}
	}
	select {
	case err := <-servers.failed:
		return err
	case <-ctx.Done():
	}
	draining.Store(true)
	logger.Info("draining", "delay", l.ShutdownDelay, "gracePeriod", l.ShutdownGracePeriod)
	select {
	case err := <-servers.failed:
		return err
	case <-time.After(l.ShutdownDelay):
	}
	return servers.shutdown(l.ShutdownGracePeriod)
}

func publicServer(handler http.Handler, limits Limits) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: limits.HeaderTimeout,
		IdleTimeout:       limits.IdleTimeout,
		MaxHeaderBytes:    limits.HeaderBytes,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: limits.Streams},
		// net/http would answer "OPTIONS *" itself.
		DisableGeneralOptionsHandler: true,
	}
}

func adminServer(d *directory.Directory, gatherer prometheus.Gatherer, draining *atomic.Bool) *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		switch unsynced := d.Unsynced(); {
		case draining.Load():
			http.Error(w, "shutting down", http.StatusServiceUnavailable)
		case len(unsynced) > 0:
			http.Error(w, "not synced yet: "+strings.Join(unsynced, ", "), http.StatusServiceUnavailable)
		case !d.Fresh():
			http.Error(w, fmt.Sprintf("stale: nothing heard for %s of: %s", d.MaxStaleness(), strings.Join(d.Overdue(), ", ")), http.StatusServiceUnavailable)
		default:
			_, _ = w.Write([]byte("ok\n"))
		}
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{}))
	return &http.Server{Handler: mux, ReadHeaderTimeout: AdminTimeout, ReadTimeout: AdminTimeout, WriteTimeout: AdminTimeout}
}

// tlsConfig watches the certificate's files, so that a renewed one is used
// without a restart.
func (g *serverGroup) tlsConfig(ctx context.Context, l Listeners) (*tls.Config, error) {
	watcher, err := certwatcher.New(l.CertFile, l.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", l.CertFile, l.KeyFile, err)
	}
	ctx, g.stopWatching = context.WithCancel(ctx)
	g.watching.Go(func() {
		if err := watcher.Start(ctx); err != nil {
			g.logger.Error("the certificate is not watched: a renewed one needs a restart", "error", err)
		}
	})
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: watcher.GetCertificate,
		NextProtos:     []string{"h2", "http/1.1"},
	}, nil
}

// serverGroup are the HTTP servers of a process.
type serverGroup struct {
	logger *slog.Logger
	// public drain at the end, together; admin stay up until they have.
	public, admin []*http.Server
	failed        chan error
	// stopWatching ends the watch of the certificate's files, if there is one.
	stopWatching context.CancelFunc
	watching     sync.WaitGroup
}

// listen begins to serve. timeout bounds the wait for a client to take a piece of an answer;
// 0 where the server has limits of its own.
func (g *serverGroup) listen(ctx context.Context, name, address string, server *http.Server, tlsConfig *tls.Config, timeout time.Duration) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listen for %s on %s: %w", name, address, err)
	}
	if timeout > 0 {
		listener = boundedListener{listener, timeout}
	}
	server.TLSConfig = tlsConfig
	server.ErrorLog = slog.NewLogLogger(g.logger.With("listener", name).Handler(), slog.LevelWarn)
	g.logger.Info("listening", "listener", name, "address", listener.Addr().String())
	go func() {
		serve := func() error { return server.Serve(listener) }
		if tlsConfig != nil {
			serve = func() error { return server.ServeTLS(listener, "", "") }
		}
		if err := serve(); !errors.Is(err, http.ErrServerClosed) {
			g.failed <- fmt.Errorf("serve %s on %s: %w", name, address, err)
		}
	}()
	return nil
}

func (g *serverGroup) shutdown(grace time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	var group errgroup.Group
	for _, server := range g.public {
		group.Go(func() error {
			if err := server.Shutdown(ctx); err != nil {
				return fmt.Errorf("requests still under way after %s were cut: %w", grace, err)
			}
			return nil
		})
	}
	return group.Wait()
}

func (g *serverGroup) close() {
	for _, server := range append(g.public, g.admin...) {
		_ = server.Close()
	}
	if g.stopWatching != nil {
		g.stopWatching()
	}
	g.watching.Wait()
}
