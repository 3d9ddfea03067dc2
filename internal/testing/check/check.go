// Package check has what tests of every package check with. It imports nothing but the
// standard library, so that it costs no test anything.
package check

import "testing"

// Must ends the test if there is an error.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
