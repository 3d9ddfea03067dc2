package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// scopesOptions are the options of kubectl latchkey scopes.
type scopesOptions struct {
	genericiooptions.IOStreams
	cluster *cluster

	output string
}

var scopesOutputs = []string{outputName, outputJSON}

func newScopesCommand(streams genericiooptions.IOStreams, cluster *cluster) *cobra.Command {
	o := &scopesOptions{IOStreams: streams, cluster: cluster}
	cmd := &cobra.Command{
		Use:   "scopes",
		Short: "List the scopes that a token may be given",
		Long: `List the scopes that a token may be given: those that the API's OpenAPI
document names, those that the platform team lists, and tokens:read and
tokens:write for Latchkey's own API for tokens.`,
		Example: `  kubectl latchkey scopes -n tenant-acme
  kubectl latchkey create reports --scope orders:read -n tenant-acme`,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              runVerb(o),
	}
	cmd.Flags().StringVarP(&o.output, "output", "o", "", "one of: "+strings.Join(scopesOutputs, ", "))
	registerOutputs(cmd, scopesOutputs...)
	return cmd
}

// Complete implements verb.
func (o *scopesOptions) Complete(_ *cobra.Command, args []string) error {
	return noArguments(args)
}

// Validate implements verb.
func (o *scopesOptions) Validate() error {
	if o.output != "" && !slices.Contains(scopesOutputs, o.output) {
		return fmt.Errorf("-o %q: must be one of %s", o.output, strings.Join(scopesOutputs, ", "))
	}
	return nil
}

// Run implements verb.
func (o *scopesOptions) Run(ctx context.Context) error {
	session, err := o.cluster.connect()
	if err != nil {
		return err
	}
	tenant, err := session.tenant(ctx)
	if err != nil {
		return err
	}
	if tenant.scopes == nil {
		return fmt.Errorf("namespace %q does not say which scopes there are: its Tenant has no PublicApi yet, or there are too many to list; see the documentation of the API",
			tenant.namespace)
	}
	switch o.output {
	case outputJSON:
		encoder := json.NewEncoder(o.Out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(tenant.scopes)
	case outputName:
		for _, scope := range tenant.scopes {
			if _, err := fmt.Fprintln(o.Out, printable(scope.Name)); err != nil {
				return err
			}
		}
		return nil
	}
	return printTable(o.Out, []column[v1alpha1.Scope]{
		{"SCOPE", func(s *v1alpha1.Scope) string { return s.Name }},
		{"DESCRIPTION", func(s *v1alpha1.Scope) string { return orDash(s.Description) }},
	}, tenant.scopes)
}
