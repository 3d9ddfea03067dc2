package attentive

import (
	"context"
	"fmt"
	"sync/atomic"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// RestoreGuard lists and watches for a reflector that must not miss that etcd was restored
// from an older copy. A reflector resumes its watch at the resource version that it holds.
// After a restore the store may not have reached that version yet: kube-apiserver accepts
// the watch, sends bookmarks, and never sends an event up to that version. The reflector
// would keep objects that the store no longer has, and miss changes such as revocations.
//
// So a watch resumes only if its first attempt succeeds and the store is at least as new as
// the version that the reflector holds. Otherwise the reflector starts over with a list.
// Comparing versions alone is not enough, because the restored store passes the held version
// sooner or later. The first attempt is the other sign: a store is restored while every
// kube-apiserver is stopped, so that watches have ended and attempts to resume them fail.
//
// Every list is a consistent read, as new as the store: a list from a cache could be older
// than what the reflector holds.
type RestoreGuard struct {
	lister cache.ListerWatcherWithContext
	// watchListUnsupported reports that a watch can't begin with a list.
	watchListUnsupported bool
	// startOver is set until the next list.
	startOver atomic.Bool
}

// NewRestoreGuard returns a RestoreGuard around a ListerWatcher.
func NewRestoreGuard(lister cache.ListerWatcher) *RestoreGuard {
	g := &RestoreGuard{lister: cache.ToListerWatcherWithContext(lister)}
	if semantics, ok := lister.(interface{ IsWatchListSemanticsUnSupported() bool }); ok {
		g.watchListUnsupported = semantics.IsWatchListSemanticsUnSupported()
	}
	return g
}

// IsWatchListSemanticsUnSupported reports to the reflector that a watch can't begin with
// a list.
func (g *RestoreGuard) IsWatchListSemanticsUnSupported() bool { return g.watchListUnsupported }

// List implements cache.ListerWatcher.
func (g *RestoreGuard) List(o metav1.ListOptions) (runtime.Object, error) {
	return g.ListWithContext(context.Background(), o)
}

// Watch implements cache.ListerWatcher.
func (g *RestoreGuard) Watch(o metav1.ListOptions) (watch.Interface, error) {
	return g.WatchWithContext(context.Background(), o)
}

// ListWithContext implements cache.ListerWatcherWithContext.
func (g *RestoreGuard) ListWithContext(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
	o.ResourceVersion, o.ResourceVersionMatch = "", ""
	list, err := g.lister.ListWithContext(ctx, o)
	if err == nil {
		g.startOver.Store(false)
	}
	return list, err
}

// WatchWithContext implements cache.ListerWatcherWithContext. Its error is
// StatusReasonExpired where the reflector has to start over with a list.
func (g *RestoreGuard) WatchWithContext(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	if beginsWithList(o) {
		o.ResourceVersion = ""
		w, err := g.lister.WatchWithContext(ctx, o)
		if err == nil {
			g.startOver.Store(false)
		}
		return w, err
	}
	if g.startOver.Load() {
		return nil, apierrors.NewResourceExpired("an attempt to resume the watch failed: the store may have been restored meanwhile")
	}
	w, err := g.resume(ctx, o)
	// Any error counts, 429 too: kube-apiserver answers it not only while it is busy, but also
	// while its cache of a resource begins, as after a restart.
	if err != nil {
		g.startOver.Store(true)
	}
	return w, err
}

// resume opens the watch if the store is at least as new as the version that it asks for.
func (g *RestoreGuard) resume(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	if o.ResourceVersion == "" || o.ResourceVersion == "0" { // it begins with what there is
		return g.lister.WatchWithContext(ctx, o)
	}
	list, err := g.lister.ListWithContext(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return nil, err
	}
	read, err := meta.ListAccessor(list)
	if err != nil {
		return nil, fmt.Errorf("resource version of a list: %w", err)
	}
	stored := read.GetResourceVersion()
	// Where versions can't be compared, which Kubernetes itself no longer permits (KEP-5504),
	// an attempt that failed is the only sign of a restore.
	if order, err := resourceversion.CompareResourceVersion(stored, o.ResourceVersion); err == nil && order < 0 {
		return nil, apierrors.NewResourceExpired(fmt.Sprintf("the store is at resource version %q, and the watch at %q: the store was restored", stored, o.ResourceVersion))
	}
	return g.lister.WatchWithContext(ctx, o)
}

func beginsWithList(o metav1.ListOptions) bool {
	return o.SendInitialEvents != nil && *o.SendInitialEvents
}
