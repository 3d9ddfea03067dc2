package main

import (
	"math"
	"math/bits"
	"time"
)

// histogram counts durations in buckets that are at most 1.6 % wide, so that
// recording one costs a few instructions and no memory.
type histogram struct {
	counts [histogramBuckets]uint64
	total  uint64
}

const (
	// Values below 2^histogramBits have a bucket each; of those above, the leading
	// histogramBits decide.
	histogramBits    = 7
	histogramHalf    = 1 << (histogramBits - 1)
	histogramBuckets = (64 - histogramBits + 2) * histogramHalf
)

func bucketOf(value uint64) int {
	shift := max(0, bits.Len64(value)-histogramBits)
	return shift*histogramHalf + int(value>>shift)
}

// bucketMiddle is the value in the middle of a bucket.
func bucketMiddle(bucket int) uint64 {
	if bucket < 2*histogramHalf {
		return uint64(bucket)
	}
	shift := bucket/histogramHalf - 1
	return uint64(bucket-shift*histogramHalf)<<shift + 1<<shift/2
}

func (h *histogram) add(d time.Duration) {
	h.counts[bucketOf(uint64(max(0, d)))]++
	h.total++
}

func (h *histogram) merge(other *histogram) {
	for i, n := range other.counts {
		h.counts[i] += n
	}
	h.total += other.total
}

// quantile is the duration that the share q of all do not exceed.
func (h *histogram) quantile(q float64) time.Duration {
	rank := uint64(math.Ceil(q * float64(h.total)))
	var seen uint64
	for bucket, n := range h.counts {
		if seen += n; n > 0 && seen >= rank {
			return time.Duration(bucketMiddle(bucket))
		}
	}
	return 0
}
