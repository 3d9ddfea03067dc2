// Package history is what was written to a cluster and what requests were answered
// meanwhile, and the check of the one against the other. It knows no network and no
// clock: a test plants what it likes.
package history

import (
	"maps"
	"slices"
	"sync"
	"time"
)

// Instant is a time of day by the system's clock, by which replicas expire tokens too,
// as nanoseconds since the history began.
type Instant = time.Duration

// Never is an instant that does not come.
const Never Instant = 1<<63 - 1

// Token is what there is to know of a token. A token that was sent and is not in the
// history is garbage: nobody may accept it.
type Token struct {
	// Name is what answers call it. It is never the token itself.
	Name string
	// Tenant is whose it is; every other tenant has to refuse it.
	Tenant string
	// Expires is its first instant as an expired one.
	Expires Instant
	// Works is from when on every replica has to accept it: it was seen to do so.
	Works Instant
}

// EndKind is how a token is ended.
type EndKind string

// The ways to end a token.
const (
	Revoked   EndKind = "revoked"
	Deleted   EndKind = "deleted"
	Suspended EndKind = "suspended"
)

// End is a write that ends a token, or all of a tenant's.
type End struct {
	Kind EndKind
	// Token is the one that ends; empty for all of Tenant's.
	Token, Tenant string
	// Begun is when the write was first tried: from then on the token may be refused.
	Begun Instant
	// Returned is when the Kubernetes API said that it is done; Never if it did not.
	Returned Instant
	// Lifted is when a suspension was first tried to be ended, and Restored when that
	// was done; Never for what is for good.
	Lifted, Restored Instant
}

// Answer is what a request got.
type Answer struct {
	// Replica is who was asked, and Tenant on whose host.
	Replica, Tenant string
	// Token is the token's name.
	Token string
	// Sent and Received are when.
	Sent, Received Instant
	// Status is the answer's, or 0 if there was none.
	Status int
	// Code is the problem's, or why there was no answer.
	Code string
	// Backend is the tenant that the backend was told of, where it answered.
	Backend string
}

// Accepted says whether the request passed.
func (a *Answer) Accepted() bool { return a.Status == 200 }

// Span is a time in which something else than usual is stated to happen. An answer is in
// it if it was under way at some instant of it.
type Span struct {
	// Replica, Tenant and Token are of which answers it speaks; empty for all.
	Replica, Tenant, Token string
	From, To               Instant
	// Late says that the replica can't hear of what ends: until To a token may go on
	// being accepted.
	Late bool
	// Closed says that the replica may accept nothing at all.
	Closed bool
	// Refusals are the codes that a token that works may be answered.
	Refusals []string
	// Rollback is the instant to which the store was set back: what was ended after it
	// works again.
	Rollback Instant
}

// Set is a change of the system's clock as a replica sees it.
type Set struct {
	Replica string
	// Begun and Returned bound the instant at which it happened.
	Begun, Returned Instant
	// Offset is by how much that clock differs from the history's from then on.
	Offset time.Duration
}

// History is what happened. Its methods may be called from any goroutine; its fields may
// be read once nobody writes any more.
type History struct {
	// Epoch is its instant 0.
	Epoch time.Time

	Tokens  map[string]Token
	Ends    []End
	Answers []Answer
	Spans   []Span
	Sets    []Set

	mu sync.Mutex
}

// New returns an empty history that begins now.
func New(now time.Time) *History {
	return &History{Epoch: now.Round(0), Tokens: map[string]Token{}}
}

// At is a time as an instant.
func (h *History) At(t time.Time) Instant { return t.Round(0).Sub(h.Epoch) } // Round strips the monotonic reading

// Now is the present instant.
func (h *History) Now() Instant { return h.At(time.Now()) }

// Issue notes a token.
func (h *History) Issue(t Token) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.Tokens[t.Name] = t
}

// Answer notes an answer.
func (h *History) Answer(a Answer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.Answers = append(h.Answers, a)
}

// End notes that a token is about to be ended. The function that it returns changes what
// was noted.
func (h *History) End(e End) (change func(func(*End))) {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := len(h.Ends)
	h.Ends = append(h.Ends, e)
	return func(f func(*End)) {
		h.mu.Lock()
		defer h.mu.Unlock()
		f(&h.Ends[i])
	}
}

// Span notes a span. The function that it returns says when it ended: until then it goes on.
func (h *History) Span(s Span) (end func(Instant)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := len(h.Spans)
	s.To = Never
	h.Spans = append(h.Spans, s)
	return func(at Instant) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.Spans[i].To = at
	}
}

// Set notes that a replica's clock was set.
func (h *History) Set(s Set) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.Sets = append(h.Sets, s)
}

// Copy is the history until now.
func (h *History) Copy() *History {
	h.mu.Lock()
	defer h.mu.Unlock()
	return &History{
		Epoch: h.Epoch, Tokens: maps.Clone(h.Tokens), Ends: slices.Clone(h.Ends),
		Answers: slices.Clone(h.Answers), Spans: slices.Clone(h.Spans), Sets: slices.Clone(h.Sets),
	}
}

// Count is how many answers there are of which it is so.
func (h *History) Count(is func(*Answer) bool) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.Answers {
		if is(&h.Answers[i]) {
			n++
		}
	}
	return n
}
