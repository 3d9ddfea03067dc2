package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

const (
	// noticeAfter is how long a step may take without a word.
	noticeAfter = time.Second
	// noticeEvery is how often a step then says that it goes on.
	noticeEvery = 15 * time.Second
)

// progress tells the user what is going on, a line at a time, so that it reads
// the same in a terminal and in a log.
type progress struct {
	mu  sync.Mutex
	out io.Writer
}

// say prints a line. Nobody could be told if that failed.
func (p *progress) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _ = fmt.Fprintf(p.out, format+"\n", args...)
}

// Write lets the programs that a step runs speak.
func (p *progress) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(text)
}

// step runs a part of the work. It says that the part is done, and before that,
// where it takes long, that it is being done.
func (p *progress) step(doing, done string, work func() error) error {
	started := time.Now()
	finished := make(chan struct{})
	var notices sync.WaitGroup
	notices.Go(func() { p.notice(doing, started, finished) })
	err := work()
	close(finished)
	notices.Wait()
	if err == nil {
		p.say("✓ %s (%.1f s)", done, time.Since(started).Seconds())
	}
	return err
}

func (p *progress) notice(doing string, started time.Time, finished <-chan struct{}) {
	timer := time.NewTimer(noticeAfter)
	defer timer.Stop()
	for first := true; ; first = false {
		select {
		case <-finished:
			return
		case <-timer.C:
		}
		if first {
			p.say("  %s …", doing)
		} else {
			p.say("  %s … %.0f s so far", doing, time.Since(started).Seconds())
		}
		timer.Reset(noticeEvery)
	}
}
