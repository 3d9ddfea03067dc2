package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// measureFlat compares authentication with one token and with many, known and
// unknown ones. The API server with one token has a control plane of its own.
func (b *bench) measureFlat(ctx context.Context) (err error) {
	large, err := b.cluster(ctx)
	if err != nil {
		return err
	}
	if err := errors.Join(large.grow(ctx, b.many()), large.stopManager()); err != nil {
		return err
	}
	small, err := b.startCluster(ctx, "one-token")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, small.stop()) }()
	if err := errors.Join(small.grow(ctx, 1), small.stopManager()); err != nil {
		return err
	}
	var subjects []*subject
	for _, c := range []*cluster{small, large} {
		s, err := c.startAPIServer(ctx, b.cores.server, false)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.stop()) }()
		known, unknown, err := c.authentications()
		if err != nil {
			return err
		}
		for _, load := range []struct {
			what     string
			requests [][]byte
			status   int
		}{{"known", known, 200}, {"unknown", unknown, 401}} {
			subjects = append(subjects, &subject{
				label: fmt.Sprint(len(subjects) + 1), name: fmt.Sprintf("%d tokens, %s", len(c.issued), load.what),
				address: s.address, servers: []int{s.pid()}, requests: load.requests, status: load.status, length: -1,
			})
		}
	}
	results, err := b.alternate(ctx, subjects)
	if err != nil {
		return err
	}
	return b.showFlat(results)
}

// spread is over how many tokens at most the load is spread.
const spread = 16_384

// authentications are requests with every token in turn, and with unknown ones.
func (c *cluster) authentications() (known, unknown [][]byte, err error) {
	stride := max(1, len(c.issued)/spread)
	for i := 0; i < len(c.issued); i += stride {
		known = append(known, c.issued[i].request("/api/v1/token"))
		minted, err := unknownToken()
		if err != nil {
			return nil, nil, err
		}
		unknown = append(unknown, issuedToken{c.issued[i].tenant, minted}.request("/api/v1/token"))
	}
	return known, unknown, nil
}

func (b *bench) showFlat(r *results) error {
	t := &table{
		Section: sectionFlat, Title: fmt.Sprintf("GET /api/v1/token, access log off, %d rounds of %s", b.rounds, b.duration),
		Columns: slices.Concat([]string{"", "the directory has, and the token is"}, columnsOfLoad, []string{"÷ first"}),
	}
	first := r.of(r.subjects[0].label, rate)
	for i, s := range r.subjects {
		ratio := number("%.2f", medianRatio(r.of(s.label, rate), first))
		t.add(slices.Concat([]cell{text(s.label), text(s.name)}, r.cells(i), []cell{ratio})...)
		if i > 0 {
			b.report.atLeast(2, .9, fmt.Sprintf("authentication: %s ÷ %s", s.name, r.subjects[0].name), ratio)
		}
	}
	t.note("A known token is answered with its description, an unknown one with a problem: their ratio is not only the check's.")
	r.doubt(t)
	return b.report.show(t)
}

// stop ends the cluster and what belongs to it.
func (c *cluster) stop() error { return errors.Join(c.stopManager(), c.plane.Stop()) }
