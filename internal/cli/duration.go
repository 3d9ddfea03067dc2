package cli

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var errDuration = errors.New("must be a duration of whole seconds, such as 720h, 30d, 2w or 1d12h")

// durationValue is a flag whose value is a Go duration that may begin with weeks
// and days: those who rotate tokens think in them.
type durationValue struct {
	value time.Duration
	isSet bool
}

// Set implements pflag.Value.
func (d *durationValue) Set(s string) (err error) {
	d.value, err = parseDuration(s)
	d.isSet = err == nil
	return err
}

// String implements pflag.Value.
func (d *durationValue) String() string {
	if !d.isSet {
		return ""
	}
	return d.value.String()
}

// Type implements pflag.Value.
func (d *durationValue) Type() string { return "duration" }

// Pointer is the duration in the form of an ApiToken's spec, nil if not set.
func (d *durationValue) Pointer() *metav1.Duration {
	if !d.isSet {
		return nil
	}
	return &metav1.Duration{Duration: d.value}
}

var weeksAndDays = regexp.MustCompile(`^(?:([0-9]+)w)?(?:([0-9]+)d)?(.*)$`)

func parseDuration(s string) (time.Duration, error) {
	parts := weeksAndDays.FindStringSubmatch(s)
	if s == "" || parts == nil {
		return 0, errDuration
	}
	// Weeks and days become hours in the text, so that time.ParseDuration adds
	// everything up and notices an overflow.
	text := parts[3]
	for i, hours := range []uint64{7 * 24, 24} {
		if parts[i+1] == "" {
			continue
		}
		n, err := strconv.ParseUint(parts[i+1], 10, 32)
		if err != nil {
			return 0, errDuration
		}
		text = fmt.Sprintf("%dh%s", n*hours, text)
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d%time.Second != 0 {
		return 0, errDuration
	}
	return d, nil
}
