//go:build linux

package faults_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/internal/testing/controlplane"
	"github.com/latchkey-dev/latchkey/test/faults/history"
)

// row is what came of a scenario.
type row struct {
	history.Result

	name     string
	recovery time.Duration
	// notes are figures that only this scenario has.
	notes []string
}

// note adds a figure of the scenario's own.
func (s *stage) note(format string, args ...any) {
	s.row.notes = append(s.row.notes, fmt.Sprintf(format, args...))
}

// report is the table of all scenarios.
type report struct {
	began time.Time
	rows  []row
}

// add takes a row, and shows it: the whole takes its time.
func (r *report) add(t *testing.T, found row) {
	t.Helper()
	r.rows = append(r.rows, found)
	t.Log(strings.Join(r.cells(found), " | "))
}

var columns = []string{
	"Fault", "Requests", "Wrong accepts", "Wrong rejects", "Effect p50 / p99 / max", "Behind: max", "Late accepts", "Stated refusals", "Recovery", "Also",
}

func (r *report) cells(of row) []string {
	return []string{
		of.name, fmt.Sprint(of.Requests), fmt.Sprint(len(of.WrongAccepts)), fmt.Sprint(len(of.WrongRejects)),
		fmt.Sprintf("%s / %s / %s", round(history.Quantile(of.Effects, .5)), round(history.Quantile(of.Effects, .99)), round(history.Quantile(of.Effects, 1))),
		orDash(len(of.Behind) > 0, round(history.Quantile(of.Behind, 1))), fmt.Sprint(of.Late + of.Undone), fmt.Sprint(of.Refused),
		orDash(of.recovery > 0, round(of.recovery)), strings.Join(of.notes, "; "),
	}
}

func orDash(is bool, text string) string {
	if is {
		return text
	}
	return "–"
}

func round(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return d.Round(time.Second).String()
	case d >= time.Second:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Millisecond).String()
}

// show prints the table, and writes it where that was asked for.
func (r *report) show(t *testing.T) {
	t.Helper()
	var b strings.Builder
	line := func(cells []string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	line(columns)
	line(strings.Split(strings.Repeat("---,", len(columns)-1)+"---", ","))
	requests := 0
	for _, row := range r.rows {
		line(r.cells(row))
		requests += row.Requests
	}
	fmt.Fprintf(&b, "\n%d scenarios, %d requests, %s, began %s.\n", len(r.rows), requests, time.Since(r.began).Round(time.Second), r.began.UTC().Format(time.RFC3339))
	t.Logf("\n%s", &b)
	if *markdown == "" {
		return
	}
	file := *markdown
	if !filepath.IsAbs(file) {
		file = filepath.Join(controlplane.Root(), file)
	}
	must(t, os.WriteFile(file, []byte(b.String()), 0o600))
}
