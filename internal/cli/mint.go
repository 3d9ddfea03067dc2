package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/token"
)

// confirmTimeout bounds the look at what became of a write whose answer was lost.
const confirmTimeout = 10 * time.Second

// mintOptions are the flags of the verbs that mint a token.
type mintOptions struct {
	output     string
	outputFile string
	wait       time.Duration
}

func (o *mintOptions) addMintFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVarP(&o.output, "output", "o", "", "json prints the token in a JSON object, rather than by itself")
	flags.StringVar(&o.outputFile, "output-file", "", "new file for the token, readable by you only; nothing goes to standard output")
	flags.DurationVar(&o.wait, "wait", 10*time.Second, "how long to wait for the manager to confirm the token; 0 does not wait")
	registerOutputs(cmd, outputJSON)
}

func (o *mintOptions) validateMintFlags() error {
	switch {
	case o.output != "" && o.output != outputJSON:
		return fmt.Errorf("-o %q: must be %s", o.output, outputJSON)
	case o.output != "" && o.outputFile != "":
		return errors.New("-o prints the token and --output-file keeps it from being printed: choose one")
	case o.wait < 0:
		return fmt.Errorf("--wait %s: must not be negative", o.wait)
	default:
		return nil
	}
}

// issuance takes one token all the way: minted here, its credential recorded in
// the cluster, its plaintext handed to the user. Between the last two nothing
// may come that can fail, for nobody can read the plaintext again.
type issuance struct {
	genericiooptions.IOStreams
	*mintOptions
	*session
	tenant *tenant
	// object is the ApiToken that gets the credential.
	object *v1alpha1.ApiToken
	// record writes object, credential included, to the cluster.
	record func(context.Context) error
	// request is what record asks of the API server.
	request request
	// issuedAt is when the token counts as minted.
	issuedAt time.Time
	// replaced is what the manager issued before, if the token replaces it.
	replaced *v1alpha1.IssuedCredential
}

func (i *issuance) run(ctx context.Context) error {
	minted, err := i.issue(ctx)
	if err != nil {
		return err
	}
	return i.deliver(ctx, minted)
}

// issue mints a token and records its credential.
func (i *issuance) issue(ctx context.Context) (minted token.Token, err error) {
	if minted, err = token.Mint(i.tenant.prefix); err != nil {
		return minted, fmt.Errorf("mint a token: %w", err)
	}
	credential := v1alpha1.Credential{
		ID:       minted.ID(),
		Digest:   minted.Digest(i.tenant.name).String(),
		IssuedAt: metav1.NewTime(i.issuedAt),
	}
	if err := i.writeFile(minted); err != nil {
		return minted, err
	}
	if err := i.store(ctx, credential); err != nil {
		return minted, errors.Join(err, i.dropFile(err))
	}
	return minted, nil
}

// errUnclear is wrapped by errors after which nobody knows what was recorded.
var errUnclear = errors.New("its answer was lost, so that it is unclear what the API server did")

// store records the credential. When the API server's answer is lost, or the
// user interrupts, it finds out what happened: a token whose credential is in
// the cluster must not be thrown away.
func (i *issuance) store(ctx context.Context, credential v1alpha1.Credential) error {
	i.object.Spec.Credential = &credential
	recordErr := i.record(ctx)
	if recordErr == nil || isRefusal(recordErr) {
		return i.request.explain(recordErr)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), confirmTimeout)
	defer cancel()
	stored := &v1alpha1.ApiToken{}
	err := i.client.Get(ctx, i.key(i.object.Name), stored)
	switch {
	case err == nil && stored.Spec.Credential != nil && stored.Spec.Credential.Digest == credential.Digest:
		*i.object = *stored
		return nil
	case err == nil, apierrors.IsNotFound(err):
		return i.request.explain(recordErr)
	default:
		return fmt.Errorf("%w: %w. If '%s list -n %s' shows the id %s, that token is in use%s: %w",
			i.request.explain(recordErr), errUnclear, displayName, i.namespace, credential.ID, i.whereabouts(), err)
	}
}

// whereabouts says where a token is whose recording is unclear.
func (i *issuance) whereabouts() string {
	if i.outputFile != "" {
		return fmt.Sprintf(" and %s holds it", i.outputFile)
	}
	return " but lost, so revoke it"
}

// writeFile writes the token to the file that the user asked for, before it is
// recorded: a full disk must not cost a token that is in use.
func (i *issuance) writeFile(minted token.Token) error {
	if i.outputFile == "" {
		return nil
	}
	file, err := os.OpenFile(i.outputFile, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("--output-file names a file that exists, and none is overwritten: choose another name: %w", err)
	}
	if err != nil {
		return fmt.Errorf("--output-file: %w", err)
	}
	_, err = fmt.Fprintln(file, minted.Reveal())
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return errors.Join(fmt.Errorf("write the token to --output-file; nothing was recorded: %w", err), os.Remove(i.outputFile))
	}
	return nil
}

// dropFile removes the file of a token that was not recorded because of cause.
func (i *issuance) dropFile(cause error) error {
	if i.outputFile == "" || errors.Is(cause, errUnclear) {
		return nil
	}
	if err := os.Remove(i.outputFile); err != nil {
		return fmt.Errorf("remove the file of the token that came to nothing: %w", err)
	}
	return nil
}

// deliver hands over the token and tells what the manager makes of it. A bare
// token is printed at once, so that an interrupted wait can't lose it.
func (i *issuance) deliver(ctx context.Context, minted token.Token) error {
	if i.output == "" && i.outputFile == "" {
		if _, err := fmt.Fprintln(i.Out, minted.Reveal()); err != nil {
			return i.lost(err)
		}
	}
	v := i.awaitVerdict(ctx)
	if i.output == outputJSON {
		if err := i.printJSON(minted, v); err != nil {
			return i.lost(err)
		}
	}
	i.tell(v)
	return v.err(i.object)
}

func (i *issuance) printJSON(minted token.Token, v verdict) error {
	document := struct {
		Token     string       `json:"token"`
		ID        string       `json:"id"`
		Name      string       `json:"name"`
		Namespace string       `json:"namespace"`
		Host      string       `json:"host"`
		ExpiresAt *metav1.Time `json:"expiresAt,omitempty"`
	}{minted.Reveal(), minted.ID(), i.object.Name, i.object.Namespace, i.tenant.host, v.expiresAt}
	return json.NewEncoder(i.Out).Encode(document)
}

func (i *issuance) lost(err error) error {
	return fmt.Errorf("the token with id %s is lost, since it could not be printed and nobody can read it again. Delete %s, which revokes it, and make a new one: %w",
		i.object.Spec.Credential.ID, describe(i.namespace, i.object.Name), err)
}

// tell is the part for people. It goes to standard error, so that standard
// output is the token and nothing else.
func (i *issuance) tell(v verdict) {
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(i.ErrOut, format+"\n", args...) }
	say("%s of tenant %q has a token, with id %s.", describe(i.namespace, i.object.Name), i.tenant.name, i.object.Spec.Credential.ID)
	if i.outputFile != "" {
		say("It is in %s and can't be shown again: keep it like a password.", i.outputFile)
	} else {
		say("It is shown this once and can't be shown again: keep it like a password.")
	}
	switch expected := i.tenant.expiry(&i.object.Spec); {
	case v.expiresAt != nil:
		say("It expires at %s.", i.instant(v.expiresAt.Time))
	case v.failure == "" && expected.IsZero():
		say("The manager has not confirmed it yet%s. '%s list -n %s' shows when it works and expires.", v.pending, displayName, i.namespace)
	case v.failure == "":
		say("The manager has not confirmed it yet%s. It is to expire at %s. '%s list -n %s' shows when it works.",
			v.pending, i.instant(expected), displayName, i.namespace)
	}
	i.tellOfReplaced(v)
	if line := i.tenant.curl(); line != "" && v.failure == "" {
		say("To use it:\n  %s", line)
	}
}

func (i *issuance) instant(t time.Time) string { return instant(t, i.tenant.now) }
