package manifests

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/latchkey-dev/latchkey/internal/testing/controlplane"
)

// distribution makes install.yaml and the chart as a release does, once.
func distribution(t *testing.T) (installFile, chart string) {
	t.Helper()
	dir := filepath.Join(env().Dir, "dist")
	if _, err := os.Stat(dir); err != nil {
		distribute(t, dir)
	}
	return filepath.Join(dir, "install.yaml"), filepath.Join(dir, "latchkey-1.2.3.tgz")
}

func distribute(t *testing.T, dir string) {
	t.Helper()
	output(t, "env", "DIST="+dir, "VERSION=v1.2.3", "IMG=registry.example/latchkey", "bash", "hack/dist-manifests.sh")
}

// template renders the chart.
func template(t *testing.T, args ...string) (objects []*unstructured.Unstructured, stderr string, err error) {
	t.Helper()
	out, stderr, err := helm(t, append([]string{"template", "latchkey"}, args...)...)
	if err != nil {
		return nil, stderr, err
	}
	return decode(t, out), stderr, nil
}

func helm(t *testing.T, args ...string) (stdout []byte, stderr string, err error) {
	t.Helper()
	home := t.TempDir()
	return run(t, "env", append([]string{
		"HELM_CACHE_HOME=" + home, "HELM_CONFIG_HOME=" + home, "HELM_DATA_HOME=" + home, tool(t, "hack/tools/helm/go.mod", "helm"),
	}, args...)...)
}

var settingsHash = regexp.MustCompile(`latchkey-settings-[a-z0-9]{10}`)

// byName indexes objects, without what only one of the two ways to install has.
func byName(t *testing.T, objects []*unstructured.Unstructured) map[string]map[string]any {
	t.Helper()
	all := map[string]map[string]any{}
	for _, object := range objects {
		content, err := object.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		// kustomize's name of the settings has their hash; the chart's pods have it.
		if err := object.UnmarshalJSON(settingsHash.ReplaceAll(content, []byte("latchkey-settings"))); err != nil {
			t.Fatal(err)
		}
		pod := []string{"spec", "template", "metadata", "annotations"}
		unstructured.RemoveNestedField(object.Object, append(pod, "checksum/settings")...)
		if left, _, _ := unstructured.NestedMap(object.Object, pod...); len(left) == 0 {
			unstructured.RemoveNestedField(object.Object, pod...)
		}
		pullSecrets := []string{"spec", "template", "spec", "imagePullSecrets"}
		if secrets, _, _ := unstructured.NestedSlice(object.Object, pullSecrets...); len(secrets) == 0 {
			unstructured.RemoveNestedField(object.Object, pullSecrets...)
		}
		annotations := object.GetAnnotations()
		delete(annotations, "helm.sh/resource-policy")
		object.SetAnnotations(annotations)
		name := strings.Join([]string{object.GetKind(), object.GetNamespace(), object.GetName()}, "/")
		if _, twice := all[name]; twice {
			t.Errorf("%s is there twice", name)
		}
		all[name] = object.Object
	}
	return all
}

// The chart installs, object by object, what install.yaml does.
func TestChartInstallsTheSame(t *testing.T) {
	installFile, chart := distribution(t)
	content, err := os.ReadFile(installFile)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(content, []byte(":dev")) {
		t.Error("install.yaml has an image without its version")
	}
	want := byName(t, decode(t, content))
	objects, stderr, err := template(t, chart, "--namespace=anywhere", "--set=baseDomain=example.com")
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	for _, object := range objects {
		keep := object.GetAnnotations()["helm.sh/resource-policy"] == "keep"
		if keep != (object.GetKind() == "CustomResourceDefinition") {
			t.Errorf("%s %s stays after helm uninstall: %t", object.GetKind(), object.GetName(), keep)
		}
	}
	if diff := cmp.Diff(want, byName(t, objects)); diff != "" {
		t.Errorf("install.yaml (-) and the chart (+) differ:\n%s", diff)
	}
}

// What the chart adds to install.yaml is what the component has.
func TestChartWithPrometheus(t *testing.T) {
	_, chart := distribution(t)
	objects, stderr, err := template(t, chart, "--set=baseDomain=example.com,prometheus.enabled=true")
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	want, got := byName(t, build(t, "chart")), byName(t, objects)
	for _, all := range []map[string]map[string]any{want, got} {
		maps.DeleteFunc(all, func(name string, _ map[string]any) bool {
			return !strings.HasPrefix(name, "ServiceMonitor/") && !strings.HasPrefix(name, "PrometheusRule/")
		})
	}
	if diff := cmp.Diff(want, got); diff != "" || len(want) != 2 {
		t.Errorf("the component (-) and the chart (+) differ:\n%s", diff)
	}
}

// Every value reaches the place that it is for.
func TestChartValues(t *testing.T) {
	_, chart := distribution(t)
	objects, stderr, err := template(t, chart, "--namespace=latchkey-system",
		"--set=baseDomain=shop.test,routing=wildcard-ingress,ingress.class=traefik,ingress.tlsSecret=wildcard",
		"--set=trustedProxies={10.0.0.0/8,192.168.0.0/16}",
		"--set=oidc.issuerURL=https://id.example,oidc.clientID=latchkey,oidc.clientSecretFile=/etc/latchkey/oidc/client-secret,oidc.scopes={openid,email}",
		"--set=oidc.usernameClaim=email,oidc.usernamePrefix=-,oidc.groupsClaim=roles,oidc.groupsPrefix=id:,oidc.caFile=/etc/latchkey/oidc/ca.crt",
		"--set=oidc.trustPrompt=true,sessions.idle=10m,sessions.absolute=8h,sessions.recent=5m",
		"--set=images.manager=m:1,images.apiserver=a:1,imagePullSecrets[0].name=pull",
		"--set=replicas.manager=3,replicas.apiserver=4,replicas.portal=5,networkPolicies.enabled=false")
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	all := byName(t, objects)
	for name := range all {
		if strings.HasPrefix(name, "NetworkPolicy/") || name == "Namespace//latchkey-system" {
			t.Errorf("%s is there", name)
		}
	}
	settings, _, _ := unstructured.NestedStringMap(all["ConfigMap/latchkey-system/latchkey-settings"], "data")
	if diff := cmp.Diff(map[string]string{
		"BASE_DOMAIN": "shop.test", "ROUTING": "wildcard-ingress", "INGRESS_CLASS": "traefik", "INGRESS_TLS_SECRET": "wildcard",
		"INGRESS_CLUSTER_ISSUER": "", "TRUSTED_PROXIES": "10.0.0.0/8,192.168.0.0/16",
		"OIDC_ISSUER_URL": "https://id.example", "OIDC_CLIENT_ID": "latchkey", "OIDC_CLIENT_SECRET_FILE": "/etc/latchkey/oidc/client-secret",
		"OIDC_CA_FILE": "/etc/latchkey/oidc/ca.crt", "OIDC_SCOPES": "openid,email",
		"OIDC_USERNAME_CLAIM": "email", "OIDC_USERNAME_PREFIX": "-", "OIDC_GROUPS_CLAIM": "roles", "OIDC_GROUPS_PREFIX": "id:",
		"OIDC_TRUST_PROMPT": "true", "SESSION_IDLE": "10m", "SESSION_ABSOLUTE": "8h", "SESSION_RECENT": "5m",
	}, settings); diff != "" {
		t.Errorf("settings:\n%s", diff)
	}
	for name, want := range map[string]struct {
		image    string
		replicas int64
	}{"manager": {"m:1", 3}, "apiserver": {"a:1", 4}, "portal": {"a:1", 5}} {
		d := all["Deployment/latchkey-system/latchkey-"+name]
		replicas, _, _ := unstructured.NestedInt64(d, "spec", "replicas")
		containers, _, _ := unstructured.NestedSlice(d, "spec", "template", "spec", "containers")
		secrets, _, _ := unstructured.NestedSlice(d, "spec", "template", "spec", "imagePullSecrets")
		if image := containers[0].(map[string]any)["image"]; image != want.image || replicas != want.replicas || len(secrets) != 1 {
			t.Errorf("%s: image %v, replicas %d, pull secrets %v", name, image, replicas, secrets)
		}
	}
}

// What can't work is refused before anything is installed.
func TestChartRefusesWrongValues(t *testing.T) {
	_, chart := distribution(t)
	for values, says := range map[string]string{
		"":                                     "baseDomain",
		"baseDomain=not_a.name":                "baseDomain",
		"baseDomain=a.example,routing=gateway": "routing",
		"baseDomain=a.example,trustedProxies={10.0.0.1}":                   "trustedProxies",
		"baseDomain=a.example,baseDomian=b":                                "baseDomian",
		"baseDomain=a.example,ingress.tlsSecret=a,ingress.clusterIssuer=b": "ingress",
		"baseDomain=a.example,replicas.portal=-1":                          "replicas",
		"baseDomain=a.example,oidc.issuerURL=http://id.example":            "issuerURL",
		"baseDomain=a.example,oidc.issuerURL=https://id.example":           "clientID",
		"baseDomain=a.example,oidc.trustPrompt=perhaps":                    "trustPrompt",
		"baseDomain=a.example,sessions.idle=30":                            "idle",
		"baseDomain=a.example,sessions.absolute=1 day":                     "absolute",
		"baseDomain=a.example,sessions.recent=-5m":                         "recent",
	} {
		t.Run(values, func(t *testing.T) {
			t.Parallel()
			_, stderr, err := template(t, chart, "--set="+values)
			if err == nil || !strings.Contains(stderr, says) {
				t.Errorf("%v, want an error about %s:\n%s", err, says, stderr)
			}
		})
	}
	if _, stderr, err := helm(t, "lint", "--strict", chart, "--set=baseDomain=example.com"); err != nil {
		t.Errorf("helm lint: %v\n%s", err, stderr)
	}
}

// The same input makes the same archive.
func TestChartIsReproducible(t *testing.T) {
	_, first := distribution(t)
	again := t.TempDir()
	distribute(t, again)
	a, err := os.ReadFile(first)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(again, filepath.Base(first)))
	if err != nil || !bytes.Equal(a, b) {
		t.Errorf("two archives differ: %v", err)
	}
	if _, err := os.Stat(filepath.Join(controlplane.Root(), "charts", "latchkey", "templates", "settings.yaml")); err == nil {
		t.Error("generated templates are in the checkout")
	}
}
