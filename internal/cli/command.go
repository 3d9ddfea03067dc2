package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/klog/v2"

	"github.com/latchkey-dev/latchkey/internal/token"
)

// displayName is how users call the plugin. Its executable is executableName,
// by which kubectl and the shells' completion find it.
const (
	displayName    = "kubectl latchkey"
	executableName = "kubectl-latchkey"
)

// NewCommand makes the plugin's command. It prints no error itself: the caller
// does, once, with what Execute returns.
func NewCommand(streams genericiooptions.IOStreams, version string) *cobra.Command {
	cluster := newCluster(streams, version)
	root := &cobra.Command{
		Use:         executableName,
		Annotations: map[string]string{cobra.CommandDisplayNameAnnotation: displayName},
		Short:       "Make, rotate, audit and revoke API tokens",
		Long: `Make, rotate, audit and revoke the API tokens of a tenant.

A token is minted on this machine and shown once. The cluster keeps its digest,
from which nobody can get it back.`,
		Args:          refuseUnknownCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors: true,
		SilenceUsage:  true,

		SuggestionsMinimumDistance: 2,
	}
	root.SetIn(streams.In)
	root.SetOut(streams.Out)
	root.SetErr(streams.ErrOut)
	root.SetFlagErrorFunc(usageError)
	cluster.flags.AddFlags(root.PersistentFlags())
	addVerbosity(root.PersistentFlags())
	root.AddCommand(
		newCreateCommand(streams, cluster),
		newIssueCommand(streams, cluster),
		newListCommand(streams, cluster),
		newShowCommand(streams, cluster),
		newRotateCommand(streams, cluster),
		newRevokeCommand(streams, cluster),
		newAuditCommand(streams, cluster),
		newSettingsCommand(streams, cluster),
		newScopesCommand(streams, cluster),
		newWhoamiCommand(streams, cluster),
		newVerifyCommand(streams),
		newVersionCommand(streams, version),
		newCompletionCommand(streams),
	)
	return root
}

// verb is one of the plugin's commands.
type verb interface {
	// Complete takes over what the command line says.
	Complete(cmd *cobra.Command, args []string) error
	// Validate refuses what can't work, before anything is asked of the cluster.
	Validate() error
	// Run does it.
	Run(ctx context.Context) error
}

// runVerb is the RunE of a verb's command.
func runVerb(v verb) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if err := v.Complete(cmd, args); err != nil {
			return usageError(cmd, err)
		}
		if err := v.Validate(); err != nil {
			return usageError(cmd, err)
		}
		return v.Run(cmd.Context())
	}
}

// usageError adds where to read how the command is used.
func usageError(cmd *cobra.Command, err error) error {
	return fmt.Errorf("%w\nSee '%s --help' for usage", err, cmd.CommandPath())
}

func refuseUnknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if err := refuseToken(args[0]); err != nil {
		return usageError(cmd, err)
	}
	err := fmt.Errorf("there is no command %q", args[0])
	if similar := cmd.SuggestionsFor(args[0]); len(similar) > 0 {
		err = fmt.Errorf("%w: did you mean %s?", err, strings.Join(similar, " or "))
	}
	return usageError(cmd, err)
}

// addVerbosity adds kubectl's -v, which logs the requests to the API server.
func addVerbosity(flags *pflag.FlagSet) {
	all := flag.NewFlagSet("", flag.ContinueOnError)
	klog.InitFlags(all)
	flags.AddGoFlag(all.Lookup("v"))
}

// oneName is the NAME of a verb that takes exactly one.
func oneName(args []string) (string, error) {
	switch len(args) {
	case 0:
		return "", errors.New("the NAME of the ApiToken is missing")
	case 1:
		return args[0], nil
	default:
		return "", fmt.Errorf("one NAME is expected, not %d", len(args))
	}
}

// noArguments is for verbs that take flags only.
func noArguments(args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("no arguments are expected, not %d", len(args))
	}
	return nil
}

func validateName(name string) error { return validateLabel("NAME", name) }

// validateLabel refuses what can't be the name of a kind whose names are DNS labels.
func validateLabel(argument, name string) error {
	if err := refuseToken(name); err != nil {
		return err
	}
	if len(validation.IsDNS1123Label(name)) > 0 {
		return fmt.Errorf("%s %q: must be 1 to 63 lower-case letters, digits and hyphens, beginning and ending with a letter or digit", argument, name)
	}
	return nil
}

// mostOfAToken is a token's id and the beginning of its secret, of any installation,
// cut off or mistyped later on.
var mostOfAToken = regexp.MustCompile(fmt.Sprintf("_([0-9A-Za-z]{%d})_[0-9A-Za-z]{16}", token.IDLength))

// refuseToken refuses an argument that is a token, also a mistyped one, without
// repeating it: as a name it would go into the API server's URLs and audit log.
func refuseToken(arg string) error {
	found := mostOfAToken.FindStringSubmatch(arg)
	if found == nil {
		return nil
	}
	return fmt.Errorf("a token (id %s) was given where a name or command is expected: %s", found[1], leakWarning)
}

// leakWarning is for those who typed a token into a command line.
const leakWarning = "command lines are kept in shell histories and shown in process lists, so treat that token as leaked and revoke its ApiToken, which '" +
	displayName + " list' finds by the token's id"
