package history_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/test/faults/history"
)

const (
	s     = time.Second
	ms    = time.Millisecond
	bound = 3 * s
)

// world is a history with a token that works from the first second to the hundredth.
func world() *history.History {
	h := history.New(time.Unix(0, 0))
	h.Issue(history.Token{Name: "ci", Tenant: "acme", Works: s, Expires: 100 * s})
	return h
}

func accepted(at history.Instant) history.Answer {
	return history.Answer{Replica: "one", Tenant: "acme", Token: "ci", Sent: at, Received: at + 5*ms, Status: 200, Backend: "acme"}
}

func refused(at history.Instant, status int, code string) history.Answer {
	return history.Answer{Replica: "one", Tenant: "acme", Token: "ci", Sent: at, Received: at + 5*ms, Status: status, Code: code}
}

func revoked(at history.Instant) history.End {
	return history.End{
		Kind: history.Revoked, Token: "ci", Tenant: "acme", Begun: at - 10*ms, Returned: at, Lifted: history.Never, Restored: history.Never,
	}
}

func suspended(from, to history.Instant) history.End {
	return history.End{Kind: history.Suspended, Tenant: "acme", Begun: from - 10*ms, Returned: from, Lifted: to, Restored: to + 10*ms}
}

func with(a history.Answer, change func(*history.Answer)) history.Answer {
	change(&a)
	return a
}

// counts are what a check may find.
type counts struct{ accepts, rejects, late, undone, refused int }

func TestCheck(t *testing.T) {
	one := func(a history.Answer) []history.Answer { return []history.Answer{a} }
	late := history.Span{Replica: "one", From: 8 * s, To: 20 * s, Late: true}
	for name, test := range map[string]struct {
		answers []history.Answer
		ends    []history.End
		spans   []history.Span
		sets    []history.Set
		want    counts
	}{
		"accepted while it works":        {answers: one(accepted(5 * s))},
		"refused while it works":         {answers: one(refused(5*s, 401, "token-invalid")), want: counts{rejects: 1}},
		"no answer while it works":       {answers: one(refused(5*s, 0, "reset")), want: counts{rejects: 1}},
		"refused before it has to work":  {answers: one(refused(s-ms, 401, "token-invalid"))},
		"garbage is refused":             {answers: one(with(refused(5*s, 401, "token-invalid"), func(a *history.Answer) { a.Token = "junk" }))},
		"planted: garbage is accepted":   {answers: one(with(accepted(5*s), func(a *history.Answer) { a.Token = "junk" })), want: counts{accepts: 1}},
		"wrong tenant is refused":        {answers: one(with(refused(5*s, 401, "token-invalid"), func(a *history.Answer) { a.Tenant = "globex" }))},
		"planted: wrong tenant accepted": {answers: one(with(accepted(5*s), func(a *history.Answer) { a.Tenant, a.Backend = "globex", "globex" })), want: counts{accepts: 1}},
		"planted: the backend was told of another tenant": {
			answers: one(with(accepted(5*s), func(a *history.Answer) { a.Backend = "globex" })), want: counts{accepts: 1},
		},

		"accepted in the last instant":    {answers: one(accepted(100*s - 1))},
		"planted: accepted at its expiry": {answers: one(accepted(100 * s)), want: counts{accepts: 1}},
		"refused at its expiry":           {answers: one(refused(100*s-5*ms, 401, "token-expired"))},
		"refused before its expiry":       {answers: one(refused(100*s-6*ms, 401, "token-expired")), want: counts{rejects: 1}},
		"the replica's clock is ahead": {
			answers: []history.Answer{refused(50*s, 401, "token-expired"), with(accepted(50*s), func(a *history.Answer) { a.Replica = "two" })},
			sets:    []history.Set{{Replica: "one", Begun: 40 * s, Returned: 41 * s, Offset: time.Hour}},
		},
		"planted: accepted by a clock that is ahead": {
			answers: one(accepted(50 * s)), want: counts{accepts: 1},
			sets: []history.Set{{Replica: "one", Begun: 40 * s, Returned: 41 * s, Offset: time.Hour}},
		},
		"while the clock is set either is right": {
			answers: []history.Answer{accepted(40*s + 500*ms), refused(40*s+500*ms, 401, "token-expired")},
			sets:    []history.Set{{Replica: "one", Begun: 40 * s, Returned: 41 * s, Offset: time.Hour}},
		},
		"planted: accepted again after the clock was set back": {
			answers: one(accepted(60 * s)), want: counts{accepts: 1},
			sets: []history.Set{{Replica: "one", Begun: 40 * s, Returned: 41 * s, Offset: time.Hour}, {Replica: "one", Begun: 50 * s, Returned: 51 * s}},
		},
		"a clock that was only set back keeps time": {
			answers: []history.Answer{accepted(60 * s), refused(100*s, 401, "token-expired")},
			sets:    []history.Set{{Replica: "one", Begun: 40 * s, Returned: 41 * s, Offset: -time.Hour}},
		},

		"accepted within the bound":         {answers: one(accepted(13 * s)), ends: []history.End{revoked(10 * s)}},
		"planted: accepted after the bound": {answers: one(accepted(13*s + 1)), ends: []history.End{revoked(10 * s)}, want: counts{accepts: 1}},
		"refused once it is revoked":        {answers: one(refused(10*s, 401, "token-revoked")), ends: []history.End{revoked(10 * s)}},
		"refused while it is being revoked": {answers: one(refused(10*s-12*ms, 401, "token-revoked")), ends: []history.End{revoked(10 * s)}},
		"refused before it is revoked":      {answers: one(refused(9*s, 401, "token-revoked")), ends: []history.End{revoked(10 * s)}, want: counts{rejects: 1}},
		"a write that did not return binds nobody": {
			answers: []history.Answer{accepted(50 * s), refused(50*s, 401, "token-revoked")},
			ends:    []history.End{{Kind: history.Revoked, Token: "ci", Tenant: "acme", Begun: 10 * s, Returned: history.Never, Lifted: history.Never, Restored: history.Never}},
		},
		"accepted by a replica that is cut off": {
			answers: one(accepted(19 * s)), ends: []history.End{revoked(10 * s)}, spans: []history.Span{late}, want: counts{late: 1},
		},
		"accepted within the bound after it was": {
			answers: one(accepted(22 * s)), ends: []history.End{revoked(10 * s)}, spans: []history.Span{late}, want: counts{late: 1},
		},
		"planted: accepted long after it was cut off": {
			answers: one(accepted(24 * s)), ends: []history.End{revoked(10 * s)}, spans: []history.Span{late}, want: counts{accepts: 1},
		},
		"planted: known before it was cut off": {
			answers: one(accepted(10 * s)), ends: []history.End{revoked(4 * s)}, spans: []history.Span{late}, want: counts{accepts: 1},
		},
		"cut off before it had to know": {
			answers: one(accepted(10 * s)), ends: []history.End{revoked(6 * s)}, spans: []history.Span{late}, want: counts{late: 1},
		},
		"cut off again before it had to know": {
			answers: one(accepted(29 * s)), ends: []history.End{revoked(10 * s)},
			spans: []history.Span{{Replica: "one", From: 22 * s, To: 30 * s, Late: true}, late}, want: counts{late: 1},
		},
		"planted: cut off again, after it had to know": {
			answers: one(accepted(29 * s)), ends: []history.End{revoked(10 * s)},
			spans: []history.Span{late, {Replica: "one", From: 24 * s, To: 30 * s, Late: true}}, want: counts{accepts: 1},
		},
		"planted: refused before by the replica that is cut off": {
			answers: []history.Answer{refused(11*s, 401, "token-revoked"), accepted(12 * s)}, ends: []history.End{revoked(10 * s)},
			spans: []history.Span{late}, want: counts{accepts: 1},
		},
		"planted: refused before, within the bound": {
			answers: []history.Answer{accepted(10*s + 200*ms), refused(10*s+100*ms, 401, "token-revoked")}, ends: []history.End{revoked(10 * s)}, want: counts{accepts: 1},
		},
		"refused before by another replica": {
			answers: []history.Answer{with(refused(11*s, 401, "token-revoked"), func(a *history.Answer) { a.Replica = "two" }), accepted(12 * s)},
			ends:    []history.End{revoked(10 * s)},
		},
		"planted: accepted by another replica than the one cut off": {
			answers: one(with(accepted(19*s), func(a *history.Answer) { a.Replica = "two" })), ends: []history.End{revoked(10 * s)},
			spans: []history.Span{late}, want: counts{accepts: 1},
		},
		"planted: revoked after it was cut off": {
			answers: one(accepted(30 * s)), ends: []history.End{revoked(21 * s)}, spans: []history.Span{late}, want: counts{accepts: 1},
		},
		"planted: expired while it is cut off": {
			answers: one(accepted(100 * s)), spans: []history.Span{{From: 8 * s, To: history.Never, Late: true}}, want: counts{accepts: 1},
		},
		"planted: accepted where nothing may be": {
			answers: one(accepted(10 * s)), spans: []history.Span{{Replica: "one", From: 9 * s, To: 20 * s, Closed: true}}, want: counts{accepts: 1},
		},
		"refused where nothing may be accepted": {
			answers: one(refused(10*s, 503, "stale")), spans: []history.Span{{Replica: "one", From: 9 * s, To: 20 * s, Closed: true}}, want: counts{refused: 1},
		},

		"refused as stated": {
			answers: one(refused(10*s, 503, "stale")), spans: []history.Span{{From: 9 * s, To: 20 * s, Refusals: []string{"stale"}}}, want: counts{refused: 1},
		},
		"refused for another reason than stated": {
			answers: one(refused(10*s, 401, "token-invalid")), spans: []history.Span{{From: 9 * s, To: 20 * s, Refusals: []string{"stale"}}}, want: counts{rejects: 1},
		},
		"refused after it was stated": {
			answers: one(refused(20*s+1, 503, "stale")), spans: []history.Span{{From: 9 * s, To: 20 * s, Refusals: []string{"stale"}}}, want: counts{rejects: 1},
		},
		"refused on another tenant's account": {
			answers: one(refused(10*s, 502, "backend-unavailable")),
			spans:   []history.Span{{Tenant: "globex", From: 9 * s, To: 20 * s, Refusals: []string{"backend-unavailable"}}}, want: counts{rejects: 1},
		},
		"refused as stated of another token": {
			answers: one(refused(10*s, 401, "token-invalid")),
			spans:   []history.Span{{Token: "cd", From: 9 * s, To: 20 * s, Refusals: []string{"token-invalid"}}}, want: counts{rejects: 1},
		},

		"refused while suspended":                {answers: one(refused(15*s, 403, "tenant-suspended")), ends: []history.End{suspended(10*s, 20*s)}},
		"planted: accepted while suspended":      {answers: one(accepted(15 * s)), ends: []history.End{suspended(10*s, 20*s)}, want: counts{accepts: 1}},
		"accepted once it is lifted":             {answers: one(accepted(20 * s)), ends: []history.End{suspended(10*s, 20*s)}},
		"refused soon after it was lifted":       {answers: one(refused(22*s, 403, "tenant-suspended")), ends: []history.End{suspended(10*s, 20*s)}},
		"refused long after it was lifted":       {answers: one(refused(24*s, 403, "tenant-suspended")), ends: []history.End{suspended(10*s, 20*s)}, want: counts{rejects: 1}},
		"refused before the suspension":          {answers: one(refused(9*s, 403, "tenant-suspended")), ends: []history.End{suspended(10*s, 20*s)}, want: counts{rejects: 1}},
		"the suspension of another tenant":       {answers: one(accepted(15 * s)), ends: []history.End{{Tenant: "globex", Returned: 10 * s, Lifted: history.Never, Restored: history.Never}}},
		"revoked during a suspension that ended": {answers: one(accepted(25 * s)), ends: []history.End{suspended(10*s, 20*s), revoked(15 * s)}, want: counts{accepts: 1}},

		"undone by a store that was set back": {
			answers: one(accepted(40 * s)), ends: []history.End{revoked(10 * s)},
			spans: []history.Span{{From: 30 * s, To: history.Never, Rollback: 5 * s}}, want: counts{undone: 1},
		},
		"undone, and refused before": {
			answers: []history.Answer{refused(11*s, 401, "token-revoked"), accepted(40 * s)}, ends: []history.End{revoked(10 * s)},
			spans: []history.Span{{From: 30 * s, To: history.Never, Rollback: 5 * s}}, want: counts{undone: 1},
		},
		"planted: revoked before the point it was set back to": {
			answers: one(accepted(40 * s)), ends: []history.End{revoked(4 * s)},
			spans: []history.Span{{From: 30 * s, To: history.Never, Rollback: 5 * s}}, want: counts{accepts: 1},
		},
		"planted: revoked after it was set back": {
			answers: one(accepted(40 * s)), ends: []history.End{revoked(31 * s)},
			spans: []history.Span{{From: 30 * s, To: history.Never, Rollback: 5 * s}}, want: counts{accepts: 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := world()
			h.Answers, h.Ends, h.Spans, h.Sets = test.answers, test.ends, test.spans, test.sets
			r := history.Check(h, bound)
			got := counts{len(r.WrongAccepts), len(r.WrongRejects), r.Late, r.Undone, r.Refused}
			if got != test.want || r.Requests != len(test.answers) {
				t.Errorf("found %+v in %d requests, want %+v; %v %v", got, r.Requests, test.want, r.WrongAccepts, r.WrongRejects)
			}
			if planted := strings.HasPrefix(name, "planted:"); planted && len(r.WrongAccepts) == 0 {
				t.Error("the planted accept was not found")
			}
		})
	}
}

// The time to effect ends with the first refusal after the last accept, for each replica.
func TestEffects(t *testing.T) {
	h := world()
	h.Ends = []history.End{revoked(10 * s)}
	two := func(a history.Answer) history.Answer { a.Replica = "two"; return a }
	h.Answers = []history.Answer{
		accepted(9 * s), accepted(10*s + 52*ms), refused(10*s+50*ms, 401, "token-revoked"), refused(10*s+200*ms, 401, "token-revoked"), refused(11*s, 401, "token-revoked"),
		two(accepted(9 * s)), two(accepted(11 * s)), two(refused(12*s, 0, "reset")), two(refused(13*s, 401, "token-revoked")),
		{Replica: "three", Tenant: "acme", Token: "ci", Sent: 10 * s, Received: 11 * s, Status: 200, Backend: "acme"}, // never seen to be refused
		{Replica: "four", Tenant: "acme", Token: "ci", Sent: 20 * s, Received: 21 * s, Status: 401},                   // asked for the first time
	}
	// Refused before the write returned, and asked much later again.
	five := func(a history.Answer) history.Answer { a.Replica = "five"; return a }
	h.Answers = append(h.Answers, five(accepted(9*s)), five(refused(10*s-8*ms, 401, "token-revoked")), five(refused(15*s, 401, "token-revoked")))
	h.Spans = []history.Span{{Replica: "two", From: 9 * s, To: 12 * s, Late: true}}
	r := history.Check(h, bound)
	slices.Sort(r.Effects)
	if !slices.Equal(r.Effects, []time.Duration{0, 205 * ms}) {
		t.Errorf("effects are %v", r.Effects)
	}
	if len(r.Behind) != 1 || r.Behind[0] != 3*s+5*ms {
		t.Errorf("behind are %v", r.Behind)
	}
	if len(r.WrongAccepts)+len(r.WrongRejects) != 0 {
		t.Errorf("wrong: %v %v", r.WrongAccepts, r.WrongRejects)
	}
}

func TestQuantile(t *testing.T) {
	var all []time.Duration
	if got := history.Quantile(all, .5); got != 0 {
		t.Errorf("of nothing: %s", got)
	}
	for i := range 101 {
		all = append(all, time.Duration(100-i))
	}
	for share, want := range map[float64]time.Duration{0: 0, .5: 50, .99: 99, 1: 100} {
		if got := history.Quantile(all, share); got != want {
			t.Errorf("quantile %v is %d, want %d", share, got, want)
		}
	}
}
