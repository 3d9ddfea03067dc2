package sessionkeys

import (
	"time"

	"github.com/latchkey-dev/latchkey/internal/session/ended"
	"github.com/latchkey-dev/latchkey/internal/session/keyring"
)

// margin is how much longer than it opens anything a key is kept: the clocks of those who
// open may be behind.
const margin = time.Hour

// keysPlan is which keys there should be.
type keysPlan struct {
	ring keyring.Ring
	// made says that the last one is new.
	made bool
	// removed are the ids of those that nobody needs any more.
	removed []string
	// next is when there will be something to do.
	next time.Time
}

// planKeys decides which keys there should be, of those that there are. newKey makes one.
func planKeys(ring keyring.Ring, now time.Time, newKey func(now time.Time) keyring.Key) keysPlan {
	var p keysPlan
	for _, key := range ring {
		if isNeeded(ring, key, now) {
			p.ring = append(p.ring, key)
		} else {
			p.removed = append(p.removed, key.ID)
		}
	}
	if n := len(p.ring); n == 0 || !now.Before(p.ring[n-1].MadeAt.Add(keyring.Period)) {
		p.ring = append(p.ring, newKey(now))
		p.made = true
	}
	p.next = p.ring[len(p.ring)-1].MadeAt.Add(keyring.Period)
	if end, superseded := goesAt(p.ring, p.ring[0]); superseded && end.Before(p.next) {
		p.next = end
	}
	return p
}

// isNeeded says whether something may live that a key sealed or will seal. One from days
// ahead is not: it was made by a clock that was wrong, and no other would be made until
// then.
func isNeeded(ring keyring.Ring, key keyring.Key, now time.Time) bool {
	if key.MadeAt.After(now.Add(keyring.Period)) {
		return false
	}
	end, superseded := goesAt(ring, key)
	return !superseded || now.Before(end)
}

// goesAt is when a key is needed no more; superseded is false for the last one.
func goesAt(ring keyring.Ring, key keyring.Key) (end time.Time, superseded bool) {
	end, superseded = ring.SealsUntil(key.ID)
	return end.Add(keyring.Retention + margin), superseded
}

// planEnded decides what the list of ended sessions should be, of the text that is
// stored. What can't be read was lost, and with it who signed out: then everybody is
// signed out. mend says why it should be written, and is empty where it should not.
func planEnded(text string, now time.Time) (list *ended.List, mend string) {
	list, err := ended.Parse(text)
	if err != nil {
		list = &ended.List{}
		list.EndEverything(now)
		return list, err.Error()
	}
	if list.Ahead(now) {
		list.BringBack(now)
		return list, "sessions were ended by a clock that is ahead of this one"
	}
	return list, ""
}
