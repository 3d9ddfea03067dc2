//go:build !linux

package main

import (
	"os/exec"
	"strconv"
	"strings"
)

// processes are those of this machine.
func processes() ([]processInfo, error) {
	output, err := exec.Command("ps", "-axww", "-o", "pid=,command=").Output()
	if err != nil {
		return nil, err
	}
	var all []processInfo
	for line := range strings.Lines(string(output)) {
		id, commandLine, _ := strings.Cut(strings.TrimSpace(line), " ")
		pid, err := strconv.Atoi(id)
		if err != nil {
			continue
		}
		commandLine = strings.TrimSpace(commandLine)
		// Every program of ours has flags, which end the path where it has spaces.
		executable, _, _ := strings.Cut(commandLine, " -")
		all = append(all, processInfo{pid, executable, commandLine})
	}
	return all, nil
}
