package selfservice

import (
	"context"
	"time"

	"github.com/latchkey-dev/latchkey/internal/fairqueue"
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
type exchanges struct{ all, suspect *fairqueue.Places }

func newExchanges() exchanges {
	return exchanges{fairqueue.NewPlaces(maxExchanges, maxTenantExchanges), fairqueue.NewPlaces(maxSuspectExchanges, maxSuspectExchanges)}
}

// enter waits for a place. leave must be called when the provider has answered. suspect is
// set for an address where many have failed: it takes no place from others.
func (e exchanges) enter(ctx context.Context, tenant string, suspect bool) (leave func(), ok bool) {
	ctx, cancel := context.WithTimeout(ctx, exchangePatience)
	defer cancel()
	leaveSuspects := func() {}
	if suspect {
		if leaveSuspects, ok = e.suspect.Enter(ctx, tenant); !ok {
			return nil, false
		}
	}
	leaveAll, ok := e.all.Enter(ctx, tenant)
	if !ok {
		leaveSuspects()
		return nil, false
	}
	return func() { leaveAll(); leaveSuspects() }, true
}
