package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/latchkey-dev/latchkey/internal/testing/controlplane"
)

// killDelay is how long a program may take to end after it was asked to.
const killDelay = 5 * time.Second

// command is a program that a step runs to its end.
type command struct {
	path string
	args []string
	// env is added to our own environment.
	env []string
	// stderr gets what the program says meanwhile. Without it that becomes part
	// of the error if the program fails.
	stderr io.Writer
}

// run returns what the program wrote to its standard output, which is never part
// of an error: it may be a token. When ctx ends, the program and all that it
// started are ended.
func (c command) run(ctx context.Context) ([]byte, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, c.path, c.args...)
	cmd.Dir = controlplane.Root()
	cmd.Env = append(os.Environ(), c.env...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if c.stderr != nil {
		cmd.Stderr = c.stderr
	}
	// A group of its own: an interrupt at the terminal reaches only us, and the
	// group can be ended as a whole.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = killDelay
	if err := cmd.Run(); err != nil {
		return nil, c.explain(err, stderr.String())
	}
	return stdout.Bytes(), nil
}

func (c command) explain(err error, said string) error {
	name := strings.Join(append([]string{filepath.Base(c.path)}, c.args...), " ")
	if said = strings.TrimSpace(said); said != "" {
		return fmt.Errorf("%s: %w:\n%s", name, err, said)
	}
	return fmt.Errorf("%s: %w", name, err)
}
