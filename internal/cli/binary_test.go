package cli_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/testing/controlplane"
)

// plugin is the built plugin: some promises are the process's.
var plugin = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(env().Dir, "plugin")
	return filepath.Join(dir, "kubectl-latchkey"), controlplane.InstallPrograms(context.Background(), dir, "kubectl-latchkey")
})

// pluginCommand is a run of the built plugin, and its standard error.
func pluginCommand(t testing.TB, args ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	file, err := plugin()
	must(t, err)
	command := exec.CommandContext(t.Context(), file, args...)
	stderr := &bytes.Buffer{}
	command.Stderr = stderr
	return command, stderr
}

func mustExit(t testing.TB, err error, want int) {
	t.Helper()
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got, err = exit.ExitCode(), nil
	}
	if err != nil || got != want {
		t.Errorf("exit code %d, %v; want %d", got, err, want)
	}
}

func TestErrorsArePrintedOnce(t *testing.T) {
	t.Parallel()
	command, stderr := pluginCommand(t, "verify")
	command.Stdin = strings.NewReader("no token")
	stdout, err := command.Output()
	mustExit(t, err, 1)
	if want := "error: standard input is not a token: it does not begin with the expected prefix and an underscore\n"; stderr.String() != want || len(stdout) != 0 {
		t.Errorf("stdout = %q, stderr = %q, want %q", stdout, stderr, want)
	}
}

func TestVerboseLogHoldsNoToken(t *testing.T) {
	t.Parallel()
	tenant, namespace, kubeconfig := tenantAdmin(t)
	command, stderr := pluginCommand(t, "create", "ci", "-n", namespace, "--kubeconfig", kubeconfig, "--wait", "0", "-v=9")
	stdout, err := command.Output()
	mustExit(t, err, 0)
	plaintext := result{stdout: string(stdout), stderr: stderr.String()}.mustPrintToken(t, "lk")
	object := getToken(t, namespace, "ci")
	mustMatch(t, object, tenant, plaintext)
	if !strings.Contains(stderr.String(), object.Spec.Credential.Digest) {
		t.Error("the log does not hold the requests, of which it was to be shown that they hold no token")
	}
	if _, secret, _ := strings.Cut(plaintext[3:], "_"); strings.Contains(stderr.String(), secret) {
		t.Error("the log holds the token's secret")
	}
}

func TestTokenLostToAClosedPipe(t *testing.T) {
	t.Parallel()
	reader, writer, err := os.Pipe()
	must(t, err)
	must(t, reader.Close())
	mustLose(t, writer)
}

// mustLose issues a token to an output that can't take it, and closes that.
func mustLose(t *testing.T, stdout *os.File) {
	t.Helper()
	defer func() { must(t, stdout.Close()) }()
	_, namespace, kubeconfig := tenantAdmin(t)
	command, stderr := pluginCommand(t, "create", "ci", "-n", namespace, "--kubeconfig", kubeconfig, "--wait", "0")
	command.Stdout = stdout
	mustExit(t, command.Run(), 1)
	id := getToken(t, namespace, "ci").Spec.Credential.ID
	if !strings.Contains(stderr.String(), "error: the token with id "+id+" is lost") {
		t.Errorf("stderr = %s", stderr)
	}
}

// An interrupt ends the wait, not the delivery.
func TestInterruptKeepsTheToken(t *testing.T) {
	t.Parallel()
	tenant, namespace, kubeconfig := tenantAdmin(t)
	for name, output := range map[string]string{"plain": "", "object": "json"} {
		t.Run(name, func(t *testing.T) {
			command, stderr := pluginCommand(t, "create", name, "-n", namespace, "--kubeconfig", kubeconfig, "--wait", "10m", "-o", output)
			stdout, err := command.StdoutPipe()
			must(t, err)
			must(t, command.Start())
			manage(t, namespace, name, func(*v1alpha1.ApiToken) {
				if err := command.Process.Signal(os.Interrupt); err != nil {
					t.Error(err)
				}
			})
			printed, err := io.ReadAll(bufio.NewReader(stdout))
			must(t, err)
			mustExit(t, command.Wait(), 0)
			plaintext := strings.TrimSpace(string(printed))
			if output == "json" {
				plaintext = between(plaintext, `"token":"`, `"`)
			}
			mustMatch(t, getToken(t, namespace, name), tenant, plaintext)
			if !strings.Contains(stderr.String(), "has not confirmed it yet") {
				t.Errorf("stderr = %s", stderr)
			}
		})
	}
}

func between(s, before, after string) string {
	_, s, _ = strings.Cut(s, before)
	s, _, _ = strings.Cut(s, after)
	return s
}

func TestThroughKubectl(t *testing.T) {
	t.Parallel()
	_, namespace, kubeconfig := tenantAdmin(t)
	applyToken(t, namespace, "ci")
	file, err := plugin()
	must(t, err)
	dir := t.TempDir()
	must(t, os.Symlink(file, filepath.Join(dir, "kubectl-latchkey")))
	help := latchkey(t, "", "completion", "--help").mustSucceed(t).stdout
	script := strings.ReplaceAll(between(help, "<<'EOF'\n", "  EOF"), "  ", "")
	must(t, os.WriteFile(filepath.Join(dir, "kubectl_complete-latchkey"), []byte(script), 0o700))
	kubectl := func(args ...string) string {
		command := exec.CommandContext(t.Context(), filepath.Join(env().Binaries, "kubectl"), args...)
		command.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig, "PATH="+strings.Join([]string{dir, env().Binaries, os.Getenv("PATH")}, string(os.PathListSeparator)))
		out, err := command.Output()
		mustExit(t, err, 0)
		return string(out)
	}
	if got := kubectl("latchkey", "version"); !strings.HasPrefix(got, "kubectl-latchkey v9.9.9 ") {
		t.Errorf("kubectl latchkey version printed %q", got)
	}
	if got := kubectl("__complete", "latchkey", "issue", "-n", namespace, ""); !strings.HasPrefix(got, "ci\n") {
		t.Errorf("kubectl completes %q", got)
	}
}
