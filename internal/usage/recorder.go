// Package usage notes when credentials were last used: in memory for every request,
// and now and then in the status of their ApiTokens.
//
// Requests wait for nothing. One writer goes through what was used and writes what is
// due, the longest overdue first, no faster than a bound: where there is more to
// write than that, it is written less often, and nothing queues up. What is written
// is checked against the live object, so that any number of replicas together write
// a credential's use once in an interval.
package usage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/clock"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/directory"
	"github.com/latchkey-dev/latchkey/internal/token"
)

// The defaults of Config.
const (
	// DefaultInterval is that of Config.Interval.
	DefaultInterval = time.Hour
	// DefaultWritesPerSecond is that of Config.WritesPerSecond.
	DefaultWritesPerSecond = 10
	// DefaultMaxCredentials is that of Config.MaxCredentials. They take about
	// 75 MB.
	DefaultMaxCredentials = 250_000
)

const (
	// period is how often what is due is written: a first use is in status within
	// about that.
	period = time.Second
	// sweepPeriod is how often credentials that are gone or idle are forgotten.
	sweepPeriod = time.Minute
	// pause is how long nothing is written after the Kubernetes API failed.
	pause = 10 * time.Second
	// failedTenants is how many tenants' writes have to fail in a row until that is the
	// Kubernetes API's failure and not theirs.
	failedTenants = 3
	// retryDelay is how long a credential waits that status does not know yet, or
	// whose first use was just dealt with and may not have come back by the watch.
	retryDelay = 5 * time.Second
	// attempts are how often a write is tried that others keep getting in front of.
	attempts = 3
	// requestTimeout bounds one request to the Kubernetes API.
	requestTimeout = 10 * time.Second
)

// Config is what a Recorder needs.
type Config struct {
	// Interval is how much later than the last a use has to be to be written; the
	// first one is at once. DefaultInterval if zero.
	Interval time.Duration
	// WritesPerSecond bounds the writes of this process over all credentials; what
	// is beyond it is written later. DefaultWritesPerSecond if zero.
	WritesPerSecond int
	// MaxCredentials bounds the memory: uses of more credentials at a time than
	// that are not noted. DefaultMaxCredentials if zero.
	MaxCredentials int
	// Store is where ApiTokens are.
	Store Store
	// Serves says whether there still is such a credential.
	Serves func(tenant string, digest token.Digest) bool
	// Clock tells the time; the system's if nil.
	Clock clock.WithDelayedExecution
	// Logger gets what could not be written.
	Logger *slog.Logger
	// Metrics is where the metrics are registered.
	Metrics prometheus.Registerer
}

// Recorder notes uses. Use may be called from any goroutine, Flush from one at a
// time.
type Recorder struct {
	config      Config
	table       *table
	limiter     *rate.Limiter
	pausedUntil time.Time
	nextSweep   time.Time
	// failed are the tenants whose writes have failed since one last succeeded.
	failed  map[string]struct{}
	writes  *prometheus.CounterVec
	dropped prometheus.Counter
}

// The outcomes of latchkey_last_used_writes_total.
const (
	outcomeWritten  = "written"
	outcomeSkipped  = "skipped"
	outcomeConflict = "conflict"
	outcomeFailed   = "failed"
)

// New makes a Recorder. It writes nothing until Run or Flush is called.
func New(config Config) (*Recorder, error) {
	if config.Store == nil || config.Serves == nil || config.Logger == nil || config.Metrics == nil {
		return nil, errors.New("usage.Config: Store, Serves, Logger and Metrics are required")
	}
	config.Interval = cmp.Or(config.Interval, DefaultInterval)
	config.WritesPerSecond = cmp.Or(config.WritesPerSecond, DefaultWritesPerSecond)
	config.MaxCredentials = cmp.Or(config.MaxCredentials, DefaultMaxCredentials)
	if config.Interval < time.Second || config.WritesPerSecond < 1 || config.MaxCredentials < 1 {
		return nil, errors.New("usage.Config: Interval must be at least a second, WritesPerSecond and MaxCredentials at least 1")
	}
	if config.Clock == nil {
		config.Clock = clock.RealClock{}
	}
	r := &Recorder{
		config:  config,
		table:   newTable(int64(config.MaxCredentials)),
		failed:  map[string]struct{}{},
		limiter: rate.NewLimiter(rate.Limit(config.WritesPerSecond), config.WritesPerSecond),
		writes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "latchkey_last_used_writes_total",
			Help: "Last uses that were due to be written, by outcome: written, skipped since status knows better, conflict with another writer, failed.",
		}, []string{"outcome"}),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "latchkey_last_used_dropped_total",
			Help: "Uses that were not noted because too many credentials are in use.",
		}),
	}
	for _, collector := range []prometheus.Collector{r.writes, r.dropped, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "latchkey_last_used_credentials",
		Help: "Credentials whose use is kept in memory.",
	}, func() float64 { return float64(r.table.count.Load()) })} {
		if err := config.Metrics.Register(collector); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return r, nil
}

// Use notes that a credential was accepted. It takes no lock and, but for the first
// use in a while, no memory.
func (r *Recorder) Use(t *directory.Token, now time.Time) {
	u := r.table.find(t.Digest)
	if u == nil {
		if u = r.table.add(r.newUse(t, now)); u == nil {
			r.dropped.Inc()
			return
		}
	}
	if !t.Used && !u.first.Load() {
		u.first.Store(true)
	}
	if seconds := now.Unix(); u.last.Load() < seconds {
		u.last.Store(seconds)
	}
}

// newUse spreads those of which status knows a use over the interval: after a
// restart everything is new here, and nothing is urgent.
func (r *Recorder) newUse(t *directory.Token, now time.Time) *use {
	u := &use{digest: t.Digest, tenant: t.Tenant, namespace: t.Namespace, name: t.Name, due: now.Unix()}
	if t.Used {
		u.due += rand.Int64N(int64(r.config.Interval/time.Second) + 1) //nolint:gosec // spreads load, keeps no secret
	}
	return u
}

// Run writes what is due until ctx ends, and then once more.
func (r *Recorder) Run(ctx context.Context) error {
	for {
		timer := r.config.Clock.NewTimer(period)
		select {
		case <-timer.C():
			r.Flush(ctx)
		case <-ctx.Done():
			timer.Stop()
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
			defer cancel()
			r.Flush(last)
			return nil
		}
	}
}

// Flush writes what is due now, as far as the bound allows.
func (r *Recorder) Flush(ctx context.Context) {
	now := r.config.Clock.Now()
	if now.Before(r.pausedUntil) {
		return
	}
	if !now.Before(r.nextSweep) {
		r.sweep(now)
		r.nextSweep = now.Add(sweepPeriod)
	}
	for _, u := range r.due(now) {
		if ctx.Err() != nil || !r.limiter.AllowN(now, 1) {
			return
		}
		if !u.ready(now.Unix()) {
			continue // was written together with another of its ApiToken
		}
		if err := r.write(ctx, u, now); err != nil {
			r.writes.WithLabelValues(outcomeFailed).Inc()
			r.config.Logger.Warn("last use not written", "namespace", u.namespace, "apitoken", u.name, "error", err)
			r.backOff(u, now)
			if r.concernsAll(u, err) {
				r.pausedUntil = now.Add(pause)
				return
			}
			continue
		}
		u.failures = 0
		clear(r.failed)
	}
}

// backOff postpones a use whose write failed, for longer each time. An ApiToken that can't
// be written (it may be as large as etcd takes, or a policy may refuse it) must not be the
// first to be tried again: it would keep everybody else's from being written.
func (r *Recorder) backOff(u *use, now time.Time) {
	delay := r.config.Interval
	if u.failures < 16 { // beyond which the shift would overflow
		delay = min(delay, pause<<u.failures)
		u.failures++
	}
	r.postpone(u, now.Add(delay))
}

// concernsAll reports whether an error is about the access to the Kubernetes API, or so
// many tenants' writes have failed in a row that it must be.
func (r *Recorder) concernsAll(u *use, err error) bool {
	var answer apierrors.APIStatus
	answered := errors.As(err, &answer) || errors.Is(err, context.DeadlineExceeded) // an admission webhook may hang for one namespace
	if !answered || apierrors.IsUnauthorized(err) || apierrors.IsTooManyRequests(err) || apierrors.IsServiceUnavailable(err) {
		return true
	}
	r.failed[u.tenant] = struct{}{}
	if len(r.failed) < failedTenants {
		return false
	}
	clear(r.failed)
	return true
}

// due are the uses to be written, no more than the bound allows now: first uses,
// then the longest overdue.
func (r *Recorder) due(now time.Time) []*use {
	budget := int(r.limiter.TokensAt(now))
	if budget < 1 {
		return nil
	}
	type candidate struct {
		due int64
		use *use
	}
	best := make([]candidate, 0, budget+1)
	later := func(a, b candidate) int { return cmp.Compare(a.due, b.due) }
	r.table.each(func(u *use) {
		if !u.ready(now.Unix()) {
			return
		}
		c := candidate{u.due, u}
		if u.urgent(now.Unix()) {
			c.due = 0
		}
		if len(best) == budget && later(c, best[budget-1]) >= 0 {
			return
		}
		at, _ := slices.BinarySearchFunc(best, c, later)
		if best = slices.Insert(best, at, c); len(best) > budget {
			best = best[:budget]
		}
	})
	uses := make([]*use, len(best))
	for i, c := range best {
		uses[i] = c.use
	}
	return uses
}

// write brings a use into status, unless status knows better.
func (r *Recorder) write(ctx context.Context, u *use, now time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	for range attempts {
		u.first.Store(false)
		object, err := r.config.Store.Get(ctx, u.namespace, u.name)
		if apierrors.IsNotFound(err) {
			r.table.remove(u)
			return nil
		}
		if err != nil {
			u.first.Store(u.written == 0)
			return err
		}
		written := r.uses(object, u, now)
		if len(written) == 0 {
			r.writes.WithLabelValues(outcomeSkipped).Inc()
			return nil
		}
		err = r.patch(ctx, object, written)
		if apierrors.IsConflict(err) {
			r.writes.WithLabelValues(outcomeConflict).Inc()
			continue
		}
		if apierrors.IsNotFound(err) {
			r.table.remove(u)
			return nil
		}
		if err != nil {
			u.first.Store(u.written == 0)
			return err
		}
		r.writes.WithLabelValues(outcomeWritten).Inc()
		for _, n := range written {
			n.use.written, n.use.from = n.used.Unix(), n.used.Add(r.config.Interval).Unix()
			n.use.due = now.Add(r.config.Interval).Unix()
			n.use.retryFirst = now.Add(retryDelay).Unix()
		}
		return nil
	}
	r.postpone(u, now.Add(retryDelay))
	return nil
}

// postpone sets when the next use of a credential may be written.
func (r *Recorder) postpone(u *use, until time.Time) {
	u.due, u.retryFirst = until.Unix(), until.Unix()
}

// noted is a use that is about to be written.
type noted struct {
	use   *use
	field string
	used  time.Time
}

// uses are those of the ApiToken to be written now: that of u if it is worth it, and
// with it that of the ApiToken's other credential, so that both take one write.
func (r *Recorder) uses(object *v1alpha1.ApiToken, u *use, now time.Time) []noted {
	c, field := credentialIn(&object.Status, u.digest)
	if c == nil { // status does not know it yet, or no more
		r.postpone(u, now.Add(retryDelay))
		return nil
	}
	used := time.Unix(u.last.Load(), 0).UTC()
	write, next := worthWriting(&object.Status, c, used, r.config.Interval)
	if !write {
		if !c.LastUsedAt.Time.Before(used) {
			u.written = used.Unix()
		}
		u.from, u.due, u.retryFirst = next.Unix(), next.Unix(), now.Add(retryDelay).Unix()
		return nil
	}
	written := []noted{{u, field, used}}
	for _, beside := range []*v1alpha1.IssuedCredential{object.Status.Credential, object.Status.PreviousCredential} {
		if beside == nil || beside == c {
			continue
		}
		digest, err := token.ParseDigest(beside.Digest)
		if err != nil {
			continue
		}
		other := r.table.find(digest)
		if other == nil || other.last.Load() <= other.written {
			continue
		}
		if used := time.Unix(other.last.Load(), 0).UTC(); beside.LastUsedAt == nil || used.After(beside.LastUsedAt.Time) {
			_, field := credentialIn(&object.Status, digest)
			written = append(written, noted{other, field, used})
		}
	}
	return written
}

func (r *Recorder) patch(ctx context.Context, object *v1alpha1.ApiToken, written []noted) error {
	fields := map[string]time.Time{}
	for _, n := range written {
		fields[n.field] = n.used
	}
	body, err := patch(object.ResourceVersion, fields)
	if err != nil {
		return err
	}
	return r.config.Store.PatchStatus(ctx, object.Namespace, object.Name, body)
}

// sweep forgets credentials that are gone, and those that were not used for long:
// if they are used again, they are noted anew.
func (r *Recorder) sweep(now time.Time) {
	idle := now.Add(-2 * r.config.Interval).Unix()
	r.table.each(func(u *use) {
		if u.settled() && u.last.Load() < idle || !r.config.Serves(u.tenant, u.digest) {
			r.table.remove(u)
		}
	})
}
