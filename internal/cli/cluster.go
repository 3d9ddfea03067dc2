package cli

import (
	"fmt"
	"runtime"

	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// cluster is kubectl's usual flags, which say which cluster is meant, which
// namespace, and as whom.
type cluster struct {
	flags *genericclioptions.ConfigFlags
}

// session is a connection to the cluster and the namespace that was asked for.
type session struct {
	client    client.Client
	namespace string
}

func newCluster(streams genericiooptions.IOStreams, version string) *cluster {
	flags := genericclioptions.NewConfigFlags(true)
	// kubectl's --token takes a bearer token for the API server. Here everybody
	// would take it for the API token, which has no place on a command line.
	flags.BearerToken = nil
	flags.CacheDir = nil // nothing is discovered, so that nothing is cached
	flags.WithWrapConfigFn(func(config *rest.Config) *rest.Config {
		config.UserAgent = fmt.Sprintf("%s/%s (%s/%s)", executableName, version, runtime.GOOS, runtime.GOARCH)
		config.QPS = -1 // the API server's own fairness limits a user's handful of requests
		config.WarningHandler = rest.NewWarningWriter(streams.ErrOut, rest.WarningWriterOptions{Deduplicate: true})
		config.Wrap(recordDates)
		return config
	})
	return &cluster{flags: flags}
}

// connect prepares the connection. Nothing is sent yet.
func (c *cluster) connect() (*session, error) {
	namespace, _, err := c.flags.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return nil, fmt.Errorf("find the namespace in the kubeconfig: %w", err)
	}
	config, err := c.flags.ToRESTConfig()
	if err != nil {
		return nil, fmt.Errorf("find the cluster in the kubeconfig: %w", err)
	}
	connection, err := client.New(config, client.Options{
		Scheme:     scheme,
		Mapper:     mapper,
		FieldOwner: v1alpha1.FieldOwnerPlugin,
	})
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", config.Host, err)
	}
	return &session{client: connection, namespace: namespace}, nil
}

func (s *session) key(name string) client.ObjectKey {
	return client.ObjectKey{Namespace: s.namespace, Name: name}
}

// isNamespaceChosen says whether the command line names the namespace.
func (c *cluster) isNamespaceChosen() bool {
	return c.flags.Namespace != nil && *c.flags.Namespace != ""
}
