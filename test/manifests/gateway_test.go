package manifests

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/latchkey-dev/latchkey/internal/testing/controlplane"
)

// The gateway's Service and NetworkPolicy lead to the port that the component has
// the API server listen on.
func TestGatewayComponent(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "config"), os.DirFS(filepath.Join(controlplane.Root(), "config"))); err != nil {
		t.Fatal(err)
	}
	overlay := "resources: [config/default]\ncomponents: [config/components/gateway]\n"
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(overlay), 0o600); err != nil {
		t.Fatal(err)
	}
	all := byName(t, decode(t, kustomize(t, dir)))
	var deployment appsv1.Deployment
	var service corev1.Service
	var policy networkingv1.NetworkPolicy
	for name, into := range map[string]any{
		"Deployment/latchkey-system/latchkey-apiserver": &deployment,
		"Service/latchkey-system/latchkey-gateway":      &service,
		"NetworkPolicy/latchkey-system/allow-gateway":   &policy,
	} {
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(all[name], into); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	server := deployment.Spec.Template.Spec.Containers[0]
	port := slices.IndexFunc(server.Ports, func(p corev1.ContainerPort) bool { return p.Name == "gateway" })
	if port < 0 || server.Ports[port].ContainerPort != 8082 || !slices.Contains(server.Args, "--gateway-listen=:8082") {
		t.Errorf("the API server has the ports %v and the arguments %v", server.Ports, server.Args)
	}
	if p := service.Spec.Ports; len(p) != 1 || p[0].Port != 80 || p[0].TargetPort.StrVal != "gateway" {
		t.Errorf("the Service has the ports %v", p)
	}
	for label, value := range service.Spec.Selector {
		if deployment.Spec.Template.Labels[label] != value || policy.Spec.PodSelector.MatchLabels[label] != value {
			t.Errorf("the label %s=%s selects other pods", label, value)
		}
	}
	if p := policy.Spec.Ingress; len(p) != 1 || len(p[0].Ports) != 1 || p[0].Ports[0].Port.StrVal != "gateway" {
		t.Errorf("the NetworkPolicy allows %v", p)
	}
}
