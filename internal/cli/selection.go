package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

const dryRunClient = "client"

// selection are the flags of the verbs that can do something to many ApiTokens
// of a namespace at once.
type selection struct {
	selector      string
	fieldSelector string
	isAll         bool
	dryRun        string
	isYes         bool

	labels labels.Selector
	fields fields.Selector
}

func (o *selection) addSelectionFlags(cmd *cobra.Command, what string) {
	flags := cmd.Flags()
	flags.StringVarP(&o.selector, "selector", "l", "", what+" those with these labels, such as team=ci")
	flags.StringVar(&o.fieldSelector, "field-selector", "", what+" those with these fields, such as spec.owner=jo@example.com")
	flags.BoolVar(&o.isAll, "all", false, what+" all of the namespace")
	flags.StringVar(&o.dryRun, "dry-run", dryRunNone, dryRunClient+" says what would be done, and does nothing")
	flags.BoolVarP(&o.isYes, "yes", "y", false, "do not ask")
	utilruntime.Must(cmd.RegisterFlagCompletionFunc("dry-run",
		cobra.FixedCompletions([]string{dryRunNone, dryRunClient}, cobra.ShellCompDirectiveNoFileComp)))
}

// isMany says whether ApiTokens were selected, rather than named.
func (o *selection) isMany() bool { return o.isAll || o.selector != "" || o.fieldSelector != "" }

func (o *selection) isRehearsal() bool { return o.dryRun == dryRunClient }

// completeSelection takes the names, of which there are at most limit, or else a
// selector.
func (o *selection) completeSelection(names []string, limit int) error {
	switch {
	case len(names) > 0 && o.isMany():
		return errors.New("name ApiTokens or select them, not both")
	case o.isAll && (o.selector != "" || o.fieldSelector != ""):
		return errors.New("--all takes every ApiToken of the namespace: leave it out to select some")
	case len(names) == 0 && !o.isMany():
		return errors.New("the NAME of an ApiToken is missing; -l, --field-selector or --all select many")
	case limit != noLimit && len(names) > limit:
		return fmt.Errorf("one NAME is expected, not %d; -l, --field-selector or --all select many", len(names))
	}
	return nil
}

func (o *selection) validateSelection(names []string) (err error) {
	for _, name := range names {
		if err := validateName(name); err != nil {
			return err
		}
	}
	if o.dryRun != dryRunNone && o.dryRun != dryRunClient {
		return fmt.Errorf("--dry-run %q: must be %s or %s", o.dryRun, dryRunNone, dryRunClient)
	}
	if o.labels, err = labels.Parse(o.selector); err != nil {
		return fmt.Errorf("--selector: %w", err)
	}
	if o.fields, err = fields.ParseSelector(o.fieldSelector); err != nil {
		return fmt.Errorf("--field-selector: %w", err)
	}
	return nil
}

// selected returns the selected ApiTokens that are wanted, by name, and tells how
// many are not.
func (o *selection) selected(ctx context.Context, session *session, errOut io.Writer, wanted func(*v1alpha1.ApiToken) error) ([]v1alpha1.ApiToken, error) {
	list := &v1alpha1.ApiTokenList{}
	options := []client.ListOption{client.InNamespace(session.namespace),
		client.MatchingLabelsSelector{Selector: o.labels}, client.MatchingFieldsSelector{Selector: o.fields}}
	if err := session.client.List(ctx, list, options...); err != nil {
		return nil, request{verb: "list", resource: apiTokens, namespace: session.namespace}.explain(err)
	}
	if len(list.Items) == 0 {
		return nil, fmt.Errorf("no %s are selected", request{namespace: session.namespace}.object())
	}
	return slices.DeleteFunc(list.Items, func(t v1alpha1.ApiToken) bool {
		err := wanted(&t)
		if err != nil {
			_, _ = fmt.Fprintf(errOut, "%s is left out: %v.\n", describe(t.Namespace, t.Name), err)
		}
		return err != nil
	}), nil
}

// confirmMany lists what is about to happen, and has the user type how many
// ApiTokens it happens to.
func (o *selection) confirmMany(ctx context.Context, streams genericiooptions.IOStreams, tokens []v1alpha1.ApiToken, what string, answers *bufio.Reader) error {
	for i := range tokens {
		_, _ = fmt.Fprintf(streams.ErrOut, "  %s  %s  %s\n", tokens[i].Name, credentialID(&tokens[i]), printable(orDash(tokens[i].Spec.Owner)))
	}
	if o.isYes {
		return nil
	}
	_, _ = fmt.Fprintf(streams.ErrOut, "%s Type %d, their number, to go on: ", what, len(tokens))
	answer, err := readLine(ctx, answers)
	if err != nil {
		return fmt.Errorf("nothing was done, for want of an answer: %w", err)
	}
	if answer != strconv.Itoa(len(tokens)) {
		return errors.New("nothing was done: the answer was not their number")
	}
	return nil
}

// rehearse prints, a line each, what would happen to the ApiTokens.
func rehearse(out io.Writer, tokens []v1alpha1.ApiToken, what string) error {
	for i := range tokens {
		if err := reportOn(out, &tokens[i], what+" (dry run)"); err != nil {
			return err
		}
	}
	return nil
}

// reportOn prints what became of an ApiToken, in kubectl's words.
func reportOn(out io.Writer, object *v1alpha1.ApiToken, what string) error {
	_, err := fmt.Fprintf(out, "apitoken.%s/%s %s\n", v1alpha1.SchemeGroupVersion.Group, object.Name, what)
	return err
}

// forEach does something to each ApiToken, also after one fails.
func forEach[T any](items []T, not string, do func(T) error) error {
	var failures []error
	for _, item := range items {
		if err := do(item); err != nil {
			failures = append(failures, err)
		}
	}
	if len(failures) > 0 && len(items) > 1 {
		return fmt.Errorf("%d of %d ApiTokens were not %s:\n%w", len(failures), len(items), not, errors.Join(failures...))
	}
	return errors.Join(failures...)
}
