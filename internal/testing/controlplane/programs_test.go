package controlplane_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/testing/controlplane"
)

const (
	folderVariable = "LATCHKEY_TEST_PROGRAMS"
	idVariable     = "LATCHKEY_TEST_PROGRAM_FLOODER"
)

// Without the variables a test gets its programs all the same.
func TestInstallProgramsBuilds(t *testing.T) {
	t.Setenv(folderVariable, "")
	dir := filepath.Join(t.TempDir(), "new")
	if err := controlplane.InstallPrograms(t.Context(), dir, "flooder"); err != nil {
		t.Fatal(err)
	}
	mustBeProgram(t, filepath.Join(dir, "flooder"))
	err := controlplane.InstallPrograms(t.Context(), dir, "invented")
	if err == nil || !strings.Contains(err.Error(), "there is no program invented") {
		t.Errorf("the error is %v", err)
	}
}

// What hack/testprograms.sh has built is installed, until something else is in its place.
func TestInstallProgramsTakesWhatWasBuilt(t *testing.T) {
	built := t.TempDir()
	out, err := exec.CommandContext(t.Context(), "bash", filepath.Join(controlplane.Root(), "hack/testprograms.sh"), built, "flooder").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if name != folderVariable && name != idVariable || value == "" {
			t.Fatalf("the script prints %q", line)
		}
		t.Setenv(name, value)
	}
	dir := t.TempDir()
	if err := controlplane.InstallPrograms(t.Context(), dir, "flooder"); err != nil {
		t.Fatal(err)
	}
	mustBeProgram(t, filepath.Join(dir, "flooder"))

	t.Setenv(idVariable, "of an older build")
	err = controlplane.InstallPrograms(t.Context(), t.TempDir(), "flooder")
	if err == nil || !strings.Contains(err.Error(), "was built again after these tests began") {
		t.Errorf("with another build ID: %v", err)
	}
	t.Setenv(idVariable, "")
	err = controlplane.InstallPrograms(t.Context(), t.TempDir(), "flooder")
	if err == nil || !strings.Contains(err.Error(), idVariable+" is not") {
		t.Errorf("without a build ID: %v", err)
	}
}

func mustBeProgram(t *testing.T, file string) {
	t.Helper()
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if !info.Mode().IsRegular() || info.Mode()&0o100 == 0 || info.Size() == 0 {
		t.Errorf("%s is no program: %s, %d bytes", file, info.Mode(), info.Size())
	}
}
