package wording_test

import (
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/internal/portal/wording"
)

const day = 24 * time.Hour

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		day: "1 day", 90 * day: "90 days", time.Hour: "1 hour", 36 * time.Hour: "36 hours",
		time.Minute: "1 minute", 90 * time.Minute: "90 minutes", 90 * time.Second: "1m30s", 3650 * day: "3,650 days",
	} {
		if got := wording.Span(d); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
}

func TestGrouped(t *testing.T) {
	for n, want := range map[int]string{
		0: "0", 7: "7", 999: "999", 1000: "1,000", 12345: "12,345", 999999: "999,999", 1234567: "1,234,567", -1000: "-1,000", -12: "-12",
	} {
		if got := wording.Grouped(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

func TestRelative(t *testing.T) {
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	for d, want := range map[time.Duration]string{
		0: "just now", 59 * time.Second: "just now", -59 * time.Second: "just now",
		-time.Minute: "1 minute ago", time.Minute: "in 1 minute", -59 * time.Minute: "59 minutes ago",
		-time.Hour: "1 hour ago", 47 * time.Hour: "in 47 hours", -2 * day: "2 days ago", 59 * day: "in 59 days",
		-60 * day: "2 months ago", 729 * day: "in 24 months", -730 * day: "2 years ago", 3650 * day: "in 10 years",
	} {
		if got := wording.Relative(now, now.Add(d)); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
}

func TestLeft(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "less than a minute left", 59 * time.Second: "less than a minute left", time.Minute: "1 minute left",
		90 * time.Minute: "1 hour left", 25 * time.Hour: "25 hours left", 3 * day: "3 days left",
	} {
		if got := wording.Left(d); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
}
