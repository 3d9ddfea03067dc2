// Command apiserver is what tenants' requests reach: it authenticates them by API
// token and passes them on to the product's backend.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	_ "golang.org/x/crypto/x509roots/fallback" // backends may be https, and the image has no CA certificates; those of the system come first
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/connrotation"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/basedomain"
	"github.com/latchkey-dev/latchkey/internal/buildinfo"
	"github.com/latchkey-dev/latchkey/internal/directory"
	"github.com/latchkey-dev/latchkey/internal/logging"
	"github.com/latchkey-dev/latchkey/internal/portal"
	"github.com/latchkey-dev/latchkey/internal/problem"
	"github.com/latchkey-dev/latchkey/internal/proxy"
	"github.com/latchkey-dev/latchkey/internal/replicas"
	"github.com/latchkey-dev/latchkey/internal/server"
	"github.com/latchkey-dev/latchkey/internal/session"
	"github.com/latchkey-dev/latchkey/internal/signin"
	"github.com/latchkey-dev/latchkey/internal/surface"
	"github.com/latchkey-dev/latchkey/internal/token"
	"github.com/latchkey-dev/latchkey/internal/usage"
	"github.com/latchkey-dev/latchkey/internal/wallclock"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "apiserver:", err)
		os.Exit(1)
	}
}

// options are what the flags say.
type options struct {
	server     server.Config
	listeners  server.Listeners
	namespaces directory.Namespaces
	view       directory.Options
	// service is by which replicas that share limits are counted.
	service string
	uses    usage.Config
	logs    logging.Options
	// sessions and provider are Settings', which the portal has.
	sessions session.Lifetimes
	provider signin.Config
}

func run(ctx context.Context, args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	logger, err := o.logs.New(os.Stderr)
	if err != nil {
		return err
	}
	if err := noticeSilentConnections(); err != nil {
		return err
	}
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("no access to a cluster (in a pod, or by --kubeconfig or KUBECONFIG): %w", err)
	}
	return serve(ctx, o, config, logger)
}

// silentConnections are client-go's own settings, which it takes from nowhere else: a
// connection to the Kubernetes API over which nothing came for 5 s is asked whether it
// lives, and is closed and made anew where it does not say so within 5 s more. By
// client-go's defaults, 30 s and 15 s, a replica behind a link that drops everything
// would learn of revocations three quarters of a minute late.
var silentConnections = map[string]string{
	"HTTP2_READ_IDLE_TIMEOUT_SECONDS": "5",
	"HTTP2_PING_TIMEOUT_SECONDS":      "5",
}

// noticeSilentConnections has to come before any client is made. What the environment
// says stands.
func noticeSilentConnections() error {
	for name, value := range silentConnections {
		if _, set := os.LookupEnv(name); set {
			continue
		}
		if err := os.Setenv(name, value); err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	return nil
}

// reconnectable returns the config with connections of its own, and what ends them all, so
// that the next may lead to another kube-apiserver, as kubelet does it.
func reconnectable(config *rest.Config) (*rest.Config, func()) {
	dialer := connrotation.NewDialer((&net.Dialer{Timeout: dialTimeout, KeepAlive: dialTimeout}).DialContext)
	own := rest.CopyConfig(config)
	own.Dial = dialer.DialContext
	return own, dialer.CloseAll
}

// dialTimeout is client-go's.
const dialTimeout = 30 * time.Second

func serve(ctx context.Context, o *options, config *rest.Config, logger *slog.Logger) error {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	// The portal, last uses and the count of replicas move with the view to another API server.
	config, o.view.Reconnect = reconnectable(config)
	view := directory.NewWithOptions(logger, o.view)
	o.server.Clock = wallclock.System()
	o.uses.Clock = o.server.Clock
	backends := proxy.New(logger)
	defer backends.Close()
	uses, err := o.newUses(config, view, logger, registry)
	if err != nil {
		return err
	}
	o.server.Directory, o.server.Proxy, o.server.Logger, o.server.Metrics, o.server.Uses = view, backends, logger, registry, uses
	var sessions *session.Store
	// Where only these can't be read, that must not end the connections of the API.
	sessionConfig, reconnectSessions := reconnectable(config)
	if o.server.Surfaces.Has(surface.Portal) {
		if sessions, err = o.newSessions(reconnectSessions, logger); err != nil {
			return err
		}
		if o.server.Portal, err = newPortal(o, config, view, sessions, logger); err != nil {
			return err
		}
	}
	shared := replicas.New()
	o.server.Replicas = shared.Count
	handler, err := server.New(o.server)
	if err != nil {
		return err
	}
	// The view outlives the listeners: what is revoked while requests drain ends
	// them still.
	viewContext, stopView := context.WithCancel(context.WithoutCancel(ctx))
	defer stopView()
	group, groupContext := errgroup.WithContext(ctx)
	group.Go(func() error { return view.Run(viewContext, config, o.namespaces) })
	group.Go(func() error { return uses.Run(viewContext) })
	if sessions != nil {
		group.Go(func() error { return sessions.Run(viewContext, sessionConfig) })
	}
	if o.service != "" {
		group.Go(func() error { return shared.Run(viewContext, config, o.namespaces.System, o.service) })
	}
	group.Go(func() error {
		defer stopView()
		return handler.Run(groupContext, o.listeners, registry)
	})
	return group.Wait()
}

// newPortal makes what answers at Latchkey's own paths.
func newPortal(o *options, config *rest.Config, view *directory.Directory, sessions *session.Store, logger *slog.Logger) (*portal.Portal, error) {
	client, err := portal.NewClient(config)
	if err != nil {
		return nil, fmt.Errorf("a client for the portal: %w", err)
	}
	var provider *signin.Provider
	if o.provider.Enabled() {
		o.provider.Clock = o.server.Clock
		if provider, err = signin.New(o.provider, logger); err != nil {
			return nil, err
		}
	}
	return portal.New(portal.Config{
		Client: client, Directory: view, Sessions: sessions, Provider: provider, Clock: o.server.Clock,
		TokenPrefix: o.server.TokenPrefix, ProblemBase: o.server.ProblemBase, Logger: logger,
	})
}

// newSessions makes what knows who is signed in to Settings. Until it has read its keys
// nobody is; the API is served all the same.
func (o *options) newSessions(reconnect func(), logger *slog.Logger) (*session.Store, error) {
	return session.New(session.Config{
		Namespace: o.namespaces.System, Lifetimes: o.sessions, MaxStaleness: o.view.MaxStaleness, Reconnect: reconnect, Clock: o.server.Clock, Logger: logger,
	})
}

// newUses makes what notes the tokens' last use.
func (o *options) newUses(config *rest.Config, view *directory.Directory, logger *slog.Logger, registry prometheus.Registerer) (*usage.Recorder, error) {
	var err error
	if o.uses.Store, err = usage.NewStore(config); err != nil {
		return nil, err
	}
	o.uses.Serves = func(tenant string, digest token.Digest) bool {
		_, ok := view.Token(tenant, digest)
		return ok
	}
	o.uses.Logger, o.uses.Metrics = logger, registry
	return usage.New(o.uses)
}

func parse(args []string) (*options, error) {
	o := &options{}
	var trusted, surfaces string
	// controller-runtime puts --kubeconfig there.
	flags := flag.CommandLine
	flags.Init("apiserver", flag.ContinueOnError)
	buildinfo.AddFlag(flags)
	o.logs.AddFlags(flags)
	flags.StringVar(&o.server.BaseDomain, "base-domain", "", "the domain whose subdomains are the tenants, such as example.com (required)")
	flags.StringVar(&o.server.TokenPrefix, "token-prefix", v1alpha1.DefaultTokenPrefix, "what tokens begin with; the manager needs the same")
	flags.StringVar(&o.server.ProblemBase, "problem-type-base", problem.DefaultBase, "what the type URI of a problem begins with; its code follows")
	flags.StringVar(&surfaces, "surfaces", surface.All.String(), "what this process serves: api, which passes requests on to the backend, portal, which answers at Latchkey's own paths (documentation, API for tokens), or both")
	flags.StringVar(&trusted, "trusted-proxies", "", "comma-separated CIDRs of proxies whose X-Forwarded-For is believed, such as the Ingress controller's pods (default: none)")
	flags.StringVar(&o.server.PublicScheme, "public-scheme", "https", "https or http: what clients use where a request arrives in plain HTTP and no trusted proxy says otherwise, as documentation tells people")
	flags.StringVar(&o.namespaces.Records, "records-namespace", v1alpha1.RecordsNamespace, "the namespace of the token records")
	flags.StringVar(&o.namespaces.System, "system-namespace", v1alpha1.SystemNamespace, "the namespace of this installation, with the OpenAPI documents and the Service")
	flags.DurationVar(&o.view.MaxStaleness, "max-staleness", directory.DefaultMaxStaleness, "how long tokens are accepted without news from the Kubernetes API; where it can't be reached, a revocation takes effect after that time at the latest, since then no token is accepted")
	flags.StringVar(&o.service, "service", "", "the Service of this process and its replicas, whose ready endpoints share the rate limits; empty where it is alone")
	flags.StringVar(&o.listeners.HTTP, "listen", ":8080", "where plain HTTP is served, for an Ingress; empty for nowhere")
	flags.StringVar(&o.listeners.HTTPS, "tls-listen", "", "where HTTPS is served; needs --tls-cert-file and --tls-key-file")
	flags.StringVar(&o.listeners.CertFile, "tls-cert-file", "", "the certificate for HTTPS, as PEM; it is read again when it changes")
	flags.StringVar(&o.listeners.KeyFile, "tls-key-file", "", "the certificate's key, as PEM")
	flags.StringVar(&o.listeners.Gateway, "gateway-listen", "", "where gateways of your own ask whether a request may pass: /auth/nginx, /auth/ingress-nginx, /auth/traefik, /auth/envoy; empty for nowhere")
	flags.StringVar(&o.listeners.Admin, "admin-listen", ":8081", "where /healthz, /readyz and /metrics are served; empty for nowhere")
	flags.DurationVar(&o.listeners.ShutdownDelay, "shutdown-delay", server.DefaultShutdownDelay, "how long to go on serving, not ready, after being told to end")
	flags.DurationVar(&o.listeners.ShutdownGracePeriod, "shutdown-grace-period", server.DefaultShutdownGracePeriod, "how long requests under way may then take")
	flags.IntVar(&o.server.TenantMetricsLimit, "tenant-metrics-limit", 1000, "how many tenants get metrics of their own; the others count as tenant _other; 0 for no metrics by tenant")
	flags.DurationVar(&o.uses.Interval, "last-used-interval", usage.DefaultInterval, "how often at most a token's last use is written to its status; its first use is at once")
	flags.IntVar(&o.uses.WritesPerSecond, "last-used-writes-per-second", usage.DefaultWritesPerSecond, "how many last uses of all tokens this process writes a second at most; where there are more, each is written less often")
	o.server.Limits.AddFlags(flags)
	o.sessions.AddFlags(flags)
	o.provider.AddFlags(flags)
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	o.listeners.Limits = o.server.Limits
	var err error
	if o.server.Surfaces, err = surface.Parse(surfaces); err != nil {
		return nil, fmt.Errorf("--surfaces: %w", err)
	}
	if o.server.TrustedProxies, err = server.ParseCIDRs(trusted); err != nil {
		return nil, fmt.Errorf("--trusted-proxies: %w", err)
	}
	if o.server.BaseDomain, err = basedomain.Parse(o.server.BaseDomain); err != nil {
		return nil, err
	}
	return o, o.validate(flags.Args())
}

func (o *options) validate(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q; see --help", rest[0])
	case o.server.PublicScheme != "https" && o.server.PublicScheme != "http":
		return fmt.Errorf("--public-scheme=%s: must be https or http", o.server.PublicScheme)
	case o.listeners.HTTP == "" && o.listeners.HTTPS == "" && o.listeners.Gateway == "":
		return errors.New("set --listen, --tls-listen or --gateway-listen: else nothing is served")
	case o.view.MaxStaleness < directory.MinMaxStaleness:
		return fmt.Errorf("--max-staleness=%s: must be at least %s, since a cluster where nothing happens says so once a minute", o.view.MaxStaleness, directory.MinMaxStaleness)
	case o.uses.Interval < time.Second || o.uses.WritesPerSecond < 1:
		return errors.New("--last-used-interval must be at least 1s, and --last-used-writes-per-second at least 1")
	case o.listeners.HTTPS != "" && (o.listeners.CertFile == "" || o.listeners.KeyFile == ""):
		return errors.New("--tls-listen needs --tls-cert-file and --tls-key-file")
	case o.server.TenantMetricsLimit < 0:
		return fmt.Errorf("--tenant-metrics-limit=%d: must be 0 or more", o.server.TenantMetricsLimit)
	}
	return errors.Join(o.sessions.Validate(), o.provider.Validate())
}
