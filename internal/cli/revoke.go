package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// revokeOptions are the options of kubectl latchkey revoke.
type revokeOptions struct {
	genericiooptions.IOStreams
	cluster *cluster

	names []string
	isYes bool
}

func newRevokeCommand(streams genericiooptions.IOStreams, cluster *cluster) *cobra.Command {
	o := &revokeOptions{IOStreams: streams, cluster: cluster}
	cmd := &cobra.Command{
		Use:   "revoke NAME...",
		Short: "Stop tokens at once and for good",
		Long: `Stop tokens at once and for good.

The ApiToken stays, to tell what became of its token. It can't be reinstated.`,
		Example: `  kubectl latchkey revoke ci -n tenant-acme
  kubectl latchkey revoke ci nightly -n tenant-acme --yes`,
		ValidArgsFunction: cluster.completeNames(noLimit, func(t *v1alpha1.ApiToken) bool { return !t.Spec.Revoked }),
		RunE:              runVerb(o),
	}
	cmd.Flags().BoolVarP(&o.isYes, "yes", "y", false, "do not ask")
	return cmd
}

// Complete implements verb.
func (o *revokeOptions) Complete(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return errors.New("the NAME of an ApiToken is missing")
	}
	o.names = args
	return nil
}

// Validate implements verb.
func (o *revokeOptions) Validate() error {
	if _, ok := terminal(o.In); !ok && !o.isYes {
		return errors.New("a token can't be reinstated, and there is no terminal to ask whether you mean it: pass --yes")
	}
	for _, name := range o.names {
		if err := validateName(name); err != nil {
			return err
		}
	}
	return nil
}

// Run implements verb.
func (o *revokeOptions) Run(ctx context.Context) error {
	session, err := o.cluster.connect()
	if err != nil {
		return err
	}
	answers := bufio.NewReader(o.In)
	var failures []error
	for _, name := range o.names {
		if err := o.revoke(ctx, session, name, answers); err != nil {
			failures = append(failures, err)
		}
	}
	if len(failures) > 0 && len(o.names) > 1 {
		return fmt.Errorf("%d of %d ApiTokens were not revoked:\n%w", len(failures), len(o.names), errors.Join(failures...))
	}
	return errors.Join(failures...)
}

func (o *revokeOptions) revoke(ctx context.Context, session *session, name string, answers *bufio.Reader) error {
	object := &v1alpha1.ApiToken{}
	asked := request{verb: "get", resource: apiTokens, namespace: session.namespace, name: name}
	if err := session.client.Get(ctx, session.key(name), object); err != nil {
		return asked.explain(err)
	}
	if object.Spec.Revoked {
		return o.report(object, "was revoked already")
	}
	if err := o.confirm(ctx, object, answers); err != nil {
		return err
	}
	asked.verb = "patch"
	patch := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"revoked":true}}`))
	if err := session.client.Patch(ctx, object, patch); err != nil {
		return asked.explain(err)
	}
	return o.report(object, "revoked")
}

// confirm has the user type the name: unlike a habitual y, it can't be typed
// for the wrong ApiToken.
func (o *revokeOptions) confirm(ctx context.Context, object *v1alpha1.ApiToken, answers *bufio.Reader) error {
	if o.isYes {
		return nil
	}
	subject := describe(object.Namespace, object.Name)
	if _, err := fmt.Fprintf(o.ErrOut, "%s, id %s, stops working for good. Type its name to revoke it: ", subject, credentialID(object)); err != nil {
		return fmt.Errorf("ask whether to revoke %s: %w", subject, err)
	}
	answer, err := readLine(ctx, answers)
	if err != nil {
		return fmt.Errorf("%s was not revoked, for want of an answer: %w", subject, err)
	}
	if answer != object.Name {
		return fmt.Errorf("%s was not revoked: the answer was not its name", subject)
	}
	return nil
}

func (o *revokeOptions) report(object *v1alpha1.ApiToken, what string) error {
	_, err := fmt.Fprintf(o.Out, "%s/%s %s\n", "apitoken."+v1alpha1.SchemeGroupVersion.Group, object.Name, what)
	return err
}
