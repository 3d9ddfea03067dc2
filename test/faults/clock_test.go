//go:build linux

package faults_test

import (
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/latchkey-dev/latchkey/internal/fault"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
	"github.com/latchkey-dev/latchkey/test/faults/history"
)

// clockSet sets the clock of one replica forward by an hour and right again, and that of
// another back by an hour. What has expired stays so, and nothing lives longer.
func clockSet(s *stage) {
	soon := s.mint("acme", time.Now().Add(30*time.Minute))
	s.issue(soon)
	ahead, behind := s.settableReplica("ahead"), s.settableReplica("behind")
	for _, r := range []*replica{ahead, behind} {
		s.join(r)
		s.awaitAccepted(r, soon)
		s.traffic.cycle(r, []question{soon.ask()})
	}
	s.lasts(time.Second)
	s.setClock(ahead, time.Hour)
	s.setClock(behind, -time.Hour)
	s.lasts(s.long(2*time.Second, 15*time.Second))
	s.setClock(ahead, 0)
	s.lasts(s.long(3*time.Second, 20*time.Second))
	testenv.Eventually(s.t, func() error {
		text, err := ahead.metric("latchkey_clock_ahead_seconds")
		if err != nil {
			return err
		}
		if seconds, err := strconv.ParseFloat(text, 64); err != nil || seconds < 3599 || seconds > 3601 {
			s.t.Errorf("latchkey_clock_ahead_seconds is %s, want 3600", text)
		}
		return nil
	})
	s.mended()
}

// settableReplica is one whose clock setClock sets.
func (s *stage) settableReplica(name string) *replica {
	s.t.Helper()
	return s.newReplica(name, s.program(faultyServer), fault.ClockVariable+"="+s.clockFile(name))
}

func (s *stage) clockFile(name string) string { return filepath.Join(s.dir, "clock-"+name) }

// setClock sets a replica's clock, at once: a file is replaced, never half written.
func (s *stage) setClock(r *replica, offset time.Duration) {
	s.t.Helper()
	next := s.clockFile(r.name) + ".next"
	must(s.t, os.WriteFile(next, []byte(offset.String()), 0o600))
	begun := s.history.Now()
	must(s.t, os.Rename(next, s.clockFile(r.name)))
	s.history.Set(history.Set{Replica: r.name, Begun: begun, Returned: s.history.Now(), Offset: offset})
}
