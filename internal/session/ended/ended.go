// Package ended is the sessions that ended before their time, as replicas share them in a
// ConfigMap. A session itself is only in its holder's cookie, so that this list is all
// there is to say that somebody signed out. It decides only, and by the time that it is
// told.
//
// The list is bounded, and where it is full more sessions end than were meant to: all of
// a tenant, or all there are. None that was signed out opens again.
package ended

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-dev/latchkey/internal/session/keyring"
)

const (
	// MaxPerTenant is how many entries a tenant may have. One more ends all sessions of
	// the tenant instead, so that none can use up the room of others.
	MaxPerTenant = 1000
	// MaxPerUser is how many sessions of one person may have been signed out one by one.
	// One more ends all that the person has with the tenant, as one entry.
	MaxPerUser = 20
	// MaxEntries is how many there may be. One more ends all sessions there are. It keeps
	// the list, at about 130 bytes an entry, below the MiB that a ConfigMap can hold.
	MaxEntries = 6000
	// Retention is how long a session may live at most, and so how long it has to be
	// remembered that one ended.
	Retention = keyring.Retention
	// MaxSkew is by how much the clocks of replicas may differ.
	MaxSkew = keyring.MaxSkew
)

// Session is what of a session decides whether it was ended.
type Session struct {
	// Tenant is the UID of the session's tenant.
	Tenant string
	// User is the name of its person.
	User string
	// ID is the session's.
	ID string
	// StartedAt is when it began.
	StartedAt time.Time
}

// List is what was ended. The zero List is of nothing. It is not safe for use by several
// goroutines while one of them changes it.
type List struct {
	// everything, tenants and users are cuts: what started at or before them has ended.
	everything time.Time
	tenants    map[string]time.Time
	users      map[member]time.Time
	// sessions are until when each has to be remembered.
	sessions map[member]time.Time
}

// member is one of a tenant's: a session by its id, or a person by the digest of its name.
type member struct{ tenant, id string }

// session is the session, with its person after a dot, so that the sessions of one can be
// counted.
func (s Session) session() member { return member{s.Tenant, s.ID + "." + s.user().id} }

// person is whose session it is.
func (m member) person() member {
	_, id, _ := strings.Cut(m.id, ".")
	return member{m.tenant, id}
}

// user is the person, by a digest: a name may have any length, and is nobody's business
// who reads ConfigMaps.
func (s Session) user() member {
	digest := sha256.Sum256([]byte(s.Tenant + "\x00" + s.User))
	return member{s.Tenant, base64.RawURLEncoding.EncodeToString(digest[:16])}
}

// Has says whether a session was ended.
func (l *List) Has(s Session) bool {
	_, signedOut := l.sessions[s.session()]
	return signedOut || !s.StartedAt.After(l.Cut(s))
}

// Clone is a copy.
func (l *List) Clone() *List {
	return &List{everything: l.everything, tenants: maps.Clone(l.tenants), users: maps.Clone(l.users), sessions: maps.Clone(l.sessions)}
}

// Cut is the last instant at which a session like this one must have started to have been
// ended with others; zero if none were.
func (l *List) Cut(s Session) time.Time {
	return latest(l.everything, l.tenants[s.Tenant], l.users[s.user()])
}

func latest(times ...time.Time) time.Time { return slices.MaxFunc(times, time.Time.Compare) }

// EndSession ends one session, which would have lived until an instant at most.
func (l *List) EndSession(s Session, until, now time.Time) {
	if l.sessions == nil {
		l.sessions = map[member]time.Time{}
	}
	l.sessions[s.session()] = until
	if s.StartedAt.After(cutOf(now)) {
		// It began after a cut, which is told along: whoever ends it with others, and does
		// not know of that cut, would end those that began until now, and not this one.
		l.cutUser(s.user(), s.StartedAt.Add(-time.Millisecond))
	}
	l.bound(now)
}

// cutUser ends the sessions of a person that started until an instant.
func (l *List) cutUser(user member, at time.Time) {
	if l.users == nil {
		l.users = map[member]time.Time{}
	}
	l.users[user] = latest(l.users[user], at)
}

// EndUser ends every session that the session's person has with its tenant, those that
// replicas with a clock ahead of this one have just started included.
func (l *List) EndUser(s Session, now time.Time) {
	l.cutUser(s.user(), latest(roundedUp(s.StartedAt), cutOf(now)))
	l.bound(now)
}

// cutOf is the cut for what started until now, by clocks that are ahead of this one too.
// Cuts are in whole milliseconds, as they are stored and sessions begin.
func cutOf(now time.Time) time.Time { return roundedUp(now.Add(MaxSkew)) }

// roundedUp is to milliseconds: nothing that a cut ended may open once it was stored.
func roundedUp(t time.Time) time.Time {
	return t.Add(time.Millisecond - 1).Truncate(time.Millisecond)
}

// endTenant ends every session of a tenant.
func (l *List) endTenant(tenant string, now time.Time) {
	cut := latest(cutOf(now), after(l.everything), after(l.tenants[tenant]))
	for user, at := range l.users {
		if user.tenant == tenant {
			cut = latest(cut, after(at))
		}
	}
	if l.tenants == nil {
		l.tenants = map[string]time.Time{}
	}
	l.tenants[tenant] = cut
	ofTenant := func(m member, _ time.Time) bool { return m.tenant == tenant }
	maps.DeleteFunc(l.sessions, ofTenant)
	maps.DeleteFunc(l.users, ofTenant)
}

// after is when a session may start at the earliest that a cut is not to end.
func after(cut time.Time) time.Time { return cut.Add(time.Millisecond) }

// EndEverything ends every session there is, of all tenants.
func (l *List) EndEverything(now time.Time) {
	cut := cutOf(now)
	for _, at := range l.cuts() {
		cut = latest(cut, after(at))
	}
	*l = List{everything: cut}
}

// StartsAt is when a session that begins now starts, in whole milliseconds, so that no cut
// ends it that was made before: later than now by as much as clocks may differ. ok is
// false where a cut was made by a clock that was wrong by more.
func (l *List) StartsAt(s Session, now time.Time) (at time.Time, ok bool) {
	cut, now := l.Cut(s), now.Truncate(time.Millisecond)
	if now.After(cut) {
		return now, true
	}
	return after(cut), !isAhead(cut, now)
}

// Merge adds what another list has ended.
func (l *List) Merge(other *List, now time.Time) {
	l.everything = latest(l.everything, other.everything)
	l.tenants = union(l.tenants, other.tenants)
	l.users = union(l.users, other.users)
	l.sessions = union(l.sessions, other.sessions)
	l.bound(now)
}

// union has the later of two times for each key; it may change a.
func union[K comparable](a, b map[K]time.Time) map[K]time.Time {
	if a == nil {
		return maps.Clone(b)
	}
	for key, at := range b {
		a[key] = latest(a[key], at)
	}
	return a
}

// Len is how many entries the list has.
func (l *List) Len() int { return len(l.tenants) + len(l.users) + len(l.sessions) }

// IsEmpty says whether the list is of nothing.
func (l *List) IsEmpty() bool { return l.everything.IsZero() && l.Len() == 0 }

// Prune forgets what can live no more.
func (l *List) Prune(now time.Time) {
	over := func(cut time.Time) bool { return now.After(cut.Add(Retention)) }
	if over(l.everything) {
		l.everything = time.Time{}
	}
	maps.DeleteFunc(l.tenants, func(_ string, cut time.Time) bool { return over(cut) })
	maps.DeleteFunc(l.users, func(_ member, cut time.Time) bool { return over(cut) })
	maps.DeleteFunc(l.sessions, func(_ member, until time.Time) bool { return now.After(until.Add(MaxSkew)) })
}

// bound ends more where the list would be too long.
func (l *List) bound(now time.Time) {
	l.Prune(now)
	l.boundUsers(now)
	if l.Len() <= MaxPerTenant {
		return
	}
	entries := map[string]int{}
	for _, of := range []map[member]time.Time{l.sessions, l.users} {
		for m := range of {
			entries[m.tenant]++
		}
	}
	for tenant, n := range entries {
		if n > MaxPerTenant {
			l.endTenant(tenant, now)
		}
	}
	if l.Len() > MaxEntries {
		l.EndEverything(now)
	}
}

// boundUsers ends all sessions of people who signed out of too many.
func (l *List) boundUsers(now time.Time) {
	if len(l.sessions) <= MaxPerUser {
		return
	}
	entries := map[member]int{}
	for m := range l.sessions {
		entries[m.person()]++
	}
	for person, n := range entries {
		if n <= MaxPerUser || person.id == "" {
			continue
		}
		// Sessions that began after a cut may have started later than now.
		before := latest(l.everything, l.tenants[person.tenant], l.users[person])
		l.cutUser(person, latest(cutOf(now), after(before)))
		maps.DeleteFunc(l.sessions, func(m member, _ time.Time) bool { return m.person() == person })
	}
}

// isAhead says of a cut that no clock that is right to MaxSkew can have made it.
func isAhead(cut, now time.Time) bool { return cut.After(now.Add(3 * MaxSkew)) }

// Ahead says whether the list has cuts of a clock that was wrong: while they last, nobody
// whom they are for can sign in.
func (l *List) Ahead(now time.Time) bool {
	return slices.ContainsFunc(l.cuts(), func(cut time.Time) bool { return isAhead(cut, now) })
}

// BringBack makes cuts of such a clock cuts of now. What started since they were made, by
// clocks that are right, ends with them.
func (l *List) BringBack(now time.Time) {
	back := func(cut time.Time) time.Time {
		if isAhead(cut, now) {
			return cutOf(now)
		}
		return cut
	}
	l.everything = back(l.everything)
	for tenant, cut := range l.tenants {
		l.tenants[tenant] = back(cut)
	}
	for user, cut := range l.users {
		l.users[user] = back(cut)
	}
}

func (l *List) cuts() []time.Time {
	cuts := append(slices.Collect(maps.Values(l.tenants)), slices.Collect(maps.Values(l.users))...)
	return append(cuts, l.everything)
}

func (m member) compare(other member) int {
	return cmp.Or(cmp.Compare(m.tenant, other.tenant), cmp.Compare(m.id, other.id))
}
