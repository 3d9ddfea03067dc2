package tokens

import (
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/directory"
	"github.com/latchkey-dev/latchkey/internal/ratelimit"
)

func TestExceedingRate(t *testing.T) {
	limited := &directory.Token{RateLimit: ratelimit.Limit{Requests: 60, Period: time.Minute, Burst: 10}}
	for name, c := range map[string]struct {
		caller  *directory.Token
		limit   *v1alpha1.RateLimit
		exceeds bool
	}{
		"neither has one":       {&directory.Token{}, nil, false},
		"the caller has none":   {&directory.Token{}, &v1alpha1.RateLimit{Requests: 1}, false},
		"the token has none":    {limited, nil, true},
		"the same":              {limited, limited.RateLimit.Spec(), false},
		"lower":                 {limited, &v1alpha1.RateLimit{Requests: 10}, false},
		"a higher rate":         {limited, &v1alpha1.RateLimit{Requests: 61, Burst: 10}, true},
		"a higher burst, unset": {limited, &v1alpha1.RateLimit{Requests: 60}, true},
	} {
		if got := exceedingRate(c.caller, c.limit); (len(got) > 0) != c.exceeds {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// A token that makes another gives it its own limit, or it would be rid of it.
func TestNewTokensHaveTheCallersRateLimit(t *testing.T) {
	for name, limit := range map[string]ratelimit.Limit{"none": {}, "one": {Requests: 60, Period: time.Hour, Burst: 10}} {
		object, err := newObject(&Call{Tenant: &directory.Tenant{Namespace: "tenant-acme"}, Caller: Caller{Token: &directory.Token{RateLimit: limit}}}, &Request{Name: "ci"})
		if err != nil {
			t.Fatal(err)
		}
		if got := ratelimit.Of(object.Spec.RateLimit); got != limit || (object.Spec.RateLimit == nil) != limit.IsZero() {
			t.Errorf("%s: the new token's limit is %+v, want %+v", name, got, limit)
		}
	}
}
