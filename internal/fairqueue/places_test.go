package fairqueue_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-dev/latchkey/internal/fairqueue"
)

// A tenant that takes all its places leaves the others theirs, and places come back.
func TestPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := fairqueue.NewPlaces(3, 2)
		enter := func(tenant string) func() {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			leave, ok := p.Enter(ctx, tenant)
			if !ok {
				return nil
			}
			return leave
		}
		one, two := enter("a"), enter("a")
		if one == nil || two == nil || enter("a") != nil {
			t.Fatal("a tenant has other than two places")
		}
		other := enter("b")
		if other == nil || enter("c") != nil {
			t.Fatal("all have other than three places")
		}
		var waiting sync.WaitGroup
		waiting.Go(func() {
			leave, ok := p.Enter(t.Context(), "a")
			if !ok {
				t.Error("a place that came free was given to nobody")
				return
			}
			leave()
		})
		synctest.Wait()
		one()
		waiting.Wait()
		two()
		other()
		for range 3 {
			if leave := enter("c"); leave != nil {
				defer leave()
			}
		}
		if enter("d") == nil {
			t.Error("places that were left are still taken")
		}
	})
}
