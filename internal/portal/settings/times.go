package settings

import (
	"time"

	"github.com/latchkey-dev/latchkey/internal/portal/wording"
)

// instant is a point in time as a page shows it. The page's script writes it anew in
// the reader's time zone, and leaves UTC in the title.
type instant struct {
	// ISO is for programs, and Exact for people who point at it.
	ISO, Exact string
	// Show says how the script is to write it: "day" or "moment"; empty leaves Text.
	Show, Text string
}

func newInstant(t time.Time, show, text string) instant {
	t = t.UTC()
	return instant{ISO: t.Format(time.RFC3339), Exact: t.Format("2006-01-02 15:04:05 UTC"), Show: show, Text: text}
}

// day shows the date.
func day(t time.Time) instant { return newInstant(t, "day", t.UTC().Format("2 Jan 2006")) }

// moment shows date and time.
func moment(t time.Time) instant {
	return newInstant(t, "moment", t.UTC().Format("2 Jan 2006, 15:04 UTC"))
}

// ago shows how long ago it was.
func ago(now, t time.Time) instant {
	return newInstant(t, "", wording.Relative(current(now), t))
}

// current is what counts as now.
func current(now time.Time) time.Time {
	if now.IsZero() {
		return time.Now()
	}
	return now
}

func after(t, now time.Time) bool { return t.After(current(now)) }

// remaining says how much time a token has left. On its last day that is hours.
func remaining(now time.Time, r Row) string {
	left := r.ExpiresAt.Sub(current(now))
	switch {
	case r.State == Revoked:
		return "No longer works"
	case left <= 0:
		return wording.Relative(current(now), r.ExpiresAt)
	case r.DaysLeft <= 1:
		return wording.Left(left)
	}
	return wording.Count(r.DaysLeft, "day") + " left"
}

// dates bound the date that somebody can choose.
type dates struct{ Min, Max string }

func bounds(c Create) dates {
	now := current(c.Now).UTC()
	b := dates{Min: now.AddDate(0, 0, 1).Format(time.DateOnly)}
	if c.MaxLifetime > 0 {
		b.Max = now.Add(c.MaxLifetime).Format(time.DateOnly)
	}
	return b
}
