package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/cli-runtime/pkg/printers"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// listOptions are the options of kubectl latchkey list.
type listOptions struct {
	genericiooptions.IOStreams
	cluster *cluster

	isEverywhere bool
	output       string
	selector     string
	labels       labels.Selector
}

func newListCommand(streams genericiooptions.IOStreams, cluster *cluster) *cobra.Command {
	o := &listOptions{IOStreams: streams, cluster: cluster}
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List ApiTokens: which work, and until when",
		Long: `List ApiTokens: which work, and until when.

ACTIVE and REASON are the manager's last word on whether a token works; - means
that it has not looked at it yet.`,
		Example: `  kubectl latchkey list -n tenant-acme
  kubectl latchkey list -A -o wide -l team=ci`,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              runVerb(o),
	}
	flags := cmd.Flags()
	flags.BoolVarP(&o.isEverywhere, "all-namespaces", "A", false, "list those of all namespaces")
	flags.StringVarP(&o.output, "output", "o", "", "one of: "+strings.Join(listOutputs, ", "))
	flags.StringVarP(&o.selector, "selector", "l", "", "label selector, such as team=ci")
	registerOutputs(cmd, listOutputs...)
	return cmd
}

// Complete implements verb.
func (o *listOptions) Complete(_ *cobra.Command, args []string) error {
	return noArguments(args)
}

// Validate implements verb.
func (o *listOptions) Validate() (err error) {
	if o.output != "" && !slices.Contains(listOutputs, o.output) {
		return fmt.Errorf("-o %q: must be one of %s", o.output, strings.Join(listOutputs, ", "))
	}
	if o.labels, err = labels.Parse(o.selector); err != nil {
		return fmt.Errorf("--selector: %w", err)
	}
	return nil
}

// Run implements verb.
func (o *listOptions) Run(ctx context.Context) error {
	session, err := o.cluster.connect()
	if err != nil {
		return err
	}
	namespace := session.namespace
	if o.isEverywhere {
		namespace = ""
	}
	ctx, date := withServerDate(ctx)
	list := &v1alpha1.ApiTokenList{}
	if err := session.client.List(ctx, list, client.InNamespace(namespace), client.MatchingLabelsSelector{Selector: o.labels}); err != nil {
		return request{verb: "list", resource: apiTokens, namespace: namespace}.explain(err)
	}
	if o.output == "" || o.output == outputWide {
		return o.printTable(list, namespace, date)
	}
	return o.printObjects(list)
}

func (o *listOptions) printTable(list *v1alpha1.ApiTokenList, namespace string, date *serverDate) error {
	if len(list.Items) == 0 {
		_, err := fmt.Fprintf(o.ErrOut, "There are no %s.\n", request{namespace: namespace}.object())
		return err
	}
	columns := o.columns(date.OrNow())
	return printTable(o.Out, columns, list.Items)
}

// printTable prints a row for each item.
func printTable[T any](out io.Writer, columns []column[T], items []T) error {
	writer := printers.GetNewTabWriter(out)
	printRow := func(cell func(column[T]) string) {
		cells := make([]string, 0, len(columns))
		for _, c := range columns {
			cells = append(cells, printable(cell(c)))
		}
		_, _ = fmt.Fprintln(writer, strings.Join(cells, "\t")) // buffered: Flush has the error
	}
	printRow(func(c column[T]) string { return c.header })
	for i := range items {
		printRow(func(c column[T]) string { return c.cell(&items[i]) })
	}
	return writer.Flush()
}

// column is one of a table: its header, and its cell for an item.
type column[T any] struct {
	header string
	cell   func(*T) string
}

func (o *listOptions) columns(now time.Time) []column[v1alpha1.ApiToken] {
	columns := []column[v1alpha1.ApiToken]{
		{"NAME", func(t *v1alpha1.ApiToken) string { return t.Name }},
		{"ACTIVE", func(t *v1alpha1.ApiToken) string { active, _ := activity(t); return active }},
		{"REASON", func(t *v1alpha1.ApiToken) string { _, reason := activity(t); return reason }},
		{"ID", credentialID},
		{"EXPIRES", func(t *v1alpha1.ApiToken) string { return expires(t, now) }},
		{"AGE", func(t *v1alpha1.ApiToken) string { return duration.HumanDuration(now.Sub(t.CreationTimestamp.Time)) }},
	}
	if o.isEverywhere {
		columns = append([]column[v1alpha1.ApiToken]{{"NAMESPACE", func(t *v1alpha1.ApiToken) string { return t.Namespace }}}, columns...)
	}
	if o.output == outputWide {
		columns = append(columns,
			column[v1alpha1.ApiToken]{"OWNER", func(t *v1alpha1.ApiToken) string { return orDash(t.Spec.Owner) }},
			column[v1alpha1.ApiToken]{"SCOPES", func(t *v1alpha1.ApiToken) string { return orDash(strings.Join(t.Spec.Scopes, ",")) }},
			column[v1alpha1.ApiToken]{"DESCRIPTION", func(t *v1alpha1.ApiToken) string { return orDash(t.Spec.Description) }},
		)
	}
	return columns
}

// activity is the status and the reason of the condition Active.
func activity(t *v1alpha1.ApiToken) (active, reason string) {
	condition := meta.FindStatusCondition(t.Status.Conditions, v1alpha1.ConditionActive)
	if condition == nil {
		return "-", "-"
	}
	return string(condition.Status), condition.Reason
}

// credentialID is the id of the credential that the manager accepted, or else of
// the one that it is to look at.
func credentialID(t *v1alpha1.ApiToken) string {
	switch {
	case t.Status.Credential != nil:
		return t.Status.Credential.ID
	case t.Spec.Credential != nil:
		return t.Spec.Credential.ID
	default:
		return "-"
	}
}

func expires(t *v1alpha1.ApiToken, now time.Time) string {
	if t.Status.Credential == nil {
		return "-"
	}
	return instant(t.Status.Credential.ExpiresAt.Time, now)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// printObjects prints the objects themselves, for tools.
func (o *listOptions) printObjects(list *v1alpha1.ApiTokenList) error {
	list.SetGroupVersionKind(v1alpha1.SchemeGroupVersion.WithKind("ApiTokenList"))
	for i := range list.Items {
		list.Items[i].SetGroupVersionKind(v1alpha1.SchemeGroupVersion.WithKind("ApiToken"))
	}
	switch o.output {
	case outputName:
		return meta.EachListItem(list, func(item runtime.Object) error {
			return (&printers.NamePrinter{}).PrintObj(item, o.Out)
		})
	case outputYAML:
		return (&printers.OmitManagedFieldsPrinter{Delegate: &printers.YAMLPrinter{}}).PrintObj(list, o.Out)
	default:
		return (&printers.OmitManagedFieldsPrinter{Delegate: &printers.JSONPrinter{}}).PrintObj(list, o.Out)
	}
}
