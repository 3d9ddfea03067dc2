// Package faults breaks what Latchkey depends on, with real processes, while requests go
// on, and counts what was accepted and refused wrongly: `make faults`. A short form of most
// runs with the other tests. docs/faults.md says what happens in each.
package faults
