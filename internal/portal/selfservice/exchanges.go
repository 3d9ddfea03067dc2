package selfservice

import (
	"context"
	"sync"
	"time"
)

const (
	// maxExchanges bounds how many sign-ins wait for the identity provider at a time, so
	// that a flood of them does not become one of the provider.
	maxExchanges = 32
	// maxTenantExchanges is how many of these may be on one tenant's host, and
	// maxSuspectExchanges how many may come from addresses where many have failed: a flood
	// of sign-ins that fail leaves room for others.
	maxTenantExchanges  = 8
	maxSuspectExchanges = 4
	// exchangePatience is how long a sign-in waits for its turn.
	exchangePatience = 5 * time.Second
)

// exchanges are the sign-ins that wait for the identity provider.
type exchanges struct {
	all, suspect chan struct{}

	mu      sync.Mutex
	tenants map[string]*tenantExchanges
}

// tenantExchanges are one tenant's; users is how many hold or wait for a place.
type tenantExchanges struct {
	places chan struct{}
	users  int
}

func newExchanges() *exchanges {
	return &exchanges{
		all: make(chan struct{}, maxExchanges), suspect: make(chan struct{}, maxSuspectExchanges),
		tenants: map[string]*tenantExchanges{},
	}
}

// enter waits for a place. leave must be called when the provider has answered. suspect is
// set for an address where many have failed; it takes nothing from others.
func (e *exchanges) enter(ctx context.Context, tenant string, suspect bool) (leave func(), ok bool) {
	ctx, cancel := context.WithTimeout(ctx, exchangePatience)
	defer cancel()
	own := e.tenant(tenant)
	queues := []chan struct{}{own.places, e.all}
	if suspect {
		queues = append([]chan struct{}{e.suspect}, queues...)
	}
	for taken, queue := range queues {
		select {
		case queue <- struct{}{}:
		case <-ctx.Done():
			e.release(tenant, queues[:taken])
			return nil, false
		}
	}
	return func() { e.release(tenant, queues) }, true
}

func (e *exchanges) tenant(name string) *tenantExchanges {
	e.mu.Lock()
	defer e.mu.Unlock()
	own := e.tenants[name]
	if own == nil {
		own = &tenantExchanges{places: make(chan struct{}, maxTenantExchanges)}
		e.tenants[name] = own
	}
	own.users++
	return own
}

func (e *exchanges) release(tenant string, taken []chan struct{}) {
	for _, queue := range taken {
		<-queue
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	own := e.tenants[tenant]
	if own.users--; own.users == 0 {
		delete(e.tenants, tenant)
	}
}
