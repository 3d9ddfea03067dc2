package controlplane_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/testing/controlplane"
)

func TestOverlayChange(t *testing.T) {
	const path, present = "internal/invented.go", "one, two, three"
	for name, test := range map[string]struct {
		path    string
		fromTo  []string
		want    string
		refused string
	}{
		"some":             {path, []string{"one", "1", "three", "3"}, "1, two, 3", ""},
		"one after other":  {path, []string{"one", "four", "four", "4"}, "4, two, three", ""},
		"nothing":          {path, nil, present, ""},
		"a text not there": {path, []string{"one", "1", "four", "4"}, present, `0 times, not once, the text "four"`},
		"a text twice":     {path, []string{"t", "T"}, present, `2 times, not once, the text "t"`},
		"no pairs":         {path, []string{"one"}, present, "1 texts are no pairs"},
		"a file not there": {"internal/none.go", nil, present, "internal/none.go: no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			o := controlplane.Overlay{path: present}
			switch err := o.Change(test.path, test.fromTo...); {
			case test.refused == "" && err != nil:
				t.Error(err)
			case test.refused != "" && (err == nil || !strings.Contains(err.Error(), test.refused)):
				t.Errorf("the error is %v, want one with %q", err, test.refused)
			}
			if o[path] != test.want {
				t.Errorf("the file is %q, want %q", o[path], test.want)
			}
		})
	}
}

// What is built has what was changed and what was added, and the repository has neither.
func TestOverlayBuild(t *testing.T) {
	o := controlplane.Overlay{"cmd/kubectl-latchkey/added.go": "package main\n\nfunc added() { println(\"added\") }\n"}
	if err := o.Change("cmd/kubectl-latchkey/main.go", "func main() {\n", "func main() {\n\tadded()\n"); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "program")
	if err := o.Build(t.Context(), program, "./cmd/kubectl-latchkey"); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), program, "--help").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "added\n") {
		t.Errorf("%v: %s", err, out)
	}
	if _, err := os.Stat(filepath.Join(controlplane.Root(), "cmd/kubectl-latchkey/added.go")); err == nil {
		t.Error("the repository has what was added")
	}
}
