// Command promql parses PromQL: it reads a JSON array of expressions from its
// standard input and writes, for each, what is wrong with it or which metrics and
// labels it selects.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/prometheus/prometheus/promql/parser"
)

// expression is what is said of one.
type expression struct {
	// Error is why it does not parse, or empty.
	Error string `json:"error,omitempty"`
	// Selectors are the metrics that it reads.
	Selectors []selector `json:"selectors"`
	// Grouping are the labels of its aggregations.
	Grouping []string `json:"grouping"`
}

type selector struct {
	Metric string   `json:"metric"`
	Labels []string `json:"labels"`
}

func main() {
	var texts []string
	if err := json.NewDecoder(os.Stdin).Decode(&texts); err != nil {
		fmt.Fprintln(os.Stderr, "promql: a JSON array of expressions is expected:", err)
		os.Exit(1)
	}
	parsed := make([]expression, 0, len(texts))
	for _, text := range texts {
		parsed = append(parsed, parse(text))
	}
	if err := json.NewEncoder(os.Stdout).Encode(parsed); err != nil {
		fmt.Fprintln(os.Stderr, "promql:", err)
		os.Exit(1)
	}
}

func parse(text string) (e expression) {
	root, err := parser.NewParser(parser.Options{}).ParseExpr(text)
	if err != nil {
		e.Error = err.Error()
		return e
	}
	parser.Inspect(root, func(node parser.Node, _ []parser.Node) error {
		switch node := node.(type) {
		case *parser.VectorSelector:
			found := selector{Metric: node.Name}
			for _, matcher := range node.LabelMatchers {
				if matcher.Name != "__name__" {
					found.Labels = append(found.Labels, matcher.Name)
				}
			}
			e.Selectors = append(e.Selectors, found)
		case *parser.AggregateExpr:
			e.Grouping = append(e.Grouping, node.Grouping...)
		}
		return nil
	})
	return e
}
