package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/record"
	"github.com/latchkey-dev/latchkey/internal/token"
)

// effectLimit is how long a write may be without effect.
const effectLimit = 30 * time.Second

// measureEffect follows writes until requests see them: from the instant at which
// the Kubernetes API server's answer to the write has arrived here to the arrival
// of the first request's answer that shows the write.
func (b *bench) measureEffect(ctx context.Context, size int) (err error) {
	c, err := b.cluster(ctx)
	if err != nil {
		return err
	}
	if err := c.grow(ctx, size); err != nil {
		return err
	}
	s, err := c.startAPIServer(ctx, anyCore, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := c.stopManager(); err != nil {
		return err
	}
	e, err := newEffects(ctx, c, s.address)
	if err != nil {
		return err
	}
	defer e.close()
	for range b.samples {
		if err := errors.Join(e.revoke(ctx), e.delete(ctx)); err != nil {
			return err
		}
	}
	if err := errors.Join(c.startManager(ctx), e.reconnect(ctx)); err != nil {
		return err
	}
	for range b.samples {
		if err := e.issue(ctx); err != nil {
			return err
		}
	}
	return b.showEffects(e)
}

// The writes whose effect is followed.
const (
	effectRecord = "record created → accepted"
	effectRevoke = "ApiToken revoked → refused"
	effectDelete = "ApiToken deleted → refused"
	effectIssue  = "ApiToken created → accepted, the manager's work included"
)

func (b *bench) showEffects(e *effects) error {
	tokens := len(e.cluster.issued)
	t := &table{
		Section: sectionEffect, Title: fmt.Sprintf("from a write's return to its effect, %d tokens, %d writes", tokens, b.samples),
		Columns: []string{"write", "p50 ms", "p99 ms", "longest ms"},
	}
	for _, what := range []string{effectRecord, effectRevoke, effectDelete, effectIssue} {
		p50, p99 := milliseconds(quantile(e.found[what], .5)), milliseconds(quantile(e.found[what], .99))
		t.add(text(what), p50, p99, milliseconds(quantile(e.found[what], 1)))
		if tokens >= b.many() && what != effectIssue {
			b.report.atMost(4, .5, what+", p50 ms", p50)
			b.report.atMost(4, 3, what+", p99 ms", p99)
		}
	}
	return b.report.show(t)
}

// effects are what was found so far.
type effects struct {
	cluster *cluster
	address string
	conn    *connection
	serial  int
	found   map[string][]time.Duration
}

func newEffects(ctx context.Context, c *cluster, address string) (*effects, error) {
	e := &effects{cluster: c, address: address, found: map[string][]time.Duration{}}
	return e, e.reconnect(ctx)
}

// reconnect replaces a connection that the server may have closed for being idle.
func (e *effects) reconnect(ctx context.Context) (err error) {
	e.close()
	e.conn, err = dial(ctx, e.address)
	return err
}

func (e *effects) close() {
	if e.conn != nil {
		_ = e.conn.Close()
	}
}

// accepted writes the two objects of a token, as the manager would: the status, which
// vouches for the record, and then that. It waits until the token works.
func (e *effects) accepted(ctx context.Context) (issuedToken, *v1alpha1.ApiToken, error) {
	e.serial++
	issued, object, err := newApiToken(benchTenant, fmt.Sprintf("effect-%06d", e.serial))
	if err != nil {
		return issued, nil, err
	}
	if err := e.cluster.client.Create(ctx, object); err != nil {
		return issued, nil, err
	}
	vouched := object.DeepCopy()
	c := object.Spec.Credential
	vouched.Status.Credential = &v1alpha1.IssuedCredential{ID: c.ID, Digest: c.Digest, ExpiresAt: metav1.NewTime(validUntil()), Scopes: object.Spec.Scopes}
	if err := e.cluster.client.Status().Patch(ctx, vouched, client.MergeFrom(object)); err != nil {
		return issued, nil, err
	}
	secret, err := recordOf(object)
	if err != nil {
		return issued, nil, err
	}
	if err := e.cluster.client.Create(ctx, secret); err != nil {
		return issued, nil, err
	}
	return issued, object, e.follow(ctx, effectRecord, issued, true)
}

// revoke revokes a token that works.
func (e *effects) revoke(ctx context.Context) error {
	issued, object, err := e.accepted(ctx)
	if err != nil {
		return err
	}
	if err := e.cluster.client.Patch(ctx, object, client.RawPatch(mergePatch, []byte(`{"spec":{"revoked":true}}`))); err != nil {
		return err
	}
	if err := e.follow(ctx, effectRevoke, issued, false); err != nil {
		return err
	}
	return e.remove(ctx, object, true)
}

// delete deletes the ApiToken of a token that works.
func (e *effects) delete(ctx context.Context) error {
	issued, object, err := e.accepted(ctx)
	if err != nil {
		return err
	}
	if err := e.cluster.client.Delete(ctx, object); err != nil {
		return err
	}
	if err := e.follow(ctx, effectDelete, issued, false); err != nil {
		return err
	}
	return e.remove(ctx, object, false)
}

// issue creates an ApiToken, of which the manager makes the record.
func (e *effects) issue(ctx context.Context) error {
	e.serial++
	issued, object, err := newApiToken(benchTenant, fmt.Sprintf("effect-%06d", e.serial))
	if err != nil {
		return err
	}
	if err := e.cluster.client.Create(ctx, object); err != nil {
		return err
	}
	if err := e.follow(ctx, effectIssue, issued, true); err != nil {
		return err
	}
	return e.cluster.client.Delete(ctx, object)
}

// remove deletes the record, and the ApiToken if it is still there.
func (e *effects) remove(ctx context.Context, object *v1alpha1.ApiToken, still bool) error {
	secret, err := recordOf(object)
	if err != nil {
		return err
	}
	if still {
		err = e.cluster.client.Delete(ctx, object)
	}
	return errors.Join(err, e.cluster.client.Delete(ctx, secret))
}

// follow sends one request after the other until the token is accepted, or no
// more, and notes how long that took.
func (e *effects) follow(ctx context.Context, what string, issued issuedToken, accepted bool) error {
	return e.followFor(ctx, effectLimit, what, issued, accepted)
}

// followFor is follow for what may take longer.
func (e *effects) followFor(ctx context.Context, limit time.Duration, what string, issued issuedToken, accepted bool) error {
	started := time.Now()
	_ = e.conn.SetDeadline(started.Add(limit))
	question := issued.request("/api/v1/token")
	for ctx.Err() == nil {
		a, err := e.conn.exchange(question)
		if err != nil {
			return fmt.Errorf("%s: not within %s: %w", what, limit, err)
		}
		switch {
		case a.status != http.StatusOK && a.status != http.StatusUnauthorized:
			return fmt.Errorf("%s: %w", what, (&load{status: http.StatusOK}).expect(a))
		case accepted == (a.status == http.StatusOK):
			e.found[what] = append(e.found[what], time.Since(started))
			return nil
		}
	}
	return ctx.Err()
}

// mergePatch is the kind of patch of the fewest words.
const mergePatch = "application/merge-patch+json"

// recordOf is the record that the manager would write for an ApiToken.
func recordOf(object *v1alpha1.ApiToken) (client.Object, error) {
	c := object.Spec.Credential
	digest, err := token.ParseDigest(c.Digest)
	if err != nil {
		return nil, err
	}
	return (&record.Record{
		Tenant: benchTenant, Namespace: object.Namespace, Name: object.Name, UID: object.UID, Owner: object.Spec.Owner, Scopes: object.Spec.Scopes,
		Current: record.Credential{ID: c.ID, Digest: digest, NotAfter: validUntil()},
	}).Secret(v1alpha1.RecordsNamespace), nil
}
