//go:build linux

package faults_test

import (
	"os"
	"strconv"

	"github.com/latchkey-dev/latchkey/internal/testing/controlplane"
)

// panicHeader makes the handler of the woven program panic.
const panicHeader = "Fault-Panic"

// clockVariable names the file from which the woven program reads, every time, by how
// much its system's clock is wrong: one can't be set for a process alone.
const clockVariable = "LATCHKEY_TEST_CLOCK"

// brokenVariable has the woven program accept what it must not, if it is set at all.
const brokenVariable = "LATCHKEY_TEST_BROKEN"

// The woven program's clock. As where a clock is set, monotonic time knows nothing of it.
const wovenClock = `package wallclock

import (
	"os"
	"time"

	"k8s.io/utils/clock"
)

type settable struct{ clock.RealClock }

func (settable) Now() time.Time {
	text, err := os.ReadFile(os.Getenv("` + clockVariable + `"))
	if err != nil {
		return time.Now()
	}
	offset, err := time.ParseDuration(string(text))
	if err != nil || offset == 0 {
		return time.Now()
	}
	return time.Now().Round(0).Add(offset)
}
`

// The faults of the woven program, where it is told to have them: it takes a token that it
// does not know for the one before, and each for one that works.
const wovenFaults = `package server

import (
	"os"
	"sync/atomic"
	"time"

	"github.com/latchkey-dev/latchkey/internal/directory"
	"github.com/latchkey-dev/latchkey/internal/policy"
)

var (
	broken   = os.Getenv("` + brokenVariable + `") != ""
	previous atomic.Pointer[directory.Token]
)

func confused(found *directory.Token, ok bool) (*directory.Token, bool) {
	switch {
	case !broken:
		return found, ok
	case ok:
		token := *found
		token.NotAfter = time.Now().Add(time.Hour)
		previous.Store(&token)
	}
	token := previous.Load()
	return token, token != nil
}

func lenient(v policy.Verdict) policy.Verdict {
	if broken {
		return policy.Works
	}
	return v
}
`

// woven builds the API server with a clock that can be set, a handler that can be made to
// panic, and faults that it can be told to have. Everything else is as it is.
func (w *world) woven() (program string) {
	w.t.Helper()
	program = w.program("apiserver-woven")
	if _, err := os.Stat(program); err == nil {
		return program
	}
	overlay := controlplane.Overlay{"internal/wallclock/settable.go": wovenClock, "internal/server/broken.go": wovenFaults}
	must(w.t, overlay.Change("internal/wallclock/wallclock.go", "return New(clock.RealClock{})", "return New(settable{})"))
	must(w.t, overlay.Change("internal/server/authenticate.go",
		"s.config.Directory.Token(tenant.Name, token.DigestOf(tenant.Name, plaintext))", "confused(s.config.Directory.Token(tenant.Name, token.DigestOf(tenant.Name, plaintext)))",
		"policy.Decide(t.State(tenant), now)", "lenient(policy.Decide(t.State(tenant), now))"))
	begins := "func (s *Server) handle(c *call) *problem.Problem {\n"
	must(w.t, overlay.Change("internal/server/server.go",
		begins, begins+"\tif c.r.Header.Get("+strconv.Quote(panicHeader)+") != \"\" {\n\t\tpanic(\"a test asked for it\")\n\t}\n"))
	must(w.t, overlay.Build(w.t.Context(), program, "./cmd/apiserver"))
	return program
}
