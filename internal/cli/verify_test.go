package cli_test

import (
	"errors"
	"strings"
	"testing"
	"testing/iotest"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/latchkey-dev/latchkey/internal/token"
)

func TestVerify(t *testing.T) {
	t.Parallel()
	minted, err := token.Mint("lk")
	must(t, err)
	plaintext := minted.Reveal()
	other, err := token.Mint("shop")
	must(t, err)
	mistyped := plaintext[:20] + swap(plaintext[20]) + plaintext[21:]
	cases := map[string]struct {
		input string
		args  []string
		want  error
	}{
		"bare":                   {plaintext, nil, nil},
		"newline":                {plaintext + "\n", nil, nil},
		"newline of Windows":     {plaintext + "\r\n", nil, nil},
		"two newlines":           {plaintext + "\n\n", nil, token.ErrLength},
		"carriage return":        {plaintext + "\r", nil, token.ErrLength},
		"leading space":          {" " + plaintext, nil, token.ErrPrefix},
		"mistyped":               {mistyped, nil, token.ErrChecksum},
		"cut":                    {plaintext[:50], nil, token.ErrLength},
		"underscore inside":      {plaintext[:20] + "_" + plaintext[21:], nil, token.ErrFormat},
		"other prefix":           {other.Reveal(), nil, token.ErrPrefix},
		"much":                   {strings.Repeat(plaintext, 1000), nil, token.ErrLength},
		"only a newline":         {"\n", nil, token.ErrPrefix},
		"prefix that was wanted": {plaintext, []string{"--prefix", "lk"}, nil},
		"prefix that was not":    {plaintext, []string{"--prefix", "shop"}, token.ErrPrefix},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			plain := latchkeyWithInput(t, c.input, "", append([]string{"verify"}, c.args...)...)
			object := latchkeyWithInput(t, c.input, "", append([]string{"verify", "-o", "json"}, c.args...)...)
			wantPlain, wantObject := "well-formed, id "+minted.ID()+"\n", `{"wellFormed":true,"id":"`+minted.ID()+"\"}\n"
			if c.want != nil {
				wantPlain, wantObject = "", `{"wellFormed":false,"reason":"`+c.want.Error()+"\"}\n"
			}
			if !errors.Is(plain.err, c.want) || !errors.Is(object.err, c.want) {
				t.Errorf("errors %v and %v, want %v", plain.err, object.err, c.want)
			}
			if plain.stdout != wantPlain || object.stdout != wantObject {
				t.Errorf("printed %q and %q\nwant    %q and %q", plain.stdout, object.stdout, wantPlain, wantObject)
			}
		})
	}
}

func TestVerifyReads(t *testing.T) {
	t.Parallel()
	latchkey(t, "", "verify").mustFail(t, "read a token from standard input", "it is empty")
	broken := errors.New("input/output error")
	streams, _, _, _ := genericiooptions.NewTestIOStreams()
	streams.In = iotest.ErrReader(broken)
	if err := execute(t.Context(), streams, "", "verify"); !errors.Is(err, broken) {
		t.Errorf("error = %v, want %v", err, broken)
	}
	streams = genericiooptions.IOStreams{In: strings.NewReader(mint(t)), Out: brokenWriter{}, ErrOut: brokenWriter{}}
	if err := execute(t.Context(), streams, "", "verify"); !errors.Is(err, errBroken) {
		t.Errorf("error = %v, want %v", err, errBroken)
	}
}

// Whatever was typed where, the token is not repeated.
func TestVerifyUsage(t *testing.T) {
	t.Parallel()
	plaintext := mint(t)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{plaintext}, "treat that token as leaked"},
		{[]string{"--", plaintext}, "treat that token as leaked"},
		{[]string{"--prefix", "lk", plaintext, "more"}, "treat that token as leaked"},
		{[]string{"--prefix", plaintext}, "--prefix: must be 1 to 16"},
		{[]string{"-o", plaintext}, "-o: must be json"},
		{[]string{"--token", plaintext}, "unknown flag: --token"},
		{[]string{"--token=" + plaintext}, "unknown flag: --token"},
	} {
		r := latchkeyWithInput(t, plaintext, "", append([]string{"verify"}, c.args...)...)
		r.mustFail(t, c.want, "See 'kubectl latchkey verify --help'")
		if strings.Contains(r.err.Error()+r.stdout+r.stderr, plaintext) {
			t.Errorf("%s: the token is repeated", c.want)
		}
	}
}

// swap is another base62 character.
func swap(c byte) string {
	if c == 'A' {
		return "B"
	}
	return "A"
}
