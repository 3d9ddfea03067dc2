package controlplane

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

// programsVariable names the folder where hack/testprograms.sh has built the programs. Each
// program's build ID is in a variable of its own.
const programsVariable = "LATCHKEY_TEST_PROGRAMS"

func idVariable(program string) string {
	return "LATCHKEY_TEST_PROGRAM_" + strings.ToUpper(strings.ReplaceAll(program, "-", "_"))
}

// InstallPrograms puts programs of this repository into a folder, under their names in
// hack/testprograms.sh. The `make` targets have built them before; plain `go test` builds
// them here. The folder must be the caller's own and outside the repository: Go's test cache
// reads a program that a test starts inside it as one of the test's files, by its time.
func InstallPrograms(ctx context.Context, dir string, names ...string) error {
	if err := DependOnPrograms(names...); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("folder for programs: %w", err)
	}
	built := os.Getenv(programsVariable)
	if built == "" {
		return BuildPrograms(ctx, dir, names...)
	}
	for _, name := range names {
		if err := installProgram(ctx, filepath.Join(built, name), filepath.Join(dir, name), os.Getenv(idVariable(name))); err != nil {
			return err
		}
	}
	return nil
}

// installProgram takes the file as it is now, since the next build replaces it. It makes sure
// that the file is still the one that Go's test cache was told about.
func installProgram(ctx context.Context, from, to, id string) error {
	if err := os.Link(from, to); err != nil {
		// By cp, not by os.Open, which Go's test cache would note: see InstallPrograms.
		if out, err := exec.CommandContext(ctx, "cp", from, to).CombinedOutput(); err != nil {
			return fmt.Errorf("copy the program %s: %w: %s", from, err, out)
		}
	}
	found, err := exec.CommandContext(ctx, "go", "tool", "buildid", to).Output()
	if err != nil {
		return fmt.Errorf("build ID of the program %s: %w", from, err)
	}
	if strings.TrimSpace(string(found)) != id {
		return fmt.Errorf("the program %s was built again after these tests began: run them again", from)
	}
	return nil
}

// DependOnPrograms tells Go's test cache that the result of a test depends on programs: it
// runs the test again once one of them has changed. InstallPrograms does so itself.
func DependOnPrograms(names ...string) error {
	if os.Getenv(programsVariable) == "" {
		return dependOnSources()
	}
	for _, name := range names {
		if os.Getenv(idVariable(name)) == "" {
			return fmt.Errorf("%s is set and %s is not: export all lines that hack/testprograms.sh prints, or none", programsVariable, idVariable(name))
		}
	}
	return nil
}

// dependOnSources is for plain `go test`, where no variable says which programs there are. It
// lists the folders that programs are built from, since Go's test cache notes each folder that
// a test lists, with the time and size of all files in it.
func dependOnSources() error {
	for _, name := range []string{
		"go.mod", "go.sum", "hack/testprograms.sh", "api", "cmd", "controllers", "internal", "hack/run", "test/attacks/flooder",
	} {
		err := filepath.WalkDir(filepath.Join(Root(), name), func(_ string, _ fs.DirEntry, err error) error { return err })
		if err != nil {
			return fmt.Errorf("list the sources of the programs: %w", err)
		}
	}
	return nil
}

// BuildPrograms builds programs of this repository, such as manager or ./cmd/manager, into a
// folder, whatever was built before.
func BuildPrograms(ctx context.Context, dir string, programs ...string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("folder for programs: %w", err)
	}
	args := []string{filepath.Join(Root(), "hack", "testprograms.sh"), dir}
	for _, program := range programs {
		args = append(args, path.Base(program))
	}
	cmd := exec.CommandContext(ctx, "bash", args...)
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build the programs %s: %w\n%s", strings.Join(programs, ", "), err, said.Bytes())
	}
	return nil
}
