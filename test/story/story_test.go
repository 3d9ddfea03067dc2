package story_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

// answer is what curl got.
type answer struct {
	status string
	body   map[string]any
}

// curl calls a tenant's API over HTTPS as a customer does, with the development
// CA and the name resolved to loopback.
func (i *installation) curl(t *testing.T, tenant, path, authorization string) answer {
	t.Helper()
	host := tenant + "." + baseDomain
	args := []string{
		"--silent", "--show-error", "--max-time", "20", "--cacert", i.summary.CAFile,
		"--resolve", fmt.Sprintf("%s:%d:127.0.0.1", host, i.summary.HTTPSPort),
		"--write-out", "\n%{http_code}", "-X", "GET", fmt.Sprintf("https://%s:%d%s", host, i.summary.HTTPSPort, path),
	}
	if authorization != "" {
		args = append(args, "-H", "Authorization: "+authorization)
	}
	out, err := exec.CommandContext(t.Context(), "curl", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("curl: %v\n%s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	a := answer{status: lines[len(lines)-1]}
	if err := json.Unmarshal([]byte(strings.Join(lines[:len(lines)-1], "\n")), &a.body); err != nil {
		t.Fatalf("the answer is not JSON: %v\n%s", err, out)
	}
	return a
}

// refused says whether the answer is the problem.
func (a answer) refused(code string) error {
	kind, _ := a.body["type"].(string)
	if a.status != "401" || !strings.HasSuffix(kind, "#"+code) {
		return fmt.Errorf("the answer is %s %v, want 401 %s", a.status, a.body, code)
	}
	return nil
}

const endpoint = "/api/v1/example_endpoint"

// calls waits until the token is answered as expected: watches take a moment.
func (i *installation) calls(t *testing.T, plaintext, problem string) {
	t.Helper()
	testenv.Eventually(t, func() error {
		a := i.curl(t, "acme", endpoint, "token "+plaintext)
		if problem != "" {
			return a.refused(problem)
		}
		if a.status != "200" || a.body["tenant"] != "acme" {
			return fmt.Errorf("the answer is %s %v, want acme's data", a.status, a.body)
		}
		return nil
	})
}

const yaml = `
apiVersion: latchkey.dev/v1alpha1
kind: ApiToken
metadata: {name: %s, namespace: tenant-acme}
spec: {lifetime: %s, scopes: [orders:read], owner: newcomer}
`

// make makes an ApiToken with kubectl apply and mints its token.
func (i *installation) make(t *testing.T, name, lifetime string) (plaintext string) {
	t.Helper()
	must(t)(i.member(t, fmt.Sprintf(yaml, name, lifetime), "kubectl", "apply", "-f", "-"))
	return must(t)(i.member(t, "", "kubectl-latchkey", "issue", name, "-n", "tenant-acme"))
}

func TestStory(t *testing.T) {
	i := start(t)
	printed := i.printedToken(t)

	t.Run("the printed lines work", func(t *testing.T) {
		for scheme, line := range i.summary.Curl {
			cmd := exec.CommandContext(t.Context(), "bash", "-c", line)
			cmd.Env = append(os.Environ(), "TOKEN="+printed)
			out, err := cmd.Output()
			if err != nil || !strings.Contains(string(out), `"tenant":"acme"`) {
				t.Errorf("%s: %v\n%s\n%s", scheme, err, line, out)
			}
		}
	})
	t.Run("no or another token", func(t *testing.T) {
		for authorization, code := range map[string]string{
			"":                                     "authorization-missing",
			"Basic dXNlcjpwYXNz":                   "authorization-malformed",
			"token " + printed[:len(printed)-1]:    "token-invalid",
			"token lk_nonsense":                    "token-invalid",
			"token " + strings.ToUpper(printed):    "token-invalid",
			"token xy" + printed[len("lk"):]:       "token-invalid",
			"token " + printed + " " + printed[:3]: "authorization-malformed",
		} {
			if err := i.curl(t, "acme", endpoint, authorization).refused(code); err != nil {
				t.Errorf("Authorization %.20q: %v", authorization, err)
			}
		}
	})
	t.Run("on another tenant's host", func(t *testing.T) {
		if err := i.curl(t, "globex", endpoint, "token "+printed).refused("token-invalid"); err != nil {
			t.Error(err)
		}
	})
	t.Run("what the token is", func(t *testing.T) {
		a := i.curl(t, "acme", "/api/v1/token", "token "+printed)
		if a.status != "200" || a.body["name"] != "ci" || a.body["tenant"] != "acme" || !strings.Contains(printed, a.body["id"].(string)) {
			t.Errorf("the answer is %s %v", a.status, a.body)
		}
	})
	t.Run("made, used, deleted", func(t *testing.T) {
		plaintext := i.make(t, "mine", "1h")
		i.calls(t, plaintext, "")
		must(t)(i.member(t, "", "kubectl", "delete", "apitoken", "mine", "-n", "tenant-acme"))
		i.calls(t, plaintext, "token-invalid")
	})
	t.Run("revoked", func(t *testing.T) {
		plaintext := i.make(t, "leaked", "1h")
		i.calls(t, plaintext, "")
		must(t)(i.member(t, "", "kubectl-latchkey", "revoke", "leaked", "--yes", "-n", "tenant-acme"))
		i.calls(t, plaintext, "token-revoked")
	})
	t.Run("expired", func(t *testing.T) {
		i.calls(t, i.make(t, "brief", "5s"), "token-expired")
	})
	t.Run("with the manager stopped", func(t *testing.T) {
		deleted, revoked, brief := i.make(t, "deleted", "1h"), i.make(t, "revoked", "1h"), i.make(t, "expiring", "15s")
		for _, plaintext := range []string{deleted, revoked, brief} {
			i.calls(t, plaintext, "")
		}
		thaw := i.freeze(t)
		defer thaw()
		must(t)(i.member(t, "", "kubectl", "delete", "apitoken", "deleted", "-n", "tenant-acme"))
		i.calls(t, deleted, "token-invalid")
		must(t)(i.member(t, "", "kubectl-latchkey", "revoke", "revoked", "--yes", "-n", "tenant-acme"))
		i.calls(t, revoked, "token-revoked")
		i.calls(t, brief, "token-expired")
		must(t)(i.command(t, i.summary.Kubeconfig, "", "kubectl", "patch", "tenant", "acme", "--type=merge", "-p", `{"spec":{"suspended":true}}`))
		testenv.Eventually(t, func() error {
			if a := i.curl(t, "acme", endpoint, "token "+printed); a.status != "403" {
				return fmt.Errorf("the answer for a suspended tenant is %s %v", a.status, a.body)
			}
			return nil
		})
		must(t)(i.command(t, i.summary.Kubeconfig, "", "kubectl", "patch", "tenant", "acme", "--type=merge", "-p", `{"spec":{"suspended":false}}`))
		i.calls(t, printed, "")
	})
	t.Run("explained", func(t *testing.T) {
		out := must(t)(i.member(t, "", "kubectl", "explain", "apitoken.spec.lifetime"))
		if !strings.Contains(out, "counted from its issuedAt") {
			t.Errorf("kubectl explain says:\n%s", out)
		}
	})
	t.Run("the token is nowhere", func(t *testing.T) { i.searchFor(t, printed) })
}

// searchFor looks for a token in every file of the run: etcd's, the logs, the
// kubeconfigs.
func (i *installation) searchFor(t *testing.T, plaintext string) {
	t.Helper()
	id, idFound := strings.Split(plaintext, "_")[1], false
	for _, dir := range []string{"controlplane", "logs", "access", "serving", "samples"} {
		err := filepath.WalkDir(filepath.Join(i.dir, dir), func(path string, entry os.DirEntry, err error) error {
			if err != nil || !entry.Type().IsRegular() {
				return err
			}
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			idFound = idFound || strings.Contains(string(content), id)
			if strings.Contains(string(content), plaintext) {
				t.Errorf("%s holds the token", path)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if !idFound {
		t.Errorf("the token's public id %s was not found either: the search does not see etcd's data", id)
	}
}
