//go:build !linux

package controlplane

// Component is a process of a control plane that a test may kill and start again: on
// Linux only.
type Component struct{}

func (*Component) stop() error { return nil }
