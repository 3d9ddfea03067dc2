// Package uninstall runs the commands of docs/guides/install.md: an installation
// comes, works, and goes, with nothing of ours left and nothing of theirs lost.
package uninstall

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/controllers"
	"github.com/latchkey-dev/latchkey/controllers/tenant"
	"github.com/latchkey-dev/latchkey/internal/testing/controlplane"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

// cleanupLimit is how long Kubernetes may take to end namespaces and what they held. Its
// garbage collector looks for kinds that came or went only every 30 seconds.
const cleanupLimit = 2 * time.Minute

// cluster is an empty one, with the guide's commands at hand.
type cluster struct {
	*controlplane.ControlPlane
	client.Client
	dir, path string
}

func start(t *testing.T) *cluster {
	t.Helper()
	ctrllog.SetLogger(logr.Discard())
	binaries, err := controlplane.Binaries()
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{dir: t.TempDir(), path: binaries}
	c.ControlPlane, err = controlplane.Start(t.Context(), controlplane.Options{Binaries: binaries, Dir: c.dir, Controllers: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	if c.Client, err = client.New(c.Config, client.Options{Scheme: testenv.Scheme}); err != nil {
		t.Fatal(err)
	}
	if err := c.WriteKubeconfig(filepath.Join(c.dir, "kubeconfig")); err != nil {
		t.Fatal(err)
	}
	return c
}

// sh runs a script in a folder that has a dist/ of its own.
func (c *cluster) sh(t *testing.T, script string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), "KUBECONFIG="+filepath.Join(c.dir, "kubeconfig"), "PATH="+c.path+":"+os.Getenv("PATH"),
		"KUBECACHEDIR="+filepath.Join(c.dir, "cache"), "KUBERC=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, script, out)
	}
}

// distribute makes what a release has, as version 0.1.0.
func (c *cluster) distribute(t *testing.T) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", "hack/dist-manifests.sh")
	cmd.Dir, cmd.Env = controlplane.Root(), append(os.Environ(), "DIST="+filepath.Join(c.dir, "dist"), "VERSION=v0.1.0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// guide returns the commands below a heading of the guide, a block each.
func guide(t *testing.T, heading string) []string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(controlplane.Root(), "docs", "guides", "install.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(content), "\n## "+heading+"\n")
	if !found {
		t.Fatalf("the guide has no section %s", heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var blocks []string
	for _, match := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(section, -1) {
		blocks = append(blocks, match[1])
	}
	return blocks
}

// runManager runs the controllers with the rights that were installed.
func (c *cluster) runManager(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	config, err := c.ServiceAccountConfig(ctx, v1alpha1.SystemNamespace, "latchkey-manager", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	mgr, err := controllers.NewManager(ctx, config, controllers.Options{
		Tenant: tenant.Config{
			BaseDomain: "example.com", SystemNamespace: v1alpha1.SystemNamespace, TokenPrefix: v1alpha1.DefaultTokenPrefix,
			Ingress: tenant.IngressConfig{Service: "latchkey-apiserver", PortalService: "latchkey-portal", Port: 80},
		},
		RecordsNamespace: v1alpha1.RecordsNamespace, LeaderElection: true,
		MetricsAddress: "0", HealthAddress: "0", Logger: logr.Discard(), SkipNameValidation: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	return stop
}

func (c *cluster) create(t *testing.T, objects ...client.Object) {
	t.Helper()
	for _, object := range objects {
		if err := c.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
}

// snapshot is all that the API server has, by kind and name, but for what
// Kubernetes writes of its own accord.
func (c *cluster) snapshot(t *testing.T) []string {
	t.Helper()
	_, lists, err := discovery.NewDiscoveryClientForConfigOrDie(c.Config).ServerGroupsAndResources()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			t.Fatal(err)
		}
		for _, resource := range list.APIResources {
			if !slices.Contains(resource.Verbs, "list") || slices.Contains([]string{"Event", "Lease", "ControllerRevision", "ComponentStatus"}, resource.Kind) {
				continue
			}
			objects := &unstructured.UnstructuredList{}
			objects.SetGroupVersionKind(gv.WithKind(resource.Kind + "List"))
			if err := c.List(t.Context(), objects); err != nil {
				t.Fatalf("list %s: %v", resource.Name, err)
			}
			for _, object := range objects.Items {
				all = append(all, fmt.Sprintf("%s %s/%s", object.GetKind(), object.GetNamespace(), object.GetName()))
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func theirs(namespace string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "theirs"}}
}

func TestUninstall(t *testing.T) {
	c := start(t)
	c.distribute(t)
	// What was there before: a namespace that a tenant may use, and one that is
	// nobody's business.
	c.create(t,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "globex-apps", Labels: map[string]string{v1alpha1.LabelAllowTenant: "globex"}}}, theirs("globex-apps"),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}, theirs("shop"),
		&networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "acme"}, Spec: networkingv1.IngressSpec{
			Rules: []networkingv1.IngressRule{{Host: "acme.example.com"}},
		}})
	before := c.snapshot(t)

	for _, block := range guide(t, "With one file") {
		c.sh(t, block)
	}
	c.sh(t, "kubectl wait --for=condition=Established crd --all --timeout=1m")
	stop := c.runManager(t)
	c.create(t, &v1alpha1.PublicApi{ObjectMeta: metav1.ObjectMeta{Name: "default"}, Spec: v1alpha1.PublicApiSpec{Backend: v1alpha1.Backend{URL: "http://127.0.0.1:9"}}})
	for name, namespace := range map[string]string{"acme": "tenant-acme", "globex": "globex-apps", "initech": "tenant-initech"} {
		c.create(t, &v1alpha1.Tenant{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.TenantSpec{
			Namespace: namespace, Members: []v1alpha1.Member{{Kind: v1alpha1.MemberUser, Name: "ann"}},
		}})
		c.sh(t, "kubectl wait --for=condition=Ready --timeout=1m tenant/"+name)
		c.create(t, &v1alpha1.ApiToken{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "ci"}})
	}
	c.create(t, theirs("tenant-acme"), theirs("tenant-initech"))

	blocks := guide(t, "Uninstall")
	if len(blocks) != 5 {
		t.Fatalf("the guide has %d blocks", len(blocks))
	}
	for i, block := range blocks {
		c.sh(t, block)
		if i == 0 {
			stop() // as the command stopped the pods
		}
	}

	// tenant-acme was let go; Kubernetes gives every namespace a ServiceAccount.
	kept := []string{"Namespace /tenant-acme", "ConfigMap tenant-acme/theirs", "ServiceAccount tenant-acme/default"}
	want := append(slices.Clone(before), kept...)
	slices.Sort(want)
	testenv.Within(t, cleanupLimit, func() error {
		if after := c.snapshot(t); !slices.Equal(want, after) {
			return fmt.Errorf("left over: %v; lost: %v", without(after, want), without(want, after))
		}
		return nil
	})
	for _, name := range []string{"tenant-acme", "globex-apps"} {
		namespace := &corev1.Namespace{}
		if err := c.Get(t.Context(), client.ObjectKey{Name: name}, namespace); err != nil {
			t.Fatal(err)
		}
		if content := fmt.Sprint(namespace.Labels, namespace.Annotations, namespace.OwnerReferences); strings.Contains(content, "latchkey") {
			t.Errorf("namespace %s still has %s", name, content)
		}
	}
}

func without(all, those []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return slices.Contains(those, s) })
}

// Helm installs, upgrades and removes; the CRDs stay until they are deleted too.
func TestHelm(t *testing.T) {
	c := start(t)
	c.distribute(t)
	before := c.snapshot(t)
	tool := filepath.Join(controlplane.Root(), "hack", "tools", "helm", "go.mod")
	helm := filepath.Join(c.dir, "helm")
	script := fmt.Sprintf("#!/bin/sh\ncd '%s/dist'\nexec $(cd '%s' && go tool -modfile='%s' -n helm) \"$@\"\n", c.dir, controlplane.Root(), tool)
	if err := os.WriteFile(helm, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	c.path = c.dir + ":" + c.path
	for _, variable := range []string{"HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"} {
		t.Setenv(variable, filepath.Join(c.dir, "helm-home"))
	}

	for _, block := range guide(t, "With Helm") {
		c.sh(t, strings.ReplaceAll(block, "dist/", ""))
	}
	config := &corev1.ConfigMap{}
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: "latchkey-settings"}, config); err != nil || config.Data["BASE_DOMAIN"] != "example.com" {
		t.Fatalf("the settings are %v: %v", config.Data, err)
	}
	c.sh(t, "kubectl wait --for=condition=Established crd --all --timeout=1m")
	c.create(t, &v1alpha1.Tenant{ObjectMeta: metav1.ObjectMeta{Name: "acme"}})
	c.sh(t, "helm upgrade latchkey latchkey-0.1.0.tgz --reuse-values --set routing=none")
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(config), config); err != nil || config.Data["ROUTING"] != "none" || config.Data["BASE_DOMAIN"] != "example.com" {
		t.Fatalf("after the upgrade the settings are %v: %v", config.Data, err)
	}

	c.sh(t, "helm uninstall latchkey")
	if err := c.Get(t.Context(), client.ObjectKey{Name: "acme"}, &v1alpha1.Tenant{}); err != nil {
		t.Errorf("the Tenant went with the release: %v", err)
	}
	c.sh(t, "kubectl delete crd -l app.kubernetes.io/part-of=latchkey")
	testenv.Within(t, cleanupLimit, func() error {
		if after := c.snapshot(t); !slices.Equal(before, after) {
			return fmt.Errorf("left over: %v; lost: %v", without(after, before), without(before, after))
		}
		return nil
	})
}
