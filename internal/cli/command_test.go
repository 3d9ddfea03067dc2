package cli_test

import (
	"runtime"
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

func TestRoot(t *testing.T) {
	t.Parallel()
	if r := latchkey(t, "").mustSucceed(t); !strings.Contains(r.stdout, "Usage:\n  kubectl latchkey") {
		t.Errorf("stdout = %q", r.stdout)
	}
	plaintext := mint(t)
	for arg, want := range map[string]string{
		"lst":     `there is no command "lst": did you mean list?`,
		"xyzzy":   `there is no command "xyzzy"`,
		plaintext: "treat that token as leaked",
	} {
		r := latchkey(t, "", arg).mustFail(t, want, "See 'kubectl latchkey --help'")
		if strings.Contains(r.err.Error(), plaintext) {
			t.Error("repeats the token")
		}
	}
}

// A token in an argument is refused and not repeated, also where it is cut off,
// mistyped or part of more: standard error is kept too.
func TestTokensAreNoArguments(t *testing.T) {
	t.Parallel()
	plaintext := mint(t)
	for _, arg := range []string{plaintext, plaintext[:len(plaintext)-1] + "~", plaintext[:40], "name=" + plaintext + " "} {
		for _, args := range [][]string{{arg}, {"show", arg}, {"create", arg}, {"issue", arg}, {"revoke", arg, "--yes"}, {"rotate", arg, "--yes"}} {
			r := latchkey(t, "", args...).mustFail(t, "treat that token as leaked", "id "+plaintext[3:13])
			if strings.Contains(r.stdout+r.stderr+r.err.Error(), plaintext[14:30]) {
				t.Errorf("%s repeats the token", args[0])
			}
		}
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	want := "kubectl-latchkey v0.0.0-test (" + runtime.Version() + ", " + runtime.GOOS + "/" + runtime.GOARCH + ")\n"
	if r := latchkey(t, "", "version").mustSucceed(t); r.stdout != want {
		t.Errorf("stdout = %q, want %q", r.stdout, want)
	}
	latchkey(t, "", "version", "x").mustFail(t, "no arguments are expected")
}

func TestKubeconfigErrors(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"create", "ci"}, {"issue", "ci"}, {"list"}, {"revoke", "ci", "--yes"}, {"rotate", "ci"}, {"show", "ci"}, {"audit"}, {"whoami"}, {"settings"}} {
		latchkey(t, "/nonexistent", args...).mustFail(t, "in the kubeconfig", "/nonexistent")
	}
	kubeconfig := proxy{}.kubeconfig(t)
	latchkey(t, kubeconfig, "list", "--context", "absent").mustFail(t, "in the kubeconfig", "absent")
	latchkey(t, kubeconfig, "list", "--server", "http://127.0.0.1:1").mustFail(t, "list ApiTokens", "127.0.0.1:1")
}

func TestImpersonation(t *testing.T) {
	t.Parallel()
	_, namespace := newTenant(t)
	member(t, "as@example.com", namespace, v1alpha1.TenantViewerClusterRole)
	kubeconfig := proxy{}.kubeconfig(t)
	args := []string{"create", "ci", "-n", namespace, "--as", "as@example.com", "--as-group", "system:authenticated"}
	latchkey(t, kubeconfig, args...).mustFail(t, "you may not create apitokens", `User "as@example.com"`)
}

func TestCompletionScripts(t *testing.T) {
	t.Parallel()
	for shell, want := range map[string]string{
		"bash": "complete -o default", "zsh": "#compdef kubectl-latchkey", "fish": "complete -c kubectl-latchkey", "powershell": "Register-ArgumentCompleter",
	} {
		if r := latchkey(t, "", "completion", shell).mustSucceed(t); !strings.Contains(r.stdout, want) {
			t.Errorf("completion %s lacks %q", shell, want)
		}
	}
	latchkey(t, "", "completion", "tcsh").mustFail(t, `shell "tcsh" is not known`, "See 'kubectl latchkey completion --help'")
	latchkey(t, "", "completion").mustFail(t, "name one shell")
	if r := latchkey(t, "", "completion", "--help").mustSucceed(t); !strings.Contains(r.stdout, `exec kubectl latchkey __complete "$@"`) {
		t.Error("the help does not say what kubectl_complete-latchkey is")
	}
}

func TestNamesAreCompleted(t *testing.T) {
	t.Parallel()
	tenant, namespace := newTenant(t)
	viewer := member(t, "vi@example.com", namespace, v1alpha1.TenantViewerClusterRole)
	applyToken(t, namespace, "awaiting", func(o *v1alpha1.ApiToken) { o.Spec.Description = "for \x1bCI" })
	applyToken(t, namespace, "issued", func(o *v1alpha1.ApiToken) { o.Spec.Credential = credential(t) })
	applyToken(t, namespace, "revoked", func(o *v1alpha1.ApiToken) { o.Spec.Revoked = true })
	const noFiles = ":4\n"
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"issue", ""}, "awaiting\tfor \uFFFDCI\n" + noFiles},
		{[]string{"issue", "awaiting", ""}, noFiles},
		{[]string{"revoke", ""}, "awaiting\tfor \uFFFDCI\nissued\n" + noFiles},
		{[]string{"revoke", "awaiting", ""}, "issued\n" + noFiles},
		{[]string{"create", ""}, noFiles},
		{[]string{"list", "-o", ""}, "wide\njson\nyaml\nname\n" + noFiles},
		{[]string{"verify", "-o", ""}, "json\n" + noFiles},
		{[]string{"revoke", "-n", "default", ""}, ":1\n"},
		{[]string{"rotate", ""}, "issued\n" + noFiles},
		{[]string{"rotate", "issued", ""}, noFiles},
		{[]string{"rotate", "--dry-run", ""}, "none\nclient\n" + noFiles},
		{[]string{"show", ""}, "awaiting\tfor \uFFFDCI\nissued\nrevoked\n" + noFiles},
		{[]string{"audit", "-o", ""}, "wide\njson\ncsv\n" + noFiles},
		{[]string{"whoami", "-o", ""}, "json\n" + noFiles},
		{[]string{"settings", ""}, tenant + "\n" + noFiles},
		{[]string{"settings", tenant, ""}, noFiles},
		{[]string{"settings", "-n", "default", ""}, ":1\n"},
	} {
		args := append([]string{"__complete", "--kubeconfig", viewer, "-n", namespace}, c.args...)
		if r := latchkey(t, "", args...).mustSucceed(t); r.stdout != c.want {
			t.Errorf("%v completes to %q, want %q", c.args, r.stdout, c.want)
		}
	}
}
