package server_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/server"
	"github.com/latchkey-dev/latchkey/internal/testing/directorytest"
)

func rateLimit(requests int32, period time.Duration, burst int32) *v1alpha1.RateLimit {
	return &v1alpha1.RateLimit{Requests: requests, Period: &metav1.Duration{Duration: period}, Burst: burst}
}

func withRateLimits(perToken, perTenant *v1alpha1.RateLimit) func(*setup) {
	return withAPI(func(a *v1alpha1.PublicApiSpec) {
		a.RateLimits = &v1alpha1.RateLimits{PerToken: perToken, PerTenant: perTenant}
	})
}

func withOwnLimit(limit *v1alpha1.RateLimit) func(*directorytest.Issued) {
	return func(i *directorytest.Issued) { i.ApiToken.Spec.RateLimit = limit }
}

// of makes the same request to another tenant's host.
func (h *harness) of(tenant, plaintext string) answer {
	h.t.Helper()
	r := h.request(http.MethodGet, endpoint, plaintext)
	r.Host = tenant + ".example.com"
	return h.do(r)
}

// wantStanding wants an answer to tell how its limits stand.
func (a answer) wantStanding(t *testing.T, policy, standing string) {
	t.Helper()
	for name, want := range map[string]string{"RateLimit-Policy": policy, "RateLimit": standing} {
		if got := strings.Join(a.Header.Values(name), "; "); got != want {
			t.Errorf("status %d, %s: %s, want %s", a.StatusCode, name, got, want)
		}
	}
}

// wantLimited wants a refusal that says for how long to wait, and who sent too much.
func (a answer) wantLimited(t *testing.T, seconds int, who string) {
	t.Helper()
	p := a.wantProblem(t, http.StatusTooManyRequests, "rate-limited")
	if got := a.Header.Values("Retry-After"); len(got) != 1 || got[0] != strconv.Itoa(seconds) {
		t.Errorf("Retry-After: %q, want %d", got, seconds)
	}
	again := "Try again in " + (time.Duration(seconds) * time.Second).String()
	if !strings.Contains(p.Title, who) || !strings.HasPrefix(again, strings.TrimSuffix(p.Detail[max(0, strings.Index(p.Detail, "Try")):], ".")) {
		t.Errorf("title %q, detail %q; want them to name the %s and say: %s", p.Title, p.Detail, who, again)
	}
}

func TestRateLimitPerToken(t *testing.T) {
	h := newHarness(t, withRateLimits(rateLimit(6, time.Minute, 2), nil))
	issued := h.issue("acme")
	plaintext, other := issued.Token.Reveal(), h.issue("acme").Token.Reveal()
	const policy = `"token";q=6;w=60;latchkey-burst=2`
	h.get(endpoint, plaintext).wantStanding(t, policy, `"token";r=1;t=10`)
	h.clock.Step(500 * time.Millisecond)
	a := h.get(endpoint, plaintext)
	a.wantStatus(t, http.StatusOK)
	a.wantStanding(t, policy, `"token";r=0;t=10`)
	before := len(h.backend.all())
	a = h.get(endpoint, plaintext)
	a.wantLimited(t, 10, "token")
	a.wantStanding(t, policy, `"token";r=0;t=10`)
	if got := a.Header.Get(server.HeaderTokenExpires); got == "" {
		t.Error("the refusal does not say when the token expires")
	}
	if got := len(h.backend.all()); got != before {
		t.Error("what was refused reached the backend")
	}
	h.get(endpoint, other).wantStatus(t, http.StatusOK)
	h.clock.Step(9400 * time.Millisecond)
	h.get(endpoint, plaintext).wantLimited(t, 1, "token") // 100 ms, rounded up
	h.clock.Step(100 * time.Millisecond)
	h.get(endpoint, plaintext).wantStatus(t, http.StatusOK)
	h.get(endpoint, plaintext).wantLimited(t, 10, "token")
	h.clock.Step(10 * time.Minute)
	h.get(endpoint, plaintext).wantStanding(t, policy, `"token";r=1;t=10`)
	if !strings.Contains(h.metrics(), `outcome="rate-limited"`) {
		t.Error("refusals are not counted")
	}
	h.wantClosedLabels()
}

// A token that is rotated gets no second burst: its credentials are counted together.
func TestRotationGivesNoSecondBurst(t *testing.T) {
	h := newHarness(t, withRateLimits(rateLimit(60, time.Minute, 1), nil))
	issued := h.issue("acme")
	first := issued.Token.Reveal()
	issued.Rotate(t, expiry, expiry)
	h.keepSecret(secretPart(issued.Token.Reveal()))
	issued.Add(t, h.stores)
	h.get(endpoint, issued.Token.Reveal()).wantStatus(t, http.StatusOK)
	h.get(endpoint, first).wantLimited(t, 1, "token")
}

func TestRateLimitPerTenant(t *testing.T) {
	h := newHarness(t, withRateLimits(rateLimit(60, time.Minute, 2), rateLimit(3, time.Hour, 0)))
	one, two, globex := h.issue("acme").Token.Reveal(), h.issue("acme").Token.Reveal(), h.issue("globex").Token.Reveal()
	const policy = `"token";q=60;w=60;latchkey-burst=2, "account";q=3;w=3600`
	h.get(endpoint, one).wantStanding(t, policy, `"token";r=1;t=1, "account";r=2;t=1200`)
	h.get(endpoint, one).wantStanding(t, policy, `"token";r=0;t=1, "account";r=1;t=1200`)
	a := h.get(endpoint, one)
	a.wantLimited(t, 1, "token")
	a.wantStanding(t, policy, `"token";r=0;t=1, "account";r=1;t=1200`) // the refusal cost the account nothing
	h.get(endpoint, two).wantStatus(t, http.StatusOK)
	for range 3 {
		a = h.get(endpoint, two)
		a.wantLimited(t, 1200, "account")
		a.wantStanding(t, policy, `"token";r=1;t=1, "account";r=0;t=1200`) // nor the token
		if detail := "The tokens of this account together may send 3 per 1h, at most 3 at once. Try again in 20m."; !strings.Contains(a.body, detail) {
			t.Errorf("the answer is %s, without: %s", a.body, detail)
		}
	}
	h.of("globex", globex).wantStatus(t, http.StatusOK)
}

// An ApiToken's own limit lowers the PublicApi's, and never raises it.
func TestOwnRateLimit(t *testing.T) {
	for name, c := range map[string]struct {
		all, own         *v1alpha1.RateLimit
		passes           int
		policy, standing string
	}{
		"none":           {nil, nil, 50, "", ""},
		"alone":          {nil, rateLimit(60, time.Minute, 3), 3, `"token";q=60;w=60;latchkey-burst=3`, `"token";r=0;t=1`},
		"lower":          {rateLimit(60, time.Minute, 9), rateLimit(30, time.Minute, 3), 3, `"token";q=30;w=60;latchkey-burst=3`, `"token";r=0;t=2`},
		"higher":         {rateLimit(60, time.Minute, 3), rateLimit(90, time.Second, 9), 3, `"token";q=60;w=60;latchkey-burst=3`, `"token";r=0;t=1`},
		"another period": {rateLimit(60, time.Minute, 4), rateLimit(20, time.Hour, 20), 4, `"token";q=60;w=60;latchkey-burst=4, "token-own";q=20;w=3600`, `"token";r=0;t=1, "token-own";r=16;t=180`},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, withRateLimits(c.all, nil))
			plaintext := h.issue("acme", withOwnLimit(c.own)).Token.Reveal()
			for range c.passes {
				h.get(endpoint, plaintext).wantStatus(t, http.StatusOK)
			}
			a := h.get(endpoint, plaintext)
			if limited := a.StatusCode == http.StatusTooManyRequests; limited != (c.policy != "") {
				t.Errorf("after %d requests the next is answered %d", c.passes, a.StatusCode)
			}
			a.wantStanding(t, c.policy, c.standing)
		})
	}
}

// Where neither of a token's limits says it all, the slower one counts in the long
// run.
func TestBothLimitsOfATokenHold(t *testing.T) {
	h := newHarness(t, withRateLimits(rateLimit(60, time.Minute, 4), nil))
	plaintext := h.issue("acme", withOwnLimit(rateLimit(20, time.Hour, 20))).Token.Reveal()
	passed := 0
	for range 60 {
		if h.get(endpoint, plaintext).StatusCode == http.StatusOK {
			passed++
		}
		h.clock.Step(time.Second)
	}
	if passed != 20 {
		t.Errorf("%d requests passed in a minute, want the burst of 20", passed)
	}
	h.get(endpoint, plaintext).wantLimited(t, 120, "token")
}

func TestShareOfTheReplicas(t *testing.T) {
	var replicas atomic.Int64
	replicas.Store(2)
	h := newHarness(t, withRateLimits(rateLimit(60, time.Minute, 10), nil), withConfig(func(c *server.Config) {
		c.Replicas = func() int { return int(replicas.Load()) }
	}))
	plaintext := h.issue("acme").Token.Reveal()
	const policy = `"token";q=60;w=60;latchkey-burst=10` // that others share it does not concern the client
	for left := 4; left >= 0; left-- {
		a := h.get(endpoint, plaintext)
		a.wantStatus(t, http.StatusOK)
		a.wantStanding(t, policy, fmt.Sprintf(`"token";r=%d;t=2`, 2*left))
	}
	h.get(endpoint, plaintext).wantLimited(t, 2, "token")
	if !strings.Contains(h.metrics(), "latchkey_rate_limit_replicas 2") {
		t.Error("the metrics don't say how many share")
	}
	replicas.Store(100) // more than the burst: one each
	h.clock.Step(10 * time.Minute)
	h.get(endpoint, plaintext).wantStanding(t, policy, `"token";r=0;t=100`)
	h.get(endpoint, plaintext).wantLimited(t, 100, "token")
	replicas.Store(0) // nobody knows: it is alone
	h.clock.Step(10 * time.Minute)
	h.get(endpoint, plaintext).wantStanding(t, policy, `"token";r=9;t=1`)
}

func TestChangedRateLimitsCountAtOnce(t *testing.T) {
	h := newHarness(t)
	issued := h.issue("acme")
	plaintext := issued.Token.Reveal()
	h.get(endpoint, plaintext).wantStanding(t, "", "")
	change := func(limits *v1alpha1.RateLimits) {
		api := directorytest.PublicApi("")
		existing, _ := h.directory.API(api.Name)
		tenant, _ := h.directory.Tenant("acme")
		api.Spec.Backend.URL, api.Spec.RateLimits = existing.Backend(tenant), limits
		directorytest.Must(t, h.stores.PublicApis.Update(api))
	}
	change(&v1alpha1.RateLimits{PerToken: rateLimit(1, 24*time.Hour, 1)})
	h.get(endpoint, plaintext).wantStatus(t, http.StatusOK)
	h.get(endpoint, plaintext).wantLimited(t, 24*60*60, "token")
	change(&v1alpha1.RateLimits{PerToken: rateLimit(10, time.Second, 2)})
	h.get(endpoint, plaintext).wantLimited(t, 1, "token") // for 100 ms, no longer for a day
	h.clock.Step(100 * time.Millisecond)
	h.get(endpoint, plaintext).wantStatus(t, http.StatusOK)
	issued.UpdateApiToken(t, h.stores, func(a *v1alpha1.ApiToken) { a.Spec.RateLimit = rateLimit(1, time.Minute, 1) })
	h.get(endpoint, plaintext).wantStatus(t, http.StatusOK)
	h.get(endpoint, plaintext).wantLimited(t, 60, "token")
	issued.UpdateApiToken(t, h.stores, func(a *v1alpha1.ApiToken) { a.Spec.RateLimit = nil })
	change(nil)
	a := h.get(endpoint, plaintext)
	a.wantStatus(t, http.StatusOK)
	a.wantStanding(t, "", "")
}

// Latchkey's own paths are counted apart from the API, by the same limits.
func TestRateLimitAtThePortal(t *testing.T) {
	h := newHarness(t, withRateLimits(rateLimit(60, time.Minute, 1), nil))
	plaintext := h.issue("acme").Token.Reveal()
	h.get(endpoint, plaintext).wantStatus(t, http.StatusOK)
	h.get(endpoint, plaintext).wantLimited(t, 1, "token")
	a := h.get("/api/v1/token", plaintext)
	a.wantStatus(t, http.StatusOK)
	a.wantStanding(t, `"token";q=60;w=60;latchkey-burst=1`, `"token";r=0;t=1`)
	h.get("/api/v1/token", plaintext).wantLimited(t, 1, "token")
}

// A backend that limits too is not mixed up with us, and passes where we don't.
func TestRateLimitHeadersOfTheBackend(t *testing.T) {
	backend := withBackend(func(w http.ResponseWriter, _ *http.Request) {
		for _, name := range []string{"RateLimit", "RateLimit-Policy", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"} {
			w.Header().Set(name, "the backend's")
		}
		w.Header().Set("X-RateLimit-Remaining", "the backend's")
		w.Header().Set("RateLimiter", "the backend's")
	})
	for name, limits := range map[string]*v1alpha1.RateLimit{"limits": rateLimit(60, time.Minute, 2), "none": nil} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, backend, withRateLimits(limits, nil))
			a := h.get(endpoint, h.issue("acme").Token.Reveal())
			a.wantStatus(t, http.StatusOK)
			want := "the backend's"
			if limits != nil {
				want = ""
				a.wantStanding(t, `"token";q=60;w=60;latchkey-burst=2`, `"token";r=1;t=1`)
			} else {
				a.wantStanding(t, want, want)
			}
			for _, name := range []string{"RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"} {
				if got := a.Header.Get(name); got != want {
					t.Errorf("%s: %s, want %q", name, got, want)
				}
			}
			for _, name := range []string{"X-RateLimit-Remaining", "RateLimiter"} {
				if a.Header.Get(name) == "" {
					t.Errorf("%s was taken away", name)
				}
			}
		})
	}
}

// Scripts of other origins read them, also of a refusal and of a fault of the
// backend's.
func TestRateLimitsCanBeReadByScripts(t *testing.T) {
	h := newHarness(t, withOrigins(page), withRateLimits(rateLimit(60, time.Minute, 1), nil))
	plaintext := h.issue("acme").Token.Reveal()
	for _, status := range []int{http.StatusOK, http.StatusTooManyRequests} {
		r := h.request(http.MethodGet, endpoint, plaintext)
		r.Header.Set("Origin", page)
		a := h.do(r)
		a.wantStatus(t, status)
		exposed := strings.Join(a.Header.Values("Access-Control-Expose-Headers"), ", ")
		for _, name := range []string{"RateLimit,", "RateLimit-Policy", "Retry-After", server.HeaderTokenExpires} {
			if !strings.Contains(exposed, name) {
				t.Errorf("status %d: %s is not exposed: %s", status, name, exposed)
			}
		}
	}
	down := newHarness(t, withAPI(func(a *v1alpha1.PublicApiSpec) { a.Backend.URL = "http://127.0.0.1:1" }), withRateLimits(rateLimit(60, time.Minute, 2), nil))
	a := down.get(endpoint, down.issue("acme").Token.Reveal())
	a.wantStatus(t, http.StatusBadGateway)
	a.wantStanding(t, `"token";q=60;w=60;latchkey-burst=2`, `"token";r=1;t=1`)
}

// Who is not let in for another reason uses nothing up, of anybody.
func TestOnlyAcceptedTokensCount(t *testing.T) {
	h := newHarness(t, withRateLimits(rateLimit(60, time.Minute, 1), rateLimit(60, time.Minute, 1)))
	issued := h.issue("acme")
	for _, plaintext := range []string{"", h.issue("globex").Token.Reveal(), "lk_garbage"} {
		a := h.get(endpoint, plaintext)
		a.wantStatus(t, http.StatusUnauthorized)
		a.wantStanding(t, "", "")
	}
	h.get(endpoint, issued.Token.Reveal()).wantStatus(t, http.StatusOK)
}

func TestGatewayIsToldOfRateLimits(t *testing.T) {
	forEachGateway(t, func(t *testing.T, gateway string) {
		h := newHarness(t, withRateLimits(rateLimit(6, time.Minute, 1), nil))
		plaintext, url := h.issue("acme").Token.Reveal(), h.gateway()
		for _, status := range []int{http.StatusOK, refusalStatus(gateway, http.StatusTooManyRequests)} {
			response := h.ask(url, gateway, aboutExample, plaintext)
			retry, code := "", ""
			if status != http.StatusOK {
				retry, code = "10", "rate-limited"
			}
			if response.StatusCode != status || response.Header.Get("Retry-After") != retry || response.Header.Get(server.HeaderProblem) != code {
				t.Errorf("status %d with %v, want %d, Retry-After %q and the problem %q", response.StatusCode, response.Header, status, retry, code)
			}
			(answer{response, ""}).wantStanding(t, `"token";q=6;w=60;latchkey-burst=1`, `"token";r=0;t=10`)
		}
		h.get(endpoint, plaintext).wantLimited(t, 10, "token") // the front door counts with it
	})
}

// Requests to public operations without a token count together, and take nothing from
// the account's tokens.
func TestAnonymousRequestsCountApart(t *testing.T) {
	h := newHarness(t, withBackend(answering), withContract(func(o *v1alpha1.OpenAPI) { o.AllowAnonymousOperations = true }),
		withAPI(func(s *v1alpha1.PublicApiSpec) {
			s.RateLimits = &v1alpha1.RateLimits{
				PerToken:  &v1alpha1.RateLimit{Requests: 1},
				PerTenant: &v1alpha1.RateLimit{Requests: 2},
			}
		}))
	h.publish(contract)
	for range 2 {
		got := h.get("/api/v1/status", "")
		got.wantStatus(t, 200)
		if standing := got.Header.Get("RateLimit"); !strings.HasPrefix(standing, `"anonymous";`) {
			t.Errorf("RateLimit: %s", standing)
		}
	}
	h.get("/api/v1/status", "").wantProblem(t, 429, "rate-limited")
	plaintext := h.issue("acme").Token.Reveal()
	h.get("/api/v1/missing", plaintext).wantProblem(t, 404, "not-found") // is not counted
	h.get("/api/v1/me", plaintext).wantStatus(t, 200)
}
