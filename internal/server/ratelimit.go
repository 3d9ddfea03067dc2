package server

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/latchkey-dev/latchkey/internal/problem"
	"github.com/latchkey-dev/latchkey/internal/ratelimit"
)

// The headers of draft-ietf-httpapi-ratelimit-headers-11.
const (
	headerRateLimit       = "Ratelimit"
	headerRateLimitPolicy = "Ratelimit-Policy"
)

// limitKind is what a limit counts for.
type limitKind byte

const (
	// limitToken is the PublicApi's limit of each token.
	limitToken limitKind = iota
	// limitOwn is the ApiToken's own.
	limitOwn
	// limitAccount is that of all tokens of the tenant.
	limitAccount
	// limitAnonymous is that of all requests for the tenant without a token.
	limitAnonymous
	// limitPortal is added at Latchkey's own paths, which count apart: a token that
	// has used up its limit can still be revoked there.
	limitPortal
)

// rateLimits are the limits of a request and how they stand after it.
type rateLimits struct {
	// replicas is how many share the limits.
	replicas int
	count    int
	names    [ratelimit.MaxClaims]string
	// whole are the limits, of which claims have this replica's shares.
	whole  [ratelimit.MaxClaims]ratelimit.Limit
	claims [ratelimit.MaxClaims]ratelimit.Claim
}

func (l *rateLimits) add(name string, key ratelimit.Key, whole ratelimit.Limit) {
	if whole.IsZero() {
		return
	}
	l.names[l.count], l.whole[l.count] = name, whole
	l.claims[l.count] = ratelimit.Claim{Key: key, Limit: whole.Share(l.replicas)}
	l.count++
}

// limitRate counts a request, or says why it is one too many. Those without a token
// count together, apart from the account's, by the account's limit: nobody without one
// can use up what tokens may. Users of the cluster are not counted: they mend what
// tokens do. Nor is reading documentation, which costs next to nothing, nor Settings,
// where people do what users of the cluster do.
func (s *Server) limitRate(c *call) *problem.Problem {
	own := c.token != nil && !c.token.RateLimit.IsZero()
	if c.user != nil || c.docs || c.settings || c.api.PerToken.IsZero() && c.api.PerTenant.IsZero() && !own {
		return nil
	}
	c.limits = s.limitsOf(c)
	if c.limits.count == 0 || s.rates.Take(s.config.Clock.Now(), c.limits.claims[:c.limits.count]) {
		return nil
	}
	return c.limits.problem()
}

// limitsOf are the limits that the request has to keep. An ApiToken is counted by its
// name, so that its rotation gives it no second burst. Its own limit stands for the
// PublicApi's where whoever keeps the one keeps the other, and the other way round;
// where neither says it all, both are kept.
func (s *Server) limitsOf(c *call) *rateLimits {
	l := &rateLimits{replicas: s.replicas()}
	key := func(kind limitKind, namespace, name string) ratelimit.Key {
		if c.portal {
			kind += limitPortal
		}
		return s.rates.Key(byte(kind), namespace, name)
	}
	if c.token != nil {
		l.addToken(c, func(kind limitKind) ratelimit.Key { return key(kind, c.token.Namespace, c.token.Name) })
	}
	if c.token == nil {
		l.add("anonymous", key(limitAnonymous, "", c.tenant.Name), c.api.PerTenant)
		return l
	}
	l.add("account", key(limitAccount, "", c.tenant.Name), c.api.PerTenant)
	return l
}

func (l *rateLimits) addToken(c *call, key func(limitKind) ratelimit.Key) {
	switch all, own := c.api.PerToken, c.token.RateLimit; {
	case all.Covers(own):
		l.add("token", key(limitToken), all)
	case own.Covers(all):
		l.add("token", key(limitOwn), own)
	default:
		l.add("token", key(limitToken), all)
		l.add("token-own", key(limitOwn), own)
	}
}

// replicas is how many share the limits, this one included.
func (s *Server) replicas() int {
	if s.config.Replicas == nil {
		return 1
	}
	return max(1, s.config.Replicas())
}

// problem answers a request that one of the limits does not let pass: that for which
// the wait is the longest.
func (l *rateLimits) problem() *problem.Problem {
	worst := -1
	for i := range l.count {
		if l.claims[i].Exceeded && (worst < 0 || l.claims[i].Next > l.claims[worst].Next) {
			worst = i
		}
	}
	title, who := "The token sent too many requests", "This token"
	switch l.names[worst] {
	case "account":
		title, who = "The account sent too many requests", "The tokens of this account together"
	case "anonymous":
		title, who = "Too many requests were sent without a token", "All who call without a token together"
	}
	whole, wait := l.whole[worst], time.Duration(wholeSeconds(l.claims[worst].Next))*time.Second
	return &problem.Problem{
		Code: problem.CodeRateLimited, Status: http.StatusTooManyRequests, Title: title,
		Detail: fmt.Sprintf("%s may send %d per %s, at most %d at once. Try again in %s.",
			who, whole.Requests, shortDuration(whole.Period), whole.Burst, shortDuration(wait)),
		RetryAfter: wait,
	}
}

// wholeSeconds rounds up, and is never 0: who is told to wait for 0 seconds does not.
func wholeSeconds(d time.Duration) int64 { return max(1, int64((d+time.Second-1)/time.Second)) }

// shortDuration is such as 1m or 1h30m, without the zeros after it.
func shortDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = text[:len(text)-len("0s")]
	}
	if strings.HasSuffix(text, "h0m") {
		text = text[:len(text)-len("0m")]
	}
	return text
}

// tellLimits tells a client how its limits stand, also scripts of other origins.
func tellLimits(h http.Header, l *rateLimits) {
	if l == nil {
		return
	}
	h[headerRateLimitPolicy], h[headerRateLimit] = []string{l.policy()}, []string{l.standing()}
	h.Add("Access-Control-Expose-Headers", "RateLimit, RateLimit-Policy, Retry-After")
}

// policy is the limits as they are for the client, whom it does not concern that
// replicas share them.
func (l *rateLimits) policy() string {
	var buffer [128]byte
	b := buffer[:0]
	for i, whole := range l.whole[:l.count] {
		b = appendItem(b, l.names[i])
		b = strconv.AppendInt(append(b, ";q="...), int64(whole.Requests), 10)
		b = strconv.AppendInt(append(b, ";w="...), wholeSeconds(whole.Period), 10)
		if whole.Burst != whole.Requests {
			b = strconv.AppendInt(append(b, ";latchkey-burst="...), int64(whole.Burst), 10)
		}
	}
	return string(b)
}

// standing is how many more requests would pass now, and in how many seconds there is
// one more. This replica knows what is left of its share; the others are taken to
// have as much.
func (l *rateLimits) standing() string {
	var buffer [96]byte
	b := buffer[:0]
	for i := range l.count {
		claim := &l.claims[i]
		b = appendItem(b, l.names[i])
		b = strconv.AppendInt(append(b, ";r="...), int64(min(claim.Left*l.replicas, l.whole[i].Burst)), 10)
		if claim.Next > 0 {
			b = strconv.AppendInt(append(b, ";t="...), wholeSeconds(claim.Next), 10)
		}
	}
	return string(b)
}

// appendItem begins an item of a list with a string that needs no escapes (RFC 9651).
func appendItem(b []byte, name string) []byte {
	if len(b) > 0 {
		b = append(b, ", "...)
	}
	return append(append(append(b, '"'), name...), '"')
}

// rateMetrics tell of the limits' share and memory.
func (s *Server) rateMetrics() []prometheus.Collector {
	return []prometheus.Collector{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "latchkey_rate_limit_replicas",
			Help: "Ready replicas that share the rate limits, this one included.",
		}, func() float64 { return float64(s.replicas()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "latchkey_rate_limit_evictions_total",
			Help: "Times that the use of a token or tenant was forgotten because too many others were in use.",
		}, func() float64 { return float64(s.rates.Evictions()) }),
	}
}
