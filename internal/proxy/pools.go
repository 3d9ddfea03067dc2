package proxy

import (
	"net"
	"net/http"
	"sync"
	"time"
)

// pools keep a transport for each tenant: a connection to a backend carries the
// requests of one tenant only, so that a backend which loses count of its
// requests can't answer one tenant with another's data.
type pools struct{ byTenant sync.Map }

func (p *pools) transport(tenant string) *http.Transport {
	transport, ok := p.byTenant.Load(tenant)
	if !ok {
		transport, _ = p.byTenant.LoadOrStore(tenant, newTransport())
	}
	return transport.(*http.Transport)
}

func (p *pools) retain(keep func(tenant string) bool) {
	p.byTenant.Range(func(tenant, transport any) bool {
		if !keep(tenant.(string)) {
			p.byTenant.Delete(tenant)
			transport.(*http.Transport).CloseIdleConnections()
		}
		return true
	})
}

func newTransport() *http.Transport {
	return &http.Transport{
		Proxy:                  nil, // an HTTP_PROXY variable must not see tenants' requests
		DialContext:            (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:    5 * time.Second,
		MaxIdleConnsPerHost:    128,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true,
	}
}
