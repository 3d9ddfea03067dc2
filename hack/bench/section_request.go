package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/token"
)

// The labels of the subjects that ratios are about.
const (
	labelEmpty      = "a"
	labelAuth       = "b"
	labelAuthQuiet  = "b*"
	labelCheck      = "b'"
	labelBackend    = "c"
	labelThrough    = "d"
	labelQuiet      = "d*"
	labelProxy      = "e"
	labelCheckProxy = "e'"
	labelNginx      = "f"
	labelNginxAuth  = "h"
)

// measureRequest compares the ways of a request: through Latchkey, through
// others, and through nothing.
func (b *bench) measureRequest(ctx context.Context) (err error) {
	c, err := b.cluster(ctx)
	if err != nil {
		return err
	}
	if err := errors.Join(c.grow(ctx, 1), c.stopManager()); err != nil {
		return err
	}
	p := &requestPath{bench: b, known: c.issued[0], t: &table{
		Section: sectionRequest, Title: fmt.Sprintf("1 KiB GETs, %d keep-alive connections, %d rounds of %s", connections, b.rounds, b.duration),
		Columns: slices.Concat([]string{"", "subject"}, columnsOfLoad, []string{"÷ e'", "CPU ÷ e'"}),
	}}
	defer func() { err = errors.Join(err, p.stop()) }()
	if err := p.start(ctx, c); err != nil {
		return err
	}
	results, err := b.alternate(ctx, p.subjects)
	if err != nil {
		return err
	}
	p.tabulate(results)
	if err := b.report.show(p.t); err != nil {
		return err
	}
	p.goals(results)
	return nil
}

// requestPath are the subjects of the section.
type requestPath struct {
	*bench
	known    issuedToken
	t        *table
	servers  []*child
	subjects []*subject
	refused  []byte
}

func (p *requestPath) stop() error {
	var errs []error
	for _, s := range p.servers {
		errs = append(errs, s.stop())
	}
	return errors.Join(errs...)
}

// start starts every subject. They stay up while others have their turn.
func (p *requestPath) start(ctx context.Context, c *cluster) error {
	unknown, err := unknownToken()
	if err != nil {
		return err
	}
	p.refused = issuedToken{p.known.tenant, unknown}.request(target)
	for _, start := range []func() error{
		func() error { return p.startBaselines(ctx) },
		func() error { return p.startLatchkey(ctx, c, true, labelAuth, labelThrough, "") },
		func() error { return p.startLatchkey(ctx, c, false, labelAuthQuiet, labelQuiet, ", access log off") },
		func() error { return p.startProxies(ctx) },
		func() error { return p.startNginx(ctx) },
	} {
		if err := start(); err != nil {
			return err
		}
	}
	slices.SortStableFunc(p.subjects, func(a, b *subject) int { return cmp.Compare(a.label, b.label) })
	return nil
}

// add adds a subject that answers with a body of a known length.
func (p *requestPath) add(label, name, address string, want []byte, refused []byte, pids ...int) {
	p.subjects = append(p.subjects, &subject{
		label: label, name: name, address: address, requests: [][]byte{p.known.request(target)}, servers: pids,
		status: 200, length: len(want), check: sameBody(want), refused: refused,
	})
}

// startTiny starts one of this program's own subjects on the servers' core.
func (p *requestPath) startTiny(ctx context.Context, name string, args ...string) (*child, error) {
	s, err := p.startSubject(ctx, p.cores.server, name, args...)
	if err == nil {
		p.servers = append(p.servers, s)
	}
	return s, err
}

// knownToken tells a subject which token is good.
func (p *requestPath) knownToken() ([]string, error) {
	id, err := token.Parse(v1alpha1.DefaultTokenPrefix, p.known.plaintext)
	return []string{"--tenant=" + p.known.tenant, "--id=" + id, "--digest=" + token.DigestOf(p.known.tenant, p.known.plaintext).String()}, err
}

func (p *requestPath) startBaselines(ctx context.Context) error {
	empty, err := p.startTiny(ctx, "empty")
	if err != nil {
		return err
	}
	p.add(labelEmpty, "net/http, empty handler", empty.address, nil, nil, empty.pid())
	backend, err := p.startTiny(ctx, "backend")
	if err != nil {
		return err
	}
	p.add(labelBackend, "straight to the backend", backend.address, body, nil, backend.pid())
	return nil
}

// startLatchkey adds the real API server twice: its authentication alone, and the
// whole way.
func (p *requestPath) startLatchkey(ctx context.Context, c *cluster, accessLog bool, auth, through, suffix string) error {
	s, err := c.startAPIServer(ctx, p.cores.server, accessLog)
	if err != nil {
		return err
	}
	p.servers = append(p.servers, s.child)
	p.subjects = append(p.subjects, &subject{
		label: auth, name: "API server, GET /api/v1/token" + suffix, address: s.address,
		requests: [][]byte{p.known.request("/api/v1/token")}, servers: []int{s.pid()},
		status: 200, length: -1, check: p.describesToken, refused: p.refused,
	})
	p.add(through, "through the API server"+suffix, s.address, body, p.refused, s.pid())
	return nil
}

func (p *requestPath) describesToken(answer []byte) error {
	var described struct{ Tenant string }
	if err := json.Unmarshal(answer, &described); err != nil {
		return err
	}
	if described.Tenant != p.known.tenant {
		return fmt.Errorf("the token is said to be of tenant %q, must be %q", described.Tenant, p.known.tenant)
	}
	return nil
}

func (p *requestPath) startProxies(ctx context.Context) error {
	plain, err := p.startTiny(ctx, "proxy", "--backend="+p.backend.address)
	if err != nil {
		return err
	}
	p.add(labelProxy, "ReverseProxy, no check", plain.address, body, nil, plain.pid())
	known, err := p.knownToken()
	if err != nil {
		return err
	}
	checked, err := p.startTiny(ctx, "check-proxy", append(known, "--backend="+p.backend.address)...)
	if err != nil {
		return err
	}
	p.add(labelCheckProxy, "check + ReverseProxy", checked.address, body, p.refused, checked.pid())
	return nil
}

// startNginx also starts the check that nginx asks.
func (p *requestPath) startNginx(ctx context.Context) error {
	known, err := p.knownToken()
	if err != nil {
		return err
	}
	check, err := p.startTiny(ctx, "check", known...)
	if err != nil {
		return err
	}
	p.add(labelCheck, "net/http + check, empty body", check.address, nil, p.refused, check.pid())
	n, err := p.bench.startNginx(ctx, check.address)
	if err != nil {
		return err
	}
	if n == nil {
		p.t.note("f, h: nginx is not installed here, so it is not compared; put it on the PATH to have it measured.")
		return nil
	}
	p.servers = append(p.servers, n.child)
	p.add(labelNginx, n.version+", no check", n.plain, body, nil, n.pids()...)
	p.add(labelNginxAuth, n.version+", auth_request to b'", n.checked, body, p.refused, append(n.pids(), check.pid())...)
	return nil
}

func (p *requestPath) tabulate(r *results) {
	for i, s := range r.subjects {
		p.t.add(slices.Concat([]cell{text(s.label), text(s.name)}, r.cells(i), []cell{
			number("%.2f", medianRatio(r.of(s.label, rate), r.of(labelCheckProxy, rate))),
			known("%.2f", medianRatio(r.of(s.label, cpu), r.of(labelCheckProxy, cpu))),
		})...)
	}
	r.doubt(p.t)
}

func (p *requestPath) goals(r *results) {
	for _, way := range []struct{ label, suffix string }{{labelThrough, ""}, {labelQuiet, ", access log off"}} {
		for _, other := range []struct {
			label, name string
			bound       float64
		}{
			{labelCheckProxy, "check + ReverseProxy", 1.5},
			{labelNginx, "nginx without check", .7},
			{labelNginxAuth, "nginx with auth_request", 1.6},
		} {
			ratio := medianRatio(r.of(way.label, rate), r.of(other.label, rate))
			p.report.atLeast(1, other.bound, "through the API server"+way.suffix+" ÷ "+other.name, number("%.2f", ratio))
		}
	}
	share := math.NaN()
	if used := median(r.of(labelQuiet, cpu)); p.checkCost > 0 && used > 0 {
		share = float64(p.checkCost) / used
	}
	p.report.atMost(2, .05, "the check's share of a proxied request's CPU time", number("%.3f", share))
}
