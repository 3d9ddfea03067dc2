package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/token"
)

// maxVerifyInput is more than any token, and little enough for any pipe.
const maxVerifyInput = 4096

// verifyOptions are the options of kubectl latchkey verify.
type verifyOptions struct {
	genericiooptions.IOStreams

	prefix string
	output string
}

func newVerifyCommand(streams genericiooptions.IOStreams) *cobra.Command {
	o := &verifyOptions{IOStreams: streams}
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Say whether standard input is a well-formed token, and its id",
		Long: `Say whether standard input is a well-formed token, and its id.

It is checked on this machine alone: whether the token exists and works, only
the Public API knows. The token is never an argument, since command lines are
kept and seen by others. On a terminal it is asked for, and not shown.`,
		Example: `  kubectl latchkey verify < ci.token
  printf %s "$TOKEN" | kubectl latchkey verify -o json`,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              runVerb(o),
	}
	cmd.Flags().StringVar(&o.prefix, "prefix", v1alpha1.DefaultTokenPrefix, "what the installation's tokens begin with, without the underscore")
	cmd.Flags().StringVarP(&o.output, "output", "o", "", outputJSON+" prints the finding as a JSON object")
	registerOutputs(cmd, outputJSON)
	return cmd
}

// Complete implements verb. No error of this verb repeats what was typed: it may
// be a token that went to the wrong place.
func (o *verifyOptions) Complete(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return errors.New("the token is read from standard input, never from an argument. If that was one: " + leakWarning)
	}
	return nil
}

// Validate implements verb.
func (o *verifyOptions) Validate() error {
	if token.ValidatePrefix(o.prefix) != nil {
		return fmt.Errorf("--prefix: must be 1 to %d lower-case letters and digits, a letter first", token.MaxPrefixLength)
	}
	if o.output != "" && o.output != outputJSON {
		return fmt.Errorf("-o: must be %s", outputJSON)
	}
	return nil
}

// Run implements verb.
func (o *verifyOptions) Run(ctx context.Context) error {
	input, err := o.read(ctx)
	if err != nil {
		return fmt.Errorf("read a token from standard input: %w", err)
	}
	id, malformed := token.Parse(o.prefix, input)
	if err := o.print(id, malformed); err != nil {
		return fmt.Errorf("print the finding: %w", err)
	}
	if malformed != nil {
		return fmt.Errorf("standard input is not a token: it %w", malformed)
	}
	return nil
}

func (o *verifyOptions) read(ctx context.Context) (string, error) {
	if descriptor, ok := terminal(o.In); ok {
		_, _ = fmt.Fprint(o.ErrOut, "Token (it is not shown): ")
		secret, err := readSecret(ctx, descriptor)
		_, _ = fmt.Fprintln(o.ErrOut)
		return secret, err
	}
	input, err := io.ReadAll(io.LimitReader(o.In, maxVerifyInput))
	switch {
	case err != nil:
		return "", err
	case len(input) == 0:
		return "", errors.New("it is empty")
	default:
		return trimNewline(string(input)), nil
	}
}

// print prints what was found. What is wrong with a token, the command's error
// says, unless an object was asked for.
func (o *verifyOptions) print(id string, malformed error) error {
	if o.output == outputJSON {
		finding := struct {
			WellFormed bool   `json:"wellFormed"`
			ID         string `json:"id,omitempty"`
			Reason     string `json:"reason,omitempty"`
		}{WellFormed: malformed == nil, ID: id}
		if malformed != nil {
			finding.Reason = malformed.Error()
		}
		return json.NewEncoder(o.Out).Encode(finding)
	}
	if malformed == nil {
		_, err := fmt.Fprintf(o.Out, "well-formed, id %s\n", id)
		return err
	}
	return nil
}
