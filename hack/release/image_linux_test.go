package main

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

func TestImageRuns(t *testing.T) {
	output, err := runIn(t, unpacked(t), "/apiserver", "--version")
	if err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	if want := "apiserver " + testVersion + " ("; !strings.HasPrefix(output, want) {
		t.Errorf("--version says %q; want %q…", output, want)
	}
}

// runIn runs a program with nothing but what is in dir, as the image's user. Whoever is
// not root needs a system that lets users make user namespaces.
func runIn(t *testing.T, dir, program string, args ...string) (string, error) {
	t.Helper()
	must(t, os.Chmod(dir, 0o755))
	const nonroot = 65532
	attributes := &syscall.SysProcAttr{
		Chroot:     dir,
		Credential: &syscall.Credential{Uid: nonroot, Gid: nonroot},
	}
	if user := os.Geteuid(); user != 0 {
		attributes.Cloneflags = syscall.CLONE_NEWUSER
		attributes.UidMappings = []syscall.SysProcIDMap{{ContainerID: nonroot, HostID: user, Size: 1}}
		attributes.GidMappings = []syscall.SysProcIDMap{{ContainerID: nonroot, HostID: os.Getegid(), Size: 1}}
		attributes.Credential.NoSetGroups = true
	}
	command := exec.CommandContext(t.Context(), program, args...)
	command.Dir = "/"
	command.Env = []string{}
	command.SysProcAttr = attributes
	output, err := command.CombinedOutput()
	return string(output), err
}
