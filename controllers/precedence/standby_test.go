package precedence

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

func request(name string) reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Name: name}}
}

// Before its manager leads a controller collects nothing; what there was it looks at
// then, what somebody waits for and what happens meanwhile before the rest.
func TestBegin(t *testing.T) {
	q := priorityqueue.New[reconcile.Request]("test")
	defer q.ShutDown()
	elected, enqueued, fails := make(chan struct{}), make(chan struct{}), 1
	everything := func(_ context.Context, first, last func(...reconcile.Request)) error {
		if fails > 0 {
			fails--
			return errors.New("the cache can't be read")
		}
		last(request("a"), request("waited"), request("b"))
		first(request("waited"))
		last(request("end"))
		close(enqueued)
		return nil
	}
	if err := begin(elected, logr.Discard(), everything).Start(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	if n := q.Len(); n != 0 {
		t.Errorf("%d are enqueued before the manager leads", n)
	}
	close(elected)
	<-enqueued
	q.Add(request("happened"))
	var order []string
	for len(order) == 0 || order[len(order)-1] != "end" {
		next, _ := q.Get()
		order = append(order, next.Name)
		q.Done(next)
	}
	if want := []string{"waited", "happened", "a", "b", "end"}; !slices.Equal(order, want) {
		t.Errorf("a controller looks at %q, want %q", order, want)
	}
}

// One that never leads ends all the same, which goleak would tell.
func TestBeginEndsWithoutLeading(t *testing.T) {
	q := priorityqueue.New[reconcile.Request]("test")
	defer q.ShutDown()
	err := begin(make(chan struct{}), logr.Discard(), func(context.Context, func(...reconcile.Request), func(...reconcile.Request)) error {
		t.Error("it began, and never led")
		return nil
	}).Start(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
}

func TestLeading(t *testing.T) {
	elected := make(chan struct{})
	passes := leading(elected)
	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "a"}}
	for _, leads := range []bool{false, true} {
		if leads {
			close(elected)
		}
		for kind, passed := range map[string]bool{
			"create":  passes.Create(event.CreateEvent{Object: object}),
			"update":  passes.Update(event.UpdateEvent{ObjectOld: object, ObjectNew: object}),
			"delete":  passes.Delete(event.DeleteEvent{Object: object}),
			"generic": passes.Generic(event.GenericEvent{Object: object}),
		} {
			if passed != leads {
				t.Errorf("%s passes: %t, while the manager leads: %t", kind, passed, leads)
			}
		}
	}
}
