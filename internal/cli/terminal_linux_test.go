package cli_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

// terminal is a pseudo-terminal: what is typed at the keyboard, the plugin reads
// from in, unless a control character is among it.
type terminal struct{ keyboard, in *os.File }

func newTerminal(t testing.TB) terminal {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	must(t, err)
	t.Cleanup(func() { _ = keyboard.Close() })
	descriptor := int(keyboard.Fd())
	must(t, unix.IoctlSetPointerInt(descriptor, unix.TIOCSPTLCK, 0))
	number, err := unix.IoctlGetInt(descriptor, unix.TIOCGPTN)
	must(t, err)
	in, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	must(t, err)
	t.Cleanup(func() { _ = in.Close() })
	return terminal{keyboard, in}
}

func (x terminal) typed(t testing.TB, keys string) terminal {
	t.Helper()
	_, err := x.keyboard.WriteString(keys)
	must(t, err)
	return x
}

// isEchoing says whether the terminal shows what is typed.
func (x terminal) isEchoing() (bool, error) {
	state, err := unix.IoctlGetTermios(int(x.in.Fd()), unix.TCGETS)
	return err == nil && state.Lflag&unix.ECHO != 0, err
}

func (x terminal) mustEcho(t testing.TB, want bool) {
	t.Helper()
	testenv.Eventually(t, func() error {
		got, err := x.isEchoing()
		if err == nil && got != want {
			err = fmt.Errorf("echo = %v, want %v", got, want)
		}
		return err
	})
}

// run runs the plugin at the terminal.
func (x terminal) run(ctx context.Context, kubeconfig string, args ...string) result {
	var out, errOut bytes.Buffer
	err := execute(ctx, genericiooptions.IOStreams{In: x.in, Out: &out, ErrOut: &errOut}, kubeconfig, args...)
	return result{out.String(), errOut.String(), err}
}

func TestRevokeAsksAtATerminal(t *testing.T) {
	_, namespace, kubeconfig := tenantAdmin(t)
	for name, c := range map[string]struct{ typed, err string }{
		"right": {"right\n", ""},
		"wrong": {"yes\n", `ApiToken "wrong" in namespace "` + namespace + `" was not revoked: the answer was not its name`},
		"none":  {"\x04", `ApiToken "none" in namespace "` + namespace + `" was not revoked, for want of an answer`},
	} {
		t.Run(name, func(t *testing.T) {
			object := applyToken(t, namespace, name, func(o *v1alpha1.ApiToken) { o.Spec.Credential = credential(t) })
			r := newTerminal(t).typed(t, c.typed).run(t.Context(), kubeconfig, "revoke", name, "-n", namespace)
			if question := fmt.Sprintf("%q, id %s, stops working for good. Type its name", namespace, object.Spec.Credential.ID); !strings.Contains(r.stderr, question) {
				t.Errorf("standard error lacks %q:\n%s", question, r.stderr)
			}
			if c.err == "" {
				r.mustSucceed(t)
			} else {
				r.mustFail(t, c.err)
			}
			if got := getToken(t, namespace, name).Spec.Revoked; got != (c.err == "") {
				t.Errorf("revoked = %v", got)
			}
		})
	}
}

func TestRevokeAsksForEachName(t *testing.T) {
	_, namespace, kubeconfig := tenantAdmin(t)
	applyToken(t, namespace, "first")
	applyToken(t, namespace, "second")
	applyToken(t, namespace, "third")
	newTerminal(t).typed(t, "first\n\nthird\n").run(t.Context(), kubeconfig, "revoke", "first", "second", "third", "-n", namespace).
		mustFail(t, "1 of 3 ApiTokens were not revoked", `"second"`)
	for name, want := range map[string]bool{"first": true, "second": false, "third": true} {
		if got := getToken(t, namespace, name).Spec.Revoked; got != want {
			t.Errorf("%s: revoked = %v, want %v", name, got, want)
		}
	}
}

func TestRevokeIsInterrupted(t *testing.T) {
	_, namespace, kubeconfig := tenantAdmin(t)
	applyToken(t, namespace, "ci")
	ctx, cancel := context.WithCancel(t.Context())
	asked := writerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil })
	streams := genericiooptions.IOStreams{In: newTerminal(t).in, Out: io.Discard, ErrOut: asked}
	if err := execute(ctx, streams, kubeconfig, "revoke", "ci", "-n", namespace); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want %v", err, context.Canceled)
	}
	if getToken(t, namespace, "ci").Spec.Revoked {
		t.Error("was revoked all the same")
	}
}

func TestVerifyHidesWhatIsTyped(t *testing.T) {
	x := newTerminal(t)
	plaintext := mint(t)
	done := make(chan result)
	go func() { done <- x.run(t.Context(), "", "verify") }()
	x.mustEcho(t, false)
	x.typed(t, plaintext+"\n")
	r := (<-done).mustSucceed(t)
	if want := "well-formed, id " + plaintext[3:13] + "\n"; r.stdout != want {
		t.Errorf("stdout = %q, want %q", r.stdout, want)
	}
	x.mustEcho(t, true)
	x.typed(t, "end\n")
	if shown := x.shown(t, "end"); strings.Contains(shown, plaintext) {
		t.Errorf("the terminal showed %q", shown)
	}
}

// shown is what the terminal has shown, up to the word given.
func (x terminal) shown(t testing.TB, last string) string {
	t.Helper()
	var shown strings.Builder
	buffer := make([]byte, 256)
	for !strings.Contains(shown.String(), last) {
		n, err := x.keyboard.Read(buffer)
		must(t, err)
		shown.Write(buffer[:n])
	}
	return shown.String()
}

func TestVerifyIsInterrupted(t *testing.T) {
	x := newTerminal(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan result)
	go func() { done <- x.run(ctx, "", "verify") }()
	x.mustEcho(t, false)
	cancel()
	if r := <-done; !errors.Is(r.err, context.Canceled) {
		t.Errorf("error = %v, want %v", r.err, context.Canceled)
	}
	if echo, err := x.isEchoing(); !echo || err != nil {
		t.Errorf("the terminal was left without echo: %v", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// Of many, their number is asked for: no habit types it.
func TestRevokeManyAsksForTheirNumber(t *testing.T) {
	_, namespace, kubeconfig := tenantAdmin(t)
	for _, name := range []string{"one", "two"} {
		applyToken(t, namespace, name)
	}
	newTerminal(t).typed(t, "y\n").run(t.Context(), kubeconfig, "revoke", "--all", "-n", namespace).mustFail(t, "nothing was done: the answer was not their number")
	if getToken(t, namespace, "one").Spec.Revoked {
		t.Error("was revoked all the same")
	}
	r := newTerminal(t).typed(t, "2\n").run(t.Context(), kubeconfig, "revoke", "--all", "-n", namespace).mustSucceed(t)
	if !strings.Contains(r.stderr, "These stop working for good. Type 2, their number") || !getToken(t, namespace, "one").Spec.Revoked || !getToken(t, namespace, "two").Spec.Revoked {
		t.Errorf("stderr = %s", r.stderr)
	}
}

// Ending a token that is still used asks for the name.
func TestDropPreviousAsks(t *testing.T) {
	_, namespace, kubeconfig := tenantAdmin(t)
	previous := within(t, namespace, "busy", usedLately).Status.PreviousCredential.ID
	newTerminal(t).typed(t, "y\n").run(t.Context(), kubeconfig, "rotate", "busy", "-n", namespace, "--drop-previous").mustFail(t, "was left as it is")
	newTerminal(t).typed(t, "busy\n").run(t.Context(), kubeconfig, "rotate", "busy", "-n", namespace, "--drop-previous").mustSucceed(t)
	if got := getToken(t, namespace, "busy").Spec.Rotation; got == nil || got.DropPrevious != previous {
		t.Errorf("rotation = %+v", got)
	}
}
