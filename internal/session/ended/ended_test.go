package ended_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-dev/latchkey/internal/session/ended"
)

var start = time.Date(2027, 1, 2, 3, 4, 5, 678900000, time.UTC)

// of is a session that started at the start, plus a duration.
func of(tenant, user, id string, after time.Duration) ended.Session {
	return ended.Session{Tenant: tenant, User: user, ID: id, StartedAt: start.Add(after)}
}

var ann = of("acme", "oidc:ann", "1", 0)

func TestHas(t *testing.T) {
	until := start.Add(12 * time.Hour)
	session := func(l *ended.List) { l.EndSession(ann, until, start) }
	user := func(l *ended.List) { l.EndUser(ann, start.Add(time.Hour)) }
	everything := func(l *ended.List) { l.EndEverything(start.Add(time.Hour)) }
	for name, c := range map[string]struct {
		end  func(*ended.List)
		of   ended.Session
		want bool
	}{
		"nothing":                      {func(*ended.List) {}, ann, false},
		"the session":                  {session, ann, true},
		"another of the person":        {session, of("acme", "oidc:ann", "2", 0), false},
		"the same id elsewhere":        {session, of("globex", "oidc:ann", "1", 0), false},
		"a person's":                   {user, ann, true},
		"a person's other":             {user, of("acme", "oidc:ann", "2", 59*time.Minute), true},
		"one that a fast clock began":  {user, of("acme", "oidc:ann", "2", time.Hour+ended.MaxSkew), true},
		"a person's later":             {user, of("acme", "oidc:ann", "2", time.Hour+ended.MaxSkew+2*time.Millisecond), false},
		"another person's":             {user, of("acme", "oidc:bob", "2", 0), false},
		"the person's, elsewhere":      {user, of("globex", "oidc:ann", "2", 0), false},
		"a name that looks like both":  {user, of("acm", "e\x00oidc:ann", "2", 0), false},
		"everybody's":                  {everything, of("globex", "oidc:bob", "7", 0), true},
		"everybody's, but later":       {everything, of("globex", "oidc:bob", "7", 2*time.Hour), false},
		"the session's own start wins": {func(l *ended.List) { l.EndUser(of("acme", "oidc:ann", "1", time.Hour), start) }, of("acme", "oidc:ann", "1", time.Hour), true},
	} {
		t.Run(name, func(t *testing.T) {
			var l ended.List
			c.end(&l)
			read, err := ended.Parse(l.String())
			if err != nil {
				t.Fatal(err)
			}
			for what, list := range map[string]*ended.List{"the list": &l, "as it was stored": read, "a copy": l.Clone()} {
				if got := list.Has(c.of); got != c.want {
					t.Errorf("%s: ended is %t", what, got)
				}
			}
		})
	}
}

// Whoever signs in after a sign-out everywhere is signed in, whatever the clocks say
// within their bounds.
func TestStartsAt(t *testing.T) {
	var l ended.List
	l.EndUser(ann, start.Add(ended.MaxSkew)) // by a clock that is ahead
	for name, c := range map[string]struct {
		at time.Duration
		ok bool
	}{
		"by the same clock":     {ended.MaxSkew, true},
		"by one that is behind": {0, true},
		"much later":            {time.Hour, true},
		"by one that is wrong":  {-5 * time.Minute, false},
	} {
		t.Run(name, func(t *testing.T) {
			next := of("acme", "oidc:ann", "2", 0)
			var ok bool
			if next.StartedAt, ok = l.StartsAt(next, start.Add(c.at)); ok != c.ok {
				t.Fatalf("starts at %s: %t", next.StartedAt, ok)
			}
			if read, err := ended.Parse(l.String()); err != nil || read.Has(next) || l.Has(next) {
				t.Errorf("what started at %s is ended: %v", next.StartedAt, err)
			}
			if next.StartedAt.Nanosecond()%1e6 != 0 {
				t.Errorf("%s is not in whole milliseconds", next.StartedAt)
			}
		})
	}
}

func TestPrune(t *testing.T) {
	var l ended.List
	l.EndSession(ann, start.Add(time.Hour), start)
	l.EndUser(of("acme", "oidc:bob", "2", 0), start)
	l.EndSession(of("globex", "oidc:eve", "3", 0), start.Add(2*time.Hour), start)
	for _, c := range []struct {
		after time.Duration
		want  int
	}{
		{time.Hour, 3}, {time.Hour + ended.MaxSkew + 1, 2}, {3 * time.Hour, 1}, {ended.Retention + ended.MaxSkew, 1}, {ended.Retention + 2*ended.MaxSkew, 0},
	} {
		l.Prune(start.Add(c.after))
		if l.Len() != c.want {
			t.Errorf("after %s there are %d entries, want %d:\n%s", c.after, l.Len(), c.want, l.String())
		}
	}
	if !l.IsEmpty() {
		t.Error("the list is not empty")
	}
	l.EndEverything(start)
	if l.IsEmpty() {
		t.Error("a list of everything is empty")
	}
	if l.Prune(start.Add(2 * ended.Retention)); !l.IsEmpty() {
		t.Error("everything is remembered for ever")
	}
}

// One tenant can't use up the room of others, and all of them together can't use up more
// than there is. What was ended stays ended.
func TestBounds(t *testing.T) {
	var l ended.List
	until, now := start.Add(time.Hour), start.Add(time.Minute)
	steady := of("steady", "oidc:bob", "s", 0)
	var ids []ended.Session
	for i := range ended.MaxPerTenant + 1 {
		s := of("acme", fmt.Sprintf("oidc:%d", i), fmt.Sprint(i), 0)
		ids = append(ids, s)
		if i%2 == 0 {
			l.EndSession(s, until, now)
		} else {
			l.EndUser(s, now)
		}
	}
	if l.Len() != 1 || l.Has(steady) || !l.Has(ann) {
		t.Errorf("of one tenant too many are %d entries; another's ended: %t, its others ended: %t", l.Len(), l.Has(steady), l.Has(ann))
	}
	for tenant := range ended.MaxEntries/ended.MaxPerTenant + 1 {
		other := &ended.List{}
		for i := range ended.MaxPerTenant {
			s := of(fmt.Sprintf("tenant-%d", tenant), fmt.Sprintf("oidc:%d", i), fmt.Sprint(i), 0)
			ids = append(ids, s)
			other.EndSession(s, until, now)
		}
		l.Merge(other, now)
	}
	if l.Len() > ended.MaxEntries || !l.Has(steady) {
		t.Errorf("%d entries; everything ended: %t", l.Len(), l.Has(steady))
	}
	for _, s := range ids {
		if !l.Has(s) {
			t.Fatalf("session %s of %s is open again", s.ID, s.Tenant)
		}
	}
}

// Who signs in and out all the time uses up no room but a few entries, and ends nobody
// else's sessions.
func TestBoundOfAPerson(t *testing.T) {
	var l ended.List
	until, now := start.Add(time.Hour), start.Add(time.Minute)
	others := of("acme", "oidc:bob", "b", 0)
	for i := range ended.MaxEntries {
		l.EndSession(of("acme", "oidc:ann", fmt.Sprint(i), 0), until, now)
		if l.Len() > ended.MaxPerUser+1 {
			t.Fatalf("%d entries after %d sign-outs", l.Len(), i)
		}
	}
	if !l.Has(ann) || !l.Has(of("acme", "oidc:ann", "1234", 0)) || l.Has(others) {
		t.Errorf("hers ended: %t; another's: %t", l.Has(ann), l.Has(others))
	}
	if l.Has(of("globex", "oidc:ann", "1", 0)) {
		t.Error("hers at another tenant ended too")
	}
}

// What was signed out stays so where somebody signs in and out faster than the clock goes
// on: a session that begins after a cut starts later than any clock says.
func TestBoundOfAPersonAtOneInstant(t *testing.T) {
	until := start.Add(time.Hour)
	for name, pending := range map[string]func(known *ended.List) *ended.List{
		"in one list":                 func(known *ended.List) *ended.List { return known },
		"by a replica that keeps its": func(*ended.List) *ended.List { return &ended.List{} },
	} {
		t.Run(name, func(t *testing.T) {
			known := &ended.List{}
			own := pending(known)
			var all []ended.Session
			for i := range 10 * ended.MaxPerUser {
				s := of("acme", "oidc:ann", fmt.Sprint(i), 0)
				var ok bool
				if s.StartedAt, ok = known.StartsAt(s, start); !ok {
					t.Fatalf("session %d can't start", i)
				}
				all = append(all, s)
				own.EndSession(s, until, start)
				if i%7 == 0 && own != known {
					known.Merge(own, start)
				}
			}
			known.Merge(own.Clone(), start)
			for _, s := range all {
				if !known.Has(s) {
					t.Fatalf("session %s, which started at %s, is open again:\n%s", s.ID, s.StartedAt, known)
				}
			}
		})
	}
}

// A full list of the longest names fits into a ConfigMap.
func TestSize(t *testing.T) {
	var l ended.List
	for tenant := range ended.MaxEntries / ended.MaxPerTenant {
		var one ended.List
		for i := range ended.MaxPerTenant {
			one.EndSession(of(fmt.Sprintf("%056d", tenant), fmt.Sprintf("oidc:%d", i), fmt.Sprintf("%022d", i), 0), start.Add(time.Hour), start)
		}
		l.Merge(&one, start)
	}
	if n := len(l.String()); l.Len() != ended.MaxEntries || n > 900<<10 {
		t.Errorf("%d entries have %d bytes", l.Len(), n)
	}
}

// The same in any order, and however often: replicas write over each other.
func TestMerge(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var a, b, both ended.List
		for i := range random.IntN(20) {
			s := of(fmt.Sprintf("t%d", random.IntN(2)), fmt.Sprintf("u%d", random.IntN(3)), fmt.Sprint(i), 0)
			now := start.Add(time.Duration(random.IntN(3600)) * time.Second)
			end := func(l *ended.List) {
				switch {
				case i%19 == 18:
					l.EndEverything(now)
				case i%3 == 0:
					l.EndUser(s, now)
				default:
					l.EndSession(s, start.Add(12*time.Hour), now)
				}
			}
			end([]*ended.List{&a, &b}[random.IntN(2)])
		}
		now := start.Add(time.Hour)
		both.Merge(&a, now)
		both.Merge(&b, now)
		both.Merge(&a, now)
		b.Merge(&a, now)
		if diff := cmp.Diff(both.String(), b.String()); diff != "" {
			t.Fatal(diff)
		}
	}
}

func TestMergeLeavesTheOtherAlone(t *testing.T) {
	var a, b ended.List
	b.EndSession(ann, start.Add(time.Hour), start)
	a.Merge(&b, start)
	a.EndSession(of("acme", "oidc:ann", "2", 0), start.Add(time.Hour), start)
	if b.Len() != 1 {
		t.Errorf("it has %d entries", b.Len())
	}
}

func TestAhead(t *testing.T) {
	far := start.Add(365 * 24 * time.Hour)
	for name, end := range map[string]func(*ended.List){
		"a person":   func(l *ended.List) { l.EndUser(ann, far) },
		"everything": func(l *ended.List) { l.EndEverything(far) },
		"a tenant": func(l *ended.List) {
			for i := range ended.MaxPerTenant + 1 {
				l.EndSession(of("acme", "oidc:ann", fmt.Sprint(i), 0), far, far)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			var l ended.List
			l.EndUser(of("globex", "oidc:bob", "1", 0), start)
			if l.Ahead(start) || l.Ahead(start.Add(-ended.MaxSkew)) {
				t.Error("what a right clock ended is ahead")
			}
			end(&l)
			if !l.Ahead(start) {
				t.Fatal("it is not ahead")
			}
			l.BringBack(start)
			next := of("acme", "oidc:ann", "new", 0)
			var ok bool
			if next.StartedAt, ok = l.StartsAt(next, start); !ok || l.Ahead(start) || l.Has(next) || !l.Has(ann) {
				t.Errorf("ahead: %t; nobody signs in: %t; what was ended is open: %t", l.Ahead(start), !ok || l.Has(next), !l.Has(ann))
			}
		})
	}
}

func TestParseFailsForAllThatItDoesNotKnow(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":             "",
		"no header":           "session acme 1 1798858800\n",
		"another version":     "v2\n",
		"cut off":             "v1\nsession acme 1 17988",
		"an empty line":       "v1\n\n",
		"another word":        "v1\nsessions acme 1 1798858800\n",
		"a word too many":     "v1\nsession acme 1 2 1798858800\n",
		"a word too few":      "v1\nsession acme 1798858800\n",
		"two spaces":          "v1\nsession  acme 1 1798858800\n",
		"no instant":          "v1\nuser acme 1 soon\n",
		"before 1970":         "v1\nuser acme 1 -5\n",
		"after 9999":          "v1\nsession acme 1 253402300800\n",
		"a cut after 9999":    "v1\neverything 253402300800000\n",
		"a carriage return":   "v1\r\nsession acme 1 1798858800\r\n",
		"everything of acme":  "v1\neverything acme 1798858800\n",
		"one good, one wrong": "v1\nsession acme 1 1798858800\nsession\n",
	} {
		if l, err := ended.Parse(text); err == nil {
			t.Errorf("%s: read as %q", name, l.String())
		}
	}
}

// What can be read is written as it was understood.
func FuzzParse(f *testing.F) {
	f.Add("v1\n")
	f.Add("v1\neverything 1798858800000\ntenant acme 1798858800000\nuser acme AAAA 1798858800000\nsession acme 1 1798858800\n")
	f.Fuzz(func(t *testing.T, text string) {
		l, err := ended.Parse(text)
		if err != nil {
			return
		}
		written := l.String()
		again, err := ended.Parse(written)
		if err != nil || again.String() != written {
			t.Errorf("%q became %q, and that %v", text, written, err)
		}
		if l.Len() > strings.Count(text, "\n") {
			t.Errorf("%d entries of %q", l.Len(), text)
		}
	})
}
