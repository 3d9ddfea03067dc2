package controlplane_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/testing/controlplane"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

// What Latchkey and its tests expect of kube-controller-manager works with the few
// controllers of it that the control plane has.
func TestControllers(t *testing.T) {
	c := clientOf(t, startWithControllers(t))
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "tenant"}}
	create(t, c, namespace)

	t.Run("a quota limits a kind of Latchkey's", func(t *testing.T) { testQuota(t, c, namespace.Name) })
	t.Run("a namespace has its ServiceAccount", func(t *testing.T) {
		testenv.Eventually(t, func() error {
			return c.Get(t.Context(), client.ObjectKey{Namespace: namespace.Name, Name: "default"}, &corev1.ServiceAccount{})
		})
	})
	t.Run("what an owner leaves is collected", func(t *testing.T) { testGarbage(t, c, namespace.Name) })
	t.Run("a deleted namespace ends", func(t *testing.T) {
		if err := c.Delete(t.Context(), namespace); err != nil {
			t.Fatal(err)
		}
		testenv.Eventually(t, gone(t, c, namespace))
	})
}

func testQuota(t *testing.T, c client.Client, namespace string) {
	const limited = "count/apitokens.latchkey.dev"
	quota := &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "tokens"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{limited: resource.MustParse("2")}},
	}
	create(t, c, quota)
	used := func(want int64) func() error {
		return func() error {
			if err := c.Get(t.Context(), client.ObjectKeyFromObject(quota), quota); err != nil {
				return err
			}
			if used, ok := quota.Status.Used[limited]; !ok || used.Value() != want {
				return fmt.Errorf("the status is %+v, want %d used", quota.Status, want)
			}
			return nil
		}
	}
	testenv.Eventually(t, used(0))
	token := func(name string) *v1alpha1.ApiToken {
		return &v1alpha1.ApiToken{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	}
	create(t, c, token("first"))
	create(t, c, token("second"))
	if err := c.Create(t.Context(), token("third")); !apierrors.IsForbidden(err) {
		t.Fatalf("a third token: %v; want it forbidden", err)
	}
	if err := c.Delete(t.Context(), token("first")); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, used(1)) // counted again
	create(t, c, token("third"))
}

func testGarbage(t *testing.T, c client.Client, namespace string) {
	owner := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "owner"}}
	create(t, c, owner)
	owned := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
		Namespace: namespace, Name: "owned",
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: owner.Name, UID: owner.UID}},
	}}
	create(t, c, owned)
	if err := c.Delete(t.Context(), owner); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, gone(t, c, owned))
}

func startWithControllers(t *testing.T) *controlplane.ControlPlane {
	t.Helper()
	binaries, err := controlplane.Binaries()
	if err != nil {
		t.Fatal(err)
	}
	plane, err := controlplane.Start(t.Context(), controlplane.Options{Binaries: binaries, Dir: t.TempDir(), Controllers: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := plane.Stop(); err != nil {
			t.Error(err)
		}
	})
	tokens := filepath.Join(controlplane.Root(), "config", "crd", "bases", "latchkey.dev_apitokens.yaml")
	if _, err := envtest.InstallCRDs(plane.Config, envtest.CRDInstallOptions{Paths: []string{tokens}}); err != nil {
		t.Fatal(err)
	}
	return plane
}

func clientOf(t *testing.T, plane *controlplane.ControlPlane) client.Client {
	t.Helper()
	c, err := client.New(plane.Config, client.Options{Scheme: testenv.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func create(t *testing.T, c client.Client, object client.Object) {
	t.Helper()
	if err := c.Create(t.Context(), object); err != nil {
		t.Fatal(err)
	}
}

// gone is the condition that the object is no longer there.
func gone(t *testing.T, c client.Client, object client.Object) func() error {
	return func() error {
		err := c.Get(t.Context(), client.ObjectKeyFromObject(object), object)
		if err == nil {
			return errors.New(object.GetName() + " is still there")
		}
		return client.IgnoreNotFound(err)
	}
}
