package history

import (
	"fmt"
	"slices"
	"time"
)

// Finding is an answer that should not have been.
type Finding struct {
	Answer Answer
	Why    string
}

// String says what was answered and why that is wrong.
func (f Finding) String() string {
	a := f.Answer
	return fmt.Sprintf("%s answered token %s on the host of %s, sent at %s: %d %s: %s", a.Replica, a.Token, a.Tenant, a.Sent, a.Status, a.Code, f.Why)
}

// Result is what the check of a history found.
type Result struct {
	// Requests is how many there were.
	Requests int
	// WrongAccepts and WrongRejects are what must not be.
	WrongAccepts, WrongRejects []Finding
	// Late is how many accepts of ended tokens a span explains, whose replica could not
	// know better, and Undone how many a store does that was set back.
	Late, Undone int
	// Refused is how many refusals of tokens that work a span explains.
	Refused int
	// Effects are the times from the return of a write to the first request that was
	// refused for it, for each write and replica; Behind are those of replicas
	// that could not know at first.
	Effects, Behind []time.Duration
}

// Check goes over a history. bound is how long after a write has returned a replica that
// hears everything may still accept what it ended.
func Check(h *History, bound time.Duration) Result {
	c := &checker{History: h, bound: bound, joined: map[string]Instant{}, refused: map[at]Instant{}}
	for i := range h.Answers {
		c.prepare(&h.Answers[i])
	}
	r := Result{Requests: len(h.Answers)}
	for i := range h.Answers {
		c.judge(&h.Answers[i], &r)
	}
	for i := range h.Ends {
		c.measure(&h.Ends[i], &r)
	}
	return r
}

type checker struct {
	*History

	bound time.Duration
	// joined is when a replica was first asked.
	joined map[string]Instant
	// refused is when a replica first refused a token that was ended for good.
	refused map[at]Instant
}

// at is a token at a replica.
type at struct{ replica, token string }

// prepare notes what later answers are judged by.
func (c *checker) prepare(a *Answer) {
	if first, found := c.joined[a.Replica]; !found || a.Sent < first {
		c.joined[a.Replica] = a.Sent
	}
	t, known := c.Tokens[a.Token]
	if !known || a.Status != 401 || t.Tenant != a.Tenant {
		return
	}
	key := at{a.Replica, a.Token}
	if first, found := c.refused[key]; found && first <= a.Received {
		return
	}
	for i := range c.Ends {
		if e := &c.Ends[i]; e.of(t) && e.Lifted == Never && a.Received >= e.Begun {
			c.refused[key] = a.Received
			return
		}
	}
}

// judge counts an answer.
func (c *checker) judge(a *Answer, r *Result) {
	if a.Accepted() {
		switch verdict, why := c.accept(a); verdict {
		case wrong:
			r.WrongAccepts = append(r.WrongAccepts, Finding{*a, why})
		case late:
			r.Late++
		case undone:
			r.Undone++
		case right:
		}
		return
	}
	t, known := c.Tokens[a.Token]
	switch {
	case !known || !c.mustWork(t, a):
	case c.spanOf(a, func(s *Span) bool { return s.Closed || slices.Contains(s.Refusals, a.Code) }) != nil:
		r.Refused++
	default:
		r.WrongRejects = append(r.WrongRejects, Finding{*a, "the token works"})
	}
}

type verdict int

const (
	right verdict = iota
	wrong
	late
	undone
)

// accept judges an answer that let a request pass.
func (c *checker) accept(a *Answer) (v verdict, why string) {
	t, known := c.Tokens[a.Token]
	switch {
	case !known:
		return wrong, "nobody issued this token"
	case t.Tenant != a.Tenant:
		return wrong, "it is a token of " + t.Tenant
	case a.Backend != a.Tenant:
		return wrong, fmt.Sprintf("the backend was told of tenant %q", a.Backend)
	}
	if since := c.earliest(a.Replica, a.Sent); since >= t.Expires {
		return wrong, fmt.Sprintf("it had expired for %s", since-t.Expires)
	}
	if c.spanOf(a, func(s *Span) bool { return s.Closed && s.covers(a) }) != nil {
		return wrong, "the replica may accept nothing at that time"
	}
	for i := range c.Ends {
		e := &c.Ends[i]
		if e.of(t) && (c.hadEnded(e, a.Sent) || c.cameBack(e, a)) {
			if v, why = c.excuse(e, a); v != right {
				return v, why
			}
		}
	}
	return right, ""
}

// cameBack says whether the replica had refused, for a write for good, what it accepts now:
// not even one that is cut off forgets.
func (c *checker) cameBack(e *End, a *Answer) bool {
	first, found := c.refused[at{a.Replica, a.Token}]
	return found && e.Lifted == Never && first >= e.Begun && a.Sent > first
}

// hadEnded says whether everybody had to know, at an instant, that a write had ended its
// tokens.
func (c *checker) hadEnded(e *End, at Instant) bool {
	return e.Returned != Never && at > e.Returned+c.bound && at < e.Lifted
}

// excuse says what explains that an ended token was accepted.
func (c *checker) excuse(e *End, a *Answer) (v verdict, why string) {
	if s := c.spanOf(a, func(s *Span) bool { return s.Rollback > 0 && e.Returned >= s.Rollback && e.Begun <= s.From }); s != nil {
		return undone, ""
	}
	if c.cameBack(e, a) {
		return wrong, fmt.Sprintf("it was %s, and refused %s before", e.Kind, a.Sent-c.refused[at{a.Replica, a.Token}])
	}
	if c.couldNotHear(e, a) {
		return late, ""
	}
	return wrong, fmt.Sprintf("it was %s %s before", e.Kind, a.Sent-e.Returned)
}

// couldNotHear says whether the replica, between a write and an answer, could never hear
// for longer than the bound.
func (c *checker) couldNotHear(e *End, a *Answer) bool {
	hears := e.Returned
	for hears+c.bound < a.Sent {
		// The span that goes on longest of those that began in time.
		until := hears
		for i := range c.Spans {
			if s := &c.Spans[i]; s.Late && (s.Replica == "" || s.Replica == a.Replica) && s.From <= hears+c.bound {
				until = max(until, s.To)
			}
		}
		if until == hears {
			return false
		}
		if until == Never {
			return true
		}
		hears = until
	}
	return true
}

// of says whether the write ends the token.
func (e *End) of(t Token) bool {
	return e.Token == t.Name || (e.Token == "" && e.Tenant == t.Tenant)
}

// mustWork says whether no write and no clock explains that a token was refused.
func (c *checker) mustWork(t Token, a *Answer) bool {
	if t.Tenant != a.Tenant || a.Sent < t.Works || c.latest(a.Replica, a.Received) >= t.Expires {
		return false
	}
	for i := range c.Ends {
		e := &c.Ends[i]
		// Once it works again by all means, the time before does not count.
		if e.of(t) && a.Received >= e.Begun && (e.Restored == Never || a.Sent <= e.Restored+c.bound) {
			return false
		}
	}
	return true
}

// earliest and latest bound the time of a replica's clock at an instant. That clock is
// never set back.
func (c *checker) earliest(replica string, at Instant) Instant {
	return at + c.ahead(replica, func(s *Set) bool { return s.Returned <= at })
}

func (c *checker) latest(replica string, at Instant) Instant {
	return at + c.ahead(replica, func(s *Set) bool { return s.Begun <= at })
}

func (c *checker) ahead(replica string, counts func(*Set) bool) (most time.Duration) {
	for i := range c.Sets {
		if s := &c.Sets[i]; s.Replica == replica && counts(s) {
			most = max(most, s.Offset)
		}
	}
	return most
}

// spanOf is a span of which an answer was under way at some instant, and of which it is so.
func (c *checker) spanOf(a *Answer, is func(*Span) bool) *Span {
	for i := range c.Spans {
		s := &c.Spans[i]
		mine := (s.Replica == "" || s.Replica == a.Replica) && (s.Tenant == "" || s.Tenant == a.Tenant) && (s.Token == "" || s.Token == a.Token)
		if mine && a.Received >= s.From && a.Sent <= s.To && is(s) {
			return s
		}
	}
	return nil
}

// covers says whether an answer was sent and received within the span.
func (s *Span) covers(a *Answer) bool { return a.Sent >= s.From && a.Received <= s.To }

// measure finds, for each replica, when a write took effect.
func (c *checker) measure(e *End, r *Result) {
	undone := func(s Span) bool { return s.Rollback > 0 && e.Returned >= s.Rollback && e.Begun <= s.From }
	if e.Returned == Never || slices.ContainsFunc(c.Spans, undone) {
		return
	}
	accepted, refused := map[string]Instant{}, map[string]Instant{}
	c.answersAfter(e, func(a *Answer) {
		if a.Accepted() {
			accepted[a.Replica] = max(accepted[a.Replica], a.Sent)
		}
	})
	c.answersAfter(e, func(a *Answer) {
		first, found := refused[a.Replica]
		if (a.Status == 401 || a.Status == 403) && a.Sent > accepted[a.Replica] && (!found || a.Received < first) {
			refused[a.Replica] = a.Received
		}
	})
	for replica, at := range refused {
		if c.joined[replica] > e.Returned {
			continue // it was not asked in time
		}
		at = max(at, e.Returned) // a replica may hear of it sooner than whoever wrote it
		whole := &Answer{Replica: replica, Tenant: e.Tenant, Sent: e.Returned, Received: at}
		if c.spanOf(whole, func(s *Span) bool { return s.Late }) != nil {
			r.Behind = append(r.Behind, at-e.Returned)
		} else {
			r.Effects = append(r.Effects, at-e.Returned)
		}
	}
}

// answersAfter visits the answers to what a write ended that came after it had begun.
func (c *checker) answersAfter(e *End, visit func(*Answer)) {
	for i := range c.Answers {
		a := &c.Answers[i]
		if t, known := c.Tokens[a.Token]; known && e.of(t) && t.Tenant == a.Tenant && a.Received > e.Begun && a.Sent < e.Lifted {
			visit(a)
		}
	}
}

// Quantile is the value at or below which the share of the durations lies; 0 if there
// are none.
func Quantile(durations []time.Duration, share float64) time.Duration {
	if len(durations) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(durations))
	return sorted[int(share*float64(len(sorted)-1)+.5)]
}
