package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	homepage = "https://github.com/latchkey-dev/latchkey"
	module   = "github.com/latchkey-dev/latchkey"
	license  = "Apache-2.0"
)

// versions are those that can be an image's tag.
var versions = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)

// source is the tree that everything is made from.
type source struct {
	root     string
	version  string
	revision string    // the commit, with -dirty for a tree that differs from it
	time     time.Time // of the commit, in UTC, or SOURCE_DATE_EPOCH
}

func readSource(ctx context.Context, root, version string) (*source, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	s := &source{root: root, version: version}
	if s.version == "" {
		if s.version, err = s.git(ctx, "describe", "--tags", "--always", "--dirty"); err != nil {
			return nil, err
		}
	}
	if !versions.MatchString(s.version) {
		return nil, fmt.Errorf("version %q: cannot be an image's tag; use one like v0.1.0", s.version)
	}
	if s.revision, err = s.readRevision(ctx); err != nil {
		return nil, err
	}
	s.time, err = s.readTime(ctx)
	return s, err
}

func (s *source) readRevision(ctx context.Context) (string, error) {
	revision, err := s.git(ctx, "rev-parse", "HEAD")
	if err != nil {
		return "", err
	}
	changes, err := s.git(ctx, "status", "--porcelain")
	if err != nil {
		return "", err
	}
	if changes != "" {
		revision += "-dirty"
	}
	return revision, nil
}

// readTime follows https://reproducible-builds.org/specs/source-date-epoch/.
func (s *source) readTime(ctx context.Context) (time.Time, error) {
	text := os.Getenv("SOURCE_DATE_EPOCH")
	if text == "" {
		var err error
		if text, err = s.git(ctx, "log", "-1", "--format=%ct"); err != nil {
			return time.Time{}, err
		}
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH %q: must be seconds since 1970", text)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

func (s *source) git(ctx context.Context, args ...string) (string, error) {
	command := exec.CommandContext(ctx, "git", args...)
	command.Dir = s.root
	output, err := command.Output()
	if err != nil {
		return "", commandError("git "+strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(output)), nil
}

// commandError adds what a command said to how it ended.
func commandError(command string, err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) && len(exit.Stderr) > 0 {
		return fmt.Errorf("%s: %w: %s", command, err, strings.TrimSpace(string(exit.Stderr)))
	}
	return fmt.Errorf("%s: %w", command, err)
}

// readLicense is the repository's LICENSE, which goes with every program.
func (s *source) readLicense() ([]byte, error) {
	return os.ReadFile(filepath.Join(s.root, "LICENSE"))
}
