package server

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// tenantOther is the value of the label tenant for the tenants that have no series
// of their own. No Tenant can have this name.
const tenantOther = "_other"

// tenantMetrics count requests by tenant, for a limited number of tenants: each has
// a handful of series. A tenant gets its series with its first request while there
// is room, and gives them up when it is deleted. Only Tenants get any, never a name
// that a request made up.
type tenantMetrics struct {
	limit    int
	isTenant func(name string) bool
	requests *prometheus.CounterVec
	// durations have no quantiles, which would need a lock: rate and mean by tenant,
	// and the distribution over all tenants elsewhere.
	durations *prometheus.SummaryVec

	mu     sync.RWMutex
	series map[string]*tenantSeries
	other  *tenantSeries
}

// tenantSeries are a tenant's, found once instead of at each request.
type tenantSeries struct {
	requests [len(statusClasses)]prometheus.Counter
	duration prometheus.Observer
}

func newTenantMetrics(limit int, isTenant func(string) bool) *tenantMetrics {
	m := &tenantMetrics{
		limit: limit, isTenant: isTenant, series: map[string]*tenantSeries{},
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "latchkey_tenant_requests_total",
			Help: "Requests by tenant and status class. Tenants beyond --tenant-metrics-limit count as " + tenantOther + ".",
		}, []string{"tenant", "status"}),
		durations: prometheus.NewSummaryVec(prometheus.SummaryOpts{
			Name: "latchkey_tenant_request_duration_seconds",
			Help: "Time from a request's headers to the end of its answer, by tenant.",
		}, []string{"tenant"}),
	}
	if limit > 0 {
		m.other = m.newSeries(tenantOther)
	}
	return m
}

func (m *tenantMetrics) newSeries(tenant string) *tenantSeries {
	s := &tenantSeries{duration: m.durations.WithLabelValues(tenant)}
	for i, class := range statusClasses {
		s.requests[i] = m.requests.WithLabelValues(tenant, class)
	}
	return s
}

// count counts a request.
func (m *tenantMetrics) count(tenant string, status int, took time.Duration) {
	if m.limit == 0 {
		return
	}
	s := m.of(tenant)
	s.requests[statusClassIndex(status)].Inc()
	s.duration.Observe(took.Seconds())
}

func (m *tenantMetrics) of(tenant string) *tenantSeries {
	m.mu.RLock()
	s, full := m.series[tenant], len(m.series) >= m.limit
	m.mu.RUnlock()
	switch {
	case s != nil:
		return s
	case full:
		return m.other
	}
	return m.admit(tenant)
}

// admit gives a tenant series of its own, if there is still room. A request may end
// after its tenant was deleted: asking under the lock, which forgetDeleted takes
// after the deletion can be seen, keeps it from coming back.
func (m *tenantMetrics) admit(tenant string) *tenantSeries {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.series[tenant]; s != nil {
		return s
	}
	if len(m.series) >= m.limit || !m.isTenant(tenant) {
		return m.other
	}
	s := m.newSeries(tenant)
	m.series[tenant] = s
	return s
}

// forgetDeleted removes the series of Tenants that are no more, which makes room.
func (m *tenantMetrics) forgetDeleted() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for tenant := range m.series {
		if !m.isTenant(tenant) {
			delete(m.series, tenant)
			for _, class := range statusClasses {
				m.requests.DeleteLabelValues(tenant, class)
			}
			m.durations.DeleteLabelValues(tenant)
		}
	}
}

// Describe implements prometheus.Collector.
func (m *tenantMetrics) Describe(descs chan<- *prometheus.Desc) {
	m.requests.Describe(descs)
	m.durations.Describe(descs)
}

// Collect implements prometheus.Collector.
func (m *tenantMetrics) Collect(collected chan<- prometheus.Metric) {
	m.requests.Collect(collected)
	m.durations.Collect(collected)
}
