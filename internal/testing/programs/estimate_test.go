package programs

import (
	"testing"
	"time"
)

var packages = []listed{
	{"a", "etcd", 10, false}, {"b", "etcd", 20, false}, {"c", "kube-apiserver", 30, false}, {"d", "kube-apiserver", 40, false}, {"e", "kubectl", 50, true},
}

func TestEstimate(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	e := newEstimate(packages)
	if got, want := e.status(start), (status{total: 5}); got != want {
		t.Errorf("before the build: %+v, want %+v", got, want)
	}
	for _, step := range []struct {
		after time.Duration
		path  string
		want  status
	}{
		{0, "a", status{"etcd", 0, 5, false, 0}},
		{5 * time.Second, "b", status{"etcd", 1, 5, false, 0}}, // too early for an estimate
		{15 * time.Second, "c", status{"kube-apiserver", 2, 5, false, 60 * time.Second}},
		{30 * time.Second, "unknown", status{"kube-apiserver", 2, 5, false, 120 * time.Second}},
		{30 * time.Second, "c", status{"kube-apiserver", 2, 5, false, 120 * time.Second}}, // counts once
		{30 * time.Second, "e", status{"kubectl", 4, 5, true, 25 * time.Second}},          // d was in the cache
		{30 * time.Second, "d", status{"kube-apiserver", 4, 5, false, 13636363636}},       // or was late
	} {
		now := start.Add(step.after)
		e.compiling(step.path, now)
		if got := e.status(now); got != step.want {
			t.Errorf("after %s, at %s: %+v, want %+v", step.after, step.path, got, step.want)
		}
	}
}

// A build that compiles little because the rest is in the cache says nothing about the rest.
func TestNoEstimateFromLittleWork(t *testing.T) {
	e := newEstimate([]listed{{"a", "etcd", 1, false}, {"b", "etcd", 1, false}, {"c", "etcd", 1000, false}})
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	e.compiling("a", start)
	e.compiling("b", start)
	if got := e.status(start.Add(time.Hour)); got.left != 0 {
		t.Errorf("got %+v, want no estimate", got)
	}
}

func TestStatusIsReadable(t *testing.T) {
	for want, s := range map[string]status{
		"  Compiling etcd: 3 of 2433 packages":                                   {"etcd", 3, 2433, false, 0},
		"  Compiling kube-apiserver: 800 of 2433 packages, about 4 min left":     {"kube-apiserver", 800, 2433, false, 230 * time.Second},
		"  Compiling kube-apiserver: 2000 of 2433 packages, about 50 s left":     {"kube-apiserver", 2000, 2433, false, 47 * time.Second},
		"  Compiling kubectl: 2400 of 2433 packages, a few seconds left":         {"kubectl", 2400, 2433, false, 9 * time.Second},
		"  Linking etcd, kube-apiserver: 2432 of 2433 packages, about 20 s left": {"etcd, kube-apiserver", 2432, 2433, true, 20 * time.Second},
	} {
		if got := s.String(); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
}
