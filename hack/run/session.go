package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"

	"github.com/latchkey-dev/latchkey/internal/testing/controlplane"
)

// session is one `make run`, from its lock to the last process that it stops.
type session struct {
	settings settings
	files    layout
	progress *progress
	out      io.Writer

	// stops undo what was started, in reverse order.
	stops []func() error
	// locked is set once the folder, and what runs in it, is ours.
	locked atomic.Bool
	// fail ends the session for the reason given.
	fail context.CancelCauseFunc

	// What the steps leave for those after them.

	httpPort, httpsPort *reservation
	binaries            string // the folder with the control plane's programs
	controlPlane        *controlplane.ControlPlane
	backendURL          string
	token               issuedToken
}

func newSession(s settings, out, progressOut io.Writer) *session {
	return &session{settings: s, files: layout{s.dir}, progress: &progress{out: progressOut}, out: out}
}

// step is a part of the way up.
type step struct {
	doing, done string
	work        func(context.Context) error
}

func (s *session) steps() []step {
	return []step{
		{"Starting the control plane", "The control plane runs", s.startControlPlane},
		{"Installing kinds, namespaces and roles", "Kinds, namespaces and roles are installed", s.install},
		{"Starting manager, API server and example backend", "Manager, API server and example backend run", s.startServers},
		{"Applying the samples", "The samples are applied: tenants acme and globex", s.applySamples},
		{"Issuing a token of acme's", "A token of acme's is issued", s.issue},
		{"Calling acme's API with it", "acme's API answers to it", s.try},
	}
}

// run does it all, and returns why it ended once nothing is left of it.
func (s *session) run(ctx context.Context) (err error) {
	ctx, s.fail = context.WithCancelCause(ctx)
	defer func() {
		s.fail(err) // nobody watches the processes any more
		err = s.stop(err)
	}()
	if err := s.up(ctx); err != nil {
		return err
	}
	if err := s.present(); err != nil {
		return err
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

func (s *session) up(ctx context.Context) error {
	for _, work := range []func() error{s.takeFolder, s.takePorts, s.files.prepare} {
		if err := work(); err != nil {
			return err
		}
	}
	if err := s.build(ctx); err != nil {
		return err
	}
	for _, step := range s.steps() {
		err := s.progress.step(step.doing, step.done, func() error { return step.work(ctx) })
		if ctx.Err() != nil {
			return context.Cause(ctx) // rather than what that did to the step
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// takeFolder makes the folder ours alone, and ends what still runs of an earlier
// run that was killed.
func (s *session) takeFolder() error {
	lock, err := acquireLock(s.files.dir)
	if err != nil {
		return err
	}
	s.onStop(lock.release)
	s.locked.Store(true)
	s.onStop(s.files.clean)
	return killPrograms(s.files)
}

func (s *session) takePorts() (err error) {
	if s.httpPort, err = reserve("HTTP_PORT", s.settings.httpPort); err != nil {
		return err
	}
	s.onStop(s.httpPort.release)
	if s.httpsPort, err = reserve("HTTPS_PORT", s.settings.httpsPort); err != nil {
		return err
	}
	s.onStop(s.httpsPort.release)
	return nil
}

func (s *session) onStop(undo func() error) { s.stops = append(s.stops, undo) }

// watch ends the session when something ends that should have gone on.
func (s *session) watch(ctx context.Context, ended <-chan struct{}, why func() error) {
	go func() {
		select {
		case <-ctx.Done():
		case <-ended:
			s.fail(why())
		}
	}()
}

// stop undoes everything. It returns why the session ended, or what went wrong in
// stopping it.
func (s *session) stop(reason error) error {
	_, asked := errors.AsType[*interrupted](reason)
	if asked {
		s.progress.say("\nStopping …")
	}
	var errs []error
	for _, undo := range slices.Backward(s.stops) {
		errs = append(errs, undo())
	}
	switch err := errors.Join(errs...); {
	case err != nil && asked:
		return fmt.Errorf("stopping: %w", err)
	case err != nil:
		return fmt.Errorf("%w\nStopping after that: %w", reason, err)
	case asked:
		s.progress.say("Stopped. Nothing is left running; the logs are in %s", s.files.log(""))
	}
	return reason
}

// hurry is for those who ask a second time to end: everything ends at once.
func (s *session) hurry() {
	if !s.locked.Load() {
		return
	}
	s.progress.say("Killing what still runs …")
	if err := killPrograms(s.files); err != nil {
		s.progress.say("%v", err)
	}
}
