package programs

import (
	"strings"
	"testing"
	"time"
)

func TestReportInALog(t *testing.T) {
	var out strings.Builder
	r := NewReport(&out)
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	r.Say("first")
	for second := range 40 {
		r.update(start.Add(time.Duration(second)*time.Second), "at "+string(rune('A'+second)))
	}
	r.Say("last")
	if want := "first\nat A\nat P\nat _\nlast\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

func TestReportOnATerminal(t *testing.T) {
	var out strings.Builder
	r := &Report{out: &out, terminal: true}
	r.Say("first")
	r.update(time.Now(), "1 of 2")
	r.update(time.Now(), "2 of 2")
	r.Say("last")
	if want := "first\n1 of 2\r\x1b[K2 of 2\r\x1b[Klast\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}
