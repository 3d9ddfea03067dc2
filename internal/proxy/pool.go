package proxy

import (
	"sync"
	"time"
)

const (
	// maxIdle bounds the idle connections of a tenant to one backend.
	maxIdle = 128
	// maxIdleTime is how long a connection may be idle.
	maxIdleTime = 90 * time.Second
	// sweepInterval is how often idle connections are looked after: one that the
	// backend has closed is kept no longer than that.
	sweepInterval = 15 * time.Second
)

// pools keep each tenant's connections apart: a connection to a backend carries the
// requests of one tenant only, so that a backend which loses count of its requests
// can't answer one tenant with another's data.
type pools struct{ byTenant sync.Map }

func (p *pools) of(tenant string) *pool {
	found, ok := p.byTenant.Load(tenant)
	if !ok {
		found, _ = p.byTenant.LoadOrStore(tenant, &pool{origins: map[string]*origin{}})
	}
	return found.(*pool)
}

func (p *pools) retain(keep func(tenant string) bool) {
	p.byTenant.Range(func(tenant, found any) bool {
		if !keep(tenant.(string)) {
			p.byTenant.Delete(tenant)
			found.(*pool).close()
		}
		return true
	})
}

// pool is one tenant's connections.
type pool struct {
	mu sync.Mutex
	// origins are by the backend's URL, as the PublicApi has it.
	origins map[string]*origin
	// sweeper runs while there may be something to sweep; nil otherwise.
	sweeper *time.Timer
	closed  bool
}

// origin finds a backend's connections, and counts a user of them.
func (p *pool) origin(backend string) (*origin, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if o, ok := p.origins[backend]; ok {
		o.users.Add(1)
		return o, nil
	}
	o, err := newOrigin(backend)
	if err != nil {
		return nil, err
	}
	o.pool = p
	o.users.Add(1)
	p.origins[backend] = o
	p.scheduleSweep()
	return o, nil
}

// take takes the idle connection that was used last, or none.
func (p *pool) take(o *origin) *connection {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := len(o.idle) - 1
	if last < 0 {
		return nil
	}
	c := o.idle[last]
	o.idle[last] = nil
	o.idle = o.idle[:last]
	return c
}

// put keeps a connection that is quiet for the next request.
func (p *pool) put(c *connection) {
	c.reused, c.idleSince = true, time.Now()
	if !p.keep(c) {
		c.close()
	}
}

func (p *pool) keep(c *connection) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := c.origin
	if p.closed || len(o.idle) >= maxIdle || p.origins[o.backend] != o {
		return false
	}
	o.idle = append(o.idle, c)
	p.scheduleSweep()
	return true
}

// close closes what is idle now, and what would become it.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.sweeper != nil {
		p.sweeper.Stop()
	}
	for _, o := range p.origins {
		for _, c := range o.idle {
			c.close()
		}
		o.idle = nil
	}
}

// scheduleSweep is called with the lock.
func (p *pool) scheduleSweep() {
	if p.sweeper == nil && !p.closed {
		p.sweeper = time.AfterFunc(sweepInterval, func() { p.sweep(time.Now()) })
	}
}

// sweep closes connections that were idle too long or are no longer quiet, and
// forgets backends without connections.
func (p *pool) sweep(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sweeper = nil
	for backend, o := range p.origins {
		kept := o.idle[:0]
		for _, c := range o.idle {
			_ = c.wire.SetDeadline(time.Time{}) // the last request's would hide what has arrived
			if now.Sub(c.idleSince) < maxIdleTime && c.quiet() {
				kept = append(kept, c)
			} else {
				c.close()
			}
		}
		clear(o.idle[len(kept):])
		if o.idle = kept; len(kept) == 0 && o.users.Load() == 0 {
			delete(p.origins, backend)
		}
	}
	if len(p.origins) > 0 {
		p.scheduleSweep()
	}
}
