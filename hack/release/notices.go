package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"
)

// noticeFiles are what a module says of its licence; most licences want that to go
// with the program. Bundles of JavaScript have theirs in a file of their own name.
var noticeFiles = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents)|\.license\.txt$`)

// notices is the licences of Go, and of every module and npm package that a program
// contains.
func (s *source) notices(ctx context.Context, info *debug.BuildInfo, npm []embedded) ([]byte, error) {
	var all bytes.Buffer
	root, err := s.goOutput(ctx, "env", "GOROOT")
	if err != nil {
		return nil, err
	}
	if err := addNotices(&all, "Go "+info.GoVersion, root); err != nil {
		return nil, err
	}
	args := []string{"list", "-m", "-f", "{{.Path}} {{.Version}}\t{{if .Replace}}{{.Replace.Dir}}{{else}}{{.Dir}}{{end}}"}
	for _, dependency := range info.Deps {
		args = append(args, dependency.Path)
	}
	list, err := s.goOutput(ctx, args...)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(list) {
		name, dir, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if err := addNotices(&all, name, dir); err != nil {
			return nil, err
		}
	}
	for _, e := range npm {
		if err := addNotices(&all, e.name+" "+e.version, e.folder); err != nil {
			return nil, err
		}
	}
	return all.Bytes(), nil
}

func addNotices(all *bytes.Buffer, name, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("licence of %s: %w", name, err)
	}
	found := false
	for _, entry := range entries {
		if !entry.Type().IsRegular() || !noticeFiles.MatchString(entry.Name()) {
			continue
		}
		content, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			return fmt.Errorf("licence of %s: %w", name, err)
		}
		fmt.Fprintf(all, "==== %s: %s\n\n%s\n\n", name, entry.Name(), bytes.TrimSpace(content))
		found = true
	}
	if !found {
		return fmt.Errorf("%s has no file that names its licence: find out whether it may be shipped", name)
	}
	return nil
}

func (s *source) goOutput(ctx context.Context, args ...string) (string, error) {
	command := exec.CommandContext(ctx, "go", args...)
	command.Dir = s.root
	command.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=readonly")
	output, err := command.Output()
	if err != nil {
		return "", commandError("go "+args[0], err)
	}
	return strings.TrimSpace(string(output)), nil
}
