package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	var out strings.Builder
	r := &report{out: &out}
	table := &table{Section: "heap", Title: "in short", Columns: []string{"what", "B/token", "÷"}}
	table.add(text("informer"), number("%.0f", 2320.4), number("%.2f", 1))
	table.add(text("nothing"), number("%.0f", math.NaN()), known("%.2f", 0))
	table.note("measured %d times", 3)
	if err := r.show(table); err != nil {
		t.Fatal(err)
	}
	r.atMost(5, 350, "bytes", number("%.0f", 172))
	r.atLeast(1, 1.5, "ratio", number("%.2f", 1.2))
	r.atLeast(1, .7, "nginx", number("%.2f", math.NaN()))
	file := filepath.Join(t.TempDir(), "figures.json")
	if err := r.finish(file, ""); err != nil {
		t.Fatal(err)
	}
	const want = `
heap: in short
  what      B/token  ÷
  informer  2320     1.00
  nothing   –        –
  measured 3 times

goals
  goal  what   bound  measured  reached
  1     ratio  ≥ 1.5  1.20      no
  1     nginx  ≥ 0.7  –         not measured
  5     bytes  ≤ 350  172       yes
`
	if out.String() != want {
		t.Errorf("printed:\n%s\nwant:\n%s", out.String(), want)
	}
	if got := r.markdown(); !strings.Contains(got, "\n### heap: in short\n\n| what | B/token | ÷ |\n|---|---|---|\n| informer | 2320 | 1.00 |\n") {
		t.Errorf("as Markdown:\n%s", got)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var figures struct{ Tables []struct{ Rows [][]any } }
	if err := json.Unmarshal(content, &figures); err != nil {
		t.Fatal(err)
	}
	if got := figures.Tables[0].Rows[0]; !slices.Equal(got, []any{"informer", 2320.4, 1.0}) {
		t.Errorf("the figures of the first row are %v", got)
	}
}

func TestMetricsAreRead(t *testing.T) {
	const page = `# HELP apiserver_request_total Counter
apiserver_request_total{code="201",resource="apitokens",subresource="",verb="POST"} 3
apiserver_request_total{code="200",resource="apitokens",subresource="status",verb="APPLY"} 1.5e+01
apiserver_request_duration_seconds{verb="POST"} 7
go_goroutines 12
`
	samples, err := parseMetrics(strings.NewReader(page), []string{"apiserver_request_total"})
	if err != nil || len(samples) != 2 {
		t.Fatalf("%d samples, error %v, want 2", len(samples), err)
	}
	if s := samples[1]; s.value != 15 || s.labels["subresource"] != "status" || s.labels["verb"] != "APPLY" {
		t.Errorf("the second sample is %+v", s)
	}
}

func TestWriteCounts(t *testing.T) {
	before := writeCounts{"secrets": 2, "apitokens": 5}
	after := writeCounts{"secrets": 4, "apitokens": 5, "events": 1}
	added := after.since(before)
	if got := added.String(); got != "1 of events, 2 of secrets" || added.sum() != 3 {
		t.Errorf("added %s, in sum %v", got, added.sum())
	}
	if got := before.since(before).String(); got != "no writes" {
		t.Errorf("nothing added is %q", got)
	}
}

func TestOptions(t *testing.T) {
	o, err := parseOptions([]string{"--quick", "--only=heap,start", "--rounds=3", "--tokens=20,10,20"})
	if err != nil {
		t.Fatal(err)
	}
	if !o.wants(sectionHeap) || o.wants(sectionFlat) || o.rounds != 3 || o.duration != quick.duration || !slices.Equal(o.tokens, []int{10, 20}) {
		t.Errorf("options are %+v", o)
	}
	for _, args := range [][]string{{"--only=speed"}, {"--tokens=many"}, {"--tokens=0"}, {"--rounds=-1"}, {"--duration=1us"}, {"more"}} {
		if _, err := parseOptions(args); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
}
