package precedence_test

import (
	"context"
	"slices"
	"testing"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/latchkey-dev/latchkey/controllers/precedence"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func object(name string) client.Object {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
}

func listed(name string) event.CreateEvent {
	return event.CreateEvent{Object: object(name), IsInInitialList: true}
}

func happened(name string) event.CreateEvent { return event.CreateEvent{Object: object(name)} }

// order is in what order a controller looks at what handlers enqueue, where it has to
// begin when all of it was.
func order(t *testing.T, enqueue func(ctx context.Context, q priorityqueue.PriorityQueue[reconcile.Request])) (names []string) {
	t.Helper()
	q := priorityqueue.New[reconcile.Request]("test")
	defer q.ShutDown()
	enqueue(t.Context(), q)
	last := reconcile.Request{NamespacedName: types.NamespacedName{Name: "last"}}
	q.AddWithOpts(priorityqueue.AddOpts{Priority: new(2 * handler.LowPriority)}, last)
	for {
		next, shutdown := q.Get()
		if shutdown || next == last {
			return names
		}
		names = append(names, next.Name)
		q.Done(next)
	}
}

func TestBehind(t *testing.T) {
	behind := precedence.Behind(func(_ context.Context, o client.Object) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: o.GetName() + "-1"}}, {NamespacedName: types.NamespacedName{Name: o.GetName() + "-2"}}}
	})
	for name, enqueue := range map[string]func(context.Context, priorityqueue.PriorityQueue[reconcile.Request]){
		"create": func(ctx context.Context, q priorityqueue.PriorityQueue[reconcile.Request]) {
			behind.Create(ctx, happened("api"), q)
		},
		"delete": func(ctx context.Context, q priorityqueue.PriorityQueue[reconcile.Request]) {
			behind.Delete(ctx, event.DeleteEvent{Object: object("api")}, q)
		},
		"generic": func(ctx context.Context, q priorityqueue.PriorityQueue[reconcile.Request]) {
			behind.Generic(ctx, event.GenericEvent{Object: object("api")}, q)
		},
		"update": func(ctx context.Context, q priorityqueue.PriorityQueue[reconcile.Request]) {
			behind.Update(ctx, event.UpdateEvent{ObjectOld: object("api"), ObjectNew: object("api")}, q)
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := order(t, func(ctx context.Context, q priorityqueue.PriorityQueue[reconcile.Request]) {
				enqueue(ctx, q)
				q.Add(reconcile.Request{NamespacedName: types.NamespacedName{Name: "asked"}})
			})
			if want := []string{"asked", "api-1", "api-2"}; !slices.Equal(got, want) {
				t.Errorf("a controller looks at %q, want %q", got, want)
			}
		})
	}
}

// An update is about what depended on the object before, too.
func TestBehindBothStates(t *testing.T) {
	behind := precedence.Behind(func(_ context.Context, o client.Object) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: "of-" + o.GetName()}}}
	})
	got := order(t, func(ctx context.Context, q priorityqueue.PriorityQueue[reconcile.Request]) {
		behind.Update(ctx, event.UpdateEvent{ObjectOld: object("old"), ObjectNew: object("new")}, q)
	})
	if want := []string{"of-old", "of-new"}; !slices.Equal(got, want) {
		t.Errorf("a controller looks at %q, want %q", got, want)
	}
}

func TestNotListed(t *testing.T) {
	if precedence.NotListed.Create(listed("a")) {
		t.Error("what is listed passes")
	}
	if !precedence.NotListed.Create(happened("a")) {
		t.Error("what happens later does not pass")
	}
	if !precedence.NotListed.Update(event.UpdateEvent{ObjectOld: object("a"), ObjectNew: object("a")}) || !precedence.NotListed.Delete(event.DeleteEvent{Object: object("a")}) {
		t.Error("a change does not pass")
	}
}
