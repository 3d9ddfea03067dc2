// Package precedence says what a controller looks at first, where controller-runtime's
// priority queue has no better answer than the kind of event: there, what is listed at
// the start comes after everything that happens later (handler.LowPriority), and all else
// in its turn. And it has a controller begin at once when its manager begins to lead.
package precedence

import (
	"context"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// NotListed leaves out what is listed when a controller starts. It is for a kind on which
// objects of another depend that are all looked at then anyway: to look up each one's
// dependents would only make these wait.
var NotListed = predicate.Funcs{CreateFunc: func(e event.CreateEvent) bool { return !e.IsInInitialList }}

// Behind maps what happens to one object to the many that depend on it, which come after
// all that somebody waits for.
func Behind(dependents handler.MapFunc) handler.EventHandler {
	behind := func(ctx context.Context, object client.Object, q queue) {
		add(q, handler.LowPriority, dependents(ctx, object)...)
	}
	return handler.Funcs{
		CreateFunc:  func(ctx context.Context, e event.CreateEvent, q queue) { behind(ctx, e.Object, q) },
		DeleteFunc:  func(ctx context.Context, e event.DeleteEvent, q queue) { behind(ctx, e.Object, q) },
		GenericFunc: func(ctx context.Context, e event.GenericEvent, q queue) { behind(ctx, e.Object, q) },
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) {
			behind(ctx, e.ObjectOld, q)
			behind(ctx, e.ObjectNew, q)
		},
	}
}

// add enqueues requests at a priority, which the queue raises and never lowers.
func add(q queue, priority int, requests ...reconcile.Request) {
	if ordered, ok := q.(priorityqueue.PriorityQueue[reconcile.Request]); ok {
		ordered.AddWithOpts(priorityqueue.AddOpts{Priority: &priority}, requests...)
		return
	}
	for _, r := range requests {
		q.Add(r)
	}
}
