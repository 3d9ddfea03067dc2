// Package fault is where tests break the programs from the inside: fault points at which
// they can make a program panic, a clock that they can set, and a server that accepts what
// it must not. All of this exists only in programs that are built with the tag faultpoints
// (enabled.go). In every other build, so in every release, the functions do nothing and the
// compiler removes the calls (disabled.go).
//
// A call must cost nothing where the functions do nothing: pass what is at hand, and
// compute nothing for it.
package fault

const (
	// Header makes a fault point panic, in the request that has it: its value is
	// panic-STEP-SUFFIX, where the suffix is the caller's choice. Each value works once. With
	// crash-STEP-SUFFIX the panic is in a goroutine of its own, so that nothing recovers it
	// and the program ends. Where no request is at hand, the name of an ApiToken asks in the
	// same form.
	Header = "Fault"
	// ClockVariable names the file from which the program reads, each time that it asks for
	// the time, by how much its clock is wrong.
	ClockVariable = "LATCHKEY_FAULT_CLOCK"
	// AcceptVariable makes the server accept what it should refuse, if it is set at all.
	AcceptVariable = "LATCHKEY_FAULT_ACCEPT"
	// MintedVariable names the file to which the program appends each token that it mints.
	// The file must exist.
	MintedVariable = "LATCHKEY_FAULT_MINTED"
)
