//go:build linux

package faults_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/latchkey-dev/latchkey/internal/server"
	"github.com/latchkey-dev/latchkey/internal/testing/controlplane"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

var before = flag.String("before", "",
	"a revision in git, whose programs are the release before in the scenario of an upgrade (default: those of this checkout)")

// upgraded has an installation of the release before become one of this release, and then
// one of the release before again, process by process as a Deployment does it: a new one is
// ready, and then an old one is told to end while it is asked (promise 12).
func upgraded(s *stage) {
	older, newer := s.releaseBefore(), release{"this", s.dir}
	s.stopManagers()
	for n := range 2 {
		s.managers = append(s.managers, s.startManagerOf(older, n))
	}
	running := make([]*replica, 2)
	for n := range running {
		running[n] = s.startReplicaOf(older, n)
	}
	var rejoin []func()
	for _, r := range s.replicas {
		rejoin = append(rejoin, s.leave(r))
	}
	for _, next := range []release{newer, older} {
		s.prove()
		for n := range running {
			old := running[n]
			running[n] = s.startReplicaOf(next, n)
			s.retire(old)
		}
		for n, old := range s.managers {
			s.managers[n] = s.startManagerOf(next, n)
			must(s.t, old.Stop(stopGrace))
		}
		s.lasts(s.long(time.Second, 10*time.Second))
	}
	s.prove()
	for _, again := range rejoin {
		again()
	}
	s.mended()
	s.stopManagers()
	s.startManagers()
}

// retire tells a replica to end while it is asked, which goes on for a moment: who sends
// requests learns of it later.
func (s *stage) retire(r *replica) {
	s.t.Helper()
	must(s.t, syscall.Kill(r.PID(), syscall.SIGTERM))
	s.lasts(500 * time.Millisecond)
	s.leave(r)
	testenv.Eventually(s.t, func() error {
		select {
		case <-r.Done():
			return nil
		default:
			return fmt.Errorf("%s goes on though it was told to end", r.name)
		}
	})
	if said := r.Err().Error(); !strings.Contains(said, "(exit status 0)") {
		s.t.Error(said)
	}
}

// prove issues a token, which is asked for from then on, and ends another.
func (s *stage) prove() {
	s.t.Helper()
	i := s.mint("acme", time.Now().Add(time.Hour))
	s.issue(i)
	s.steadyAt(i)
	s.mended()
}

func (s *stage) startManagerOf(of release, n int) *manager {
	s.t.Helper()
	s.serial++
	name := fmt.Sprintf("manager-%s-%d-%d", of.name, n, s.serial)
	return s.startManagerAt(filepath.Join(of.dir, "manager"), name, s.access("latchkey-manager", name, planeAddress(), nil))
}

func (s *stage) startReplicaOf(of release, n int) *replica {
	s.t.Helper()
	s.serial++
	r := s.prepareReplica(fmt.Sprintf("%s-%d-%d", of.name, n, s.serial), filepath.Join(of.dir, "apiserver"), planeAddress(), nil)
	r.delay = s.long(10*time.Second, server.DefaultShutdownDelay)
	s.startReplica(r)
	s.join(r)
	return r
}

// release is where the programs of one are.
type release struct{ name, dir string }

// releaseBefore builds the programs of the release before, if one is named. The cluster's
// part of an installation, the kinds and what RBAC permits, is this release's throughout:
// it is applied first, and not taken back.
func (s *stage) releaseBefore() release {
	s.t.Helper()
	if *before == "" {
		s.note("both releases are this one")
		return release{"before", s.dir}
	}
	dir := filepath.Join(s.dir, "before")
	source := filepath.Join(s.dir, "before-source")
	must(s.t, os.Mkdir(dir, 0o700))
	must(s.t, os.Mkdir(source, 0o700))
	archive := exec.CommandContext(s.t.Context(), "git", "archive", "--format=tar", *before)
	archive.Dir = controlplane.Root()
	packed, err := archive.Output()
	if err != nil {
		s.t.Fatalf("git archive %s: %v", *before, err)
	}
	unpack := exec.CommandContext(s.t.Context(), "tar", "-x", "-C", source)
	unpack.Stdin = bytes.NewReader(packed)
	must(s.t, unpack.Run())
	build := exec.CommandContext(s.t.Context(), "go", "build", "-buildvcs=false", "-o", dir+string(filepath.Separator),
		"./cmd/manager", "./cmd/apiserver")
	build.Dir, build.Env = source, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		s.t.Fatalf("the programs of %s: %v\n%s", *before, err, out)
	}
	s.note("the release before is %s", *before)
	return release{"before", dir}
}
