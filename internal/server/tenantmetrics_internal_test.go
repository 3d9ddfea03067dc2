package server

import (
	"fmt"
	"testing"
	"time"
)

func countedTenants() (*tenantMetrics, []string) {
	const limit = 1000
	m := newTenantMetrics(limit, func(string) bool { return true })
	names := make([]string, limit+1)
	for i := range names {
		names[i] = fmt.Sprintf("tenant-%d", i)
		m.count(names[i], 200, time.Millisecond)
	}
	return m, names
}

// A request costs no memory for them, whether or not its tenant has series.
func TestTenantMetricsDoNotAllocate(t *testing.T) {
	m, names := countedTenants()
	n := 0
	if allocations := testing.AllocsPerRun(2000, func() {
		m.count(names[n%len(names)], 200, time.Millisecond)
		n++
	}); allocations != 0 {
		t.Errorf("%v allocations a request", allocations)
	}
}

func BenchmarkTenantMetrics(b *testing.B) {
	m, names := countedTenants()
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		m.count(names[n%len(names)], 200, time.Millisecond)
	}
}

func BenchmarkTenantMetricsParallel(b *testing.B) {
	m, names := countedTenants()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for n := 0; pb.Next(); n++ {
			m.count(names[n%len(names)], 200, time.Millisecond)
		}
	})
}
