package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/directory"
	"github.com/latchkey-dev/latchkey/internal/policy"
	"github.com/latchkey-dev/latchkey/internal/ratelimit"
	"github.com/latchkey-dev/latchkey/internal/token"
)

// checkCase is a directory and the tokens that it is asked for.
type checkCase struct {
	tokens     int
	view       *directory.Directory
	plaintexts []string
	want       policy.Verdict
}

// measureCheck times the check of a token alone, in this process: what the API
// server does for it besides HTTP.
func (b *bench) measureCheck(ctx context.Context) error {
	cases, err := b.checkCases()
	if err != nil {
		return err
	}
	costs := make([][]float64, len(cases))
	limits := make([][]float64, len(b.tokens)+1)
	routes, err := newRoutes()
	if err != nil {
		return err
	}
	var matches, muxes []float64
	for range b.rounds {
		matches = append(matches, float64(routes.measure(ctx, b.duration/10, routes.match)))
		muxes = append(muxes, float64(routes.measure(ctx, b.duration/10, routes.serveMux)))
		for i, tokens := range append([]int{1}, b.tokens...) {
			limits[i] = append(limits[i], float64(measureLimits(ctx, tokens, b.duration/10)))
		}
		for i, c := range cases {
			cost, err := c.run(ctx, b.duration/10)
			if err != nil {
				return err
			}
			costs[i] = append(costs[i], float64(cost))
		}
	}
	t := &table{Section: sectionCheck, Title: "parse, digest, look up and decide, in this process", Columns: []string{"tokens", "known, ns", "unknown, ns", "rate limits, ns"}}
	for i := 0; i < len(cases); i += 2 {
		t.add(number("%.0f", float64(cases[i].tokens)), number("%.0f", median(costs[i])), number("%.0f", median(costs[i+1])), number("%.0f", median(limits[i/2])))
	}
	b.checkCost = time.Duration(median(costs[len(costs)-2]))
	if err := b.report.show(t); err != nil {
		return err
	}
	t = &table{Section: sectionCheck, Title: fmt.Sprintf("find a request's operation among %d", routeCount), Columns: []string{"by", "ns", "÷ ServeMux"}}
	t.add(text("the API server's matcher"), number("%.0f", median(matches)), number("%.2f", medianRatio(matches, muxes)))
	t.add(text("net/http's ServeMux"), number("%.0f", median(muxes)), number("%.2f", 1))
	return b.report.show(t)
}

// checkCases are hits and misses with one token and with many.
func (b *bench) checkCases() ([]*checkCase, error) {
	unknown, _, err := mint(benchTenant, 4096)
	if err != nil {
		return nil, err
	}
	var cases []*checkCase
	for _, n := range append([]int{1}, b.tokens...) {
		plaintexts, credentials, err := mint(benchTenant, n)
		if err != nil {
			return nil, err
		}
		view := directory.New(slog.New(slog.DiscardHandler))
		if err := feed(view, benchTenant, b.backend.address, credentials); err != nil {
			return nil, err
		}
		cases = append(cases,
			&checkCase{n, view, plaintexts, policy.Works},
			&checkCase{n, view, unknown, policy.Unknown})
	}
	return cases, nil
}

// run asks for the tokens in turn and returns what a check takes.
func (c *checkCase) run(ctx context.Context, limit time.Duration) (time.Duration, error) {
	const stride = 1000
	started, checks := time.Now(), 0
	for time.Since(started) < limit && ctx.Err() == nil {
		for range stride {
			plaintext := c.plaintexts[checks%len(c.plaintexts)]
			if verdict := c.check(plaintext); verdict != c.want {
				return 0, fmt.Errorf("with %d tokens a check says %d, must say %d", c.tokens, verdict, c.want)
			}
			checks++
		}
	}
	return time.Since(started) / time.Duration(max(1, checks)), ctx.Err()
}

// check is what the API server does with a token that arrives.
func (c *checkCase) check(plaintext string) policy.Verdict {
	tenant, ok := c.view.Tenant(benchTenant)
	if !ok {
		return policy.Unknown
	}
	if _, err := token.Parse(v1alpha1.DefaultTokenPrefix, plaintext); err != nil {
		return policy.Unknown
	}
	found, ok := c.view.Token(tenant.Name, token.DigestOf(tenant.Name, plaintext))
	if !ok {
		return policy.Unknown
	}
	return policy.Decide(found.State(tenant), time.Now())
}

// measureLimits is what the decision takes whether a request keeps two rate limits,
// its token's and its tenant's, with the tokens in turn. It comes after the check.
func measureLimits(ctx context.Context, tokens int, limit time.Duration) time.Duration {
	const stride = 1000
	names := make([]string, tokens)
	for i := range names {
		names[i] = fmt.Sprintf("token-%06d", i)
	}
	table := ratelimit.New()
	all := ratelimit.Limit{Requests: 1_000_000_000, Period: time.Second, Burst: 1_000_000_000} // every request passes, and is written down
	started, decisions := time.Now(), 0
	for time.Since(started) < limit && ctx.Err() == nil {
		for range stride {
			claims := [...]ratelimit.Claim{
				{Key: table.Key(0, v1alpha1.TenantNamespacePrefix+benchTenant, names[decisions%tokens]), Limit: all},
				{Key: table.Key(1, "", benchTenant), Limit: all},
			}
			table.Take(time.Now(), claims[:])
			decisions++
		}
	}
	return time.Since(started) / time.Duration(max(1, decisions))
}
