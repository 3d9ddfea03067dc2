package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

const (
	// completionTimeout bounds how long a shell hangs after Tab.
	completionTimeout = 3 * time.Second
	// noLimit lets a verb take any number of names.
	noLimit = -1
)

// completionOptions are the options of kubectl latchkey completion.
type completionOptions struct {
	genericiooptions.IOStreams

	generate func(io.Writer) error
}

var shells = []string{"bash", "zsh", "fish", "powershell"}

func newCompletionCommand(streams genericiooptions.IOStreams) *cobra.Command {
	o := &completionOptions{IOStreams: streams}
	return &cobra.Command{
		Use:   "completion " + strings.Join(shells, "|"),
		Short: "Print what shells need to complete commands, flags and names",
		Long: `Print what shells need to complete commands, flags and names.

For 'kubectl latchkey', kubectl's own completion asks an executable named
kubectl_complete-latchkey. Put this one on your PATH, and nothing else is needed:

  cat > ~/.local/bin/kubectl_complete-latchkey <<'EOF'
  #!/bin/sh
  exec kubectl latchkey __complete "$@"
  EOF
  chmod +x ~/.local/bin/kubectl_complete-latchkey

What this command prints completes 'kubectl-latchkey', written with a hyphen.`,
		Example: `  source <(kubectl-latchkey completion bash)
  kubectl-latchkey completion zsh > "${fpath[1]}/_kubectl-latchkey"`,
		ValidArgsFunction: cobra.FixedCompletions(shells, cobra.ShellCompDirectiveNoFileComp),
		RunE:              runVerb(o),
	}
}

// Complete implements verb.
func (o *completionOptions) Complete(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("name one shell: %s", strings.Join(shells, ", "))
	}
	root := cmd.Root()
	generate, ok := map[string]func(io.Writer) error{
		"bash":       func(w io.Writer) error { return root.GenBashCompletionV2(w, true) },
		"zsh":        root.GenZshCompletion,
		"fish":       func(w io.Writer) error { return root.GenFishCompletion(w, true) },
		"powershell": root.GenPowerShellCompletionWithDesc,
	}[args[0]]
	if !ok {
		return fmt.Errorf("shell %q is not known: name one of %s", args[0], strings.Join(shells, ", "))
	}
	o.generate = generate
	return nil
}

// Validate implements verb.
func (o *completionOptions) Validate() error { return nil }

// Run implements verb.
func (o *completionOptions) Run(context.Context) error { return o.generate(o.Out) }

// completeNames completes the names of the ApiTokens that are wanted, up to so
// many of them.
func (c *cluster) completeNames(limit int, wanted func(*v1alpha1.ApiToken) bool) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if limit != noLimit && len(args) >= limit {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		session, err := c.connect()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
		defer cancel()
		list := &v1alpha1.ApiTokenList{}
		if err := session.client.List(ctx, list, client.InNamespace(session.namespace)); err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		var names []cobra.Completion
		for i := range list.Items {
			t := &list.Items[i]
			if wanted(t) && !slices.Contains(args, t.Name) {
				names = append(names, cobra.CompletionWithDesc(t.Name, printable(t.Spec.Description)))
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeTenants completes the names of Tenants for those who may list them, as the
// platform team may; others have the one of their namespace.
func (c *cluster) completeTenants(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	session, err := c.connect()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
	defer cancel()
	list := &v1alpha1.TenantList{}
	if err := session.client.List(ctx, list); err == nil {
		var names []cobra.Completion
		for i := range list.Items {
			names = append(names, cobra.CompletionWithDesc(list.Items[i].Name, printable(list.Items[i].Spec.DisplayName)))
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
	tenant, err := session.tenant(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return []cobra.Completion{tenant.name}, cobra.ShellCompDirectiveNoFileComp
}
