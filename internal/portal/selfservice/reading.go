package selfservice

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/policy"
	"github.com/latchkey-dev/latchkey/internal/problem"
)

const (
	// chunk is how many ApiTokens are read at a time.
	chunk = 500
	// readsPerTenant is how many lists of one tenant are read at a time, and
	// readPatience how long another waits for its turn.
	readsPerTenant = 2
	readPatience   = 5 * time.Second
	// maxRead bounds what a list has: who lets ApiTokens pile up shall not fill the
	// server's memory.
	maxRead = 100_000
)

// tooManyReads answers where a tenant's lists take too long.
var tooManyReads = &problem.Problem{Code: problem.CodeRateLimited, Status: http.StatusServiceUnavailable, RetryAfter: time.Second,
	Title: "The list is asked for too often", Detail: "Others of this account are looking at it at this moment. Try again shortly."}

// gates let a few in at a time, each tenant's by themselves.
type gates struct{ byTenant sync.Map }

// enter waits for a turn; leave must be called after it.
func (g *gates) enter(ctx context.Context, tenant string) (leave func(), ok bool) {
	ctx, cancel := context.WithTimeout(ctx, readPatience)
	defer cancel()
	found, _ := g.byTenant.LoadOrStore(tenant, make(chan struct{}, readsPerTenant))
	gate := found.(chan struct{})
	select {
	case gate <- struct{}{}:
		return func() { <-gate }, true
	case <-ctx.Done():
		return nil, false
	}
}

// read reads all of the tenant's ApiTokens in pieces, and gives each to use, but for
// those that only sign in. It asks for the latest, which kube-apiserver answers from its
// cache: who has just revoked a token sees that.
func (v *visit) read(use func(*v1alpha1.ApiToken)) error {
	leave, ok := v.handler.reads.enter(v.r.Context(), v.Tenant.Name)
	if !ok {
		return tooManyReads
	}
	defer leave()
	call, next := v.call(), ""
	for n := 0; n < maxRead; {
		piece, following, err := v.handler.config.Tokens.List(v.r.Context(), call, chunk, next)
		if err != nil {
			return err
		}
		for i := range piece {
			if !policy.SignsIn(piece[i].Spec.Scopes) {
				use(&piece[i])
			}
		}
		if n, next = n+len(piece), following; next == "" {
			break
		}
	}
	return nil
}
