package ratelimit

import (
	"cmp"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// Of is a limit as it is enforced; the zero value where none is set. A period that is
// unset is a minute, a burst as many as requests.
func Of(l *v1alpha1.RateLimit) Limit {
	if l == nil {
		return Limit{}
	}
	limit := Limit{Requests: int(l.Requests), Period: time.Minute, Burst: int(cmp.Or(l.Burst, l.Requests))}
	if l.Period != nil {
		limit.Period = l.Period.Duration
	}
	return limit
}

// Spec is the limit as it stands in an object; nil where there is none.
func (l Limit) Spec() *v1alpha1.RateLimit {
	if l.IsZero() {
		return nil
	}
	return &v1alpha1.RateLimit{
		Requests: int32(l.Requests), //nolint:gosec // came from one
		Period:   &metav1.Duration{Duration: l.Period},
		Burst:    int32(l.Burst), //nolint:gosec // came from one
	}
}
