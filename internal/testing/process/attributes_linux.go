package process

import "syscall"

// attributes also makes the kernel end the child when the parent is killed with
// no chance to do so itself.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
