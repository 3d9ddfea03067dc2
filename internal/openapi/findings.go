package openapi

import (
	"fmt"
	"slices"
	"unicode/utf8"
)

// Bounds of what is told of a document: a condition has room for a few KiB.
const (
	maxFindings      = 20
	maxFindingLength = 200
)

// findings are sentences about a document. Only the first are kept, none of them
// long: a document can give cause for half a million.
type findings struct {
	first []string
	total int
}

func (f *findings) add(format string, args ...any) {
	if f.total++; f.total <= maxFindings {
		f.first = append(f.first, shortened(fmt.Sprintf(format, args...)))
	}
}

// told are the first of the findings, and how many more there are.
func (f *findings) told() []string {
	if more := f.total - len(f.first); more > 0 {
		return append(slices.Clip(f.first), fmt.Sprintf("There are %d more such findings.", more))
	}
	return f.first
}

// shortened cuts the middle out of a long text: its beginning says where, and its
// end says what.
func shortened(text string) string {
	if len(text) <= maxFindingLength {
		return text
	}
	const gap = "…"
	head, tail := maxFindingLength/2, len(text)-maxFindingLength/2+len(gap)
	for !utf8.RuneStart(text[head]) {
		head--
	}
	for !utf8.RuneStart(text[tail]) {
		tail++
	}
	return text[:head] + gap + text[tail:]
}
