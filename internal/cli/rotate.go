package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/audit"
	"github.com/latchkey-dev/latchkey/internal/policy"
)

// rotateOptions are the options of kubectl latchkey rotate.
type rotateOptions struct {
	genericiooptions.IOStreams
	mintOptions
	selection
	cluster *cluster

	names          []string
	overlap        durationValue
	isDropPrevious bool
	outputDir      string
}

func newRotateCommand(streams genericiooptions.IOStreams, cluster *cluster) *cobra.Command {
	o := &rotateOptions{IOStreams: streams, cluster: cluster}
	cmd := &cobra.Command{
		Use:   "rotate NAME | -l SELECTOR | --field-selector FIELDS | --all",
		Short: "Replace a token, and show the new one once",
		Long: `Replace a token, and show the new one once.

The replaced token goes on working for the overlap that the ApiToken says, never
past its own expiry, so that its users have time to take the new one. 'show' says
whether it is still used; --drop-previous, which mints nothing, ends it now.

Output and exit codes are those of create. The tokens of many are written to
files, one each, named after their ApiTokens.`,
		Example: `  TOKEN=$(kubectl latchkey rotate ci -n tenant-acme --overlap 24h)
  kubectl latchkey show ci -n tenant-acme
  kubectl latchkey rotate ci -n tenant-acme --drop-previous
  kubectl latchkey rotate -l team=ci -n tenant-acme --output-dir new-tokens`,
		ValidArgsFunction: cluster.completeNames(1, func(t *v1alpha1.ApiToken) bool { return mayRotate(t) == nil }),
		RunE:              runVerb(o),
	}
	flags := cmd.Flags()
	flags.Var(&o.overlap, "overlap", "how long the replaced token goes on working, such as 24h or 7d; it stays in spec.rotation (default: what is there, or 0)")
	flags.BoolVar(&o.isDropPrevious, "drop-previous", false, "mint nothing: end the token that was replaced before, now")
	flags.StringVar(&o.outputDir, "output-dir", "", "folder for the tokens of many, each in a new file NAME.token that only you can read")
	o.addSelectionFlags(cmd, "rotate")
	o.addMintFlags(cmd)
	return cmd
}

// Complete implements verb.
func (o *rotateOptions) Complete(_ *cobra.Command, args []string) error {
	o.names = args
	return o.completeSelection(args, 1)
}

// Validate implements verb.
func (o *rotateOptions) Validate() error {
	if err := o.validateOutputs(); err != nil {
		return err
	}
	if _, ok := terminal(o.In); !ok && o.isMany() && !o.isYes && !o.isRehearsal() {
		return errors.New("there is no terminal to ask whether you mean all of them: see them with --dry-run client, then pass --yes")
	}
	return errors.Join(o.validateSelection(o.names), o.validateMintFlags())
}

// validateOutputs refuses to print many tokens, and to promise one where none is
// minted.
func (o *rotateOptions) validateOutputs() error {
	hasOneOutput := o.output != "" || o.outputFile != ""
	switch {
	case o.isDropPrevious && (o.overlap.isSet || hasOneOutput || o.outputDir != ""):
		return errors.New("--drop-previous mints nothing, so that --overlap and the flags for a token's output have no place beside it")
	case !o.isMany() && o.outputDir != "":
		return errors.New("--output-dir is for the tokens of many: use --output-file for one")
	case o.isMany() && hasOneOutput:
		return errors.New("the tokens of many go to files: use --output-dir instead of -o and --output-file")
	case o.isMany() && o.outputDir == "" && !o.isDropPrevious && !o.isRehearsal():
		return errors.New("the tokens of many go to files: name a folder for them with --output-dir")
	default:
		return nil
	}
}

// Run implements verb.
func (o *rotateOptions) Run(ctx context.Context) error {
	session, err := o.cluster.connect()
	if err != nil {
		return err
	}
	tenant, err := session.tenant(ctx)
	if err != nil {
		return err
	}
	r := &rotation{rotateOptions: o, session: session, tenant: tenant, answers: bufio.NewReader(o.In)}
	if o.isMany() {
		return r.many(ctx)
	}
	object := &v1alpha1.ApiToken{}
	name := o.names[0]
	if err := session.client.Get(ctx, session.key(name), object); err != nil {
		return request{verb: "get", resource: apiTokens, namespace: session.namespace, name: name}.explain(err)
	}
	if err := r.may(object); err != nil {
		return fmt.Errorf("%s: %w", describe(session.namespace, name), err)
	}
	if o.isRehearsal() {
		return rehearse(o.Out, []v1alpha1.ApiToken{*object}, r.would())
	}
	if err := r.confirm(ctx, object); err != nil {
		return err
	}
	if o.isDropPrevious {
		return r.drop(ctx, object)
	}
	return r.rotate(ctx, object, &o.mintOptions, r.claimant(ctx, o.ErrOut))
}

// rotation is a run of rotate.
type rotation struct {
	*rotateOptions
	*session
	tenant  *tenant
	answers *bufio.Reader
}

func (r *rotation) would() string {
	if r.isDropPrevious {
		return "would lose its previous token"
	}
	return "would be rotated"
}

// may refuses what can't be done to an ApiToken.
func (r *rotation) may(object *v1alpha1.ApiToken) error {
	if err := mayRotate(object); err != nil {
		return err
	}
	if r.isDropPrevious {
		if livePrevious(object, r.tenant.now) == nil {
			return errors.New("no previous token of it works")
		}
		return nil
	}
	asked := object.Spec
	asked.Rotation = r.overlapped(&asked)
	return r.tenant.permits(&asked)
}

// overlapped is what the ApiToken is to say about rotation.
func (r *rotation) overlapped(spec *v1alpha1.ApiTokenSpec) *v1alpha1.Rotation {
	if !r.overlap.isSet {
		return spec.Rotation
	}
	rotation := v1alpha1.Rotation{}
	if spec.Rotation != nil {
		rotation = *spec.Rotation
	}
	rotation.Overlap = r.overlap.Pointer()
	return &rotation
}

// mayRotate refuses to replace what has no successor, or is not there.
func mayRotate(object *v1alpha1.ApiToken) error {
	switch {
	case !object.DeletionTimestamp.IsZero():
		return errors.New("it is being deleted")
	case object.Spec.Revoked:
		return errors.New("it is revoked, for good: create a new one")
	case object.Spec.Credential == nil:
		return fmt.Errorf("it has no token yet: run '%s issue %s -n %s'", displayName, object.Name, object.Namespace)
	default:
		return nil
	}
}

// livePrevious is the replaced credential, if it works still.
func livePrevious(object *v1alpha1.ApiToken, now time.Time) *v1alpha1.IssuedCredential {
	previous := object.Status.PreviousCredential
	if previous == nil || !now.Before(previous.ExpiresAt.Time) {
		return nil
	}
	return previous
}

// surprise tells what of an ApiToken stops working that somebody may still use:
// rotating within an overlap ends the token before, of which at most two live.
func (r *rotation) surprise(object *v1alpha1.ApiToken) string {
	previous := livePrevious(object, r.tenant.now)
	switch {
	case previous == nil:
		return ""
	case r.isDropPrevious && audit.PreviousUse(object, r.tenant.now) == "":
		return ""
	case r.isDropPrevious:
		return fmt.Sprintf("Its previous token, id %s, was used since the rotation: last %s.", previous.ID, instant(previous.LastUsedAt.Time, r.tenant.now))
	default:
		return fmt.Sprintf("Its previous token, id %s, would work until %s and stops with this rotation: at most two live at a time.",
			previous.ID, instant(previous.ExpiresAt.Time, r.tenant.now))
	}
}

// confirm asks only where something may break.
func (r *rotation) confirm(ctx context.Context, object *v1alpha1.ApiToken) error {
	surprise := r.surprise(object)
	if surprise == "" || r.isYes {
		return nil
	}
	subject := describe(object.Namespace, object.Name)
	if _, ok := terminal(r.In); !ok {
		return fmt.Errorf("%s: %s If you mean it, pass --yes", subject, surprise)
	}
	_, _ = fmt.Fprintf(r.ErrOut, "%s: %s Type its name to go on: ", subject, surprise)
	answer, err := readLine(ctx, r.answers)
	if err != nil {
		return fmt.Errorf("%s was left as it is, for want of an answer: %w", subject, err)
	}
	if answer != object.Name {
		return fmt.Errorf("%s was left as it is: the answer was not its name", subject)
	}
	return nil
}

// rotate replaces the credential of one.
func (r *rotation) rotate(ctx context.Context, object *v1alpha1.ApiToken, output *mintOptions, by string) error {
	issuedAt, err := issuedAfter(object.Spec.Credential, r.tenant.now)
	if err != nil {
		return fmt.Errorf("%s: %w", describe(object.Namespace, object.Name), err)
	}
	i := issuance{
		IOStreams:   r.IOStreams,
		mintOptions: output,
		session:     r.session,
		tenant:      r.tenant,
		object:      object,
		issuedAt:    issuedAt,
		replaced:    object.Status.Credential,
		request:     request{verb: "patch", resource: apiTokens, namespace: r.namespace, name: object.Name},
		record:      recordIn(r.session, object),
	}
	claim(object, v1alpha1.AnnotationIssuedBy, by)
	object.Spec.Rotation = r.overlapped(&object.Spec)
	return i.run(ctx)
}

// maxAhead is how far ahead of the API server's clock a credential may be
// issued, which the manager puts up with.
const maxAhead = 30 * time.Second

// issuedAfter is now, or a second after the credential that is replaced: a
// successor must be later, and time is kept in seconds.
func issuedAfter(replaced *v1alpha1.Credential, now time.Time) (time.Time, error) {
	earliest := replaced.IssuedAt.Add(time.Second)
	switch {
	case !now.Before(earliest):
		return now, nil
	case earliest.Sub(now) <= maxAhead:
		return earliest.UTC(), nil
	default:
		return time.Time{}, fmt.Errorf("its present token says it was issued at %s, which is %s ahead of the API server's clock: rotate it after that, or create a new ApiToken and revoke this one",
			replaced.IssuedAt.UTC().Format(time.RFC3339), duration.HumanDuration(replaced.IssuedAt.Sub(now)))
	}
}

// drop ends the previous credential.
func (r *rotation) drop(ctx context.Context, object *v1alpha1.ApiToken) error {
	previous := object.Status.PreviousCredential.ID
	record := recordIn(r.session, object)
	rotation := v1alpha1.Rotation{}
	if object.Spec.Rotation != nil {
		rotation = *object.Spec.Rotation
	}
	rotation.DropPrevious = previous
	object.Spec.Rotation = &rotation
	if err := record(ctx); err != nil {
		return request{verb: "patch", resource: apiTokens, namespace: r.namespace, name: object.Name}.explain(err)
	}
	return reportOn(r.Out, object, "ends its previous token, id "+previous)
}

// many rotates, or ends the previous tokens of, those that are selected.
func (r *rotation) many(ctx context.Context) error {
	tokens, err := r.selected(ctx, r.session, r.ErrOut, r.may)
	if err != nil || len(tokens) == 0 {
		return err
	}
	if r.isRehearsal() {
		return rehearse(r.Out, tokens, r.would())
	}
	for i := range tokens {
		if surprise := r.surprise(&tokens[i]); surprise != "" {
			_, _ = fmt.Fprintf(r.ErrOut, "%s: %s\n", describe(tokens[i].Namespace, tokens[i].Name), surprise)
		}
	}
	if r.isDropPrevious {
		if err := r.confirmMany(ctx, r.IOStreams, tokens, "Their previous tokens stop working.", r.answers); err != nil {
			return err
		}
		return forEach(tokens, "rid of their previous tokens", func(t v1alpha1.ApiToken) error { return r.drop(ctx, &t) })
	}
	if err := r.confirmMany(ctx, r.IOStreams, tokens, "These are rotated.", r.answers); err != nil {
		return err
	}
	return r.rotateMany(ctx, tokens)
}

func (r *rotation) rotateMany(ctx context.Context, tokens []v1alpha1.ApiToken) error {
	if err := os.MkdirAll(r.outputDir, 0o700); err != nil {
		return fmt.Errorf("--output-dir: %w", err)
	}
	by := r.claimant(ctx, r.ErrOut)
	return forEach(tokens, "rotated", func(t v1alpha1.ApiToken) error {
		output := r.mintOptions
		output.outputFile = filepath.Join(r.outputDir, t.Name+".token")
		if err := r.rotate(ctx, &t, &output, by); err != nil {
			return fmt.Errorf("%s: %w", describe(t.Namespace, t.Name), err)
		}
		return reportOn(r.Out, &t, "rotated, its token is in "+output.outputFile)
	})
}

// tellOfReplaced says until when the replaced token works.
func (i *issuance) tellOfReplaced(v verdict) {
	if i.replaced == nil {
		return
	}
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(i.ErrOut, format+"\n", args...) }
	end := i.replaced.ExpiresAt.Time
	if overlap := i.object.Spec.Credential.IssuedAt.Add(policy.Overlap(&i.object.Spec)); overlap.Before(end) {
		end = overlap
	}
	switch {
	case v.over: // the error says so
	case v.failure != "" && v.refused:
		say("The previous token, id %s, was not replaced: until you rotate again, or its time is over, it works as before.", i.replaced.ID)
	case v.failure != "" && v.previousEnd == nil:
		say("The previous token, id %s, is not replaced yet: it ends once what is said below is mended, for then the new one works. Keep both, or rotate again.", i.replaced.ID)
	case v.previousEnd != nil && end.Before(v.previousEnd.Time): // the handover (docs/adr/0003)
		say("The previous token, id %s, is to end at %s, or seconds after the new one works.", i.replaced.ID, i.instant(end))
	case v.previousEnd != nil:
		i.sayEnd(v.previousEnd.Time)
	case v.works && !end.After(i.tenant.now):
		i.sayEnd(end)
	default:
		say("The previous token, id %s, is to end at %s.", i.replaced.ID, i.instant(end))
	}
}

func (i *issuance) sayEnd(end time.Time) {
	if !end.After(i.tenant.now) {
		_, _ = fmt.Fprintf(i.ErrOut, "The previous token, id %s, works no more.\n", i.replaced.ID)
		return
	}
	_, _ = fmt.Fprintf(i.ErrOut, "The previous token, id %s, works until %s. '%s show %s -n %s' says whether it is still used; '%s rotate %s -n %s --drop-previous' ends it.\n",
		i.replaced.ID, i.instant(end), displayName, i.object.Name, i.namespace, displayName, i.object.Name, i.namespace)
}
