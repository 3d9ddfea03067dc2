package cli

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

const (
	dryRunNone   = "none"
	dryRunServer = "server"

	// maxOwnerLength is that of spec.owner.
	maxOwnerLength = 253
)

// createOptions are the options of kubectl latchkey create.
type createOptions struct {
	genericiooptions.IOStreams
	mintOptions
	cluster *cluster

	name         string
	description  string
	owner        string
	isOwnerSet   bool
	scopes       []string
	allowedCIDRs []string
	lifetime     durationValue
	expiresAt    time.Time
	overlap      durationValue
	dryRun       string
}

func newCreateCommand(streams genericiooptions.IOStreams, cluster *cluster) *cobra.Command {
	o := &createOptions{IOStreams: streams, cluster: cluster}
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Create an ApiToken and show its token once",
		Long: `Create an ApiToken and show its token once.

The token is minted on this machine. Standard output is the token and nothing
else; what there is to say about it goes to standard error. If the token is
shown but does not work, for instance because the token policy does not permit
what was asked for, the exit code is 1.`,
		Example: `  # A token for CI, for 30 days, into a variable
  TOKEN=$(kubectl latchkey create ci -n tenant-acme --lifetime 30d --scope reports:read)

  # Into a file that only you can read
  kubectl latchkey create ci -n tenant-acme --output-file ci.token`,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              runVerb(o),
	}
	flags := cmd.Flags()
	flags.StringVar(&o.description, "description", "", "what the token is for")
	flags.StringVar(&o.owner, "owner", "", "who answers for the token (default: you)")
	flags.StringSliceVar(&o.scopes, "scope", nil, "what the token may do; repeat it or separate scopes with commas")
	flags.Var(&o.lifetime, "lifetime", "how long the token works, such as 720h or 30d (default: the token policy's)")
	flags.TimeVar(&o.expiresAt, "expires-at", time.Time{}, []string{time.RFC3339}, "when the token stops working, such as 2027-01-31T00:00:00Z")
	flags.StringSliceVar(&o.allowedCIDRs, "allow-cidr", nil, "client addresses that the token works from, such as 192.0.2.0/24 (default: any)")
	flags.Var(&o.overlap, "overlap", "how long a replaced token goes on working beside its successor, such as 24h or 7d")
	flags.StringVar(&o.dryRun, "dry-run", dryRunNone, "server has the API server check everything, and neither mints nor creates anything")
	o.addMintFlags(cmd)
	return cmd
}

// Complete implements verb.
func (o *createOptions) Complete(cmd *cobra.Command, args []string) (err error) {
	o.isOwnerSet = cmd.Flags().Changed("owner")
	o.name, err = oneName(args)
	return err
}

// Validate implements verb.
func (o *createOptions) Validate() error {
	switch {
	case o.lifetime.isSet && !o.expiresAt.IsZero():
		return errors.New("set --lifetime or --expires-at, not both")
	case o.lifetime.isSet && o.lifetime.value == 0:
		return errors.New("--lifetime: must be at least 1s")
	case o.expiresAt.Nanosecond() != 0:
		return errors.New("--expires-at: must be in whole seconds")
	case o.dryRun != dryRunNone && o.dryRun != dryRunServer:
		return fmt.Errorf("--dry-run %q: must be %s or %s", o.dryRun, dryRunNone, dryRunServer)
	}
	return errors.Join(validateName(o.name), o.validateMintFlags())
}

// Run implements verb.
func (o *createOptions) Run(ctx context.Context) error {
	session, err := o.cluster.connect()
	if err != nil {
		return err
	}
	tenant, err := session.tenant(ctx)
	if err != nil {
		return err
	}
	object := o.apiToken(session.namespace)
	if err := tenant.permits(&object.Spec); err != nil {
		return err
	}
	user, err := session.user(ctx)
	if !o.isOwnerSet {
		object.Spec.Owner = o.ownerOf(user, err)
	}
	claim(object, v1alpha1.AnnotationCreatedBy, user)
	asked := request{verb: "create", resource: apiTokens, namespace: session.namespace, name: o.name}
	if o.dryRun == dryRunServer {
		return o.rehearse(ctx, session, object, asked)
	}
	claim(object, v1alpha1.AnnotationIssuedBy, user)
	i := issuance{
		IOStreams:   o.IOStreams,
		mintOptions: &o.mintOptions,
		session:     session,
		tenant:      tenant,
		object:      object,
		issuedAt:    tenant.now,
		request:     asked,
		record:      func(ctx context.Context) error { return session.client.Create(ctx, object) },
	}
	return i.run(ctx)
}

// rehearse has the API server check the ApiToken.
func (o *createOptions) rehearse(ctx context.Context, session *session, object *v1alpha1.ApiToken, asked request) error {
	if err := session.client.Create(ctx, object, client.DryRunAll); err != nil {
		return asked.explain(err)
	}
	_, err := fmt.Fprintf(o.ErrOut, "%s would be created (server dry run). No token was minted.\n", describe(object.Namespace, object.Name))
	return err
}

func (o *createOptions) apiToken(namespace string) *v1alpha1.ApiToken {
	object := &v1alpha1.ApiToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: o.name},
		Spec: v1alpha1.ApiTokenSpec{
			Description:  o.description,
			Owner:        o.owner,
			Scopes:       o.scopes,
			Lifetime:     o.lifetime.Pointer(),
			AllowedCIDRs: o.allowedCIDRs,
		},
	}
	if !o.expiresAt.IsZero() {
		object.Spec.ExpiresAt = new(metav1.NewTime(o.expiresAt.UTC()))
	}
	if o.overlap.isSet {
		object.Spec.Rotation = &v1alpha1.Rotation{Overlap: o.overlap.Pointer()}
	}
	return object
}

// ownerPattern is that of spec.owner, which becomes an HTTP header.
var ownerPattern = regexp.MustCompile(`^[!-~]([ -~]*[!-~])?$`)

// isOwner says whether a user's name can be a token's owner.
func isOwner(user string) bool { return len(user) <= maxOwnerLength && ownerPattern.MatchString(user) }

// ownerOf is the user as an owner. A token without an owner is better than none,
// so that whatever is in the way ends in a note.
func (o *createOptions) ownerOf(user string, err error) string {
	note := func(format string, args ...any) string {
		_, _ = fmt.Fprintf(o.ErrOut, "Note: the token gets no owner, %s. --owner names one.\n", fmt.Sprintf(format, args...))
		return ""
	}
	if err != nil {
		return note("since %v", err)
	}
	if !isOwner(user) {
		return note("since your user name %q is too long, or not visible ASCII", user)
	}
	return user
}
