package main

import (
	"math"
	"testing"
	"time"
)

func TestMedianRatioComparesRoundByRound(t *testing.T) {
	// The machine was half as fast in the second round.
	if got := medianRatio([]float64{200, 100, 200}, []float64{100, 50, 100}); got != 2 {
		t.Errorf("medianRatio = %v, want 2", got)
	}
	if got := medianRatio([]float64{1, 2}, nil); !math.IsNaN(got) {
		t.Errorf("medianRatio to what was not measured = %v, want NaN", got)
	}
	if got := median([]float64{4, 1, 3, 2}); got != 2.5 {
		t.Errorf("median = %v, want 2.5", got)
	}
}

func TestQuantileIsOneOfTheValues(t *testing.T) {
	durations := []time.Duration{40, 10, 30, 20}
	for q, want := range map[float64]time.Duration{0: 10, .25: 10, .5: 20, .51: 30, .99: 40, 1: 40} {
		if got := quantile(durations, q); got != want {
			t.Errorf("quantile(%v) = %v, want %v", q, got, want)
		}
	}
	if got := quantile(nil, .5); got != 0 {
		t.Errorf("quantile of nothing = %v, want 0", got)
	}
}

func TestHistogramBucketsAreNarrow(t *testing.T) {
	last := -1
	for value := uint64(1); value < math.MaxInt64/3; value = value*3/2 + 1 {
		bucket := bucketOf(value)
		if bucket < last || bucket >= histogramBuckets {
			t.Fatalf("bucketOf(%d) = %d after %d, of %d", value, bucket, last, histogramBuckets)
		}
		last = bucket
		if middle := bucketMiddle(bucket); math.Abs(float64(middle)-float64(value)) > .016*float64(value) {
			t.Errorf("the bucket of %d has its middle at %d", value, middle)
		}
	}
	if bucket := bucketOf(math.MaxInt64); bucket >= histogramBuckets {
		t.Errorf("the longest duration has bucket %d of %d", bucket, histogramBuckets)
	}
}

func TestHistogramQuantiles(t *testing.T) {
	var odd, even, all histogram
	for i := range 1000 {
		h := &odd
		if i%2 == 0 {
			h = &even
		}
		h.add(time.Duration(i+1) * time.Microsecond)
	}
	all.merge(&odd)
	all.merge(&even)
	for q, want := range map[float64]float64{.5: 500e3, .99: 990e3, 1: 1000e3} {
		if got := float64(all.quantile(q)); math.Abs(got-want) > .016*want {
			t.Errorf("quantile(%v) = %v ns, want about %v", q, got, want)
		}
	}
}
