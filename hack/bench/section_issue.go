package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// rawNamespace is where the Secrets go that nobody watches.
const rawNamespace = "bench-raw"

// measureIssue compares how many tokens are issued per second with how many
// Secrets of the same size the same kube-apiserver creates, and counts the writes.
func (b *bench) measureIssue(ctx context.Context) error {
	c, err := b.cluster(ctx)
	if err != nil {
		return err
	}
	if err := c.startManager(ctx); err != nil {
		return err
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: rawNamespace}}
	if err := c.client.Create(ctx, namespace); err != nil {
		return err
	}
	var r issueRates
	writes := writeCounts{}
	for round := range b.rounds {
		before, err := c.writes(ctx)
		if err != nil {
			return err
		}
		if err := c.issueRound(ctx, round, &r); err != nil {
			return err
		}
		after, err := c.writes(ctx)
		if err != nil {
			return err
		}
		for resource, n := range after.since(before) {
			writes[resource] += n
		}
	}
	idle, err := c.steadyWrites(ctx)
	if err != nil {
		return err
	}
	return b.showIssue(&r, writes, idle)
}

// issueRates are rates per second, and the kube-apiserver's CPU time per object in
// milliseconds, one a round.
type issueRates struct {
	raw, unissued, backlog, issued             []float64
	rawCPU, unissuedCPU, backlogCPU, issuedCPU []float64
}

// issueRound measures each rate once, the manager idle in between.
func (c *cluster) issueRound(ctx context.Context, round int, r *issueRates) error {
	before, err := c.prepareIdle(ctx)
	if err != nil {
		return err
	}
	err = errors.Join(
		c.issueTurn(ctx, &r.unissued, &r.unissuedCPU, func() (time.Duration, error) { return c.createUnissued(ctx, before) }),
		c.issueTurn(ctx, &r.backlog, &r.backlogCPU, func() (time.Duration, error) { return c.issueBacklog(ctx, before) }),
	)
	if err != nil {
		return err
	}
	together, err := c.prepareIdle(ctx)
	if err != nil {
		return err
	}
	err = c.issueTurn(ctx, &r.issued, &r.issuedCPU, func() (time.Duration, error) { return c.issue(ctx, together) })
	if err != nil {
		return err
	}
	if err := c.manager.idle(ctx, len(c.issued)); err != nil {
		return err
	}
	return c.issueTurn(ctx, &r.raw, &r.rawCPU, func() (time.Duration, error) { return c.createRaw(ctx, round, c.bench.batch) })
}

// prepareIdle prepares a batch and waits until the manager has nothing to do.
func (c *cluster) prepareIdle(ctx context.Context) (*prepared, error) {
	p, err := c.prepare(ctx, c.bench.batch)
	if err != nil {
		return nil, err
	}
	return p, c.manager.idle(ctx, len(c.issued))
}

func (c *cluster) issueTurn(ctx context.Context, rates, cpu *[]float64, run func() (time.Duration, error)) error {
	before, err := c.serverCPU(ctx)
	if err != nil {
		return err
	}
	took, err := run()
	if err != nil {
		return err
	}
	after, err := c.serverCPU(ctx)
	n := float64(c.bench.batch)
	*rates, *cpu = append(*rates, n/took.Seconds()), append(*cpu, 1000*(after-before)/n)
	return err
}

func (b *bench) showIssue(r *issueRates, writes, idle writeCounts) error {
	const turns = 2 // of a round, each of which issues a batch
	total := float64(turns * b.rounds * b.batch)
	// What was asked for, and the raw Secrets, are not the manager's.
	writes["apitokens"] -= total
	writes["secrets"] -= float64(b.rounds * b.batch)
	ratio := number("%.2f", medianRatio(r.backlog, r.raw))
	t := &table{
		Section: sectionIssue, Title: fmt.Sprintf("%d at a time, %d rounds of %d", concurrency, b.rounds, b.batch),
		Columns: []string{"what", "per second", "÷ raw", "kube-apiserver's CPU ms each"},
	}
	t.add(text("Secrets created, nobody watching"), number("%.0f", median(r.raw)), number("%.2f", 1), number("%.2f", median(r.rawCPU)))
	t.add(text("ApiTokens created, the manager frozen"), number("%.0f", median(r.unissued)), number("%.2f", medianRatio(r.unissued, r.raw)), number("%.2f", median(r.unissuedCPU)))
	t.add(text("those issued, the manager going on"), number("%.0f", median(r.backlog)), ratio, number("%.2f", median(r.backlogCPU)))
	t.add(text("ApiTokens created and issued"), number("%.0f", median(r.issued)), number("%.2f", medianRatio(r.issued, r.raw)), number("%.2f", median(r.issuedCPU)))
	t.note("Issued means Active in status, as a watch shows it.")
	if err := b.report.show(t); err != nil {
		return err
	}
	w := &table{Section: sectionIssue, Title: "the manager's writes", Columns: []string{"resource", "writes per token"}}
	for _, resource := range slices.Sorted(maps.Keys(writes)) {
		if writes[resource] != 0 {
			w.add(text(resource), number("%.2f", writes[resource]/total))
		}
	}
	w.note("Afterwards, over a restart of the manager that looks at every object anew: %s.", idle)
	if err := b.report.show(w); err != nil {
		return err
	}
	b.report.atLeast(8, .4, "tokens issued ÷ Secrets created, per second", ratio)
	b.report.atMost(8, 2, "the manager's writes per token", number("%.2f", writes.sum()/total))
	b.report.atMost(8, 0, "writes in steady state, a restart of the manager included", number("%.0f", idle.sum()))
	return nil
}

// steadyWrites restarts the manager, gives it time, and counts what it writes
// although nothing changed.
func (c *cluster) steadyWrites(ctx context.Context) (writeCounts, error) {
	if err := c.manager.idle(ctx, len(c.issued)); err != nil {
		return nil, err
	}
	before, err := c.writes(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.stopManager(); err != nil {
		return nil, err
	}
	if err := c.startManager(ctx); err != nil {
		return nil, err
	}
	sleep(ctx, c.bench.settle)
	after, err := c.writes(ctx)
	if err != nil {
		return nil, err
	}
	return after.since(before), nil
}

// createRaw creates n Secrets that are records in all but their namespace and type.
func (c *cluster) createRaw(ctx context.Context, round, n int) (time.Duration, error) {
	_, credentials, err := mint(benchTenant, n)
	if err != nil {
		return 0, err
	}
	objects := make([]client.Object, n)
	for i, credential := range credentials {
		secret := newPair(benchTenant, round*n+i, credential).record
		secret.ObjectMeta = metav1.ObjectMeta{Namespace: rawNamespace, Name: secret.Name, Labels: map[string]string{v1alpha1.LabelTenant: benchTenant}}
		secret.Type = corev1.SecretTypeOpaque
		objects[i] = secret
	}
	started := time.Now()
	err = c.createAll(ctx, objects)
	return time.Since(started), err
}
