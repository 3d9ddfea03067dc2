package negotiation_test

import (
	"testing"

	"github.com/latchkey-dev/latchkey/internal/negotiation"
)

func TestAcceptsGzip(t *testing.T) {
	for _, c := range []struct {
		values []string
		want   bool
	}{
		{nil, false},
		{[]string{""}, false},
		{[]string{"gzip"}, true},
		{[]string{"GZIP"}, true},
		{[]string{"x-gzip"}, true},
		{[]string{"br, gzip, deflate"}, true},
		{[]string{"br", "gzip"}, true},
		{[]string{"br;q=1, gzip;q=0.1"}, true},
		{[]string{"gzip ; q = 0.5"}, true},
		{[]string{"gzip;q=0"}, false},
		{[]string{"gzip;q=0.000"}, false},
		{[]string{"gzip;Q=0"}, false},
		{[]string{"gzip;q=-1"}, false},
		{[]string{"gzip;q=NaN"}, false},
		{[]string{"gzip;q=much"}, false},
		{[]string{"*"}, true},
		{[]string{"*;q=0"}, false},
		{[]string{"*, gzip;q=0"}, false},
		{[]string{"gzip, *;q=0"}, true},
		{[]string{"br, identity"}, false},
		{[]string{"gzipped"}, false},
	} {
		if got := negotiation.AcceptsGzip(c.values); got != c.want {
			t.Errorf("AcceptsGzip(%q) = %t", c.values, got)
		}
	}
}

func TestHasTag(t *testing.T) {
	for _, c := range []struct {
		values []string
		want   bool
	}{
		{nil, false},
		{[]string{""}, false},
		{[]string{`"a"`}, true},
		{[]string{`W/"a"`}, true},
		{[]string{`"x", "a"`}, true},
		{[]string{`"x"`, `"a"`}, true},
		{[]string{"*"}, true},
		{[]string{"a"}, false},
		{[]string{`"A"`}, false},
		{[]string{`"ab"`}, false},
	} {
		if got := negotiation.HasTag(c.values, `"a"`); got != c.want {
			t.Errorf("HasTag(%q) = %t", c.values, got)
		}
	}
}
