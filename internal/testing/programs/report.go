package programs

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

const (
	// logInterval is how often a build that goes on says so in a log.
	logInterval = 15 * time.Second
	// terminalInterval is the same for a terminal, where the line is replaced.
	terminalInterval = 500 * time.Millisecond
)

// Report tells the user what is being built. On a terminal it replaces its last line, and
// elsewhere it writes a line now and then.
type Report struct {
	mu       sync.Mutex
	out      io.Writer
	terminal bool
	// shown says that the terminal's last line is one that is replaced.
	shown bool
	// next is when a line may follow in a log.
	next time.Time
}

// NewReport reports to the writer.
func NewReport(out io.Writer) *Report {
	return &Report{out: out, terminal: isTerminal(out)}
}

func isTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && file.Name() != os.DevNull
}

// Say writes a line that stays.
func (r *Report) Say(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.write(format+"\n", args...)
	r.shown = false
}

// update writes a line that the next one replaces, or in a log a line every logInterval.
func (r *Report) update(now time.Time, line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.terminal:
		r.write("%s", line)
		r.shown = true
	case !now.Before(r.next):
		r.write("%s\n", line)
		r.next = now.Add(logInterval)
	}
}

// write ignores errors: nobody could be told.
func (r *Report) write(format string, args ...any) {
	if r.shown {
		_, _ = io.WriteString(r.out, "\r\x1b[K")
	}
	_, _ = fmt.Fprintf(r.out, format, args...)
}

// interval is how often update is worth calling.
func (r *Report) interval() time.Duration {
	if r.terminal {
		return terminalInterval
	}
	return time.Second
}
