// Package wording is how the portal's pages write durations and numbers.
package wording

import (
	"strconv"
	"strings"
	"time"
)

const day = 24 * time.Hour

// Span writes a duration as people say it: in days where it is whole days.
func Span(d time.Duration) string {
	switch {
	case d%day == 0:
		return Count(int(d/day), "day")
	case d%time.Hour == 0:
		return Count(int(d/time.Hour), "hour")
	case d%time.Minute == 0:
		return Count(int(d/time.Minute), "minute")
	}
	return d.String()
}

// Count writes how many there are of something, such as "1 day" or "1,200 tokens".
func Count(n int, unit string) string {
	if n == 1 {
		return "1 " + unit
	}
	return Grouped(n) + " " + unit + "s"
}

// Grouped writes a number with a comma between thousands.
func Grouped(n int) string {
	digits := strconv.Itoa(n)
	sign := ""
	if n < 0 {
		sign, digits = "-", digits[1:]
	}
	var groups []string
	for len(digits) > 3 {
		groups = append([]string{digits[len(digits)-3:]}, groups...)
		digits = digits[:len(digits)-3]
	}
	return sign + strings.Join(append([]string{digits}, groups...), ",")
}

// Relative says how far an instant is from now, such as "3 hours ago" or "in 2 days",
// in whole units that have passed.
func Relative(now, at time.Time) string {
	distance := at.Sub(now)
	switch {
	case distance.Abs() < time.Minute:
		return "just now"
	case distance > 0:
		return "in " + rough(distance)
	}
	return rough(distance.Abs()) + " ago"
}

// Left says how much is left of a time that has not ended.
func Left(d time.Duration) string {
	if d < time.Minute {
		return "less than a minute left"
	}
	return rough(d) + " left"
}

// rough writes a duration in the largest unit of which there are enough to tell.
func rough(d time.Duration) string {
	days := int(d / day)
	switch {
	case d < time.Hour:
		return Count(int(d/time.Minute), "minute")
	case d < 2*day:
		return Count(int(d/time.Hour), "hour")
	case days < 60:
		return Count(days, "day")
	case days < 730:
		return Count(days/30, "month")
	}
	return Count(days/365, "year")
}
