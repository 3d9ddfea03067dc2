package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// issueOptions are the options of kubectl latchkey issue.
type issueOptions struct {
	genericiooptions.IOStreams
	mintOptions
	cluster *cluster

	name string
}

func newIssueCommand(streams genericiooptions.IOStreams, cluster *cluster) *cobra.Command {
	o := &issueOptions{IOStreams: streams, cluster: cluster}
	cmd := &cobra.Command{
		Use:   "issue NAME",
		Short: "Mint the token of an ApiToken that awaits one, and show it once",
		Long: `Mint the token of an ApiToken that awaits one, and show it once.

For ApiTokens that were applied from YAML, which says what a token may do, but
never holds its credential. Output and exit codes are those of create.`,
		Example: `  kubectl apply -f ci.yaml
  TOKEN=$(kubectl latchkey issue ci -n tenant-acme)`,
		ValidArgsFunction: cluster.completeNames(1, func(t *v1alpha1.ApiToken) bool {
			return t.Spec.Credential == nil && !t.Spec.Revoked
		}),
		RunE: runVerb(o),
	}
	o.addMintFlags(cmd)
	return cmd
}

// Complete implements verb.
func (o *issueOptions) Complete(_ *cobra.Command, args []string) (err error) {
	o.name, err = oneName(args)
	return err
}

// Validate implements verb.
func (o *issueOptions) Validate() error {
	return errors.Join(validateName(o.name), o.validateMintFlags())
}

// Run implements verb.
func (o *issueOptions) Run(ctx context.Context) error {
	session, err := o.cluster.connect()
	if err != nil {
		return err
	}
	tenant, err := session.tenant(ctx)
	if err != nil {
		return err
	}
	object := &v1alpha1.ApiToken{}
	asked := request{verb: "get", resource: apiTokens, namespace: session.namespace, name: o.name}
	if err := session.client.Get(ctx, session.key(o.name), object); err != nil {
		return asked.explain(err)
	}
	if err := errors.Join(awaitsCredential(object), tenant.permits(&object.Spec)); err != nil {
		return fmt.Errorf("%s: %w", describe(session.namespace, o.name), err)
	}
	asked.verb = "patch"
	i := issuance{
		IOStreams:   o.IOStreams,
		mintOptions: &o.mintOptions,
		session:     session,
		tenant:      tenant,
		object:      object,
		issuedAt:    tenant.now,
		request:     asked,
		record:      recordIn(session, object),
	}
	claim(object, v1alpha1.AnnotationIssuedBy, session.claimant(ctx, o.ErrOut))
	return i.run(ctx)
}

// recordIn writes what changes in the object from now on, unless somebody else
// changes it first: of two who issue at once, one must learn that it lost.
func recordIn(session *session, object *v1alpha1.ApiToken) func(context.Context) error {
	patch := client.MergeFromWithOptions(object.DeepCopy(), client.MergeFromWithOptimisticLock{})
	return func(ctx context.Context) error {
		err := session.client.Patch(ctx, object, patch)
		if apierrors.IsConflict(err) {
			return fmt.Errorf("somebody else changed it at the same time, and may have issued its token; this one came to nothing: %w", err)
		}
		return err
	}
}

// awaitsCredential refuses to mint for an ApiToken that does not await it.
func awaitsCredential(object *v1alpha1.ApiToken) error {
	switch credential := object.Spec.Credential; {
	case !object.DeletionTimestamp.IsZero():
		return errors.New("it is being deleted")
	case object.Spec.Revoked:
		return errors.New("it is revoked, for good: create a new one")
	case credential != nil:
		return fmt.Errorf("it already has a credential, with id %s (%s). Replacing it is rotation: run '%s rotate %s -n %s'",
			credential.ID, state(object), displayName, object.Name, object.Namespace)
	default:
		return nil
	}
}

// state is what the manager last said of an ApiToken's token, in a few words.
func state(object *v1alpha1.ApiToken) string {
	active := meta.FindStatusCondition(object.Status.Conditions, v1alpha1.ConditionActive)
	issued := object.Status.Credential
	switch {
	case active == nil:
		return "not confirmed by the manager yet"
	case active.Reason == v1alpha1.ReasonIssued && issued != nil:
		return "active, expires at " + issued.ExpiresAt.UTC().Format(time.RFC3339)
	case active.Reason == v1alpha1.ReasonExpired && issued != nil:
		return "expired at " + issued.ExpiresAt.UTC().Format(time.RFC3339)
	default:
		return fmt.Sprintf("%s: %s", active.Reason, printable(active.Message))
	}
}
