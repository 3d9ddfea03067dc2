package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestScaleOptions(t *testing.T) {
	o, runs, err := parseScale([]string{"--quick", "--tokens=500", "--only=memory,delete", "--json=f"})
	if err != nil {
		t.Fatal(err)
	}
	if o.total != 500 || o.tenants != quickScale.tenants || !slices.Equal(o.only, []string{partMemory, partDelete}) || runs.json != "f" || runs.samples != quickRuns.samples || runs.many() != 500 {
		t.Errorf("options are %+v and %+v", o, runs)
	}
	for _, args := range [][]string{{"--only=speed"}, {"--tenants=1"}, {"--tokens=100"}, {"--quick", "--tokens=290", "--crowd=200"}, {"--crowd=-1"}, {"more"}} {
		if _, _, err := parseScale(args); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
}

func TestProberCountsFailures(t *testing.T) {
	enough := make(chan struct{})
	p := startProber(t.Context(), time.Microsecond, func(_ context.Context, n int) error {
		switch {
		case n == 99:
			close(enough)
		case n < 99 && n%10 == 0:
			return errors.New("the last of ten")
		}
		return nil
	})
	<-enough
	p.stop()
	if p.asked < 99 || p.failed != 10 || p.last == nil || p.latencies.total != uint64(p.asked) {
		t.Errorf("asked %d, failed %d, last failure %v", p.asked, p.failed, p.last)
	}
}

func TestCustomersTakeTurns(t *testing.T) {
	known, unknown, o := knownAndUnknown(t)
	address := startInProcess(t, "check", o)
	ask := customers(address, []issuedToken{known, unknown})
	for n, want := range []string{"", "401"} {
		err := ask(t.Context(), n)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("question %d: error %v, want %q", n, err, want)
		}
	}
	if err := customers("127.0.0.1:1", []issuedToken{known})(t.Context(), 0); err == nil {
		t.Error("nobody answers, and that is no failure")
	}
}
