package story_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/internal/testing/controlplane"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
	"github.com/latchkey-dev/latchkey/internal/token"
)

const baseDomain = "story.example"

// installation is what make run started.
type installation struct {
	dir     string
	pid     int
	output  *buffer
	summary struct {
		HTTPPort         int               `json:"httpPort"`
		HTTPSPort        int               `json:"httpsPort"`
		Kubeconfig       string            `json:"kubeconfig"`
		MemberKubeconfig string            `json:"memberKubeconfig"`
		CAFile           string            `json:"caFile"`
		Curl             map[string]string `json:"curl"`
		Settings         string            `json:"settings"`
	}
}

// start runs what `make run` runs, on ports of its own.
func start(t *testing.T) *installation {
	t.Helper()
	return startAt(t, baseDomain)
}

// startAt is start with the base domain, and with more in the environment.
func startAt(t *testing.T, baseDomain string, environment ...string) *installation {
	t.Helper()
	i := &installation{dir: filepath.Join(t.TempDir(), "run"), output: &buffer{}}
	bin := t.TempDir()
	err := errors.Join(
		controlplane.InstallPrograms(t.Context(), bin, "run"),
		controlplane.DependOnPrograms("manager", "apiserver", "kubectl-latchkey"), // which it builds itself
	)
	if err != nil {
		t.Fatal(err)
	}
	run := exec.Command(filepath.Join(bin, "run"))
	run.Dir = controlplane.Root()
	run.Env = append(os.Environ(), "HTTP_PORT=0", "HTTPS_PORT=0", "BASE_DOMAIN="+baseDomain, "RUN_DIR="+i.dir)
	run.Env = append(run.Env, environment...)
	run.Stdout, run.Stderr = i.output, i.output
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	i.pid = run.Process.Pid
	ended := make(chan error, 1)
	go func() { ended <- run.Wait() }()
	t.Cleanup(func() { i.stop(t, run, ended) })

	// It builds the programs first, which takes minutes where nothing of them is cached.
	testenv.Within(t, 5*time.Minute, func() error {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("make run ended: %v\n%s", err, i.output)
		default:
		}
		content, err := os.ReadFile(filepath.Join(i.dir, "summary.json"))
		if err != nil {
			return err
		}
		return json.Unmarshal(content, &i.summary)
	})
	return i
}

// stop interrupts make run as Ctrl-C does, and checks that nothing is left.
func (i *installation) stop(t *testing.T, run *exec.Cmd, ended chan error) {
	if err := run.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Error(err)
	}
	select {
	case err := <-ended:
		t.Logf("make run ended: %v", err)
	case <-time.After(time.Minute):
		_ = run.Process.Kill()
		t.Errorf("make run did not end:\n%s", i.output)
	}
	if code := run.ProcessState.ExitCode(); code != 130 {
		t.Errorf("exit code %d, want 130\n%s", code, i.output)
	}
	if left := i.processes(t, ""); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
	for _, name := range []string{"kubeconfig", "controlplane", "access", "summary.json"} {
		if _, err := os.Stat(filepath.Join(i.dir, name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is left: %v", name, err)
		}
	}
}

// processes finds those that run from, or with, the installation's folder.
func (i *installation) processes(t *testing.T, program string) []int {
	t.Helper()
	out, err := exec.Command("ps", "-A", "-o", "pid=,args=").Output()
	if err != nil {
		t.Fatalf("ps (Debian's package procps) lists the processes that this test looks at: %v", err)
	}
	var pids []int
	for line := range strings.Lines(string(out)) {
		pid, args, _ := strings.Cut(strings.TrimSpace(line), " ")
		if id, err := strconv.Atoi(pid); err == nil && id != i.pid && strings.Contains(args, filepath.Join(i.dir, program)) {
			pids = append(pids, id)
		}
	}
	return pids
}

// freeze stops the manager, as a node that hangs would, until thaw is called.
func (i *installation) freeze(t *testing.T) (thaw func()) {
	t.Helper()
	pids := i.processes(t, "programs/manager")
	if len(pids) != 1 {
		t.Fatalf("found the managers %v, want one", pids)
	}
	signal := func(s syscall.Signal) {
		if err := syscall.Kill(pids[0], s); err != nil {
			t.Fatal(err)
		}
	}
	signal(syscall.SIGSTOP)
	return func() { signal(syscall.SIGCONT) }
}

// member runs a command with the rights of the tenant's admin.
func (i *installation) member(t *testing.T, stdin, name string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	return i.command(t, i.summary.MemberKubeconfig, stdin, name, args...)
}

func (i *installation) command(t *testing.T, kubeconfig, stdin, name string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	bin := filepath.Join(i.dir, "bin")
	cmd := exec.CommandContext(ctx, filepath.Join(bin, name), args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig, "PATH="+bin+":"+os.Getenv("PATH"))
	cmd.Stdin = strings.NewReader(stdin)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err = cmd.Run()
	return out.String(), errOut.String(), err
}

// must is for commands that have to succeed.
func must(t *testing.T) func(stdout, stderr string, err error) string {
	return func(stdout, stderr string, err error) string {
		t.Helper()
		if err != nil {
			t.Fatalf("%v\n%s%s", err, stdout, stderr)
		}
		return strings.TrimSpace(stdout)
	}
}

// printedToken is the one that make run showed.
func (i *installation) printedToken(t *testing.T) string {
	t.Helper()
	found := regexp.MustCompile(token.Pattern("lk")).FindAllString(i.output.String(), -1)
	if len(found) != 1 {
		t.Fatalf("the output has %d tokens, want one:\n%s", len(found), i.output)
	}
	return found[0]
}

// buffer is a bytes.Buffer for two goroutines.
type buffer struct {
	mu      sync.Mutex
	content bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.content.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.content.String()
}
