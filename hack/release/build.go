package main

import (
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime/debug"
	"strings"
)

// program is a command of this repository, built for a platform.
type program struct {
	folder   string // in the repository
	name     string // the folder's own
	platform platform
	content  []byte
	info     *debug.BuildInfo
	embedded []embedded
	notices  []byte // the licences of what is compiled into it
}

// build compiles a command so that neither the machine nor the folder shows.
func (s *source) build(ctx context.Context, folder string, p platform) (*program, error) {
	name := path.Base(folder)
	dir, err := os.MkdirTemp("", "latchkey-release-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	file := filepath.Join(dir, name)
	command := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -X "+module+"/internal/buildinfo.version="+s.version,
		"-o", file, "./"+folder)
	command.Dir = s.root
	command.Env = buildEnvironment(p)
	if output, err := command.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building %s for %s: %w: %s", folder, p, err, strings.TrimSpace(string(output)))
	}
	built := &program{folder: folder, name: name, platform: p}
	if built.info, err = buildinfo.ReadFile(file); err != nil {
		return nil, err
	}
	if err := checkTags(built.info); err != nil {
		return nil, fmt.Errorf("building %s for %s: %w", folder, p, err)
	}
	if built.content, err = os.ReadFile(file); err != nil {
		return nil, err
	}
	if built.embedded, err = s.embedded(ctx, folder); err != nil {
		return nil, err
	}
	built.notices, err = s.notices(ctx, built.info, built.embedded)
	return built, err
}

// checkTags refuses a program that was built with tags: one of them, faultpoints, is for
// programs that tests break.
func checkTags(info *debug.BuildInfo) error {
	for _, setting := range info.Settings {
		if setting.Key == "-tags" {
			return fmt.Errorf("it was built with the tags %s, and a release has none", setting.Value)
		}
	}
	return nil
}

// buildEnvironment is this process's but for what changes what the compiler makes.
func buildEnvironment(p platform) []string {
	return append(os.Environ(),
		"CGO_ENABLED=0", "GOOS="+p.os, "GOARCH="+p.arch, "GOAMD64=v1", "GOARM64=v8.0",
		"GOWORK=off", "GOFIPS140=off", "GOEXPERIMENT=",
		// Not empty, which would let those of `go env -w` count.
		"GOFLAGS=-mod=readonly")
}

func (p *program) digest() string {
	sum := sha256.Sum256(p.content)
	return hex.EncodeToString(sum[:])
}
