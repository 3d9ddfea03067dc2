package fairqueue

import (
	"context"
	"sync"
)

// Places bounds how many work at a time, in all and of one tenant. The others wait.
type Places struct {
	all       chan struct{}
	perTenant int

	mu      sync.Mutex
	tenants map[string]*tenantPlaces
}

// tenantPlaces are one tenant's; users is how many have or wait for one.
type tenantPlaces struct {
	taken chan struct{}
	users int
}

// NewPlaces returns as many places in all, and for each tenant.
func NewPlaces(all, perTenant int) *Places {
	return &Places{all: make(chan struct{}, all), perTenant: perTenant, tenants: map[string]*tenantPlaces{}}
}

// Enter waits for a place until ctx ends. Where ok is set, leave must be called, once.
func (p *Places) Enter(ctx context.Context, tenant string) (leave func(), ok bool) {
	own := p.join(tenant)
	for i, queue := range []chan struct{}{own.taken, p.all} {
		select {
		case queue <- struct{}{}:
		case <-ctx.Done():
			if i > 0 {
				<-own.taken
			}
			p.part(tenant)
			return nil, false
		}
	}
	return func() {
		<-p.all
		<-own.taken
		p.part(tenant)
	}, true
}

func (p *Places) join(tenant string) *tenantPlaces {
	p.mu.Lock()
	defer p.mu.Unlock()
	own := p.tenants[tenant]
	if own == nil {
		own = &tenantPlaces{taken: make(chan struct{}, p.perTenant)}
		p.tenants[tenant] = own
	}
	own.users++
	return own
}

func (p *Places) part(tenant string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	own := p.tenants[tenant]
	if own.users--; own.users == 0 {
		delete(p.tenants, tenant)
	}
}
