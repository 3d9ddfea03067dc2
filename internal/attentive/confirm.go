package attentive

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/clock"
)

// Parts of the silence that a watch is allowed, with the default of 70 s.
const (
	readTimeoutPart = 10 // 7 s
	retryPart       = 35 // 2 s
	readsPart       = 3  // 23 s
	checkPart       = 7  // 10 s
	patiencePart    = 14 // 5 s
)

// ConfirmerOptions say what a Confirmer works with. All but Reconnect are required.
type ConfirmerOptions struct {
	// Read makes one request, by the HTTP client of the watches, that the API server can't
	// answer without its storage. It must not be made again by itself where it fails: the
	// answer might be another API server's.
	Read func(context.Context) error
	// Reconnect ends every connection of that client, so that the next may lead to another
	// API server; nil where that can't be done.
	Reconnect func()
	// Feeds are those of the watches.
	Feeds []Feed
	// Silence is that of the watches' Options.
	Silence time.Duration
	// Clock fires.
	Clock clock.WithDelayedExecution
	// Logger is told of what is not believed.
	Logger *slog.Logger
}

// Confirmer tells a bookmark that says something from one that does not: an API server
// that has lost its storage, and keeps its connections, goes on saying that nothing has
// changed, since it hears of nothing that has.
type Confirmer struct {
	ConfirmerOptions

	began time.Duration
	// reconnected is when connections were ended last; at first, when it began.
	reconnected time.Duration
	asked       chan struct{}

	mu      sync.Mutex
	waiting []bookmark
}

// bookmark waits to be confirmed.
type bookmark struct {
	watch *attended // nil where nobody knows its connection
	count func()
}

// NewConfirmer returns a Confirmer, which works while it runs.
func NewConfirmer(o ConfirmerOptions) *Confirmer {
	c := &Confirmer{ConfirmerOptions: o, asked: make(chan struct{}, 1)}
	c.began = c.now()
	c.reconnected = c.began
	return c
}

// now is the time of the feeds, which have one clock.
func (c *Confirmer) now() time.Duration { return c.Feeds[0].Now() }

// Confirm has count be called once the API server that a watch is connected to has read
// its storage after this, and never if it can't.
func (c *Confirmer) Confirm(of *ListerWatcher, count func()) {
	b := bookmark{watch: of.current.Load(), count: count}
	if b.watch != nil {
		b.watch.confirming.Add(1)
	}
	c.mu.Lock()
	c.waiting = append(c.waiting, b)
	c.mu.Unlock()
	select {
	case c.asked <- struct{}{}:
	default: // it is asked already
	}
}

// Run confirms, and reconnects where nothing is heard, until ctx ends.
func (c *Confirmer) Run(ctx context.Context) {
	check := c.Clock.NewTimer(c.Silence / checkPart)
	defer check.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.asked:
			c.confirm(ctx, c.take())
		case <-check.C():
			c.check(ctx)
			check.Reset(c.Silence / checkPart)
		}
	}
}

func (c *Confirmer) take() []bookmark {
	c.mu.Lock()
	defer c.mu.Unlock()
	waiting := c.waiting
	c.waiting = nil
	return waiting
}

// confirm counts the bookmarks of watches over the connection by which the API server has
// shown that it reads its storage. A feed whose watch has another one, as after the API
// server has asked for new connections (GOAWAY), starts over with a list.
func (c *Confirmer) confirm(ctx context.Context, waiting []bookmark) {
	if len(waiting) == 0 {
		return
	}
	by, err := c.readPatiently(ctx)
	for _, b := range waiting {
		switch {
		case err != nil:
		case b.watch == nil || b.watch.connection == nil || b.watch.connection == by:
			b.count()
		default:
			b.watch.startOver()
		}
		if b.watch != nil {
			b.watch.confirming.Add(-1)
		}
	}
	if err != nil && ctx.Err() == nil {
		c.Logger.Warn("the API server says that nothing has changed, and has not answered a read of its storage: not believed", "error", err)
	}
}

// readPatiently gives an API server that is busy, or restarts, some time.
func (c *Confirmer) readPatiently(ctx context.Context) (by net.Conn, err error) {
	for end := c.now() + c.Silence/readsPart; ; {
		if by, err = c.read(ctx); err == nil || c.now() >= end {
			return by, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-c.Clock.After(c.Silence / retryPart):
		}
	}
}

// read reads once, and says by which connection, or nil where that says nothing.
func (c *Confirmer) read(ctx context.Context) (by net.Conn, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.Silence/readTimeoutPart)
	defer cancel()
	ctx, connection := traced(ctx)
	err = c.Read(ctx)
	return connection(), err
}

// check reconnects where a feed has got nothing for longer than a watch may be silent and
// the list that follows takes to begin, and the API server does not read its storage. Where
// it does, or refuses to, another one could do no better.
func (c *Confirmer) check(ctx context.Context) {
	now, heard := c.now(), c.now()
	for _, f := range c.Feeds {
		heard = min(heard, max(f.Heard(), f.Stirred(), c.began))
	}
	patience := c.Silence + c.Silence/patiencePart
	if c.Reconnect == nil || now-heard < patience || now-c.reconnected < patience {
		return
	}
	if _, err := c.readPatiently(ctx); err == nil || isRefusal(err) || ctx.Err() != nil {
		return
	}
	c.reconnected = c.now()
	c.Logger.Warn("nothing was heard of the API server for too long: a new connection may find another", "age", now-heard)
	c.Reconnect()
}

// isRefusal says whether an error is an answer to a request that was at fault, or too much.
func isRefusal(err error) bool {
	var answer apierrors.APIStatus
	return errors.As(err, &answer) && answer.Status().Code >= http.StatusBadRequest && answer.Status().Code < http.StatusInternalServerError
}

// traced returns a context by which a request tells its connection, where several requests
// may share one.
func traced(ctx context.Context) (_ context.Context, connection func() net.Conn) {
	var got atomic.Value
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		got.Store(shared{info.Conn})
	}})
	return ctx, func() net.Conn {
		c, _ := got.Load().(shared)
		if encrypted, ok := c.Conn.(*tls.Conn); ok && encrypted.ConnectionState().NegotiatedProtocol == http2.NextProtoTLS {
			return encrypted
		}
		return nil
	}
}

// shared is a connection, in a type of its own because an atomic.Value takes one only.
type shared struct{ net.Conn }
