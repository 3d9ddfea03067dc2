package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/cli-runtime/pkg/printers"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/token"
)

const (
	// maxAnswer is more than any description of a token.
	maxAnswer = 1 << 20
	// askTimeout bounds how long the Public API may take to answer.
	askTimeout = 30 * time.Second
)

// whoamiOptions are the options of kubectl latchkey whoami.
type whoamiOptions struct {
	verifyOptions
	cluster *cluster

	url    string
	caFile string
}

func newWhoamiCommand(streams genericiooptions.IOStreams, cluster *cluster) *cobra.Command {
	o := &whoamiOptions{verifyOptions: verifyOptions{IOStreams: streams}, cluster: cluster}
	cmd := &cobra.Command{
		Use:   "whoami",
		Short: "Ask the Public API what the token on standard input is",
		Long: `Ask the Public API what the token on standard input is: whose, until when, for what.

The tenant's host is what its namespace says (-n), or --url, for which no cluster is
needed. The token is sent there and nowhere else, over https only, but on this
machine itself. It is never an argument, since command lines are kept and seen by
others. On a terminal it is asked for, and not shown.`,
		Example: `  kubectl latchkey whoami -n tenant-acme < ci.token
  printf %s "$TOKEN" | kubectl latchkey whoami --url https://acme.example.com/api/v1 -o json`,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              runVerb(o),
	}
	flags := cmd.Flags()
	flags.StringVar(&o.url, "url", "", "where the Public API is, base path included, such as https://acme.example.com/api/v1 (default: what the namespace says)")
	flags.StringVar(&o.caFile, "ca-file", "", "file with the certificates that the host's is signed by (default: the system's)")
	flags.StringVar(&o.prefix, "prefix", v1alpha1.DefaultTokenPrefix, "with --url: what the installation's tokens begin with, without the underscore")
	flags.StringVarP(&o.output, "output", "o", "", outputJSON+" prints the answer as it came")
	registerOutputs(cmd, outputJSON)
	return cmd
}

// Run implements verb.
func (o *whoamiOptions) Run(ctx context.Context) error {
	address, err := o.address(ctx)
	if err != nil {
		return err
	}
	client, err := o.client()
	if err != nil {
		return err
	}
	plaintext, err := o.read(ctx)
	if err != nil {
		return fmt.Errorf("read a token from standard input: %w", err)
	}
	if _, err := token.Parse(o.prefix, plaintext); err != nil {
		return fmt.Errorf("standard input is not a token, so that nothing was sent: it %w", err)
	}
	answer, err := ask(ctx, client, address, plaintext)
	if err != nil {
		return err
	}
	if o.output == outputJSON {
		_, err := fmt.Fprintln(o.Out, strings.TrimSpace(string(answer)))
		return err
	}
	return printAnswer(o.Out, answer)
}

// address is where the token asks about itself.
func (o *whoamiOptions) address(ctx context.Context) (*url.URL, error) {
	text := o.url
	if text == "" {
		session, err := o.cluster.connect()
		if err != nil {
			return nil, err
		}
		tenant, err := session.tenant(ctx)
		if err != nil {
			return nil, err
		}
		if tenant.origin == "" && tenant.host == "" {
			return nil, fmt.Errorf("namespace %q does not say yet where its Public API is: pass --url", tenant.namespace)
		}
		o.prefix = tenant.prefix
		text = tenant.base()
	}
	address, err := url.Parse(text)
	switch {
	case err != nil || address.Host == "" || address.RawQuery != "" || address.Fragment != "" || address.User != nil:
		return nil, errors.New("--url: must be an address such as https://acme.example.com/api/v1")
	case address.Scheme == "https", address.Scheme == "http" && isLoopback(address.Hostname()):
		return address.JoinPath("token"), nil
	default:
		return nil, fmt.Errorf("a token is sent over https only, but for this machine itself: %s is neither", address.Redacted())
	}
}

// isLoopback says whether a host is this machine. The names are RFC 6761's.
func isLoopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && address.IsLoopback()
}

// client is for one request with a token: it follows no redirect, and the
// environment's proxies see none that is not encrypted.
func (o *whoamiOptions) client() (*http.Client, error) {
	transport := &http.Transport{
		Proxy:             proxyOf,
		DialContext:       dialLocalhost,
		TLSClientConfig:   &tls.Config{MinVersion: tls.VersionTLS12},
		DisableKeepAlives: true,
	}
	if o.caFile != "" {
		content, err := os.ReadFile(o.caFile)
		if err != nil {
			return nil, fmt.Errorf("--ca-file: %w", err)
		}
		transport.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(content) {
			return nil, fmt.Errorf("--ca-file %s: has no certificate in PEM", o.caFile)
		}
	}
	return &http.Client{
		Transport:     transport,
		Timeout:       askTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

func proxyOf(r *http.Request) (*url.URL, error) {
	if isLoopback(r.URL.Hostname()) {
		return nil, nil
	}
	return http.ProxyFromEnvironment(r)
}

// dialLocalhost reaches *.localhost on loopback, as browsers and curl do: not
// every system's resolver knows these names.
func dialLocalhost(ctx context.Context, network, address string) (net.Conn, error) {
	if host, port, err := net.SplitHostPort(address); err == nil && strings.HasSuffix(host, ".localhost") {
		address = net.JoinHostPort("localhost", port)
	}
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

// ask sends the token to the host, and returns what it says of it.
func ask(ctx context.Context, client *http.Client, address *url.URL, plaintext string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "token "+plaintext)
	request.Header.Set("Accept", "application/json, application/problem+json")
	response, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("ask the Public API: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", address, err)
	}
	if response.StatusCode == http.StatusOK && json.Valid(content) {
		return content, nil
	}
	problem := struct{ Type, Title, Detail string }{}
	if json.Unmarshal(content, &problem) != nil || problem.Title == "" {
		return nil, fmt.Errorf("%s answered %s, which is none of Latchkey's answers: is the API's address right?", address, printable(response.Status))
	}
	return nil, fmt.Errorf("%s answered %d: %s. %s (%s)", address, response.StatusCode, printable(problem.Title), printable(problem.Detail), printable(problem.Type))
}

// printAnswer prints an object's members, a line each.
func printAnswer(out io.Writer, answer []byte) error {
	members := map[string]any{}
	if err := json.Unmarshal(answer, &members); err != nil {
		return fmt.Errorf("the answer is not an object: %w", err)
	}
	writer := printers.GetNewTabWriter(out)
	for _, name := range slices.Sorted(maps.Keys(members)) {
		_, _ = fmt.Fprintf(writer, "%s:\t%s\n", printable(name), printable(plain(members[name]))) // buffered: Flush has the error
	}
	return writer.Flush()
}

// plain is a JSON value as people write it.
func plain(value any) string {
	switch v := value.(type) {
	case nil:
		return "none"
	case []any:
		parts := make([]string, 0, len(v))
		for _, item := range v {
			parts = append(parts, plain(item))
		}
		return orNone(strings.Join(parts, ", "))
	case map[string]any:
		content, _ := json.Marshal(v) // what was decoded can be encoded
		return string(content)
	default:
		return fmt.Sprint(v)
	}
}
