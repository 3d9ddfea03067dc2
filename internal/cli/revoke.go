package cli

import (
	"bufio"
	"context"
	"encoding/json"
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
	selection
	cluster *cluster

	names []string
}

func newRevokeCommand(streams genericiooptions.IOStreams, cluster *cluster) *cobra.Command {
	o := &revokeOptions{IOStreams: streams, cluster: cluster}
	cmd := &cobra.Command{
		Use:   "revoke NAME... | -l SELECTOR | --field-selector FIELDS | --all",
		Short: "Stop tokens at once and for good",
		Long: `Stop tokens at once and for good.

The ApiToken stays, to tell what became of its token. It can't be reinstated.`,
		Example: `  kubectl latchkey revoke ci -n tenant-acme
  kubectl latchkey revoke ci nightly -n tenant-acme --yes
  kubectl latchkey revoke --field-selector spec.owner=jo@example.com -n tenant-acme --dry-run client`,
		ValidArgsFunction: cluster.completeNames(noLimit, func(t *v1alpha1.ApiToken) bool { return !t.Spec.Revoked }),
		RunE:              runVerb(o),
	}
	o.addSelectionFlags(cmd, "revoke")
	return cmd
}

// Complete implements verb.
func (o *revokeOptions) Complete(_ *cobra.Command, args []string) error {
	o.names = args
	return o.completeSelection(args, noLimit)
}

// Validate implements verb.
func (o *revokeOptions) Validate() error {
	if _, ok := terminal(o.In); !ok && !o.isYes && !o.isRehearsal() {
		return errors.New("a token can't be reinstated, and there is no terminal to ask whether you mean it: pass --yes")
	}
	return o.validateSelection(o.names)
}

// Run implements verb.
func (o *revokeOptions) Run(ctx context.Context) error {
	session, err := o.cluster.connect()
	if err != nil {
		return err
	}
	r := &revocation{revokeOptions: o, session: session, answers: bufio.NewReader(o.In)}
	if o.isMany() {
		return r.revokeMany(ctx)
	}
	return forEach(o.names, "revoked", func(name string) error { return r.revokeNamed(ctx, name) })
}

// revocation is a run of revoke.
type revocation struct {
	*revokeOptions
	*session
	answers *bufio.Reader
	// by is the user, once it was asked who that is.
	by *string
}

func (r *revocation) revokeMany(ctx context.Context) error {
	tokens, err := r.selected(ctx, r.session, r.ErrOut, func(t *v1alpha1.ApiToken) error {
		if t.Spec.Revoked {
			return errors.New("it was revoked already")
		}
		return nil
	})
	if err != nil || len(tokens) == 0 {
		return err
	}
	if r.isRehearsal() {
		return rehearse(r.Out, tokens, "would be revoked")
	}
	if err := r.confirmMany(ctx, r.IOStreams, tokens, "These stop working for good.", r.answers); err != nil {
		return err
	}
	return forEach(tokens, "revoked", func(t v1alpha1.ApiToken) error { return r.revoke(ctx, &t) })
}

func (r *revocation) revokeNamed(ctx context.Context, name string) error {
	object := &v1alpha1.ApiToken{}
	asked := request{verb: "get", resource: apiTokens, namespace: r.namespace, name: name}
	if err := r.client.Get(ctx, r.key(name), object); err != nil {
		return asked.explain(err)
	}
	switch {
	case object.Spec.Revoked:
		return reportOn(r.Out, object, "was revoked already")
	case r.isRehearsal():
		return reportOn(r.Out, object, "would be revoked (dry run)")
	}
	if err := r.confirm(ctx, object); err != nil {
		return err
	}
	return r.revoke(ctx, object)
}

// revoke patches without a precondition: nothing that others change meanwhile is
// a reason not to revoke.
func (r *revocation) revoke(ctx context.Context, object *v1alpha1.ApiToken) error {
	if r.by == nil {
		r.by = new(r.claimant(ctx, r.ErrOut))
	}
	change := map[string]any{"spec": map[string]any{"revoked": true}}
	if *r.by != "" {
		change["metadata"] = map[string]any{"annotations": map[string]string{v1alpha1.AnnotationRevokedBy: *r.by}}
	}
	patch, err := json.Marshal(change)
	if err != nil {
		return err
	}
	if err := r.client.Patch(ctx, object, client.RawPatch(types.MergePatchType, patch)); err != nil {
		return request{verb: "patch", resource: apiTokens, namespace: r.namespace, name: object.Name}.explain(err)
	}
	return reportOn(r.Out, object, "revoked")
}

// confirm has the user type the name: unlike a habitual y, it can't be typed
// for the wrong ApiToken.
func (r *revocation) confirm(ctx context.Context, object *v1alpha1.ApiToken) error {
	if r.isYes {
		return nil
	}
	subject := describe(object.Namespace, object.Name)
	if _, err := fmt.Fprintf(r.ErrOut, "%s, id %s, stops working for good. Type its name to revoke it: ", subject, credentialID(object)); err != nil {
		return fmt.Errorf("ask whether to revoke %s: %w", subject, err)
	}
	answer, err := readLine(ctx, r.answers)
	if err != nil {
		return fmt.Errorf("%s was not revoked, for want of an answer: %w", subject, err)
	}
	if answer != object.Name {
		return fmt.Errorf("%s was not revoked: the answer was not its name", subject)
	}
	return nil
}
