package v1alpha1_test

import (
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

const periodBounds = "must be from 1s to 24h"

// limitCases are what is accepted and refused wherever a limit stands. field makes a
// spec of a limit.
func limitCases(field func(limit string) string) []specCase {
	var cases []specCase
	for limit, advice := range map[string]string{
		`null`:           accepted,
		`{}`:             "requests: " + required,
		`{period: 1m}`:   "requests: " + required,
		`{requests: 1}`:  accepted,
		`{requests: 0}`:  tooSmall,
		`{requests: -1}`: tooSmall,
		`{requests: 1000000, period: 24h, burst: 1000000}`: accepted,
		`{requests: 1000001}`:                              tooBig,
		`{requests: 1.5}`:                                  badType,
		`{requests: "100"}`:                                badType,
		`{requests: 1, period: 1s}`:                        accepted,
		`{requests: 1, period: 1h30m}`:                     accepted,
		`{requests: 1, period: null}`:                      accepted,
		`{requests: 1, period: 0s}`:                        periodBounds,
		`{requests: 1, period: ""}`:                        periodBounds,
		`{requests: 1, period: 24h1s}`:                     periodBounds,
		`{requests: 1, period: 99999999999999h}`:           periodBounds,
		`{requests: 1, period: 500ms}`:                     badPattern,
		`{requests: 1, period: -1s}`:                       badPattern,
		`{requests: 1, period: 60}`:                        badType,
		`{requests: 1, burst: 1}`:                          accepted,
		`{requests: 1, burst: 1000}`:                       accepted,
		`{requests: 1, burst: 0}`:                          tooSmall,
		`{requests: 1, burst: -1}`:                         tooSmall,
		`{requests: 1, burst: 1000001}`:                    tooBig,
		`{requests: 1, burst: many}`:                       badType,
		`100`:                                              badType,
	} {
		cases = append(cases, specCase{field(limit), advice})
	}
	return cases
}

func TestRateLimits(t *testing.T) {
	for _, name := range []string{"perToken", "perTenant"} {
		checkSpecs(t, publicApis, withBackend(limitCases(func(limit string) string {
			return `rateLimits: {` + name + `: ` + limit + `}`
		})))
	}
	checkSpecs(t, publicApis, withBackend([]specCase{
		{`rateLimits: null`, accepted},
		{`rateLimits: {}`, accepted},
		{`rateLimits: {perToken: {requests: 10}, perTenant: {requests: 100, period: 1s, burst: 20}}`, accepted},
		{`rateLimits: []`, badType},
	}))
	checkSpecs(t, apiTokens, limitCases(func(limit string) string { return `rateLimit: ` + limit }))
}

// What is not said of a limit counts for a minute; how the burst follows from
// requests is for who enforces it.
func TestRateLimitDefaults(t *testing.T) {
	s := newSubject(t, apiTokens, "subject")
	expect(t, s.create(t, `rateLimit: {requests: 10}`), accepted)
	limit := s.get(t).(*v1alpha1.ApiToken).Spec.RateLimit
	if limit == nil || limit.Period == nil || limit.Period.Duration != time.Minute || limit.Burst != 0 {
		t.Errorf("the limit is %+v, want a period of 1m and no burst", limit)
	}
}
