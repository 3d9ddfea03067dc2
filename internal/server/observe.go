package server

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/latchkey-dev/latchkey/internal/problem"
)

// metrics have closed label sets: no value comes from a request, so that nobody
// outside can make series (client_golang CVE-2022-21698).
type metrics struct {
	requests  *prometheus.CounterVec
	durations *prometheus.HistogramVec
	tenants   *tenantMetrics
	// certificate gets the certificate that is in use for HTTPS; nil without HTTPS.
	certificate atomic.Pointer[func(*tls.ClientHelloInfo) (*tls.Certificate, error)]
}

// certificateExpiry is when the certificate of each listener expires.
func (m *metrics) certificateExpiry() map[string]time.Time {
	get := m.certificate.Load()
	if get == nil {
		return nil
	}
	certificate, err := (*get)(nil)
	if err != nil || certificate == nil || certificate.Leaf == nil {
		return nil
	}
	return map[string]time.Time{"https": certificate.Leaf.NotAfter}
}

// outcomeServed is the outcome of a request that was passed on or answered; the
// other outcomes are the codes of problems.
const outcomeServed = "served"

func newMetrics(s *Server) (*metrics, error) {
	d := s.config.Directory
	m := &metrics{
		tenants: newTenantMetrics(s.config.TenantMetricsLimit, s.isTenant),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "latchkey_http_requests_total",
			Help: "Requests by method, status class and outcome: served, or the problem's code.",
		}, []string{"method", "status", "outcome"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "latchkey_http_request_duration_seconds",
			Help:    "Time from a request's headers to the end of its answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 60},
		}, []string{"outcome"}),
	}
	gauge := func(name, help string, value func() int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(value()) })
	}
	for _, collector := range append(s.rateMetrics(), []prometheus.Collector{
		m.requests, m.durations, m.tenants,
		gauge("latchkey_http_requests_in_flight", "Authenticated requests under way.", s.inflight.count),
		gauge("latchkey_directory_tokens", "Credentials in the directory, expired ones within retention included.", func() int { return d.Count().Tokens }),
		gauge("latchkey_directory_tenants", "Tenants in the directory.", func() int { return d.Count().Tenants }),
		gauge("latchkey_directory_synced", "1 once every watch has delivered its first list.", func() int { return oneIf(d.Synced()) }),
		gauge("latchkey_directory_stale", "1 while no token is accepted, because the first lists are missing or the last news too old.", func() int { return oneIf(!d.Fresh()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "latchkey_clock_ahead_seconds",
			Help: "By how much tokens expire too early because the system's clock was set back since the start.",
		}, func() float64 { return s.config.Clock.Ahead().Seconds() }),
		ages{
			desc: prometheus.NewDesc("latchkey_directory_age_seconds",
				"For how long each watch has delivered no list, change or bookmark; a bookmark comes about once a minute.", []string{"resource"}, nil),
			read: d.Ages,
		},
		timestamps{
			desc: prometheus.NewDesc("latchkey_directory_last_event_timestamp_seconds",
				"When each watch last delivered a list, a change or a bookmark; a bookmark comes about once a minute.", []string{"resource"}, nil),
			read: d.LastHeard,
		},
		timestamps{
			desc: prometheus.NewDesc("latchkey_tls_certificate_expiry_timestamp_seconds",
				"When the certificate that is in use expires. It is read again when its files change.", []string{"listener"}, nil),
			read: m.certificateExpiry,
		},
	}...) {
		if err := s.config.Metrics.Register(collector); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

func oneIf(condition bool) int {
	if condition {
		return 1
	}
	return 0
}

// ages are gauges of durations in seconds, by one label.
type ages struct {
	desc *prometheus.Desc
	read func() map[string]time.Duration
}

// Describe implements prometheus.Collector.
func (a ages) Describe(descs chan<- *prometheus.Desc) { descs <- a.desc }

// Collect implements prometheus.Collector.
func (a ages) Collect(collected chan<- prometheus.Metric) {
	for label, age := range a.read() {
		collected <- prometheus.MustNewConstMetric(a.desc, prometheus.GaugeValue, age.Seconds(), label)
	}
}

// timestamps are gauges of times, by one label. Times that are zero are left out.
type timestamps struct {
	desc *prometheus.Desc
	read func() map[string]time.Time
}

// Describe implements prometheus.Collector.
func (t timestamps) Describe(descs chan<- *prometheus.Desc) { descs <- t.desc }

// Collect implements prometheus.Collector.
func (t timestamps) Collect(collected chan<- prometheus.Metric) {
	for label, at := range t.read() {
		if !at.IsZero() {
			collected <- prometheus.MustNewConstMetric(t.desc, prometheus.GaugeValue, float64(at.UnixMilli())/1e3, label)
		}
	}
}

// ServeHTTP serves a request and keeps account of it.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	started := time.Now() // durations are real, whatever the injected clock says
	recorder := &responseRecorder{ResponseWriter: w}
	recorder.boundWrites(r, s.config.Limits.WriteTimeout)
	c := &call{w: recorder, r: watchBody(r, recorder)}
	var p *problem.Problem
	finished := false
	defer func() {
		cut := !finished && recorder.status != 0
		if !finished { // a panic: ErrAbortHandler by the proxy, or a fault of ours
			p = s.recovered(c, recorder, r.Context().Err() != nil, recover())
		}
		s.account(c, recorder, p, time.Since(started))
		recorder.limitLinger()
		recorder.finishWrites()
		// Without an answer net/http would say 200, also to a client that closed
		// only its half of the connection.
		if cut || recorder.status == 0 {
			panic(http.ErrAbortHandler) // closes the connection, so that the client notices
		}
	}()
	if p = s.handle(c); p != nil && recorder.status == 0 && p.Status != statusClientClosedRequest {
		s.refuse(c, p)
	}
	finished = true
}

// recovered turns a panic into an answer where that is still possible.
func (s *Server) recovered(c *call, recorder *responseRecorder, clientGone bool, cause any) *problem.Problem {
	if err, ok := cause.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		return s.cutProblem(c, recorder, clientGone)
	}
	s.config.Logger.Error("panic while serving a request", "panic", fmt.Sprint(cause), "stack", string(debug.Stack()))
	if recorder.status == 0 {
		s.refuse(c, problem.Internal)
	}
	return problem.Internal
}

// cutProblem says, for log and metrics only, why an answer broke off.
func (s *Server) cutProblem(c *call, recorder *responseRecorder, clientGone bool) *problem.Problem {
	switch cause := context.Cause(c.r.Context()); {
	case errors.Is(cause, errTokenExpired) || errors.Is(cause, errTokenEnded):
		return s.endedProblem(c)
	case errors.Is(cause, errAnonymousTime):
		return nil // it was served for as long as may be
	case clientGone || recorder.failed:
		return &problem.Problem{Code: problem.CodeClientGone, Status: recorder.status}
	}
	return &problem.Problem{Code: problem.CodeBackendUnavailable, Status: recorder.status}
}

// realm is the host that a challenge names. It is never taken from a request that
// named no tenant.
func (s *Server) realm(c *call) string {
	if c.tenant == nil {
		return s.config.BaseDomain
	}
	return c.tenant.Name + "." + s.config.BaseDomain
}

// account logs and counts a request. Headers and queries are not logged: secrets
// are sent in both (Traefik CVE-2022-23469).
func (s *Server) account(c *call, recorder *responseRecorder, p *problem.Problem, took time.Duration) {
	outcome, status := outcomeServed, recorder.status
	if p != nil {
		outcome = p.Code
		if status == 0 {
			status = p.Status
		}
	}
	method := c.r.Method
	if !slices.Contains(allowedMethods, method) {
		method = "other"
	}
	s.metrics.requests.WithLabelValues(method, statusClass(status), outcome).Inc()
	s.metrics.durations.WithLabelValues(outcome).Observe(took.Seconds())
	if c.tenant != nil {
		s.metrics.tenants.count(c.tenant.Name, status, took)
	}
	s.logAccess(c, p, method, outcome, status, recorder.bytes, took)
}

// statusClasses are the values of the label status. What is none of them, such as
// a switch of protocols, counts as the first.
var statusClasses = [...]string{"1xx", "2xx", "3xx", "4xx", "5xx"}

func statusClassIndex(status int) int {
	if class := status/100 - 1; class > 0 && class < len(statusClasses) {
		return class
	}
	return 0
}

// statusClass is such as 2xx.
func statusClass(status int) string { return statusClasses[statusClassIndex(status)] }

// logAccess writes the request's line. It goes around slog.Logger, which would look
// for the caller's place in the code each time.
func (s *Server) logAccess(c *call, p *problem.Problem, method, outcome string, status int, bytes int64, took time.Duration) {
	ctx, handler := c.r.Context(), s.config.Logger.Handler()
	if !handler.Enabled(ctx, slog.LevelInfo) {
		return
	}
	line := slog.NewRecord(time.Now(), slog.LevelInfo, "request", 0)
	attributes := append(make([]slog.Attr, 0, 10),
		slog.String("method", method),
		slog.String("path", s.loggedPath(c.r)),
		slog.Int("status", status),
		slog.String("outcome", outcome),
		slog.Int64("bytes", bytes),
		slog.Duration("duration", took),
	)
	if c.tenant != nil {
		attributes = append(attributes, slog.String("tenant", c.tenant.Name))
	}
	if c.token != nil {
		attributes = append(attributes, slog.String("tokenID", c.token.ID))
	}
	if c.user != nil {
		attributes = append(attributes, slog.String("user", c.user.Name))
	}
	if address := clientAddress(c.r, s.config.TrustedProxies); address.IsValid() {
		attributes = append(attributes, slog.String("client", address.String()))
	}
	if p != nil && p.Cause != nil {
		attributes = append(attributes, slog.String("cause", p.Cause.Error()))
	}
	line.AddAttrs(attributes...)
	_ = handler.Handle(ctx, line) // as slog.Logger does: there is nowhere to say that the log can't be written
}

const maxLoggedPath = 256

// loggedPath is the path without what could be a token that somebody put there.
func (s *Server) loggedPath(r *http.Request) string {
	path := r.URL.EscapedPath()
	// Where it has escapes once it is decoded, somebody else may decode those.
	if strings.Contains(r.URL.Path, s.config.TokenPrefix+"_") || strings.Contains(r.URL.Path, "%") {
		return "[withheld: it may contain a token]"
	}
	if len(path) > maxLoggedPath {
		return path[:maxLoggedPath] + "…"
	}
	return path
}

// responseRecorder remembers what was answered.
type responseRecorder struct {
	http.ResponseWriter
	status int
	bytes  int64
	// failed says that the client could not be written to.
	failed bool
	// body is the request's, where it has one that the connection's end depends on.
	body *watchedBody
	// streamTimeout bounds each write to a stream of HTTP/2, and stall ends one that takes
	// longer; 0 where there is none. See writes.go.
	streamTimeout time.Duration
	stall         *stall
	// limit is when the answer as a whole has to be written, or zero.
	limit time.Time
	// beforeBody, if set, is called once before the first piece of a body, with its size.
	beforeBody func(size int)
}

func (w *responseRecorder) bodyIsLeft() bool { return w.body != nil && !w.body.ended.Load() }

// limitLinger bounds the time for which net/http reads the rest of the body.
func (w *responseRecorder) limitLinger() {
	if w.bodyIsLeft() && w.status != http.StatusSwitchingProtocols {
		_ = http.NewResponseController(w.ResponseWriter).SetReadDeadline(time.Now().Add(lingerTime))
	}
}

// Unwrap lets http.ResponseController reach the connection.
func (w *responseRecorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Hijack hands over the connection of a request that is switched to another
// protocol.
func (w *responseRecorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.status = http.StatusSwitchingProtocols
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

func (w *responseRecorder) WriteHeader(status int) {
	if status >= 200 { // 1xx are not the answer yet
		w.status = status
		if w.bodyIsLeft() {
			w.Header().Set("Connection", "close")
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *responseRecorder) Write(b []byte) (written int, err error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.beforeBody != nil {
		w.beforeBody(len(b))
		w.beforeBody = nil
	}
	for first := true; first || written < len(b) && err == nil; first = false {
		piece := b[written:]
		if w.streamTimeout > 0 {
			piece = piece[:min(len(piece), writePiece)]
		}
		err = w.bounded(func() error {
			n, err := w.ResponseWriter.Write(piece)
			written += n
			return err
		})
	}
	w.bytes += int64(written)
	w.failed = w.failed || err != nil
	return written, err
}

// FlushError implements what http.ResponseController looks for.
func (w *responseRecorder) FlushError() error {
	return w.bounded(http.NewResponseController(w.ResponseWriter).Flush)
}
