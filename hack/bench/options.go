package main

import (
	"cmp"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// options say how much is measured.
type options struct {
	// only are the sections to measure; empty means all.
	only []string
	// rounds is how often each subject has its turn, for duration each time.
	rounds   int
	duration time.Duration
	// tokens are the numbers of tokens for which memory and start are measured,
	// ascending. What is measured with many tokens is measured with the last.
	tokens []int
	// few is the number of tokens with which the time to effect is measured first.
	few int
	// samples is how many writes are followed to their effect.
	samples int
	// batch is how many tokens are issued in a round.
	batch int
	// settle is how long a process may rest before its memory is read.
	settle time.Duration
	// json and markdown are files that get the figures, or empty.
	json, markdown string
}

var (
	full = options{
		rounds: 5, duration: 3 * time.Second, tokens: []int{10_000, 100_000},
		few: 1000, samples: 200, batch: 1000, settle: 2 * time.Second,
	}
	quick = options{
		rounds: 2, duration: 300 * time.Millisecond, tokens: []int{200, 400},
		few: 50, samples: 10, batch: 50, settle: 200 * time.Millisecond,
	}
)

// The sections, in the order in which they are measured.
const (
	sectionCheck   = "check"
	sectionHeap    = "heap"
	sectionRequest = "request"
	sectionEffect  = "effect"
	sectionIssue   = "issue"
	sectionStart   = "start"
	sectionFlat    = "flat"
	sectionWrites  = "writes"
)

var sections = []string{
	sectionCheck, sectionHeap, sectionRequest, sectionEffect, sectionIssue, sectionStart, sectionFlat, sectionWrites,
}

func parseOptions(args []string) (options, error) {
	var given options
	var quickly bool
	var only, tokens string
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.BoolVar(&quickly, "quick", false, "check in a minute that everything works: fewer tokens, shorter and fewer rounds")
	flags.StringVar(&only, "only", "", "comma-separated sections to measure: "+strings.Join(sections, ", ")+" (default: all)")
	flags.IntVar(&given.rounds, "rounds", 0, fmt.Sprintf("how often each subject has its turn (default %d, with --quick %d)", full.rounds, quick.rounds))
	flags.DurationVar(&given.duration, "duration", 0, fmt.Sprintf("how long a turn lasts (default %s, with --quick %s)", full.duration, quick.duration))
	flags.StringVar(&tokens, "tokens", "", fmt.Sprintf("comma-separated numbers of tokens (default %s, with --quick %s)", joinInts(full.tokens), joinInts(quick.tokens)))
	flags.StringVar(&given.json, "json", "", "a file that gets the figures as JSON")
	flags.StringVar(&given.markdown, "markdown", "", "a file that gets the tables as Markdown, for docs/benchmarks.md")
	if err := flags.Parse(args); err != nil {
		return options{}, err
	}
	if flags.NArg() > 0 {
		return options{}, fmt.Errorf("unexpected argument %q; see --help", flags.Arg(0))
	}
	o := full
	if quickly {
		o = quick
	}
	o.json, o.markdown = given.json, given.markdown
	o.rounds, o.duration = cmp.Or(given.rounds, o.rounds), cmp.Or(given.duration, o.duration)
	var err error
	if o.only, err = parseSections(only); err != nil {
		return options{}, err
	}
	if tokens != "" {
		if o.tokens, err = parseSizes(tokens); err != nil {
			return options{}, err
		}
	}
	return o, o.validate()
}

func (o *options) validate() error {
	if o.rounds < 1 {
		return fmt.Errorf("--rounds=%d: must be at least 1", o.rounds)
	}
	if o.duration < 10*time.Millisecond {
		return fmt.Errorf("--duration=%s: must be at least 10ms", o.duration)
	}
	return nil
}

func parseSections(list string) ([]string, error) {
	if list == "" {
		return nil, nil
	}
	names := strings.Split(list, ",")
	for _, name := range names {
		if !slices.Contains(sections, name) {
			return nil, fmt.Errorf("--only=%s: there is no section %q; there are: %s", list, name, strings.Join(sections, ", "))
		}
	}
	return names, nil
}

func parseSizes(list string) ([]int, error) {
	var sizes []int
	for text := range strings.SplitSeq(list, ",") {
		size, err := strconv.Atoi(text)
		if err != nil || size < 1 {
			return nil, fmt.Errorf("--tokens=%s: %q is not a number of tokens", list, text)
		}
		sizes = append(sizes, size)
	}
	slices.Sort(sizes)
	return slices.Compact(sizes), nil
}

func joinInts(numbers []int) string {
	texts := make([]string, len(numbers))
	for i, n := range numbers {
		texts[i] = strconv.Itoa(n)
	}
	return strings.Join(texts, ",")
}

func (o *options) wants(section string) bool {
	return len(o.only) == 0 || slices.Contains(o.only, section)
}

// many is the largest number of tokens.
func (o *options) many() int { return slices.Max(o.tokens) }
