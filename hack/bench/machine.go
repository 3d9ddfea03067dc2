package main

import (
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/latchkey-dev/latchkey/internal/testing/controlplane"
)

// memory is what a process holds of the machine's memory now, and the most that
// it ever held.
type memory struct{ resident, peak uint64 }

// cores say where processes run while subjects are under load: the measured
// server has one core for itself, everything else shares the other.
type cores struct {
	server, load int
	// pinned is false where the system or the number of cores does not permit it.
	pinned bool
}

// describe says in a line how processes were placed.
func (c cores) describe() string {
	if !c.pinned {
		return "not pinned: this takes Linux and two cores, so that server and load generator disturb each other here"
	}
	return fmt.Sprintf("server pinned to core %d; load generator, backend and control plane to core %d", c.server, c.load)
}

// cpuMeter tells how much CPU time some processes have used since it was started.
type cpuMeter struct {
	pids    []int
	started time.Duration
	known   bool
}

func startCPUMeter(pids []int) *cpuMeter {
	m := &cpuMeter{pids: pids}
	m.started, m.known = m.total()
	return m
}

func (m *cpuMeter) total() (sum time.Duration, known bool) {
	for _, pid := range m.pids {
		used, ok := cpuTime(pid)
		if !ok {
			return 0, false
		}
		sum += used
	}
	return sum, len(m.pids) > 0
}

// used is the CPU time since the start, and whether the system tells it.
func (m *cpuMeter) used() (time.Duration, bool) {
	now, ok := m.total()
	return now - m.started, ok && m.known
}

// hardware describes the machine and what runs on it, a line each.
func hardware(c cores) []string {
	lines := []string{
		fmt.Sprintf("%s, %d cores, %s", processorName(), runtime.NumCPU(), memorySize()),
		fmt.Sprintf("%s, %s/%s", runtime.Version(), runtime.GOOS, runtime.GOARCH),
		c.describe(),
	}
	revision := exec.Command("git", "-C", controlplane.Root(), "describe", "--always", "--dirty")
	if out, err := revision.Output(); err == nil {
		lines = append(lines, "revision "+strings.TrimSpace(string(out)))
	}
	return lines
}
