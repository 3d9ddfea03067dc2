package apitoken

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

var (
	expiryDesc = prometheus.NewDesc("latchkey_token_expiry_timestamp_seconds",
		"When a live token's current credential expires, of those that expire next.", []string{"namespace", "name"}, nil)
	leftOutDesc = prometheus.NewDesc("latchkey_token_expiry_left_out",
		"Live tokens that have no latchkey_token_expiry_timestamp_seconds, since others expire before them.", nil, nil)
)

// collectTimeout bounds a scrape whose cache does not answer.
const collectTimeout = 5 * time.Second

// ExpiryCollector has a metric of the expiry for each of the live ApiTokens that
// expire next. It reads them at each scrape, and only while its manager is the
// leader, so that there is one series a token.
type ExpiryCollector struct {
	// Reader reads from the manager's cache.
	Reader client.Reader
	// Elected is closed once the manager is the leader.
	Elected <-chan struct{}
	// Clock tells the time.
	Clock clock.PassiveClock
	// Limit is how many series there are at most.
	Limit int
}

// Describe implements prometheus.Collector.
func (c *ExpiryCollector) Describe(descriptions chan<- *prometheus.Desc) {
	descriptions <- expiryDesc
	descriptions <- leftOutDesc
}

// Collect implements prometheus.Collector.
func (c *ExpiryCollector) Collect(metrics chan<- prometheus.Metric) {
	select {
	case <-c.Elected:
	default:
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), collectTimeout)
	defer cancel()
	var all v1alpha1.ApiTokenList
	if err := c.Reader.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
		metrics <- prometheus.NewInvalidMetric(expiryDesc, err)
		return
	}
	next := c.expiringNext(all.Items)
	for _, t := range next[:min(len(next), c.Limit)] {
		metrics <- prometheus.MustNewConstMetric(expiryDesc, prometheus.GaugeValue,
			float64(t.Status.Credential.ExpiresAt.Unix()), t.Namespace, t.Name)
	}
	metrics <- prometheus.MustNewConstMetric(leftOutDesc, prometheus.GaugeValue, float64(max(0, len(next)-c.Limit)))
}

// expiringNext are the live ApiTokens, that which expires first in front. Those that
// sign in are left out: they all end within minutes, as they should.
func (c *ExpiryCollector) expiringNext(all []v1alpha1.ApiToken) []*v1alpha1.ApiToken {
	now := c.Clock.Now()
	var live []*v1alpha1.ApiToken
	for i := range all {
		t := &all[i]
		if !t.Spec.Revoked && t.Status.Credential != nil && now.Before(t.Status.Credential.ExpiresAt.Time) && !signsIn(t) {
			live = append(live, t)
		}
	}
	slices.SortFunc(live, func(a, b *v1alpha1.ApiToken) int {
		return cmp.Or(a.Status.Credential.ExpiresAt.Compare(b.Status.Credential.ExpiresAt.Time),
			cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return live
}
