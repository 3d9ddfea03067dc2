package cli

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"k8s.io/apimachinery/pkg/util/duration"
)

// printable replaces what must not reach a terminal: others write descriptions,
// owners and messages, and escape sequences in them would act on it.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, s)
}

// instant is a time in UTC, and how far it is from now, such as
// 2027-01-31T00:00:00Z (in 12d).
func instant(t, now time.Time) string {
	distance := "in " + duration.HumanDuration(t.Sub(now))
	if !t.After(now) {
		distance = duration.HumanDuration(now.Sub(t)) + " ago"
	}
	return fmt.Sprintf("%s (%s)", t.UTC().Format(time.RFC3339), distance)
}
