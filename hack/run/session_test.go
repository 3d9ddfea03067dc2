package main

import (
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestStop(t *testing.T) {
	asked, broken, stuck := &interrupted{syscall.SIGINT}, errors.New("broken"), errors.New("stuck")
	for name, test := range map[string]struct {
		reason, stop error
		want         []string
	}{
		"asked to":              {asked, nil, []string{"interrupt"}},
		"asked to, but can't":   {asked, stuck, []string{"stuck"}},
		"because of an error":   {broken, nil, []string{"broken"}},
		"because of, and can't": {broken, stuck, []string{"broken", "stuck"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSession(settings{dir: t.TempDir()}, t.Output(), t.Output())
			var order []string
			s.onStop(func() error { order = append(order, "first"); return nil })
			s.onStop(func() error { order = append(order, "second"); return test.stop })
			err := s.stop(test.reason)
			if !slices.Equal(order, []string{"second", "first"}) {
				t.Errorf("stopped in the order %q", order)
			}
			for _, want := range test.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v; want %q in it", err, want)
				}
			}
			if _, ok := errors.AsType[*interrupted](err); ok != (errors.Is(test.reason, asked) && test.stop == nil) {
				t.Errorf("got %v: the exit code would be wrong", err)
			}
		})
	}
}
