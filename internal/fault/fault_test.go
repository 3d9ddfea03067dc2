package fault_test

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/fault"
	"github.com/latchkey-dev/latchkey/internal/testing/controlplane"
)

// A program that is built without the tag has no trace of fault points. One that is built with
// it has all of these, so the search can find them.
func TestOnlyProgramsForTestsHaveFaultPoints(t *testing.T) {
	// The first begins the names of this package's functions. They are absent where the
	// compiler has removed every call.
	inManager := []string{"latchkey/internal/fault.", "internal/fault/enabled.go", "asked for: %s: %+v"}
	inServer := append([]string{fault.ClockVariable, fault.AcceptVariable, fault.MintedVariable}, inManager...)
	programs := map[string][]string{"manager-faults": inManager, "apiserver-faults": inServer, "manager": nil, "apiserver": nil, "kubectl-latchkey": nil}
	dir := t.TempDir()
	if err := controlplane.InstallPrograms(t.Context(), dir, slices.Collect(maps.Keys(programs))...); err != nil {
		t.Fatal(err)
	}
	for name, want := range programs {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, trace := range inServer {
			switch found := bytes.Contains(content, []byte(trace)); {
			case found && want == nil:
				t.Errorf("%s contains %q: it must have no fault points", name, trace)
			case !found && slices.Contains(want, trace):
				t.Errorf("%s does not contain %q: the test looks for the wrong traces", name, trace)
			}
		}
	}
}
