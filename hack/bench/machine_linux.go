package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// findCores takes the first two cores that this process may use.
func findCores() cores {
	var allowed unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		return cores{}
	}
	var found []int
	for core := 0; len(found) < 2 && core < 8*len(allowed)*8; core++ {
		if allowed.IsSet(core) {
			found = append(found, core)
		}
	}
	if len(found) < 2 {
		return cores{}
	}
	return cores{server: found[0], load: found[1], pinned: true}
}

// onCore calls start on a thread that is bound to the core, so that a process
// which it starts is, and knows it from its beginning.
func onCore(core int, start func() error) error {
	runtime.LockOSThread()
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return fmt.Errorf("read the thread's cores: %w", err)
	}
	if err := bind(0, core); err != nil {
		return err
	}
	err := start()
	if undo := unix.SchedSetaffinity(0, &before); undo != nil {
		// The thread stays locked, and so is of no use to others.
		return errors.Join(err, fmt.Errorf("free the thread from core %d: %w", core, undo))
	}
	runtime.UnlockOSThread()
	return err
}

func bind(thread, core int) error {
	var set unix.CPUSet
	set.Set(core)
	if err := unix.SchedSetaffinity(thread, &set); err != nil {
		return fmt.Errorf("bind thread %d to core %d: %w", thread, core, err)
	}
	return nil
}

// pin binds all threads of a running process to a core, until undo is called.
func pin(pid, core int) (undo func(), err error) {
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(pid, &before); err != nil {
		return nil, fmt.Errorf("read the cores of process %d: %w", pid, err)
	}
	for _, thread := range threads(pid) {
		if err := bind(thread, core); err != nil && !errors.Is(err, unix.ESRCH) {
			return nil, err
		}
	}
	return func() {
		for _, thread := range threads(pid) {
			_ = unix.SchedSetaffinity(thread, &before) // it may have ended
		}
	}, nil
}

func threads(pid int) []int {
	entries, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid)) // none of a process that ended
	ids := make([]int, 0, len(entries))
	for _, entry := range entries {
		if id, err := strconv.Atoi(entry.Name()); err == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

// cpuTime is the CPU time that a process has used, to the nanosecond: the number
// of its clock is made as clock_getcpuclockid(3) does it.
func cpuTime(pid int) (time.Duration, bool) {
	const schedulerClock = 2
	var used unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|schedulerClock), &used); err != nil {
		return 0, false
	}
	return time.Duration(used.Nano()), true
}

func memoryOf(pid int) (memory, bool) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return memory{}, false
	}
	m := memory{resident: kilobytes(string(status), "VmRSS:"), peak: kilobytes(string(status), "VmHWM:")}
	return m, m.resident > 0 && m.peak > 0
}

// kilobytes reads a line such as "VmRSS:   1234 kB", as bytes; 0 if it is missing.
func kilobytes(text, key string) uint64 {
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(line, key)
		if fields := strings.Fields(rest); ok && len(fields) == 2 {
			n, _ := strconv.ParseUint(fields[0], 10, 64) // 0 reads as missing
			return n << 10
		}
	}
	return 0
}

// descendants are the processes that a process started, and those that they
// started.
func descendants(pid int) []int {
	children := map[int][]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is well-formed
	for _, file := range stats {
		content, err := os.ReadFile(file)
		if err != nil {
			continue // ended meanwhile
		}
		// "pid (name) state parent …", and the name may have spaces.
		text := string(content)
		fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
		child, childErr := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		parent, parentErr := strconv.Atoi(fields[1])
		if childErr == nil && parentErr == nil {
			children[parent] = append(children[parent], child)
		}
	}
	var found []int
	for queue := children[pid]; len(queue) > 0; queue = queue[1:] {
		found = append(found, queue[0])
		queue = append(queue, children[queue[0]]...)
	}
	return found
}

func processorName() string {
	info, _ := os.ReadFile("/proc/cpuinfo") // without it the name is unknown
	for line := range strings.Lines(string(info)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.TrimLeft(strings.TrimSpace(name), ": \t")
		}
	}
	return "unknown processor"
}

func memorySize() string {
	info, _ := os.ReadFile("/proc/meminfo") // without it the size is 0
	return fmt.Sprintf("%.0f GiB", float64(kilobytes(string(info), "MemTotal:"))/(1<<30))
}
