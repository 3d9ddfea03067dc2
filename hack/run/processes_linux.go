package main

import (
	"os"
	"strconv"
	"strings"
)

// processes are those of this machine.
func processes() ([]processInfo, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var all []processInfo
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		content, err := os.ReadFile("/proc/" + entry.Name() + "/cmdline")
		if err != nil {
			continue // it has ended
		}
		arguments := strings.Split(strings.TrimRight(string(content), "\x00"), "\x00")
		all = append(all, processInfo{pid, arguments[0], strings.Join(arguments, " ")})
	}
	return all, nil
}
