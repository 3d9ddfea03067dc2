//go:build faultpoints

package fault

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/utils/clock"

	"github.com/latchkey-dev/latchkey/internal/token"
)

// InRequest panics if the request asks for it. The panic's text shows the value, as code
// that somebody adds to look for a mistake might.
func InRequest(r *http.Request, step string, value any) { reach(r.Header.Get(Header), step, value) }

// ForToken panics if the name of the ApiToken asks for it.
func ForToken(name, step string, value any) { reach(name, step, value) }

// Minted tells the test which token was minted, and panics if the ApiToken's name asks for
// it. After a panic, nobody else would know the token.
func Minted(name string, minted token.Token) {
	if file := os.Getenv(MintedVariable); file != "" {
		tell(file, minted.Reveal())
	}
	reach(name, "minted", minted)
}

// done has the values that have had their panic.
var done sync.Map

func reach(asked, step string, value any) {
	kind, rest, _ := strings.Cut(asked, "-")
	if kind != "panic" && kind != "crash" || !strings.HasPrefix(rest, step+"-") {
		return
	}
	if _, again := done.LoadOrStore(asked, true); again {
		return
	}
	text := fmt.Sprintf("asked for: %s: %+v", asked, value)
	if kind == "crash" {
		go panic(text)
		return
	}
	panic(text)
}

func tell(name, line string) {
	file, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = fmt.Fprintln(file, line)
	}
	if err != nil {
		panic(fmt.Sprintf("tell the test which token was minted: %v", err))
	}
	_ = file.Close()
}

var (
	accepts = os.Getenv(AcceptVariable) != ""
	// latest is the token that was accepted last, a *T of Decision.
	latest atomic.Value
)

// Decision is the decision about a request's token. If the program was told to accept what it
// should refuse, it takes such a token for the last one that it accepted.
func Decision[T, P any](decided *T, problem *P) (*T, *P) {
	switch other, known := latest.Load().(*T); {
	case !accepts:
	case problem == nil:
		latest.Store(decided)
	case known:
		return other, nil
	}
	return decided, problem
}

// Clock returns a clock that the test can set, if the program was told the file for it.
func Clock(c clock.WithDelayedExecution) clock.WithDelayedExecution {
	if file := os.Getenv(ClockVariable); file != "" {
		return settable{c, file}
	}
	return c
}

// settable is wrong by as much as a file says. Like the system's clock it changes the time
// of day only: monotonic time runs on.
type settable struct {
	clock.WithDelayedExecution
	file string
}

func (s settable) Now() time.Time {
	now := s.WithDelayedExecution.Now()
	text, err := os.ReadFile(s.file)
	if err != nil {
		return now
	}
	offset, err := time.ParseDuration(string(text))
	if err != nil || offset == 0 {
		return now
	}
	return now.Round(0).Add(offset)
}
