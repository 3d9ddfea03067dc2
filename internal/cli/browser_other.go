//go:build !unix

package cli

import "os/exec"

// detach leaves a command as it is: what opens a browser there ends at once.
func detach(*exec.Cmd) {}
