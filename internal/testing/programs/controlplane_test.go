package programs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPlane(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	t.Setenv("PATH", "")
	t.Setenv("KUBEBUILDER_ASSETS", "")
	first, err := findPlane()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := findPlane(); err != nil || again.dir != first.dir {
		t.Errorf("the folder is %s, and then %s, %v", first.dir, again.dir, err)
	}
	if first.kubernetes.skew(oldest) == 0 || complete(first.dir) {
		t.Errorf("the version is %s, and the folder is complete: %t", first.kubernetes, complete(first.dir))
	}

	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "kubectl"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin)
	if other, err := findPlane(); err != nil || other.dir == first.dir {
		t.Errorf("with another kubectl the folder stays %s, %v", other.dir, err)
	}
}

func TestFinish(t *testing.T) {
	p := &plane{cache: t.TempDir(), kubernetes: version{1, 37, 2}}
	p.dir = filepath.Join(p.cache, "final")
	kubectl := filepath.Join(t.TempDir(), "kubectl")
	chosen := map[string]candidate{"kubectl": {path: kubectl}}
	built, err := p.target(chosen)
	if err != nil {
		t.Fatal(err)
	}
	if built.name != "etcd, kube-apiserver, kube-controllers" || strings.Join(built.tags, ",") != "without_kubectl" {
		t.Errorf("to be built are %q with the tags %q", built.name, built.tags)
	}
	for _, file := range []string{built.output, kubectl} {
		if err := os.WriteFile(file, nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if complete(p.dir) {
		t.Error("the folder is complete before it is there")
	}
	if err := p.finish(built, chosen); err != nil {
		t.Fatal(err)
	}
	p.discard(built)
	if !complete(p.dir) {
		t.Error("the folder is not complete")
	}
	if err := os.Remove(kubectl); err != nil {
		t.Fatal(err)
	}
	if complete(p.dir) {
		t.Error("the folder is complete without the kubectl that was installed")
	}
}

func TestRootAbove(t *testing.T) {
	root := t.TempDir()
	below := filepath.Join(root, "hack", "module")
	if err := os.MkdirAll(below, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := rootAbove(below); err == nil || !strings.Contains(err.Error(), "not within a checkout") {
		t.Errorf("outside a checkout: %v", err)
	}
	for dir, module := range map[string]string{root: modulePath, below: modulePath + "/hack/module"} {
		if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module "+module+"\n\ngo 1.26\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := rootAbove(below); err != nil || got != root {
		t.Errorf("got %s, %v; want %s", got, err, root)
	}
	if _, err := os.Stat(filepath.Join(Root(), "hack", "controlplane", "go.mod")); err != nil {
		t.Errorf("Root is not the root: %v", err)
	}
}
