package fault_test

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/fault"
	"github.com/latchkey-dev/latchkey/internal/testing/controlplane"
)

// A program that is built without the tag has no trace of fault points. One that is built with
// it has each of these, so the search can find them.
func TestOnlyProgramsForTestsHaveFaultPoints(t *testing.T) {
	inAll := []string{"asked for: %s: %+v", "internal/fault/enabled.go"}
	inServer := append([]string{fault.ClockVariable, fault.AcceptVariable, fault.MintedVariable}, inAll...)
	programs := map[string][]string{"manager-faults": inAll, "apiserver-faults": inServer, "manager": nil, "apiserver": nil, "kubectl-latchkey": nil}
	dir := t.TempDir()
	if err := controlplane.InstallPrograms(t.Context(), dir, slices.Collect(maps.Keys(programs))...); err != nil {
		t.Fatal(err)
	}
	for name, wanted := range programs {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, trace := range wanted {
			if !bytes.Contains(content, []byte(trace)) {
				t.Errorf("%s does not contain %q: the search is for the wrong traces", name, trace)
			}
		}
		for _, trace := range inServer {
			if wanted == nil && bytes.Contains(content, []byte(trace)) {
				t.Errorf("%s contains %q", name, trace)
			}
		}
	}
	if code := functions(t, filepath.Join(dir, "apiserver-faults")); len(code) == 0 {
		t.Error("no function of this package is found in apiserver-faults")
	}
	for _, name := range []string{"manager", "apiserver", "kubectl-latchkey"} {
		if code := functions(t, filepath.Join(dir, name)); len(code) > 0 {
			t.Errorf("%s has functions of this package, which the compiler should have removed: %s", name, code)
		}
	}
}

// functions are those of the package in a program's symbol table.
func functions(t *testing.T, program string) (found []string) {
	t.Helper()
	table, err := exec.CommandContext(t.Context(), "go", "tool", "nm", program).Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(table)) {
		if strings.Contains(line, "latchkey/internal/fault.") {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}
