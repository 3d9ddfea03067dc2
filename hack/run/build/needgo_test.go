package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/testing/programs"
)

// The script runs before anything of Go's does, since an old Go cannot compile what would
// say so.
func TestNeedGo(t *testing.T) {
	for name, test := range map[string]struct {
		// script stands for go; empty means that there is no go.
		script, wants string
	}{
		"none":                     {"", "The command go is missing: install Go 1."},
		"recent":                   {"echo go1.99.0", ""},
		"recent, not released yet": {"echo go1.99rc1", ""},
		"too old, and kept so":     {"echo go1.24.5", "and this is Go 1.24.5: install it from https://go.dev/dl. (Go 1.21"},
		"too old by a patch":       {"echo go1.26.0", "and this is Go 1.26.0"},
		"too old, and no network":  {"echo 'go: downloading go1.26.6'; echo 'go: download go1.26.6: toolchain not available'; exit 1", "could not get it: install it from https://go.dev/dl. Go says: go: download go1.26.6: toolchain not available"},
		"too old to understand it": {"echo 'go: errors parsing go.mod: invalid go version'; exit 1", "Go says: go: errors parsing go.mod"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), "bash", filepath.Join(programs.Root(), "hack", "run", "need-go.sh"))
			cmd.Env = []string{"PATH=" + pathWith(t, test.script)}
			said, err := cmd.CombinedOutput()
			if (err == nil) != (test.wants == "") || !strings.Contains(string(said), test.wants) {
				t.Errorf("%v, said %q; want %q", err, said, test.wants)
			}
			if strings.Count(string(said), "\n") > 1 {
				t.Errorf("said %q; want one line", said)
			}
		})
	}
}

// pathWith is a folder with the commands that the script needs, and a go.
func pathWith(t *testing.T, script string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"bash", "dirname", "awk"} {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if script == "" {
		return dir
	}
	if err := os.WriteFile(filepath.Join(dir, "go"), fmt.Appendf(nil, "#!%s/bash\n%s\n", dir, script), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}
