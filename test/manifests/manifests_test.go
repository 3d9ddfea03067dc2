package manifests

import (
	"bytes"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/internal/testing/controlplane"
)

// build is what kustomize makes of a folder below config.
func build(t *testing.T, folder string) []*unstructured.Unstructured {
	t.Helper()
	return decode(t, render(t, folder))
}

// render is build as YAML. Tests share what was rendered once.
func render(t *testing.T, folder string) []byte {
	t.Helper()
	return once(t, "config/"+folder, func() []byte { return kustomize(t, filepath.Join("config", folder)) })
}

// kustomize builds a folder.
func kustomize(t *testing.T, folder string) []byte {
	t.Helper()
	return output(t, tool(t, "hack/tools/go.mod", "kustomize"), "build", folder)
}

// tool returns the path of a program that a go.mod file pins. Go builds it if its cache
// does not have it. Starting the program through "go tool" takes longer than its work.
func tool(t *testing.T, modfile, name string) string {
	t.Helper()
	return string(once(t, name, func() []byte {
		return bytes.TrimSpace(output(t, "go", "tool", "-modfile="+modfile, "-n", name))
	}))
}

// made keeps the results of once, by name.
var made = map[string][]byte{}

// once returns what the first call with the name made. No test of this package that calls
// it runs beside another.
func once(t *testing.T, name string, makes func() []byte) []byte {
	t.Helper()
	if _, there := made[name]; !there {
		made[name] = makes()
	}
	return made[name]
}

// output runs a program in the checkout.
func output(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	out, stderr, err := run(t, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, stderr)
	}
	return out
}

func run(t *testing.T, name string, args ...string) (stdout []byte, stderr string, err error) {
	t.Helper()
	var out, said bytes.Buffer
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = controlplane.Root(), &out, &said
	err = cmd.Run()
	return out.Bytes(), said.String(), err
}

func decode(t *testing.T, content []byte) []*unstructured.Unstructured {
	t.Helper()
	var objects []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(content), 4096)
	for {
		object := &unstructured.Unstructured{}
		switch err := decoder.Decode(object); {
		case errors.Is(err, io.EOF):
			return objects
		case err != nil:
			t.Fatal(err)
		case len(object.Object) > 0:
			objects = append(objects, object)
		}
	}
}

// The API server takes every object, with no field that it does not know.
func TestManifestsAreAccepted(t *testing.T) {
	strict := client.WithFieldValidation(env().Client, metav1.FieldValidationStrict)
	for _, folder := range []string{"default", "samples/platform"} {
		objects := build(t, folder)
		if len(objects) == 0 {
			t.Errorf("config/%s is empty", folder)
		}
		for _, object := range objects {
			apply := client.ApplyConfigurationFromUnstructured(object)
			if err := strict.Apply(t.Context(), apply, client.DryRunAll, client.FieldOwner("test"), client.ForceOwnership); err != nil {
				t.Errorf("%s %s/%s: %v", object.GetKind(), object.GetNamespace(), object.GetName(), err)
			}
		}
	}
}

// All that is installed carries the label by which it is found again.
func TestManifestsAreLabelled(t *testing.T) {
	for _, object := range build(t, "chart") {
		if object.GetLabels()["app.kubernetes.io/part-of"] != "latchkey" {
			t.Errorf("%s %s has the labels %v", object.GetKind(), object.GetName(), object.GetLabels())
		}
	}
}

func deployments(t *testing.T) map[string]*appsv1.Deployment {
	t.Helper()
	all := map[string]*appsv1.Deployment{}
	for _, object := range build(t, "default") {
		if object.GetKind() == "Deployment" {
			d := &appsv1.Deployment{}
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, d); err != nil {
				t.Fatal(err)
			}
			all[d.Name] = d
		}
	}
	if len(all) != 3 {
		t.Fatalf("there are %d Deployments, want 3", len(all))
	}
	return all
}

// Pods start in a namespace that enforces the restricted Pod Security Standard, and
// the API server's check does work there.
func TestPodsAreRestricted(t *testing.T) {
	const namespace = "restricted"
	ensure(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace, Labels: map[string]string{
		"pod-security.kubernetes.io/enforce": "restricted",
	}}})
	for name, d := range deployments(t) {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: d.Spec.Template.Spec}
		pod.Spec.ServiceAccountName = ""
		if err := env().Client.Create(t.Context(), pod.DeepCopy(), client.DryRunAll); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		pod.Spec.Containers[0].SecurityContext.AllowPrivilegeEscalation = new(true)
		if err := env().Client.Create(t.Context(), pod, client.DryRunAll); !apierrors.IsForbidden(err) {
			t.Errorf("%s with privilege escalation: %v, want it forbidden", name, err)
		}
	}
}

// No request is lost when pods are replaced: a new one is ready first, and an old
// one has the time to drain.
func TestDeploymentsRollWithoutAGap(t *testing.T) {
	for name, d := range deployments(t) {
		rolling := d.Spec.Strategy.RollingUpdate
		container := d.Spec.Template.Spec.Containers[0]
		if *d.Spec.Replicas < 2 || rolling == nil || rolling.MaxUnavailable.IntValue() != 0 || rolling.MaxSurge.IntValue() != 1 {
			t.Errorf("%s: replicas %d, strategy %+v", name, *d.Spec.Replicas, rolling)
		}
		if container.ReadinessProbe == nil || container.LivenessProbe == nil || container.StartupProbe == nil {
			t.Errorf("%s: a probe is missing", name)
		}
		if !*container.SecurityContext.ReadOnlyRootFilesystem {
			t.Errorf("%s: its root can be written", name)
		}
		if len(container.Resources.Requests) == 0 || len(container.Resources.Limits) == 0 {
			t.Errorf("%s: resources are %+v", name, container.Resources)
		}
	}
}

// Each Deployment has a surface, an account, a Service and a budget of its own.
func TestSurfacesAreApart(t *testing.T) {
	all := deployments(t)
	for name, flag := range map[string]string{"latchkey-apiserver": "--surfaces=api", "latchkey-portal": "--surfaces=portal"} {
		pod := all[name].Spec.Template
		if got := pod.Spec.Containers[0].Args[0]; got != flag || pod.Spec.ServiceAccountName != name {
			t.Errorf("%s runs with %s as %s", name, got, pod.Spec.ServiceAccountName)
		}
	}
	for _, object := range build(t, "default") {
		var selector map[string]string
		switch object.GetKind() {
		case "Service":
			selector, _, _ = unstructured.NestedStringMap(object.Object, "spec", "selector")
		case "PodDisruptionBudget":
			selector, _, _ = unstructured.NestedStringMap(object.Object, "spec", "selector", "matchLabels")
		default:
			continue
		}
		pods := all[object.GetName()].Spec.Template.Labels
		if len(selector) != 1 || selector["app.kubernetes.io/name"] != pods["app.kubernetes.io/name"] {
			t.Errorf("%s %s selects %v, its pods have %v", object.GetKind(), object.GetName(), selector, pods)
		}
	}
}
