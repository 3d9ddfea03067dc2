package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// interrupted is why a run ends that somebody asked to end.
type interrupted struct{ signal syscall.Signal }

func (i *interrupted) Error() string { return i.signal.String() }

// exitCode is what shells report of a program that a signal ended.
func (i *interrupted) exitCode() int { return 128 + int(i.signal) }

// interruptible is a context that the first signal ends, with an interrupted as
// its cause. Each further one calls hurry.
func interruptible(parent context.Context, hurry func()) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 4)
	ending := []os.Signal{syscall.SIGINT, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // as under nohup
		ending = append(ending, syscall.SIGHUP)
	}
	signal.Notify(signals, ending...)
	// Without this a reader that is gone, as in `make run | head`, would end the
	// process at its next word, and leave the children behind.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	go func() {
		for received := range signals {
			if ctx.Err() != nil {
				hurry()
			} else if number, ok := received.(syscall.Signal); ok {
				cancel(&interrupted{number})
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(signals)
		cancel(nil)
	}
}
