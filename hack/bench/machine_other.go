//go:build !linux

package main

import "time"

// Elsewhere than on Linux nothing is pinned, and the tables say so and leave out
// what the system does not tell.

func findCores() cores { return cores{} }

func onCore(_ int, start func() error) error { return start() }

func pin(int, int) (undo func(), err error) { return func() {}, nil }

func cpuTime(int) (time.Duration, bool) { return 0, false }

func memoryOf(int) (memory, bool) { return memory{}, false }

func descendants(int) []int { return nil }

func processorName() string { return "unknown processor" }

func memorySize() string { return "unknown memory" }
