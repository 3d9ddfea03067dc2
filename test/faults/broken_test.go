//go:build linux

package faults_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/internal/fault"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
	"github.com/latchkey-dev/latchkey/test/faults/history"
)

// breaches are the ways to accept what must not be, by what the check says of them.
var breaches = []string{"nobody issued", "it is a token of", "it had expired", "it was revoked", "it was deleted", "it was suspended"}

// testBroken adds a replica that accepts what it must not: a check that
// does not find each way of that would not find it of any other either.
func (w *world) testBroken(t *testing.T) {
	const name = "broken"
	st := w.perform(t, scenario{name: name, run: func(s *stage) {
		r := s.newReplica(name, s.program(faultyServer), fault.AcceptVariable+"=1")
		s.join(r)
		lift := s.suspend("globex")
		testenv.Eventually(s.t, func() error {
			found := map[string]bool{}
			for _, f := range history.Check(s.history.Copy(), time.Second).WrongAccepts {
				for _, breach := range breaches {
					found[breach] = found[breach] || f.Answer.Replica == name && strings.HasPrefix(f.Why, breach)
				}
			}
			for _, breach := range breaches {
				if !found[breach] {
					return fmt.Errorf("%q was not found of the broken replica, but %v", breach, slices.Collect(maps.Keys(found)))
				}
			}
			return nil
		})
		lift()
	}})
	result := history.Check(st.history, bound())
	for _, f := range slices.Concat(result.WrongAccepts, result.WrongRejects) {
		if f.Answer.Replica != name {
			t.Errorf("of a replica that is not broken: %s", f)
		}
	}
	t.Logf("%d wrong accepts of the broken replica were found", len(result.WrongAccepts))
}
