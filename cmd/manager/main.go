// Command manager runs Latchkey's controllers.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/controllers"
	"github.com/latchkey-dev/latchkey/controllers/tenant"
	"github.com/latchkey-dev/latchkey/internal/basedomain"
	"github.com/latchkey-dev/latchkey/internal/buildinfo"
	"github.com/latchkey-dev/latchkey/internal/logging"
	"github.com/latchkey-dev/latchkey/internal/token"
)

// reservedNames are subdomains that products commonly keep for themselves.
const reservedNames = "admin,api,app,assets,auth,blog,cdn,dashboard,dev,docs,ftp,help,id,imap,localhost,login,mail,ns,ns1,ns2,pop,portal,settings,smtp,sso,staging,static,status,support,test,webmail,www"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "manager:", err)
			os.Exit(1)
		}
	}
}

func run(ctx context.Context, args []string) error {
	options, logs, err := parse(args)
	if err != nil {
		return err
	}
	logger, err := logs.New(os.Stderr)
	if err != nil {
		return err
	}
	options.Logger = logr.FromSlogHandler(logger.Handler())
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("no access to a cluster (in a pod, or by --kubeconfig or KUBECONFIG): %w", err)
	}
	// The library's default of 20 requests a second would make a tenant with many
	// tokens wait; the API server's own fairness is the bound.
	config.QPS, config.Burst = 1000, 2000
	mgr, err := controllers.NewManager(ctx, config, options)
	if err != nil {
		return err
	}
	return mgr.Start(ctx)
}

func parse(args []string) (controllers.Options, *logging.Options, error) {
	var o controllers.Options
	var reserved, routing string
	var port uint
	logs := &logging.Options{}
	// controller-runtime puts --kubeconfig there.
	flags := flag.CommandLine
	flags.Init("manager", flag.ContinueOnError)
	buildinfo.AddFlag(flags)
	logs.AddFlags(flags)
	flags.StringVar(&o.Tenant.BaseDomain, "base-domain", "", "the domain whose subdomains are the tenants, such as example.com (required)")
	flags.StringVar(&o.Tenant.PublicScheme, "public-scheme", "https", "https or http: what clients use, as people are told")
	flags.IntVar(&o.Tenant.PublicPort, "public-port", 0, "the port that clients use, as people are told; 0 for the scheme's own")
	flags.StringVar(&o.Tenant.SystemNamespace, "system-namespace", v1alpha1.SystemNamespace, "the namespace of this installation")
	flags.StringVar(&o.RecordsNamespace, "records-namespace", v1alpha1.RecordsNamespace, "the namespace of the token records, and of nothing else")
	flags.StringVar(&reserved, "reserved-names", reservedNames, "comma-separated subdomains that no new Tenant gets")
	flags.StringVar(&o.Tenant.TokenPrefix, "token-prefix", v1alpha1.DefaultTokenPrefix, "what new tokens begin with; the API server needs the same")
	flags.StringVar(&routing, "routing", string(tenant.RoutingIngress), "what brings tenants' requests: ingress, an Ingress for each Tenant; wildcard-ingress, one for all; none, if somebody else routes")
	flags.StringVar(&o.Tenant.Ingress.Class, "ingress-class", "", "the class of the tenants' Ingresses (default: the cluster's)")
	flags.StringVar(&o.Tenant.Ingress.TLSSecret, "ingress-tls-secret", "", "a TLS Secret in the system namespace for every tenant's host, such as a wildcard certificate")
	flags.StringVar(&o.Tenant.Ingress.ClusterIssuer, "ingress-cluster-issuer", "", "a cert-manager ClusterIssuer that makes a certificate per Ingress")
	flags.StringVar(&o.Tenant.Ingress.Service, "ingress-service", "latchkey-apiserver", "the Service of the API server's surface api, in the system namespace")
	flags.StringVar(&o.Tenant.Ingress.PortalService, "ingress-portal-service", "latchkey-portal", "the Service of the API server's surface portal, in the system namespace; may be the same")
	flags.UintVar(&port, "ingress-service-port", 80, "the port of these Services")
	flags.BoolVar(&o.LeaderElection, "leader-elect", true, "work only while being the leader; needed with more than one replica")
	flags.StringVar(&o.MetricsAddress, "metrics-listen", ":8080", "where Prometheus metrics are served; 0 for nowhere")
	flags.IntVar(&o.TokenExpiryMetrics, "token-expiry-metrics", 0, "how many tokens, those that expire next, have a series latchkey_token_expiry_timestamp_seconds; 0 for none")
	flags.StringVar(&o.HealthAddress, "health-listen", ":8081", "where /healthz and /readyz are served; 0 for nowhere")
	if err := flags.Parse(args); err != nil {
		return o, nil, err
	}
	o.Tenant.Ingress.Routing = tenant.Routing(routing)
	o.Tenant.Ingress.Port = int32(port & 0xffff)
	for name := range strings.SplitSeq(reserved, ",") {
		o.Tenant.ReservedNames = append(o.Tenant.ReservedNames, strings.TrimSpace(name))
	}
	var err error
	if o.Tenant.BaseDomain, err = basedomain.Parse(o.Tenant.BaseDomain); err != nil {
		return o, nil, err
	}
	return o, logs, validate(o, port, flags.Args())
}

func validate(o controllers.Options, port uint, rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q; see --help", rest[0])
	case o.RecordsNamespace == o.Tenant.SystemNamespace:
		return fmt.Errorf("--records-namespace=%s: must be another than --system-namespace", o.RecordsNamespace)
	case o.Tenant.PublicScheme != "https" && o.Tenant.PublicScheme != "http":
		return fmt.Errorf("--public-scheme=%s: must be https or http", o.Tenant.PublicScheme)
	case o.Tenant.PublicPort < 0 || o.Tenant.PublicPort > 65535:
		return fmt.Errorf("--public-port=%d: must be from 1 to 65535, or 0 for the scheme's own", o.Tenant.PublicPort)
	case o.TokenExpiryMetrics < 0:
		return fmt.Errorf("--token-expiry-metrics=%d: must be how many series there may be, or 0", o.TokenExpiryMetrics)
	case o.Tenant.Ingress.TLSSecret != "" && o.Tenant.Ingress.ClusterIssuer != "":
		return errors.New("set --ingress-tls-secret or --ingress-cluster-issuer, not both")
	case !slices.Contains([]tenant.Routing{tenant.RoutingIngress, tenant.RoutingWildcardIngress, tenant.RoutingNone}, o.Tenant.Ingress.Routing):
		return fmt.Errorf("--routing=%s: must be ingress, wildcard-ingress or none", o.Tenant.Ingress.Routing)
	case port == 0 || port > 65535:
		return fmt.Errorf("--ingress-service-port=%d: must be from 1 to 65535", port)
	}
	return token.ValidatePrefix(o.Tenant.TokenPrefix)
}
