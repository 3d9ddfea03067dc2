package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// checkTools tells which command is missing before anything fails for it.
func checkTools() error {
	var errs []error
	for _, tool := range []struct{ name, advice string }{
		{"go", "install Go 1.26 or later (https://go.dev/doc/install)"},
		{"git", "install git"},
		{"bash", "install bash"},
	} {
		if _, err := exec.LookPath(tool.name); err != nil {
			errs = append(errs, fmt.Errorf("the command %s is missing: %s", tool.name, tool.advice))
		}
	}
	return errors.Join(errs...)
}

// buildControlPlane builds etcd and Kubernetes' programs, or finds them built.
func (s *session) buildControlPlane(ctx context.Context) error {
	script := command{path: "bash", args: []string{filepath.Join("hack", "controlplane", "build.sh")}, stderr: s.progress}
	output, err := script.run(ctx)
	if err != nil {
		return err
	}
	s.binaries = strings.TrimSpace(string(output))
	return s.linkKubectl()
}

// linkKubectl puts kubectl beside its plugin, for those who have none.
func (s *session) linkKubectl() error {
	link := s.files.bin("kubectl")
	if err := os.Remove(link); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.Symlink(filepath.Join(s.binaries, "kubectl"), link)
}

// buildPrograms builds what this repository is about. What the compiler says goes
// to the terminal.
func (s *session) buildPrograms(ctx context.Context) error {
	build := command{
		path: "go",
		args: []string{
			"build", "-buildvcs=false", "-o", s.files.bin("") + string(filepath.Separator),
			"./cmd/manager", "./cmd/apiserver", "./cmd/kubectl-latchkey",
		},
		env:    []string{"CGO_ENABLED=0"}, // as in the images
		stderr: s.progress,
	}
	_, err := build.run(ctx)
	return err
}
