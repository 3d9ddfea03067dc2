package sessionkeys

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-dev/latchkey/internal/session/ended"
	"github.com/latchkey-dev/latchkey/internal/session/keyring"
)

var start = time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)

// ring has keys made at these times after the start, with the ids a, b, c …
func ring(at ...time.Duration) keyring.Ring {
	var keys []keyring.Key
	for i, d := range at {
		keys = append(keys, keyring.Key{ID: string(rune('a' + i)), MadeAt: start.Add(d)})
	}
	return keyring.Of(keys...)
}

func newKey(now time.Time) keyring.Key { return keyring.Key{ID: "new", MadeAt: now} }

func ids(r keyring.Ring) string {
	var all []string
	for _, k := range r {
		all = append(all, k.ID)
	}
	return strings.Join(all, " ")
}

func TestPlanKeys(t *testing.T) {
	const day = keyring.Period
	// gone is when a key is needed no more whose successor was made at the start.
	const gone = keyring.Delay + keyring.Retention + margin
	for name, c := range map[string]struct {
		ring          keyring.Ring
		at            time.Duration
		want, removed string
		// next is after at.
		next time.Duration
	}{
		"none":                        {nil, 0, "new", "", day},
		"a new one":                   {ring(0), time.Hour, "a", "", day - time.Hour},
		"a day old, nearly":           {ring(0), day - 1, "a", "", 1},
		"a day old":                   {ring(0), day, "a new", "", day},
		"a week old":                  {ring(0), 7 * day, "a new", "", day},
		"superseded":                  {ring(0, day), day + time.Hour, "a b", "", day - time.Hour},
		"just about needed":           {ring(-day, 0), gone - 1, "a b new", "", 1},
		"not needed":                  {ring(-day, 0, day), gone, "b c", "a", 2*day - gone},
		"two not needed":              {ring(-2*day, -day, 0, day), gone, "c d", "a b", 2*day - gone},
		"the last is for ever":        {ring(0), 100 * day, "a new", "", day},
		"made by a clock ahead a bit": {ring(time.Hour), 0, "a", "", day + time.Hour},
		"made by a clock years ahead": {ring(0, 365*day), time.Hour, "a", "b", day - time.Hour},
		"nothing but a clock's error": {ring(365 * day), 0, "new", "a", day},
	} {
		t.Run(name, func(t *testing.T) {
			now := start.Add(c.at)
			p := planKeys(c.ring, now, newKey)
			got := []string{ids(p.ring), strings.Join(p.removed, " "), p.next.Sub(now).String()}
			if diff := cmp.Diff([]string{c.want, c.removed, c.next.String()}, got); diff != "" {
				t.Errorf("keys, removed, next (-want +got):\n%s", diff)
			}
			if p.made != strings.HasSuffix(c.want, "new") {
				t.Errorf("made is %t", p.made)
			}
		})
	}
}

// Over weeks in which managers come and go, replicas whose clocks differ can always seal,
// and open what another sealed for as long as it may live. Keys don't pile up.
func TestWhatIsSealedOpens(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7))
	type text struct {
		key      string
		sealedAt time.Time
	}
	var texts []text
	keys, made := keyring.Ring(nil), 0
	next := start
	for now := start; now.Before(start.Add(40 * keyring.Period)); now = now.Add(time.Duration(random.IntN(1200)) * time.Second) {
		down := now.Sub(start)/(5*keyring.Period)%2 == 1 && random.IntN(200) > 0
		if !now.Before(next) && !down {
			p := planKeys(keys, now, func(now time.Time) keyring.Key {
				made++
				return keyring.Key{ID: fmt.Sprint(made), MadeAt: now}
			})
			keys, next = p.ring, p.next
			if !next.After(now) {
				t.Fatalf("at %s there is nothing to do until %s", now, next)
			}
		}
		skew := func() time.Duration { return time.Duration(random.Int64N(int64(keyring.MaxSkew))) - keyring.MaxSkew/2 }
		sealing, ok := keys.Sealing(now.Add(skew()))
		if !ok || len(keys) > 4 {
			t.Fatalf("at %s there are %d keys", now, len(keys))
		}
		texts = append(texts, text{sealing.ID, now})
		for _, old := range texts {
			if now.Before(old.sealedAt.Add(keyring.Retention)) && !keys.Opens(old.key, now.Add(skew()), keyring.Retention) {
				t.Fatalf("at %s what key %s sealed at %s does not open", now, old.key, old.sealedAt)
			}
		}
		texts = texts[max(0, len(texts)-300):]
	}
	if made < 15 {
		t.Errorf("%d keys were made", made)
	}
}

func TestPlanEnded(t *testing.T) {
	const day = 24 * time.Hour
	ann := ended.Session{Tenant: "acme", User: "oidc:ann", ID: "1", StartedAt: start.Add(-time.Minute)}
	list := func(at time.Time) string {
		var l ended.List
		l.EndUser(ended.Session{Tenant: "globex", User: "oidc:bob", ID: "2", StartedAt: at}, at)
		return l.String()
	}
	for name, c := range map[string]struct {
		text        string
		mend        bool
		annSignsOut bool
	}{
		"there is none":         {"", true, true},
		"one of nothing":        {"v1\n", false, false},
		"a good one":            {list(start), false, false},
		"an old one":            {list(start.Add(-100 * day)), false, false},
		"broken":                {"v1\nhello\n", true, true},
		"cut off":               {strings.TrimSuffix(list(start), "\n"), true, true},
		"a clock is ahead":      {list(start.Add(100 * day)), true, false},
		"a clock is ahead some": {list(start.Add(time.Minute)), false, false},
	} {
		t.Run(name, func(t *testing.T) {
			l, mend := planEnded(c.text, start)
			if (mend != "") != c.mend || l.Has(ann) != c.annSignsOut {
				t.Errorf("mend: %q; ended: %t", mend, l.Has(ann))
			}
			if _, again := planEnded(l.String(), start); again != "" {
				t.Errorf("it is to be mended again: %s", again)
			}
		})
	}
}
