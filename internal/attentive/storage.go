package attentive

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/clock"
)

// Parts of the silence that a watch is allowed: with the default of 70 s, a bookmark that
// comes after a minute is confirmed before its watch counts as silent.
const (
	readTimeoutPart = 7  // 10 s
	retryPart       = 35 // 2 s
	checkPart       = 4  // 17.5 s
)

// readAttempts are made where the API server answers that it can't at the moment, as one
// does that has too much to do.
const readAttempts = 3

// StorageOptions say what a Storage works with. All but Reconnect are required.
type StorageOptions struct {
	// Read is a small read that the API server can't answer without its storage, over the
	// connection of the watches.
	Read func(context.Context) error
	// Reconnect ends that connection, so that the next may lead to another API server;
	// nil where that can't be done.
	Reconnect func()
	// Feeds are those of the watches.
	Feeds []Feed
	// Silence is that of the watches' Options.
	Silence time.Duration
	// Clock fires.
	Clock clock.WithDelayedExecution
	// Logger is told of reads that fail.
	Logger *slog.Logger
}

// Storage tells a bookmark that says something from one that does not: an API server that
// has lost its storage, and keeps its connections, goes on saying that nothing has changed.
// It knows of nothing that has.
type Storage struct {
	StorageOptions

	began     time.Duration
	reconnect time.Duration // when it last was, or began
	asked     chan struct{}

	mu      sync.Mutex
	waiting []func()
}

// NewStorage returns a Storage, which works while it runs.
func NewStorage(o StorageOptions) *Storage {
	s := &Storage{StorageOptions: o, asked: make(chan struct{}, 1)}
	s.began = s.now()
	s.reconnect = s.began
	return s
}

// now is the time of the feeds, which have one clock.
func (s *Storage) now() time.Duration { return s.Feeds[0].Now() }

// Confirm has count called once the API server has read its storage after this, and never
// if it can't.
func (s *Storage) Confirm(count func()) {
	s.mu.Lock()
	s.waiting = append(s.waiting, count)
	s.mu.Unlock()
	select {
	case s.asked <- struct{}{}:
	default: // it is asked already
	}
}

// Run confirms, and reconnects where nothing is heard, until ctx ends.
func (s *Storage) Run(ctx context.Context) {
	check := s.Clock.NewTimer(s.Silence / checkPart)
	defer check.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.asked:
			s.confirm(ctx)
		case <-check.C():
			s.check()
			check.Reset(s.Silence / checkPart)
		}
	}
}

func (s *Storage) confirm(ctx context.Context) {
	s.mu.Lock()
	waiting := s.waiting
	s.waiting = nil
	s.mu.Unlock()
	if err := s.read(ctx); err != nil {
		if ctx.Err() == nil {
			s.Logger.Warn("the API server says that nothing has changed, and can't read its storage: not believed", "error", err)
		}
		return
	}
	for _, count := range waiting {
		count()
	}
}

// read reads once, and again only where the same API server has answered that it can't.
// After any other failure the next attempt might be answered by another one, which says
// nothing of what this one knew.
func (s *Storage) read(ctx context.Context) error {
	var err error
	for range readAttempts {
		attempt, cancel := context.WithTimeout(ctx, s.Silence/readTimeoutPart)
		err = s.Read(attempt)
		cancel()
		var answer apierrors.APIStatus
		if err == nil || !errors.As(err, &answer) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.Clock.After(s.Silence / retryPart):
		}
	}
	return err
}

// check reconnects where a feed has heard nothing for longer than a watch may be silent and
// the list that follows take to begin.
func (s *Storage) check() {
	now := s.now()
	heard, stirred := now, Never
	for _, f := range s.Feeds {
		heard = min(heard, max(f.Heard(), s.began))
		stirred = max(stirred, f.Stirred())
	}
	part := s.Silence / checkPart
	if s.Reconnect == nil || now-heard < s.Silence+part || now-stirred < part || now-s.reconnect < s.Silence {
		return
	}
	s.reconnect = now
	s.Logger.Warn("nothing was heard of the API server for too long: a new connection may find another", "age", now-heard)
	s.Reconnect()
}
