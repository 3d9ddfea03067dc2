package server

import (
	"flag"
	"hash/maphash"
	"io"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/latchkey-dev/latchkey/internal/problem"
)

// Limits bound what clients can use up, all in one place. Every one is a flag.
// Zero means no limit.
type Limits struct {
	// HeaderBytes bounds the request line and the headers together; net/http adds
	// 4 KiB of slack.
	HeaderBytes int
	// HeaderTimeout bounds the time until the headers are read (Slowloris).
	HeaderTimeout time.Duration
	// IdleTimeout closes a keep-alive connection that nobody uses.
	IdleTimeout time.Duration
	// Streams bounds the requests at a time on one HTTP/2 connection
	// (CVE-2023-39325: rapid resets).
	Streams int
	// BodyBytes bounds a request's body.
	BodyBytes int64
	// BodyTimeout bounds the wait for each piece of a request's body, until the
	// backend begins to answer: a client that announces a body and sends none would
	// hold a request of its tenant until the token's end.
	BodyTimeout time.Duration
	// WriteTimeout bounds the wait for a client to take each piece of its answer, some
	// 32 KiB. It counts only while a piece is to be written.
	WriteTimeout time.Duration
	// AnonymousTimeout bounds a request without a token that a backend answers, as a
	// whole: no token ends it.
	AnonymousTimeout time.Duration
	// RequestsPerTenant bounds a tenant's requests at a time on this replica, so
	// that one tenant can't take every connection to the backend.
	RequestsPerTenant int
	// BadTokensPerMinute bounds how many invalid tokens an address may try until
	// it is told to stop, and its connection is closed. Valid tokens from the same
	// address go on working. Kubernetes tokens and failed sign-ins have counts of their
	// own, by the same limit.
	BadTokensPerMinute int
}

// AddFlags adds a flag for each limit, with its default.
func (l *Limits) AddFlags(flags *flag.FlagSet) {
	flags.IntVar(&l.HeaderBytes, "max-header-bytes", 16<<10, "bytes that a request's line and headers may have together")
	flags.DurationVar(&l.HeaderTimeout, "header-timeout", 10*time.Second, "how long a client may take to send its headers")
	flags.DurationVar(&l.IdleTimeout, "idle-timeout", 2*time.Minute, "how long a connection may stay unused")
	flags.IntVar(&l.Streams, "max-streams", 100, "requests at a time on one HTTP/2 connection")
	flags.Int64Var(&l.BodyBytes, "max-body-bytes", 128<<20, "bytes that a request's body may have; 0 for no limit")
	flags.DurationVar(&l.BodyTimeout, "body-timeout", time.Minute, "how long a client may send nothing of a body that it announced, until it is answered 408; 0 for no limit")
	flags.DurationVar(&l.WriteTimeout, "write-timeout", time.Minute, "how long a client may leave no room for the next 32 KiB of its answer, until its connection (in HTTP/2, its stream) is ended; 0 for no limit")
	flags.DurationVar(&l.AnonymousTimeout, "anonymous-timeout", time.Hour, "how long a request that the backend answers may take when it has no token; 0 for no limit")
	flags.IntVar(&l.RequestsPerTenant, "max-requests-per-tenant", 1000, "requests of one tenant at a time on this replica; 0 for no limit")
	flags.IntVar(&l.BadTokensPerMinute, "max-bad-tokens-per-minute", 60, "invalid tokens that an address may try in a minute before it is answered 429; 0 for no limit")
}

const (
	// AdminTimeout bounds everything on the listener for probes and metrics.
	AdminTimeout = 10 * time.Second
	// DefaultShutdownDelay is how long a replica that was told to end still
	// serves while it says that it is not ready, so that load balancers notice.
	DefaultShutdownDelay = 5 * time.Second
	// DefaultShutdownGracePeriod is how long requests under way may then take.
	DefaultShutdownGracePeriod = 30 * time.Second
)

// limitBody refuses a body that is announced too large, and cuts one that turns
// out to be.
func (s *Server) limitBody(c *call) *problem.Problem {
	limit := s.config.Limits.BodyBytes
	if limit == 0 || c.r.ContentLength == 0 {
		return nil
	}
	if c.r.ContentLength > limit {
		return problem.RequestTooLarge(limit)
	}
	c.r.Body = http.MaxBytesReader(c.w, c.r.Body, limit)
	return nil
}

// watchedBody knows whether it was read to its end.
type watchedBody struct {
	io.ReadCloser
	ended atomic.Bool
}

// watchBody makes the answer close the connection where the body was not read to its
// end before: net/http would wait for the rest. It returns a copy of the request,
// because net/http looks for its own body in the one that it made.
func watchBody(r *http.Request, recorder *responseRecorder) *http.Request {
	if r.ContentLength == 0 || r.Body == nil {
		return r
	}
	body := &watchedBody{ReadCloser: r.Body}
	if r.ProtoMajor == 1 {
		recorder.body = body
	}
	watched := *r
	watched.Body = body
	return &watched
}

// Read implements io.Reader.
func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.ended.Store(true)
	}
	return n, err
}

// lingerTime is how long the rest of a body that nobody read may keep a connection
// from being closed. It is read so that the client sees the answer, not a reset.
const lingerTime = 500 * time.Millisecond

// tenantGate counts each tenant's requests at a time.
type tenantGate struct {
	limit  int64
	counts sync.Map
}

// enter lets a request in, and returns the place that it takes until leave.
func (g *tenantGate) enter(tenant string) (p place, ok bool) {
	if g.limit == 0 {
		return place{}, true
	}
	count, found := g.counts.Load(tenant)
	if !found {
		count, _ = g.counts.LoadOrStore(tenant, new(atomic.Int64))
	}
	counter := count.(*atomic.Int64)
	if counter.Add(1) > g.limit {
		counter.Add(-1)
		return place{}, false
	}
	return place{counter}, true
}

// place is one of a tenant's requests at a time.
type place struct{ counter *atomic.Int64 }

// leave gives the place back, once.
func (p *place) leave() {
	if p.counter != nil {
		p.counter.Add(-1)
		p.counter = nil
	}
}

const badTokenSlots = 1 << 14

// badTokens counts the invalid tokens of addresses in a table of fixed size: a
// flood from many addresses can't make it grow. Two addresses that share a slot
// take turns, which only lets more through.
type badTokens struct {
	limit int
	seed  maphash.Seed
	slots [badTokenSlots]badTokenSlot
}

type badTokenSlot struct {
	mu      sync.Mutex
	address netip.Addr
	minute  int64
	count   int
}

func newBadTokens(perMinute int) *badTokens {
	return &badTokens{limit: perMinute, seed: maphash.MakeSeed()}
}

// permits counts an invalid token of the address. IPv6 addresses count by their
// /64, which is what one customer of a provider gets. An address that is not known is not
// counted: it is many clients'.
func (b *badTokens) permits(address netip.Addr, now time.Time) bool {
	return b.limit == 0 || !address.IsValid() || b.count(address, now, 1) <= b.limit
}

// exhausted says, without counting, whether another invalid token of the address
// would be one too many.
func (b *badTokens) exhausted(address netip.Addr, now time.Time) bool {
	return b.limit != 0 && address.IsValid() && b.count(address, now, 0) >= b.limit
}

func (b *badTokens) count(address netip.Addr, now time.Time, more int) int {
	if address.Is6() {
		prefix, _ := address.Prefix(64) // never fails for an IPv6 address
		address = prefix.Addr()
	}
	slot := &b.slots[maphash.Comparable(b.seed, address)%badTokenSlots]
	slot.mu.Lock()
	defer slot.mu.Unlock()
	if minute := now.Unix() / 60; slot.address != address || slot.minute != minute {
		slot.address, slot.minute, slot.count = address, minute, 0
	}
	slot.count += more
	return slot.count
}
