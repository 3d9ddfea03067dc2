package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/latchkey-dev/latchkey/internal/testing/programs"
)

// build builds what is started, unless hack/run/build has done it for this run.
func (s *session) build(ctx context.Context) (err error) {
	s.binaries = s.settings.controlPlane
	if s.binaries == "" {
		report := programs.NewReport(s.progress.out)
		if s.binaries, err = programs.Build(ctx, report, s.files.program(""), programs.Latchkey...); err != nil {
			return err
		}
	}
	return s.link()
}

// link makes a folder for the user's PATH: kubectl, for those who have none, and its plugin.
func (s *session) link() error {
	for name, program := range map[string]string{
		"kubectl":          filepath.Join(s.binaries, "kubectl"),
		"kubectl-latchkey": s.files.program("kubectl-latchkey"),
	} {
		if err := os.Remove(s.files.bin(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if err := os.Symlink(program, s.files.bin(name)); err != nil {
			return err
		}
	}
	return nil
}
