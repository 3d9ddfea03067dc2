package cli

import (
	"github.com/spf13/cobra"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
)

// Values of -o.
const (
	outputJSON = "json"
	outputYAML = "yaml"
	outputWide = "wide"
	outputName = "name"
	outputCSV  = "csv"
)

// listOutputs are those of list.
var listOutputs = []string{outputWide, outputJSON, outputYAML, outputName}

// auditOutputs are those of audit.
var auditOutputs = []string{outputWide, outputJSON, outputCSV}

// registerOutputs lets shells complete -o.
func registerOutputs(cmd *cobra.Command, outputs ...string) {
	utilruntime.Must(cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(outputs, cobra.ShellCompDirectiveNoFileComp)))
}
