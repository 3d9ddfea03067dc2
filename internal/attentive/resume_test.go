package attentive_test

import (
	"context"
	"errors"
	"maps"
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/latchkey-dev/latchkey/internal/attentive"
)

// etcd is the store of a fakeServer. As with the real one, a watch that begins at a version
// says nothing of what is not newer.
type etcd struct {
	version int
	// changed has the version of each object's last change.
	changed map[string]int
}

func (e *etcd) put(name string) {
	e.version++
	e.changed[name] = e.version
}

func (e *etcd) copied() *etcd {
	return &etcd{e.version, maps.Clone(e.changed)}
}

// fakeServer is a kube-apiserver: a cache.ListerWatcher that can be down, and restored.
type fakeServer struct {
	mu      sync.Mutex
	etcd    *etcd
	refuses error
	watches []*watch.RaceFreeFakeWatcher
	// lists counts whole lists.
	lists int
	// versionOf formats versions; as Kubernetes does unless set.
	versionOf func(int) string
}

func newFakeServer(objects ...string) *fakeServer {
	s := &fakeServer{etcd: &etcd{version: 100, changed: map[string]int{}}, versionOf: strconv.Itoa}
	for _, name := range objects {
		s.etcd.put(name)
	}
	return s
}

func (s *fakeServer) List(metav1.ListOptions) (runtime.Object, error) { panic("without a context") }
func (s *fakeServer) Watch(metav1.ListOptions) (watch.Interface, error) {
	panic("without a context")
}
func (*fakeServer) IsWatchListSemanticsUnSupported() bool { return true }

func (s *fakeServer) ListWithContext(_ context.Context, o metav1.ListOptions) (runtime.Object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.refuses != nil:
		return nil, s.refuses
	case o.ResourceVersion != "" || o.ResourceVersionMatch != "":
		return nil, errors.New("a list from a cache, which may be old")
	}
	list := &corev1.ConfigMapList{ListMeta: metav1.ListMeta{ResourceVersion: s.versionOf(s.etcd.version)}}
	for name, version := range s.etcd.changed {
		if o.Limit > 0 && int64(len(list.Items)) == o.Limit {
			return list, nil
		}
		list.Items = append(list.Items, *s.object(name, version))
	}
	if o.Limit != 1 {
		s.lists++
	}
	return list, nil
}

func (s *fakeServer) WatchWithContext(_ context.Context, o metav1.ListOptions) (watch.Interface, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuses != nil {
		return nil, s.refuses
	}
	from, err := strconv.Atoi(strings.TrimPrefix(o.ResourceVersion, "v"))
	if err != nil {
		return nil, err
	}
	w := watch.NewRaceFreeFake()
	for name, version := range s.etcd.changed {
		if version > from {
			w.Modify(s.object(name, version))
		}
	}
	s.watches = append(s.watches, w)
	return w, nil
}

func (s *fakeServer) object(name string, version int) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, ResourceVersion: s.versionOf(version)}}
}

// change has the watches say that an object has changed.
func (s *fakeServer) change(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.etcd.put(name)
	for _, w := range s.watches {
		w.Modify(s.object(name, s.etcd.version))
	}
}

// disconnect ends the watches, and refuses requests where there is an error.
func (s *fakeServer) disconnect(refuses error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuses = refuses
	for _, w := range s.watches {
		w.Stop()
	}
	s.watches = nil
}

// serve accepts requests again, from a store.
func (s *fakeServer) serve(e *etcd) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.etcd, s.refuses = e, nil
}

func (s *fakeServer) wholeLists() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lists
}

var errRefused = &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}

// A reflector never keeps what a restored store does not have, and lists nothing anew where
// a watch can resume.
func TestReflectorAfterARestore(t *testing.T) {
	const incomparable = "versions that can't be compared"
	for name, tc := range map[string]struct {
		// happens is between the watch's end and the next attempt to resume it.
		happens func(s *fakeServer, snapshot *etcd)
		// anew is set where everything has to be listed anew.
		anew bool
	}{
		"a watch that ends": {
			func(s *fakeServer, _ *etcd) { s.disconnect(nil) }, false,
		},
		"a server that is busy": {
			func(s *fakeServer, _ *etcd) {
				s.disconnect(apierrors.NewTooManyRequests("busy", 1))
				synctest.Wait()
				s.serve(s.etcd)
			}, true,
		},
		"a server whose cache begins, and a restored store that has passed the version": {
			func(s *fakeServer, snapshot *etcd) {
				s.disconnect(apierrors.NewTooManyRequests("storage is (re)initializing", 1))
				synctest.Wait()
				snapshot.version += 1000
				s.serve(snapshot)
			}, true,
		},
		"a server that restarts": {
			func(s *fakeServer, _ *etcd) {
				s.disconnect(errRefused)
				synctest.Wait()
				s.serve(s.etcd)
			}, true,
		},
		"a restored store": {
			func(s *fakeServer, snapshot *etcd) {
				s.disconnect(errRefused)
				synctest.Wait()
				s.serve(snapshot)
			}, true,
		},
		"a restored store that has passed the version": {
			func(s *fakeServer, snapshot *etcd) {
				s.disconnect(errRefused)
				synctest.Wait()
				snapshot.version += 1000
				s.serve(snapshot)
			}, true,
		},
		"a restored store, and no attempt that failed": {
			func(s *fakeServer, snapshot *etcd) {
				s.serve(snapshot)
				s.disconnect(nil)
			}, true,
		},
		incomparable: {
			func(s *fakeServer, _ *etcd) {
				s.disconnect(nil)
			}, false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, held := newFakeServer("kept"), cache.NewStore(cache.MetaNamespaceKeyFunc)
				if name == incomparable {
					s.versionOf = func(v int) string { return "v" + strconv.Itoa(v) }
				}
				reflector := cache.NewReflectorWithOptions(attentive.NewRestoreGuard(s), &corev1.ConfigMap{}, held, cache.ReflectorOptions{})
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan struct{})
				go func() { defer close(ended); reflector.RunWithContext(ctx) }()
				defer func() { cancel(); s.disconnect(nil); <-ended }()
				synctest.Wait()
				snapshot := s.etcd.copied()
				s.change("lost")
				synctest.Wait()
				if lists := s.wholeLists(); lists != 1 || len(held.List()) != 2 {
					t.Fatalf("%d objects after %d lists, want 2 after 1", len(held.List()), lists)
				}

				tc.happens(s, snapshot)
				waitForBackoff()
				s.change("later")
				synctest.Wait()
				want := maps.Clone(s.etcd.changed)
				for _, object := range held.List() {
					c := object.(*corev1.ConfigMap)
					version, known := want[c.Name]
					if !known || c.ResourceVersion != s.versionOf(version) {
						t.Errorf("the reflector holds %s at %s, the store has it at %d (%t)", c.Name, c.ResourceVersion, version, known)
					}
					delete(want, c.Name)
				}
				if len(want) > 0 {
					t.Errorf("the reflector lacks %v", want)
				}
				if anew := s.wholeLists() > 1; anew != tc.anew {
					t.Errorf("everything was listed anew: %t, want %t", anew, tc.anew)
				}
			})
		})
	}
}

// waitForBackoff lets the reflector make its next attempts.
func waitForBackoff() {
	time.Sleep(5 * time.Minute) // in a bubble of synctest
	synctest.Wait()
}
