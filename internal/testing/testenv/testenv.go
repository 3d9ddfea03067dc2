// Package testenv gives a package's tests a real control plane with Latchkey's
// CRDs and RBAC. It starts when a test first asks for it.
package testenv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/util/yaml"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/testing/check"
	"github.com/latchkey-dev/latchkey/internal/testing/controlplane"
)

// Environment is a control plane with Latchkey's CRDs, namespaces and RBAC.
type Environment struct {
	*controlplane.ControlPlane
	// Client is an administrator's, without a cache.
	Client client.WithWatch
	// Binaries is the folder with the control plane's binaries and kubectl.
	Binaries string
	// Dir is a folder for the tests' files; it is removed at the end.
	Dir string
}

// Scheme knows Kubernetes' own kinds and Latchkey's.
var Scheme = func() *runtime.Scheme {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	return scheme
}()

// Run is for TestMain: it runs the tests and returns the exit code. Where the tests
// call env, the first call starts the environment and every call returns it; Run stops
// it after the last test, or when the process is told to end. Tests that do not call env
// cost no control plane.
func Run(m *testing.M, env *func() *Environment, options controlplane.Options) (code int) {
	// etcd and kube-apiserver are in process groups of their own: Ctrl-C does not reach them.
	told, release := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	var started atomic.Pointer[Environment]
	stop := sync.OnceValue(func() error {
		if e := started.Load(); e != nil {
			return errors.Join(e.Stop(), os.RemoveAll(e.Dir))
		}
		return nil
	})
	forget := context.AfterFunc(told, func() {
		if err := stop(); err != nil {
			fmt.Fprintln(os.Stderr, "testenv:", err)
		}
		os.Exit(1)
	})
	*env = sync.OnceValue(func() *Environment {
		e, err := start(told, options)
		if err != nil {
			// No later test could do better, and this one may not have a testing.T at hand.
			panic(fmt.Errorf("testenv: the control plane did not start: %w", err))
		}
		started.Store(e)
		return e
	})
	defer func() {
		forget()
		release()
		if err := stop(); err != nil {
			fmt.Fprintln(os.Stderr, "testenv:", err)
			code = 1
		}
	}()
	return m.Run()
}

func start(ctx context.Context, options controlplane.Options) (env *Environment, err error) {
	env = &Environment{}
	if env.Binaries, err = controlplane.Binaries(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "latchkey-test-")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	env.Dir, options.Binaries, options.Dir = dir, env.Binaries, dir
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	if env.ControlPlane, err = controlplane.Start(ctx, options); err != nil {
		return nil, err
	}
	if env.Client, err = client.NewWithWatch(env.Config, client.Options{Scheme: Scheme}); err != nil {
		return nil, errors.Join(err, env.Stop())
	}
	if err := env.install(ctx); err != nil {
		return nil, errors.Join(err, env.Stop())
	}
	return env, nil
}

// install applies what an installation has besides its Deployments.
func (e *Environment) install(ctx context.Context) error {
	for _, namespace := range []string{v1alpha1.SystemNamespace, v1alpha1.RecordsNamespace} {
		object := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
		if err := e.Client.Create(ctx, object); err != nil {
			return err
		}
	}
	for _, dir := range []string{"config/crd/bases", "config/rbac"} {
		files, err := filepath.Glob(filepath.Join(controlplane.Root(), dir, "*.yaml"))
		if err != nil {
			return err
		}
		for _, file := range files {
			if filepath.Base(file) == "kustomization.yaml" {
				continue
			}
			if err := e.ApplyFile(ctx, file); err != nil {
				return err
			}
		}
	}
	return e.waitForKinds(ctx)
}

// Create creates an object, and deletes it when the test ends.
func (e *Environment) Create(t testing.TB, object client.Object) {
	t.Helper()
	check.Must(t, e.Client.Create(t.Context(), object))
	t.Cleanup(func() {
		if err := client.IgnoreNotFound(e.Client.Delete(context.Background(), object)); err != nil {
			t.Error(err)
		}
	})
}

// ApplyFile applies every document of a YAML file.
func (e *Environment) ApplyFile(ctx context.Context, file string) error {
	reader, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { _ = reader.Close() }()
	decoder := yaml.NewYAMLOrJSONDecoder(reader, 4096)
	for {
		object := &unstructured.Unstructured{}
		if err := decoder.Decode(object); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if len(object.Object) == 0 {
			continue
		}
		apply := client.ApplyConfigurationFromUnstructured(object)
		if err := e.Client.Apply(ctx, apply, client.FieldOwner("testenv"), client.ForceOwnership); err != nil {
			return fmt.Errorf("%s: %s %s: %w", file, object.GetKind(), object.GetName(), err)
		}
	}
}

func (e *Environment) waitForKinds(ctx context.Context) error {
	lists := []client.ObjectList{&v1alpha1.PublicApiList{}, &v1alpha1.TenantList{}, &v1alpha1.ApiTokenList{}}
	return wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		for _, list := range lists {
			if err := e.Client.List(ctx, list); err != nil {
				return false, ignoreNotServed(err)
			}
		}
		return true, nil
	})
}

func ignoreNotServed(err error) error {
	if apierrors.IsNotFound(err) || apierrors.IsServiceUnavailable(err) || meta.IsNoMatchError(err) {
		return nil
	}
	return err
}

// Patience is how long Eventually waits. What tests wait for takes milliseconds, or a few
// seconds where a watch has to be set up again. A minute leaves room for a machine that is
// busy with other tests and still reports a failure soon. A package that waits for something
// slower throughout sets another limit in TestMain and says why.
var Patience = time.Minute

// Eventually polls the condition until it returns nil. When Patience is over it fails the
// test with the condition's last error.
func Eventually(t testing.TB, condition func() error) {
	t.Helper()
	Within(t, Patience, condition)
}

// Within is Eventually with a limit of its own. The caller says why it needs another one.
func Within(t testing.TB, limit time.Duration, condition func() error) {
	t.Helper()
	started, last := time.Now(), error(nil)
	err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, limit, true, func(context.Context) (bool, error) {
		last = condition()
		return last == nil, nil
	})
	switch {
	case err == nil:
	case t.Context().Err() != nil:
		t.Fatalf("the test ended after %s of waiting: %v", time.Since(started).Round(time.Millisecond), last)
	default:
		t.Fatalf("not within %s: %v", limit, last)
	}
}
