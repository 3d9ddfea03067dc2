package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/token"
)

const (
	// concurrency is how many writes are under way at a time.
	concurrency = 64
	// tokensPerTenant is how many tokens a tenant gets in the bench.
	tokensPerTenant = 1000
	// growth is how many tokens are made before progress is told.
	growth = 2500
	// stall is how long the manager may issue nothing.
	stall = time.Minute
)

// issuedToken is a token that works. The plaintext is nowhere but here.
type issuedToken struct{ tenant, plaintext string }

func (t issuedToken) request(path string) []byte {
	return request(t.tenant+"."+baseDomain, path, t.plaintext)
}

// newApiToken mints a token, and makes the ApiToken that asks for it.
func newApiToken(tenant, name string) (issuedToken, *v1alpha1.ApiToken, error) {
	minted, err := token.Mint(v1alpha1.DefaultTokenPrefix)
	if err != nil {
		return issuedToken{}, nil, err
	}
	return issuedToken{tenant, minted.Reveal()}, &v1alpha1.ApiToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.TenantNamespacePrefix + tenant, Name: name},
		Spec: v1alpha1.ApiTokenSpec{
			Description: tokenDescription, Owner: tokenOwner, Scopes: tokenScopes,
			Credential: &v1alpha1.Credential{
				ID: minted.ID(), Digest: minted.Digest(tenant).String(), IssuedAt: metav1.NewTime(time.Now().Truncate(time.Second)),
			},
		},
	}, nil
}

// grow has the manager issue tokens until there are n.
func (c *cluster) grow(ctx context.Context, n int) error {
	if len(c.issued) >= n {
		return nil
	}
	if err := c.startManager(ctx); err != nil {
		return err
	}
	started, before := time.Now(), len(c.issued)
	for len(c.issued) < n {
		prepared, err := c.prepare(ctx, min(growth, n-len(c.issued)))
		if err != nil {
			return err
		}
		if _, err := c.issue(ctx, prepared); err != nil {
			return err
		}
		rate := float64(len(c.issued)-before) / time.Since(started).Seconds()
		c.bench.say("  %d of %d tokens, %.0f a second", len(c.issued), n, rate)
	}
	return nil
}

// prepared are tokens that are minted but not issued, and the ApiTokens that ask
// for them.
type prepared struct {
	tokens  []issuedToken
	objects []client.Object
}

// prepare mints n tokens and makes sure that their tenants exist. The manager must
// run.
func (c *cluster) prepare(ctx context.Context, n int) (*prepared, error) {
	p := &prepared{}
	for serial := len(c.issued); serial < len(c.issued)+n; serial++ {
		tenant := serial / c.perTenant
		if !c.made[tenant] {
			if err := c.addTenant(ctx, fleetTenant(tenant)); err != nil {
				return nil, err
			}
			c.made[tenant] = true
		}
		issued, object, err := newApiToken(fleetTenant(tenant), fmt.Sprintf("token-%06d", serial))
		if err != nil {
			return nil, err
		}
		p.tokens, p.objects = append(p.tokens, issued), append(p.objects, object)
	}
	return p, nil
}

func fleetTenant(n int) string { return fmt.Sprintf("fleet-%03d", n) }

// issue creates ApiTokens with credentials and waits until all work, by their
// status. It returns how long that took.
func (c *cluster) issue(ctx context.Context, p *prepared) (time.Duration, error) {
	return c.timeIssuing(ctx, p, func(ctx context.Context, active func() error) error {
		group, ctx := errgroup.WithContext(ctx)
		group.Go(active)
		group.Go(func() error { return c.createAll(ctx, p.objects) })
		return group.Wait()
	})
}

// createUnissued creates the ApiTokens while the manager is frozen. It returns how
// long that took.
func (c *cluster) createUnissued(ctx context.Context, p *prepared) (time.Duration, error) {
	if err := syscall.Kill(c.manager.pid(), syscall.SIGSTOP); err != nil {
		return 0, fmt.Errorf("freeze the manager: %w", err)
	}
	started := time.Now()
	if err := c.createAll(ctx, p.objects); err != nil {
		return 0, errors.Join(err, syscall.Kill(c.manager.pid(), syscall.SIGCONT))
	}
	return time.Since(started), nil
}

// issueBacklog has the manager go on, after createUnissued, and returns how long it
// takes until all work.
func (c *cluster) issueBacklog(ctx context.Context, p *prepared) (time.Duration, error) {
	return c.timeIssuing(ctx, p, func(_ context.Context, active func() error) error {
		if err := syscall.Kill(c.manager.pid(), syscall.SIGCONT); err != nil {
			return fmt.Errorf("thaw the manager: %w", err)
		}
		return active()
	})
}

// timeIssuing times what makes the manager issue the tokens; active waits until it
// has.
func (c *cluster) timeIssuing(ctx context.Context, p *prepared, begin func(ctx context.Context, active func() error) error) (time.Duration, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watcher, err := c.watchApiTokens(ctx)
	if err != nil {
		return 0, err
	}
	defer watcher.Stop()
	records, err := c.countRecords(ctx)
	if err != nil {
		return 0, err
	}
	started := time.Now()
	// The record is stored after the status: only then the token works.
	works := func() error {
		if err := c.awaitActive(ctx, watcher, p.objects); err != nil {
			return err
		}
		return c.awaitRecords(ctx, records+len(p.objects))
	}
	if err := begin(ctx, works); err != nil {
		return 0, err
	}
	c.issued = append(c.issued, p.tokens...)
	return time.Since(started), nil
}

// countRecords has the API server count: it tells how many follow the first.
func (c *cluster) countRecords(ctx context.Context) (int, error) {
	first := &metav1.PartialObjectMetadataList{}
	first.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("SecretList"))
	if err := c.client.List(ctx, first, client.InNamespace(v1alpha1.RecordsNamespace), client.Limit(1)); err != nil {
		return 0, err
	}
	if first.RemainingItemCount == nil {
		return len(first.Items), nil
	}
	return len(first.Items) + int(*first.RemainingItemCount), nil
}

// awaitRecords waits until there are so many records.
func (c *cluster) awaitRecords(ctx context.Context, want int) error {
	for deadline := time.Now().Add(stall); ; sleep(ctx, time.Millisecond) {
		got, err := c.countRecords(ctx)
		switch {
		case err != nil:
			return err
		case got >= want:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("there are %d records, want %d: see the manager's log", got, want)
		}
	}
}

// createAll creates the objects as fast as it can.
func (c *cluster) createAll(ctx context.Context, objects []client.Object) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(concurrency)
	for _, object := range objects {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error { return c.client.Create(ctx, object) })
	}
	return group.Wait()
}

// watchApiTokens watches what happens to ApiTokens from now on, also where the
// kube-apiserver ends the watch meanwhile, as it does when a CRD is new.
func (c *cluster) watchApiTokens(ctx context.Context) (watch.Interface, error) {
	var present v1alpha1.ApiTokenList
	if err := c.client.List(ctx, &present, client.Limit(1)); err != nil {
		return nil, err
	}
	return watchtools.NewRetryWatcherWithContext(ctx, present.ResourceVersion, &cache.ListWatch{
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return c.client.Watch(ctx, &v1alpha1.ApiTokenList{}, &client.ListOptions{Raw: &o})
		},
	})
}

// awaitActive waits until every one of the objects is Active.
func (c *cluster) awaitActive(ctx context.Context, watcher watch.Interface, objects []client.Object) error {
	missing := make(map[client.ObjectKey]bool, len(objects))
	for _, object := range objects {
		missing[client.ObjectKeyFromObject(object)] = true
	}
	timer := time.NewTimer(stall)
	defer timer.Stop()
	for len(missing) > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
			return fmt.Errorf("the manager has issued nothing for %s, %d tokens are missing; see its log: %w", stall, len(missing), c.explain(ctx, missing))
		case event, ok := <-watcher.ResultChan():
			if !ok {
				return errors.New("the watch of ApiTokens ended")
			}
			if event.Type == watch.Error {
				return fmt.Errorf("watch ApiTokens: %w", apierrors.FromObject(event.Object))
			}
			object, ok := event.Object.(*v1alpha1.ApiToken)
			if !ok || !missing[client.ObjectKeyFromObject(object)] {
				continue
			}
			active, err := isActive(object)
			if err != nil {
				return err
			}
			if active {
				delete(missing, client.ObjectKeyFromObject(object))
				timer.Reset(stall)
			}
		}
	}
	return nil
}

// explain says how one of the ApiTokens is.
func (c *cluster) explain(ctx context.Context, missing map[client.ObjectKey]bool) error {
	for key := range missing {
		var t v1alpha1.ApiToken
		if err := c.client.Get(ctx, key, &t); err != nil {
			return err
		}
		return fmt.Errorf("the ApiToken %s has resourceVersion %s and the conditions %+v", key, t.ResourceVersion, t.Status.Conditions)
	}
	return nil
}

func isActive(t *v1alpha1.ApiToken) (bool, error) {
	if stalled := meta.FindStatusCondition(t.Status.Conditions, v1alpha1.ConditionStalled); stalled != nil && stalled.Status == metav1.ConditionTrue {
		return false, fmt.Errorf("the ApiToken %s/%s is stalled: %s", t.Namespace, t.Name, stalled.Message)
	}
	return meta.IsStatusConditionTrue(t.Status.Conditions, v1alpha1.ConditionActive), nil
}
