package process_test

import (
	"errors"
	"io"
	"testing"
)

// A child whose parent is killed, with no chance to stop it, does not stay behind.
func TestChildDiesWithItsParent(t *testing.T) {
	c := startReady(t, "parent")
	if err := c.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.alive.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("the grandchild lives: %v", err)
	}
}
