package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// children are the programs that a run starts.
var children = []string{"etcd", "kube-apiserver", "kube-controllers", "manager", "apiserver"}

// processInfo is a process of this machine.
type processInfo struct {
	pid int
	// executable is how it was called, and commandLine that with its arguments.
	executable, commandLine string
}

// isOf says whether the process is one of a run with these files: each is told of
// one by a flag. Kubernetes' test library keeps the ids of what it starts to
// itself, and a file with ids would miss what was started right before a kill.
func (p processInfo) isOf(files layout) bool {
	names := func(folder string) bool {
		return strings.Contains(p.commandLine, "="+folder+string(filepath.Separator))
	}
	return slices.Contains(children, filepath.Base(p.executable)) &&
		(names(files.controlPlane()) || names(files.access("")))
}

// killPrograms ends the programs of a run without asking: of an earlier one that
// was itself killed, or of one that is to end in a hurry. Their data is not needed
// any more. The caller must have the folder's lock.
func killPrograms(files layout) error {
	const attempts = 100
	var killed error
	for range attempts {
		running, err := runningPrograms(files)
		if err != nil || len(running) == 0 {
			return err
		}
		killed = nil
		for _, process := range running {
			if err := syscall.Kill(process.pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				killed = errors.Join(killed, fmt.Errorf("process %d (%s) of an earlier run can't be ended: %w", process.pid, process.executable, err))
			}
		}
		time.Sleep(attemptInterval)
	}
	return errors.Join(errors.New("processes of an earlier run are still there; end them, and start again"), killed)
}

func runningPrograms(files layout) ([]processInfo, error) {
	all, err := processes()
	if err != nil {
		return nil, fmt.Errorf("look for processes of an earlier run: %w", err)
	}
	return slices.DeleteFunc(all, func(p processInfo) bool { return !p.isOf(files) }), nil
}
