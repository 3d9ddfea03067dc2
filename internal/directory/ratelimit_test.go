package directory_test

import (
	"math"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/ratelimit"
	"github.com/latchkey-dev/latchkey/internal/testing/directorytest"
	"github.com/latchkey-dev/latchkey/internal/token"
)

func TestRateLimits(t *testing.T) {
	period := func(d time.Duration) *metav1.Duration { return &metav1.Duration{Duration: d} }
	for name, c := range map[string]struct {
		set  *v1alpha1.RateLimit
		want ratelimit.Limit
	}{
		"none":        {nil, ratelimit.Limit{}},
		"no more":     {&v1alpha1.RateLimit{Requests: 10}, ratelimit.Limit{Requests: 10, Period: time.Minute, Burst: 10}},
		"all":         {&v1alpha1.RateLimit{Requests: 10, Period: period(time.Hour), Burst: 3}, ratelimit.Limit{Requests: 10, Period: time.Hour, Burst: 3}},
		"the largest": {&v1alpha1.RateLimit{Requests: math.MaxInt32, Period: period(24 * time.Hour), Burst: math.MaxInt32}, ratelimit.Limit{Requests: math.MaxInt32, Period: 24 * time.Hour, Burst: math.MaxInt32}},
	} {
		t.Run(name, func(t *testing.T) {
			d, stores := newDirectory()
			i := directorytest.Issue(t, "acme", expiry)
			first := i.Record.Current
			i.Rotate(t, expiry, expiry)
			i.ApiToken.Spec.ExpiresAt = at(expiry)
			i.Add(t, stores)
			i.UpdateApiToken(t, stores, func(a *v1alpha1.ApiToken) { a.Spec.RateLimit = c.set })
			for _, digest := range []token.Digest{i.Digest(), first.Digest} {
				if got, ok := d.Token("acme", digest); !ok || got.RateLimit != c.want || got.Revoked || !got.NotAfter.Equal(expiry) {
					t.Errorf("found %t, %+v; want the limit %+v", ok, got, c.want)
				}
			}
			api := directorytest.PublicApi("http://127.0.0.1:1")
			api.Spec.RateLimits = &v1alpha1.RateLimits{PerToken: c.set}
			directorytest.Must(t, stores.PublicApis.Add(api))
			if got, _ := d.API(api.Name); got.PerToken != c.want || !got.PerTenant.IsZero() {
				t.Errorf("the API's limits are %+v and %+v, want %+v and none", got.PerToken, got.PerTenant, c.want)
			}
			api.Spec.RateLimits = &v1alpha1.RateLimits{PerTenant: c.set}
			directorytest.Must(t, stores.PublicApis.Update(api))
			if got, _ := d.API(api.Name); got.PerTenant != c.want || !got.PerToken.IsZero() {
				t.Errorf("the API's limits are %+v and %+v, want none and %+v", got.PerToken, got.PerTenant, c.want)
			}
		})
	}
}
