package ended

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ConfigMapName is the name of the ConfigMap with the list, in the installation's
// namespace.
const ConfigMapName = "latchkey-ended-sessions"

// DataKey is where in the ConfigMap the list is. All of it is one value: each key of a
// ConfigMap is in its managedFields once more.
const DataKey = "ended"

// header is the first line. Without it the list is not one of nothing, but lost.
const header = "v1"

// The first word of a line. What follows are the tenant, an id, and an instant: until
// when a session has to be remembered in seconds since 1970, or a cut in milliseconds.
const (
	wordEverything = "everything"
	wordTenant     = "tenant"
	wordUser       = "user"
	wordSession    = "session"
)

// String is the list as it is stored.
func (l *List) String() string {
	var b strings.Builder
	line := func(words ...string) { b.WriteString(strings.Join(words, " ") + "\n") }
	line(header)
	if !l.everything.IsZero() {
		line(wordEverything, milliseconds(l.everything))
	}
	for _, tenant := range slices.Sorted(maps.Keys(l.tenants)) {
		line(wordTenant, tenant, milliseconds(l.tenants[tenant]))
	}
	for _, user := range slices.SortedFunc(maps.Keys(l.users), member.compare) {
		line(wordUser, user.tenant, user.id, milliseconds(l.users[user]))
	}
	for _, session := range slices.SortedFunc(maps.Keys(l.sessions), member.compare) {
		line(wordSession, session.tenant, session.id, strconv.FormatInt(roundUp(l.sessions[session]), 10))
	}
	return b.String()
}

// maxMilliseconds are those of the year 9999's end: later ones would not be read as they
// were written.
const maxMilliseconds = 253402300799999

func milliseconds(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }

func roundUp(t time.Time) int64 { return t.Add(time.Second - 1).Unix() }

// Parse reads a stored list. It fails for any line that it does not know whole: half a
// list would open sessions that were ended.
func Parse(text string) (*List, error) {
	rest, found := strings.CutPrefix(text, header+"\n")
	if !found {
		return nil, fmt.Errorf("the list of ended sessions does not begin with the line %q", header)
	}
	l := &List{tenants: map[string]time.Time{}, users: map[member]time.Time{}, sessions: map[member]time.Time{}}
	number := 1
	for line := range strings.Lines(rest) {
		number++
		if err := l.read(line); err != nil {
			return nil, fmt.Errorf("line %d of the list of ended sessions: %w", number, err)
		}
	}
	return l, nil
}

func (l *List) read(line string) error {
	line, whole := strings.CutSuffix(line, "\n")
	words := strings.Split(line, " ")
	last := len(words) - 1
	number, err := strconv.ParseInt(words[last], 10, 64)
	if err != nil || number <= 0 || !whole || slices.Contains(words, "") {
		return errors.New("want words with one space between them, and an instant at the end")
	}
	if number > maxMilliseconds || words[0] == wordSession && number > maxMilliseconds/1000 {
		return fmt.Errorf("%d is after the year 9999", number)
	}
	return l.add(words[:last], number)
}

// add adds the entry of a line, whose last word is the number.
func (l *List) add(words []string, number int64) error {
	last := len(words)
	switch {
	case words[0] == wordEverything && last == 1:
		l.everything = latest(l.everything, time.UnixMilli(number))
	case words[0] == wordTenant && last == 2:
		l.tenants[words[1]] = latest(l.tenants[words[1]], time.UnixMilli(number))
	case words[0] == wordUser && last == 3:
		m := member{words[1], words[2]}
		l.users[m] = latest(l.users[m], time.UnixMilli(number))
	case words[0] == wordSession && last == 3:
		m := member{words[1], words[2]}
		l.sessions[m] = latest(l.sessions[m], time.Unix(number, 0))
	default:
		return fmt.Errorf("%d words that begin with %q are no entry", last+1, words[0])
	}
	return nil
}
