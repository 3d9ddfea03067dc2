//go:build unix

package cli

import (
	"os/exec"
	"syscall"
)

// detach gives a command a process group of its own: Ctrl-C at this terminal is not
// meant for it.
func detach(command *exec.Cmd) { command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
