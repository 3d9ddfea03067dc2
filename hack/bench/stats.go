package main

import (
	"math"
	"slices"
	"time"
)

// median is the middle of the values, NaN if there are none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// medianRatio is the median of the ratios of what was measured in the same round:
// a drift of the machine cancels out.
func medianRatio(values, references []float64) float64 {
	ratios := make([]float64, 0, len(values))
	for i := range min(len(values), len(references)) {
		ratios = append(ratios, values[i]/references[i])
	}
	return median(ratios)
}

// quantile is the smallest duration that at least the share q of all do not
// exceed.
func quantile(durations []time.Duration, q float64) time.Duration {
	if len(durations) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(durations))
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}

// column takes one value of each item.
func column[T any](items []T, value func(T) float64) []float64 {
	values := make([]float64, len(items))
	for i, item := range items {
		values[i] = value(item)
	}
	return values
}
