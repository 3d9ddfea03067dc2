package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// deletion deletes the tenant with many tokens, and measures until all are refused
// and until nothing of them is left, and what others notice.
func (s *scaling) deletion(ctx context.Context) (err error) {
	if err := s.startManager(ctx); err != nil {
		return err
	}
	server, err := s.startAPIServer(ctx, anyCore, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	calmCalls, calmChanges := s.probe(ctx, server.address)
	sleep(ctx, s.duration)
	calmCalls.stop()
	calmChanges.stop()
	records, err := s.countRecords(ctx)
	if err != nil {
		return err
	}
	calls, changes := s.probe(ctx, server.address)
	defer calls.stop()
	defer changes.stop()

	e, err := newEffects(ctx, s.cluster, server.address)
	if err != nil {
		return err
	}
	defer e.close()
	started := time.Now()
	if err := s.client.Delete(ctx, &v1alpha1.Tenant{ObjectMeta: metav1.ObjectMeta{Name: crowdTenant}}); err != nil {
		return err
	}
	returned := time.Since(started)
	refused, accepted, err := s.refusals(e)
	if err != nil {
		return err
	}
	recordsGone, gone, err := s.awaitGone(ctx, started, records-len(s.crowded))
	if err != nil {
		return err
	}
	calls.stop()
	changes.stop()
	t := &table{Section: partDelete, Title: fmt.Sprintf("a tenant with %d tokens is deleted, %d tokens of others", len(s.crowded), len(s.others)), Columns: []string{"what", "figure", "unit"}}
	t.add(text("the deletion of the Tenant was answered"), milliseconds(returned), text("ms"))
	t.add(text("from then until the first token was refused"), milliseconds(refused), text("ms"))
	t.add(text("of all its tokens, asked one after the other then, were accepted"), number("%.0f", float64(accepted)), text(""))
	t.add(text("until every record was gone"), number("%.1f", recordsGone.Seconds()), text("s"))
	t.add(text("until every ApiToken and the namespace were gone"), number("%.1f", gone.Seconds()), text("s"))
	if err := s.report.show(t); err != nil {
		return err
	}
	o := &table{Section: partDelete, Title: "what others notice", Columns: slices.Concat([]string{"who", "when"}, proberColumns)}
	o.add(append([]cell{text("other tenants' calls, proxied"), text("before")}, calmCalls.cells()...)...)
	o.add(append([]cell{text("other tenants' calls, proxied"), text("meanwhile")}, calls.cells()...)...)
	o.add(append([]cell{text("changes to an ApiToken of another tenant"), text("before")}, calmChanges.cells()...)...)
	o.add(append([]cell{text("changes to an ApiToken of another tenant"), text("meanwhile")}, changes.cells()...)...)
	if err := errors.Join(calls.last, changes.last); err != nil {
		o.note("The last failures: %v", err)
	}
	return s.report.show(o)
}

// probe calls the API for others, and changes one of their ApiTokens again and again.
func (s *scaling) probe(ctx context.Context, address string) (calls, changes *prober) {
	other := s.others[0].tenant
	return startProber(ctx, time.Millisecond, customers(address, s.others)),
		startProber(ctx, 50*time.Millisecond, func(ctx context.Context, n int) error {
			object := &v1alpha1.ApiToken{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.TenantNamespacePrefix + other, Name: "token-000000"}}
			return s.client.Patch(ctx, object, client.RawPatch(mergePatch, fmt.Appendf(nil, `{"spec":{"description":"changed %d"}}`, n)))
		})
}

// refusals waits until a token of the crowd is refused, and then asks with all of
// them how many are accepted still.
func (s *scaling) refusals(e *effects) (refused time.Duration, accepted int, err error) {
	started := time.Now()
	works := func(issued issuedToken) (bool, error) {
		_ = e.conn.SetDeadline(time.Now().Add(effectLimit))
		a, err := e.conn.exchange(issued.request(target))
		return a.status == http.StatusOK, err
	}
	for still := true; still; {
		if still, err = works(s.crowded[0]); err != nil {
			return 0, 0, err
		}
		if time.Since(started) > effectLimit {
			return 0, 0, fmt.Errorf("a token of the tenant works %s after its deletion", effectLimit)
		}
	}
	refused = time.Since(started)
	for _, issued := range s.crowded {
		still, err := works(issued)
		if err != nil {
			return 0, 0, err
		}
		if still {
			accepted++
		}
	}
	return refused, accepted, nil
}

// awaitGone waits until there are no more records than those of others, and then
// until the namespace is gone.
func (s *scaling) awaitGone(ctx context.Context, started time.Time, others int) (records, namespace time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	key := client.ObjectKey{Name: v1alpha1.TenantNamespacePrefix + crowdTenant}
	for ; records == 0 || namespace == 0; sleep(ctx, 100*time.Millisecond) {
		if ctx.Err() != nil {
			return 0, 0, fmt.Errorf("the tenant's objects are not gone after %s", startLimit)
		}
		left, err := s.countRecords(ctx)
		if err != nil {
			return 0, 0, err
		}
		if left <= others && records == 0 {
			records = time.Since(started)
		}
		err = s.client.Get(ctx, key, &corev1.Namespace{})
		switch {
		case apierrors.IsNotFound(err) && namespace == 0:
			namespace = time.Since(started)
		case client.IgnoreNotFound(err) != nil:
			return 0, 0, err
		}
	}
	return records, namespace, nil
}
