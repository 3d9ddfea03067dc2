package cli

import (
	"context"
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// versionOptions are the options of kubectl latchkey version.
type versionOptions struct {
	genericiooptions.IOStreams

	version string
}

func newVersionCommand(streams genericiooptions.IOStreams, version string) *cobra.Command {
	o := &versionOptions{IOStreams: streams, version: version}
	return &cobra.Command{
		Use:               "version",
		Short:             "Print the plugin's version",
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              runVerb(o),
	}
}

// Complete implements verb.
func (o *versionOptions) Complete(_ *cobra.Command, args []string) error { return noArguments(args) }

// Validate implements verb.
func (o *versionOptions) Validate() error { return nil }

// Run implements verb.
func (o *versionOptions) Run(context.Context) error {
	_, err := fmt.Fprintf(o.Out, "%s %s (%s, %s/%s)\n", executableName, o.version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
