//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// world is the cluster, and what the chapters know of it.
type world struct {
	install, ingress, work, trustedProxies, images, gatewayImage, domain string
	ca                                                                   *authority

	// snapshot is what was in the cluster before Latchkey.
	snapshot []string
	// token is one of acme's, good for all of the story.
	token string
	// tokens are all that were seen.
	tokens []string
}

// within is what should take a moment, on a machine that is busy.
const within = time.Minute

// eventually asks until the answer is nil, and says how long that took.
func eventually(t *testing.T, patience time.Duration, condition func() error) time.Duration {
	t.Helper()
	start := time.Now()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := condition()
		took := time.Since(start)
		if err == nil {
			return took.Round(10 * time.Millisecond)
		}
		if took > patience {
			t.Fatalf("not within %s: %v", patience, err)
		}
		select {
		case <-t.Context().Done():
			t.Fatal(err)
		case <-tick.C:
		}
	}
}

// run runs a command in the folder that has dist/.
func (w *world) run(ctx context.Context, stdin, name string, args ...string) (stdout, stderr string, err error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Stdin = w.work, strings.NewReader(stdin)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err = cmd.Run()
	return out.String(), errOut.String(), err
}

// do runs a command that has to succeed, and returns what it printed.
func (w *world) do(t *testing.T, stdin, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	stdout, stderr, err := w.run(ctx, stdin, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, stdout, stderr)
	}
	return strings.TrimSpace(stdout)
}

// sh runs a script of the guides.
func (w *world) sh(t *testing.T, script string) {
	t.Helper()
	w.do(t, "", "bash", "-euo", "pipefail", "-c", script)
}

func (w *world) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	return w.do(t, "", "kubectl", args...)
}

func (w *world) apply(t *testing.T, yaml string) {
	t.Helper()
	w.do(t, yaml, "kubectl", "apply", "--server-side", "-f", "-")
}

// guide returns the commands below a heading of the guide, a block each.
func guide(t *testing.T, file, heading, language string) []string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root(t), "docs", "guides", file))
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(content), "\n## "+heading+"\n")
	if !found {
		t.Fatalf("%s has no section %s", file, heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var blocks []string
	for _, match := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(section, -1) {
		blocks = append(blocks, match[1])
	}
	if len(blocks) == 0 {
		t.Fatalf("%s has no block in %s below %s", file, language, heading)
	}
	return blocks
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// host is a tenant's.
func (w *world) host(tenant string) string { return tenant + "." + w.domain }

// answer is what curl got.
type answer struct {
	status int
	header string
	body   string
}

// problem is the code of a refusal.
func (a answer) problem() string {
	var p struct{ Type string }
	_ = json.Unmarshal([]byte(a.body), &p) // what is no problem has no code
	_, code, _ := strings.Cut(p.Type, "#")
	return code
}

// is says whether the answer is the one that is wanted: a status, or a refusal's
// status and code.
func (a answer) is(status int, problem string) error {
	if a.status != status || a.problem() != problem {
		return fmt.Errorf("the answer is %d %s, want %d %s", a.status, strings.TrimSpace(a.body), status, problem)
	}
	return nil
}

// tryCurl calls a tenant's host through the Ingress as a customer does. Status 0
// means that no answer came; the body says why.
func (w *world) tryCurl(ctx context.Context, tenant, path, plaintext string, args ...string) answer {
	host := w.host(tenant)
	args = append([]string{
		"--silent", "--show-error", "--max-time", "120", "--cacert", w.ca.file,
		"--resolve", host + ":443:" + w.ingress, "--dump-header", "/dev/stderr", "--write-out", "\n%{http_code}",
		"https://" + host + path,
	}, args...)
	if plaintext != "" {
		args = append(args, "-H", "Authorization: token "+plaintext)
	}
	stdout, stderr, err := w.run(ctx, "", "curl", args...)
	if err != nil {
		return answer{body: fmt.Sprintf("curl: %v: %s", err, stderr)}
	}
	i := strings.LastIndexByte(stdout, '\n')
	status, _ := strconv.Atoi(stdout[i+1:]) // 0 where there was no answer
	return answer{status: status, header: stderr, body: stdout[:i]}
}

func (w *world) curl(t *testing.T, tenant, path, plaintext string, args ...string) answer {
	t.Helper()
	return w.tryCurl(t.Context(), tenant, path, plaintext, args...)
}

const endpoint = "/api/v1/example_endpoint"

// answered waits until a call of acme's API with the token is answered so.
func (w *world) answered(t *testing.T, plaintext string, status int, problem string) time.Duration {
	t.Helper()
	return eventually(t, within, func() error { return w.curl(t, "acme", endpoint, plaintext).is(status, problem) })
}

// create makes a token of acme's, with the rights of acme's admin.
func (w *world) create(t *testing.T, name string, args ...string) (plaintext string) {
	t.Helper()
	args = append([]string{"latchkey", "create", name, "-n", "tenant-acme", "--as", "acme-admin", "--scope", "orders:read", "--wait", "30s"}, args...)
	plaintext = w.kubectl(t, args...)
	w.tokens = append(w.tokens, plaintext)
	return plaintext
}

// available waits until the Deployments are as they were asked to be.
func (w *world) available(t *testing.T, deployments ...string) {
	t.Helper()
	for _, d := range deployments {
		w.kubectl(t, "-n", system, "rollout", "status", "deployment/"+d, "--timeout=2m")
	}
}

const system = "latchkey-system"

var deployments = []string{"latchkey-manager", "latchkey-apiserver", "latchkey-portal"}
