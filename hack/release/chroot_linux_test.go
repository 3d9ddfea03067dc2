package main

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// runIn runs a program with nothing but what is in dir, as the image's user.
func runIn(t *testing.T, dir, program string, args ...string) (string, error) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("not root: cannot run the program with the image as its root")
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), program, args...)
	command.Dir = "/"
	command.Env = []string{}
	command.SysProcAttr = &syscall.SysProcAttr{
		Chroot:     dir,
		Credential: &syscall.Credential{Uid: 65532, Gid: 65532},
	}
	output, err := command.CombinedOutput()
	return string(output), err
}
