package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// report prints tables as they come, and remembers them.
type report struct {
	out io.Writer

	Machine []string `json:"machine"`
	Tables  []*table `json:"tables"`
	Goals   []goal   `json:"goals"`
}

// table is one table of figures.
type table struct {
	Section string   `json:"section"`
	Title   string   `json:"title"`
	Columns []string `json:"columns"`
	Rows    [][]cell `json:"rows"`
	Notes   []string `json:"notes,omitempty"`
}

// cell is a figure with the way it is printed, or a text.
type cell struct {
	text  string
	value float64
	isNaN bool
}

// text is a cell that is no figure.
func text(s string) cell { return cell{text: s, isNaN: true} }

// number is a figure, printed by the format; one that could not be measured is a
// dash.
func number(format string, value float64) cell {
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return text("–")
	}
	return cell{text: fmt.Sprintf(format, value), value: value}
}

func microseconds(d time.Duration) cell { return number("%.0f", float64(d)/float64(time.Microsecond)) }

func milliseconds(d time.Duration) cell { return number("%.2f", float64(d)/float64(time.Millisecond)) }

func mebibytes(bytes float64) cell { return number("%.0f", bytes/(1<<20)) }

// known makes a 0 that stands for "not told" a dash.
func known(format string, value float64) cell {
	if value == 0 {
		value = math.NaN()
	}
	return number(format, value)
}

// MarshalJSON writes a figure as a number.
func (c cell) MarshalJSON() ([]byte, error) {
	if c.isNaN {
		return json.Marshal(c.text)
	}
	return json.Marshal(c.value)
}

func (t *table) add(cells ...cell) { t.Rows = append(t.Rows, cells) }

func (t *table) note(format string, args ...any) {
	t.Notes = append(t.Notes, fmt.Sprintf(format, args...))
}

// goal is a goal that the project has set itself, and what was measured of it.
type goal struct {
	Number   int     `json:"goal"`
	What     string  `json:"what"`
	Bound    float64 `json:"bound"`
	AtMost   bool    `json:"atMost"`
	Measured cell    `json:"measured"`
	Reached  bool    `json:"reached"`
}

// atLeast and atMost note what was measured of a goal.
func (r *report) atLeast(number int, bound float64, what string, measured cell) {
	r.Goals = append(r.Goals, goal{number, what, bound, false, measured, !measured.isNaN && measured.value >= bound})
}

func (r *report) atMost(number int, bound float64, what string, measured cell) {
	r.Goals = append(r.Goals, goal{number, what, bound, true, measured, !measured.isNaN && measured.value <= bound})
}

func (r *report) begin(machine []string) error {
	r.Machine = machine
	_, err := fmt.Fprintln(r.out, strings.Join(machine, "\n"))
	return err
}

// show prints a table.
func (r *report) show(t *table) error {
	r.Tables = append(r.Tables, t)
	if _, err := fmt.Fprintf(r.out, "\n%s: %s\n", t.Section, t.Title); err != nil {
		return err
	}
	if err := printTable(r.out, t.Columns, t.Rows); err != nil {
		return err
	}
	for _, note := range t.Notes {
		if _, err := fmt.Fprintln(r.out, "  "+note); err != nil {
			return err
		}
	}
	return nil
}

func printTable(out io.Writer, columns []string, rows [][]cell) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "  "+strings.Join(columns, "\t")) // Flush has the error
	for _, row := range rows {
		_, _ = fmt.Fprintln(w, "  "+strings.Join(texts(row), "\t"))
	}
	return w.Flush()
}

// finish prints the goals, and writes everything to the files that are named.
func (r *report) finish(jsonFile, markdownFile string) error {
	slices.SortStableFunc(r.Goals, func(a, b goal) int { return cmp.Compare(a.Number, b.Number) })
	if len(r.Goals) > 0 {
		t := r.goalTable()
		if _, err := fmt.Fprintln(r.out, "\ngoals"); err != nil {
			return err
		}
		if err := printTable(r.out, t.Columns, t.Rows); err != nil {
			return err
		}
	}
	return r.write(jsonFile, markdownFile)
}

// write writes the figures so far to the files that are named.
func (r *report) write(jsonFile, markdownFile string) error {
	if jsonFile != "" {
		content, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			return fmt.Errorf("figures as JSON: %w", err)
		}
		if err := os.WriteFile(jsonFile, append(content, '\n'), 0o644); err != nil {
			return err
		}
	}
	if markdownFile != "" {
		return os.WriteFile(markdownFile, []byte(r.markdown()), 0o644)
	}
	return nil
}

func (r *report) goalTable() *table {
	t := &table{Section: "goals", Columns: []string{"goal", "what", "bound", "measured", "reached"}}
	for _, g := range r.Goals {
		bound, reached := "≥ ", "no"
		if g.AtMost {
			bound = "≤ "
		}
		switch {
		case g.Measured.isNaN:
			reached = "not measured"
		case g.Reached:
			reached = "yes"
		}
		t.add(text(fmt.Sprint(g.Number)), text(g.What), text(bound+fmt.Sprint(g.Bound)), g.Measured, text(reached))
	}
	return t
}

// markdown is the whole report as docs/benchmarks.md shows it.
func (r *report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s.\n", strings.Join(r.Machine, "; "))
	for _, t := range append(r.Tables, r.goalTable()) {
		if len(t.Rows) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n### %s\n\n", strings.TrimSuffix(t.Section+": "+t.Title, ": "))
		fmt.Fprintf(&b, "| %s |\n|%s\n", strings.Join(t.Columns, " | "), strings.Repeat("---|", len(t.Columns)))
		for _, row := range t.Rows {
			fmt.Fprintf(&b, "| %s |\n", strings.Join(texts(row), " | "))
		}
		for _, note := range t.Notes {
			fmt.Fprintf(&b, "\n%s\n", note)
		}
	}
	return b.String()
}

func texts(row []cell) []string {
	texts := make([]string, len(row))
	for i, c := range row {
		texts[i] = c.text
	}
	return texts
}
