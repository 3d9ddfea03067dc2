package cli_test

import (
	"os"
	"testing"
)

func TestTokenLostToAFullDisk(t *testing.T) {
	t.Parallel()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	must(t, err)
	mustLose(t, full)
}
