package testenv_test

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/internal/testing/controlplane"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

var env func() *testenv.Environment

// TestMain also tests that Run starts nothing where no test asks for the environment.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "testenv-")
	if err == nil {
		err = os.Setenv("TMPDIR", dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := testenv.Run(m, &env, controlplane.Options{})
	if err := os.Remove(dir); err != nil {
		fmt.Fprintln(os.Stderr, "testenv: something was started or left:", err)
		code = 1
	}
	os.Exit(code)
}

// failing is a test that notes its failure.
type failing struct {
	testing.TB
	said string
}

func (f *failing) Fatalf(format string, args ...any) { f.said = fmt.Sprintf(format, args...) }

func TestWithinTellsTheLastError(t *testing.T) {
	calls := 0
	f := &failing{TB: t}
	testenv.Within(f, 50*time.Millisecond, func() error {
		calls++
		return fmt.Errorf("asked %d times", calls)
	})
	if want := fmt.Sprintf("not within 50ms: asked %d times", calls); f.said != want || calls < 2 {
		t.Errorf("it says %q, want %q", f.said, want)
	}
}

func TestWithinEndsWithTheCondition(t *testing.T) {
	f := &failing{TB: t}
	err := errors.New("not yet")
	testenv.Within(f, time.Minute, func() error {
		defer func() { err = nil }()
		return err
	})
	if f.said != "" {
		t.Errorf("it says %q", f.said)
	}
	if env == nil {
		t.Error("Run has set no accessor")
	}
}
