package programs

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
)

// killDelay is how long Go may take to end after it was asked to.
const killDelay = 5 * time.Second

// maxSaid limits what is kept of what Go says.
const maxSaid = 64 << 10

// goCommand runs Go in a folder, hands over the lines of its standard error, and returns its
// standard output. What ends ctx also ends the compilers that Go started.
func goCommand(ctx context.Context, dir string, args []string, line func(string)) (output []byte, err error) {
	if _, err := exec.LookPath("go"); err != nil {
		return nil, errors.New("the command go is missing: install the version of Go that go.mod names, or a later one (https://go.dev/doc/install)")
	}
	// Go leaves gigabytes in its temporary folder when it is interrupted.
	temporary, err := os.MkdirTemp(temporaryDir(), "latchkey-build-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for Go's temporary files (GOTMPDIR chooses another place): %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temporary)) }()
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = slices.Concat(os.Environ(), Environment(), []string{"GOTMPDIR=" + temporary})
	// A group of its own: an interrupt at the terminal reaches only us.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = killDelay
	var printed bytes.Buffer
	said := lines{each: line}
	cmd.Stdout, cmd.Stderr = &printed, &said
	err = cmd.Run()
	if cause := context.Cause(ctx); cause != nil {
		return nil, cause
	}
	if err != nil {
		return nil, explain(args[0], said.text.String(), err)
	}
	return printed.Bytes(), nil
}

// temporaryDir is where Go and we put temporary files.
func temporaryDir() string { return cmp.Or(os.Getenv("GOTMPDIR"), os.TempDir()) }

// lines hands over what is written to it line by line, and keeps it.
type lines struct {
	each    func(string)
	text    bytes.Buffer
	partial bytes.Buffer
}

func (l *lines) Write(data []byte) (int, error) {
	if l.text.Len() < maxSaid {
		l.text.Write(data)
	}
	l.partial.Write(data)
	for {
		end := bytes.IndexByte(l.partial.Bytes(), '\n')
		if end < 0 { // the rest of the line is still to come
			return len(data), nil
		}
		line := l.partial.Next(end + 1)
		if l.each != nil {
			l.each(string(line[:end]))
		}
	}
}

// A failure is a known reason for which Go fails, with what to do about it.
type failure struct {
	signs  []string
	advice string
}

var failures = []failure{
	{
		[]string{"no space left on device", "disk quota exceeded"},
		"the disk is full. Free some space, or choose another disk for Go's files with GOCACHE, GOMODCACHE and TMPDIR, and start again",
	},
	{
		[]string{"(running go ", "toolchain not available", "invalid go version", "note: module requires Go"},
		"this version of Go is too old, and Go could not get a newer one by itself. Install the version that go.mod names, from https://go.dev/dl",
	},
	{
		[]string{"dial tcp", "no such host", "network is unreachable", "connection refused", "i/o timeout", "TLS handshake", "proxyconnect", "module lookup disabled", "connection reset"},
		"Go modules could not be downloaded. The first run needs a network, or a GOPROXY that this machine reaches; what was downloaded is kept, so start again once it is there",
	},
	{
		[]string{"signal: killed"},
		"the compiler was killed, most likely because memory ran out. Close other programs, or build less at a time with GOFLAGS=-p=1, and start again",
	},
	{
		[]string{"permission denied", "read-only file system"},
		"a folder is not writable. Make it writable, or choose another one for Go's files with GOCACHE, GOMODCACHE and TMPDIR",
	},
}

// explain says why Go failed: in a sentence where the reason is known, and always with the
// line that tells.
func explain(verb, said string, err error) error {
	for _, f := range failures {
		for line := range strings.Lines(said) {
			for _, sign := range f.signs {
				if strings.Contains(line, sign) {
					return fmt.Errorf("%s.\nGo says: %s", f.advice, strings.TrimSpace(line))
				}
			}
		}
	}
	return fmt.Errorf("go %s: %w:\n%s", verb, err, strings.TrimSpace(withoutProgress(said)))
}

// withoutProgress leaves out the lines that do not tell of an error.
func withoutProgress(said string) string {
	var kept strings.Builder
	for line := range strings.Lines(said) {
		isPackage := !strings.ContainsAny(strings.TrimSpace(line), " :") && !strings.HasPrefix(line, "\t")
		if !isPackage && !strings.HasPrefix(line, "go: downloading ") {
			kept.WriteString(line)
		}
	}
	return kept.String()
}
