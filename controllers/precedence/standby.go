package precedence

import (
	"context"
	"time"

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

// retry is how long after a failed look at the cache the next comes.
const retry = time.Second

// Everything enqueues all that a controller has to look at when its manager begins to lead,
// as the cache knows it then: first what somebody waits for, last what comes behind all
// that happens meanwhile. What is enqueued twice is looked at once, in the better place.
type Everything func(ctx context.Context, first, last func(...reconcile.Request)) error

// StandBy has a controller be ready while its manager does not lead yet, and begin with
// everything as soon as it does, however many objects there are. By itself a controller
// would then have each of them handed to its handlers before it looks at any; with
// EnableWarmup alone it would collect, while it stands by, each one that ever changed.
func StandBy(b *builder.Builder, elected <-chan struct{}, o controller.Options, everything Everything) *builder.Builder {
	o.EnableWarmup = new(true)
	return b.WithOptions(o).WithEventFilter(leading(elected)).WatchesRawSource(begin(elected, everything))
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

func begin(elected <-chan struct{}, everything Everything) source.Source {
	return source.Func(func(ctx context.Context, q queue) error {
		first := func(requests ...reconcile.Request) { add(q, 0, requests...) }
		last := func(requests ...reconcile.Request) { add(q, handler.LowPriority, requests...) }
		go func() {
			select {
			case <-ctx.Done():
				return
			case <-elected:
			}
			_ = wait.PollUntilContextCancel(ctx, retry, true, func(ctx context.Context) (done bool, _ error) { // ends with ctx, or done
				err := everything(ctx, first, last)
				if err != nil && ctx.Err() == nil {
					ctrl.LoggerFrom(ctx).Error(err, "what there is to do was not found out; trying again")
				}
				return err == nil, nil
			})
		}()
		return nil
	})
}
