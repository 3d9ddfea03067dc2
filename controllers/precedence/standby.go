package precedence

import (
	"context"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/util/wait"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

// retryPeriod is how long after a failed look at the cache the next comes.
const retryPeriod = time.Second

// Everything enqueues all that a controller has to look at when its manager begins to lead,
// as the cache knows it then: first what somebody waits for, last what comes behind all
// that happens meanwhile. What is enqueued as both is looked at first, and once unless
// that was under way already.
type Everything func(ctx context.Context, first, last func(...reconcile.Request)) error

// StandBy has a controller start its watches before its manager leads, and ignore what they
// tell: when the manager is elected, one look at the cache does what an event for every
// object would do much later, and nothing was collected until then. It is for controllers
// of kinds of which there may be very many.
func StandBy(mgr ctrl.Manager, b *builder.Builder, o controller.Options, everything Everything) *builder.Builder {
	o.EnableWarmup = new(true)
	return b.WithOptions(o).WithEventFilter(leading(mgr.Elected())).WatchesRawSource(begin(mgr.Elected(), mgr.GetLogger(), everything))
}

// leading passes events once the manager leads. What happened before, everything knows.
func leading(elected <-chan struct{}) predicate.Predicate {
	return predicate.NewPredicateFuncs(func(client.Object) bool {
		select {
		case <-elected:
			return true
		default:
			return false
		}
	})
}

func begin(elected <-chan struct{}, log logr.Logger, everything Everything) source.Source {
	return source.Func(func(ctx context.Context, q queue) error {
		first := func(requests ...reconcile.Request) { add(q, 0, requests...) }
		last := func(requests ...reconcile.Request) { add(q, handler.LowPriority, requests...) }
		go func() {
			select {
			case <-ctx.Done():
				return
			case <-elected:
			}
			// Its only error is ctx's, at the end.
			_ = wait.PollUntilContextCancel(ctx, retryPeriod, true, func(ctx context.Context) (done bool, _ error) {
				err := everything(ctx, first, last)
				if err != nil && ctx.Err() == nil {
					log.Error(err, "did not find out what there is to do; trying again")
				}
				return err == nil, nil
			})
		}()
		return nil
	})
}
