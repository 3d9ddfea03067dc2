// Package link stands between a program and the Kubernetes API, and breaks: Link as a
// network does, Gateway as a proxy that knows HTTP.
package link

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Mode is how a link behaves.
type Mode int

// The modes of a link.
const (
	// Whole forwards everything.
	Whole Mode = iota
	// Refused resets every connection, and each new one.
	Refused
	// Silent forwards nothing, and says nothing of it. As with a network that loses
	// packets, what was sent meanwhile arrives late if both sides wait for it.
	Silent
	// Slow forwards everything Latency late, at a rate of BytesPerSecond.
	Slow
)

const (
	// Latency is how late a slow link is, in each direction.
	Latency = 300 * time.Millisecond
	// BytesPerSecond is what a slow link carries, per connection and direction.
	BytesPerSecond = 256 << 10

	chunkSize = 16 << 10
	// pending is how many chunks a direction keeps that can't be delivered; then
	// nothing more is read, as by a full window of TCP.
	pending = 256
)

// Link is a way to an address that can be broken and mended. Its methods may be called
// from any goroutine.
type Link struct {
	listener net.Listener
	running  sync.WaitGroup

	mu     sync.Mutex
	target string
	mode   Mode
	// changed is closed when the mode is another.
	changed chan struct{}
	closed  bool
	near    map[*net.TCPConn]struct{}
	far     map[*net.TCPConn]struct{}
	// lives are those of all near connections that there ever were.
	lives map[*net.TCPConn]*life
}

// life is how long a near connection was there. A time that has not come is zero.
type life struct {
	// givenUp is when the near side ended it by itself, and ended when it was over, by
	// whomever.
	opened, givenUp, ended time.Time
}

// New opens a link to an address, on a port of loopback.
func New(target string) (*Link, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("a link to %s: %w", target, err)
	}
	l := &Link{
		target: target, listener: listener, changed: make(chan struct{}),
		near: map[*net.TCPConn]struct{}{}, far: map[*net.TCPConn]struct{}{}, lives: map[*net.TCPConn]*life{},
	}
	l.running.Go(l.accept)
	return l, nil
}

// Address is where the link's near end is.
func (l *Link) Address() string { return l.listener.Addr().String() }

// Set changes how the link behaves.
func (l *Link) Set(mode Mode) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mode = mode
	close(l.changed)
	l.changed = make(chan struct{})
	if mode == Refused {
		l.reset()
	}
}

// Lead has new connections forwarded to another address, as a Service does of which an
// endpoint is no more.
func (l *Link) Lead(target string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.target = target
}

// Reset resets every connection; new ones are forwarded.
func (l *Link) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reset()
}

// reset ends what there is. The caller holds the lock.
func (l *Link) reset() {
	for _, side := range []map[*net.TCPConn]struct{}{l.near, l.far} {
		for c := range side {
			_ = c.SetLinger(0) // by a reset
			_ = c.Close()
		}
	}
}

// GivenUp is when the near side had given up, by itself, every connection that was open at
// an instant: the time of the last. It is an error if one is open still, or if none was
// given up. Those that were opened later say nothing of how long silence is suffered.
func (l *Link) GivenUp(open time.Time) (last time.Time, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.lives {
		switch {
		case c.opened.After(open), !c.ended.IsZero() && c.ended.Before(open):
		case c.ended.IsZero():
			return time.Time{}, fmt.Errorf("a connection that was open at %s is so still", open.Format(time.TimeOnly))
		case c.givenUp.After(last):
			last = c.givenUp
		}
	}
	if last.IsZero() {
		err = fmt.Errorf("no connection was given up that was open at %s", open.Format(time.TimeOnly))
	}
	return last, err
}

// Close ends the link and its connections.
func (l *Link) Close() error {
	err := l.listener.Close()
	l.mu.Lock()
	l.closed = true
	close(l.changed)
	l.changed = make(chan struct{})
	l.reset()
	l.mu.Unlock()
	l.running.Wait()
	return err
}

func (l *Link) state() (mode Mode, closed bool, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mode, l.closed, l.changed
}

func (l *Link) accept() {
	for {
		c, err := l.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // that one is gone
		}
		near := c.(*net.TCPConn)
		if !l.hold(near, l.near) {
			_ = near.SetLinger(0)
			_ = near.Close()
			continue
		}
		l.begin(near)
		l.running.Go(func() { l.forward(near) })
	}
}

// hold notes a connection, unless there may be none.
func (l *Link) hold(c *net.TCPConn, side map[*net.TCPConn]struct{}) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.mode == Refused {
		return false
	}
	side[c] = struct{}{}
	return true
}

func (l *Link) release(c *net.TCPConn, side map[*net.TCPConn]struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(side, c)
	_ = c.Close()
}

// forward carries a connection until both directions have ended.
func (l *Link) forward(near *net.TCPConn) {
	defer l.release(near, l.near)
	defer l.end(near, false)
	outward, inward := make(chan chunk, pending), make(chan chunk, pending)
	var reading, writing sync.WaitGroup
	defer reading.Wait()
	reading.Go(func() { read(near, outward, func() { l.end(near, true) }) })
	far := l.dial(near)
	if far == nil {
		for range outward { // what was sent goes nowhere
		}
		return
	}
	defer l.release(far, l.far)
	reading.Go(func() { read(far, inward, func() {}) })
	abort := func() { _, _ = near.Close(), far.Close() }
	writing.Go(func() { l.write(far, outward, abort) })
	writing.Go(func() { l.write(near, inward, abort) })
	writing.Wait()
	abort()
}

// dial makes the connection beyond the link, once something can pass. It returns nil
// where there is none, and has closed the near one then.
func (l *Link) dial(near *net.TCPConn) *net.TCPConn {
	if !l.passable() {
		_ = near.Close()
		return nil
	}
	l.mu.Lock()
	target := l.target
	l.mu.Unlock()
	c, err := net.Dial("tcp", target)
	if err != nil {
		_ = near.SetLinger(0) // as whoever refuses it would
		_ = near.Close()
		return nil
	}
	far := c.(*net.TCPConn)
	if !l.hold(far, l.far) {
		_, _ = far.Close(), near.Close()
		return nil
	}
	return far
}

func (l *Link) begin(near *net.TCPConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lives[near] = &life{opened: time.Now()}
}

// end notes that a connection is over, and whether the near side ended it by itself. Only
// the first call counts.
func (l *Link) end(near *net.TCPConn, givenUp bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.lives[near]
	if !c.ended.IsZero() {
		return
	}
	c.ended = time.Now()
	if givenUp {
		c.givenUp = c.ended
	}
}

// chunk is what arrived at a time.
type chunk struct {
	at   time.Time
	data []byte
}

// read reads what a side sends until that ends. It calls ended, before the other side can
// know of it, if the side ended it by itself.
func read(c *net.TCPConn, into chan<- chunk, ended func()) {
	defer close(into)
	for {
		data := make([]byte, chunkSize)
		n, err := c.Read(data)
		if n > 0 {
			into <- chunk{time.Now(), data[:n]}
		}
		if err == nil {
			continue
		}
		if !errors.Is(err, net.ErrClosed) {
			ended()
		}
		return
	}
}

// write delivers what the other side sent, as the link's mode has it.
func (l *Link) write(c *net.TCPConn, from <-chan chunk, abort func()) {
	broken := false
	for next := range from {
		if broken {
			continue // nobody waits for it; the reader must not wait for us
		}
		if broken = !l.passable(); broken {
			abort()
			continue
		}
		if mode, _, _ := l.state(); mode == Slow {
			l.delay(next)
		}
		if _, err := c.Write(next.data); err != nil {
			broken = true
			abort()
		}
	}
	if !broken && l.passable() { // an end is news too
		_ = c.CloseWrite()
	}
}

// delay waits as long as a slow link takes for a chunk, unless the link's mode changes.
func (l *Link) delay(c chunk) {
	_, _, changed := l.state()
	timer := time.NewTimer(time.Until(c.at.Add(Latency)) + time.Duration(len(c.data))*time.Second/BytesPerSecond)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-changed:
	}
}

// passable waits until something can pass. It is false if that will never be.
func (l *Link) passable() bool {
	for {
		mode, closed, changed := l.state()
		if closed {
			return false
		}
		if mode != Silent {
			return true
		}
		<-changed
	}
}
