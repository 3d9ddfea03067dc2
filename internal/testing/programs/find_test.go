package programs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// machine is a folder with programs that only know their version.
type machine struct {
	t   *testing.T
	dir string
	env map[string]string
}

func newMachine(t *testing.T) *machine {
	m := &machine{t: t, dir: t.TempDir()}
	m.env = map[string]string{"HOME": filepath.Join(m.dir, "home"), "PATH": filepath.Join(m.dir, "path")}
	return m
}

// install makes a program that prints the text.
func (m *machine) install(path, says string) string {
	m.t.Helper()
	path = filepath.Join(m.dir, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(path, fmt.Appendf(nil, "#!/bin/sh\necho '%s'\n", says), 0o755); err != nil {
		m.t.Fatal(err)
	}
	return path
}

// choices are the programs that are chosen, below the machine's folder, and what is said.
func (m *machine) choices() (chosen map[string]string, said string) {
	m.t.Helper()
	f := finder{version{1, 37, 2}, filepath.Join(m.dir, "cache"), func(name string) string { return m.env[name] }}
	var lines strings.Builder
	chosen = map[string]string{}
	for name, c := range f.choose(m.t.Context(), f.candidates(), NewReport(&lines).Say) {
		path, err := filepath.Rel(m.dir, c.path)
		if err != nil {
			m.t.Fatal(err)
		}
		chosen[name] = path
	}
	return chosen, lines.String()
}

func (m *machine) want(what string, want map[string]string, says ...string) {
	m.t.Helper()
	chosen, said := m.choices()
	if fmt.Sprint(chosen) != fmt.Sprint(want) {
		m.t.Errorf("%s: chosen are %v, want %v", what, chosen, want)
	}
	for _, text := range says {
		if !strings.Contains(said, text) {
			m.t.Errorf("%s: said was %q, want %q in it", what, said, text)
		}
	}
	if len(says) == 0 && said != "" {
		m.t.Errorf("%s: said was %q, want nothing", what, said)
	}
}

func TestKubectlInPath(t *testing.T) {
	m := newMachine(t)
	m.want("a machine without anything", map[string]string{})
	m.install("path/kubectl", "Client Version: v1.35.9")
	m.want("too old", map[string]string{}, "kubectl is version v1.35.9, which does not fit Kubernetes v1.37.2")
	for _, minor := range []int{36, 37, 38} {
		m.install("path/kubectl", fmt.Sprintf("Client Version: v1.%d.0\nKustomize Version: v5.8.1", minor))
		m.want("one that Kubernetes supports", map[string]string{"kubectl": "path/kubectl"})
	}
	m.install("path/kubectl", "Client Version: v1.39.0")
	m.want("too new", map[string]string{}, "v1.39.0")
	m.install("path/kubectl", "I am something else")
	m.want("something else", map[string]string{}, "no version")
	m.install("path/etcd", "etcd Version: 3.6.4")
	m.want("another program in PATH", map[string]string{}, "no version")
}

// make run puts a link to what it built into a folder for PATH.
func TestOwnKubectlInPath(t *testing.T) {
	m := newMachine(t)
	own := m.install("cache/123/kubectl", "Client Version: v1.37.2")
	if err := os.MkdirAll(filepath.Join(m.dir, "path"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(own, filepath.Join(m.dir, "path", "kubectl")); err != nil {
		t.Fatal(err)
	}
	m.want("a link to our own", map[string]string{})
}

// make run also links to the kubectl that is installed.
func TestLinksToKubectl(t *testing.T) {
	m := newMachine(t)
	m.install("other/kubectl", "Client Version: v1.37.2")
	m.install("other/many", "Client Version: v1.37.2")
	m.env["PATH"] = filepath.Join(m.dir, "first") + string(filepath.ListSeparator) + filepath.Join(m.dir, "second")
	link := func(target, path string) {
		path = filepath.Join(m.dir, path)
		if err := errors.Join(os.RemoveAll(path), os.MkdirAll(filepath.Dir(path), 0o755), os.Symlink(target, path)); err != nil {
			t.Fatal(err)
		}
	}
	link("../other/kubectl", "second/kubectl")
	m.want("a link", map[string]string{"kubectl": "other/kubectl"})
	link(filepath.Join(m.dir, "second/kubectl"), "first/kubectl")
	m.want("a link to a link", map[string]string{"kubectl": "other/kubectl"})
	link("../other/many", "second/kubectl")
	m.want("a link to a program that looks at its name", map[string]string{"kubectl": "second/kubectl"})
}

func TestSetupEnvtest(t *testing.T) {
	m := newMachine(t)
	store := "home/.local/share/kubebuilder-envtest/k8s/"
	if runtime.GOOS == "darwin" {
		store = "home/Library/Application Support/io.kubebuilder.envtest/k8s/"
	}
	platform := "-" + runtime.GOOS + "-" + runtime.GOARCH
	for _, dir := range []string{"1.37.0", "1.37.10", "1.37.9", "1.36.3", "1.38.0"} {
		m.install(store+dir+platform+"/kube-apiserver", "Kubernetes v"+dir)
		m.install(store+dir+platform+"/etcd", "etcd Version: 3.6.4")
		m.install(store+dir+platform+"/kubectl", "Client Version: v"+dir)
	}
	m.install(store+"1.37.11-plan9-mips/kube-apiserver", "Kubernetes v1.37.11")
	latest := store + "1.37.10" + platform
	want := map[string]string{"etcd": latest + "/etcd", "kube-apiserver": latest + "/kube-apiserver", "kubectl": latest + "/kubectl"}
	m.want("several versions", want)

	if runtime.GOOS != "darwin" {
		m.env["XDG_DATA_HOME"] = filepath.Join(m.dir, "data")
		m.want("another folder for data", map[string]string{})
		m.install("data/kubebuilder-envtest/k8s/1.37.1"+platform+"/etcd", "etcd Version: 3.6.4")
		m.want("another folder for data, with etcd", map[string]string{"etcd": "data/kubebuilder-envtest/k8s/1.37.1" + platform + "/etcd"})
	}
}

func TestKubebuilderAssets(t *testing.T) {
	m := newMachine(t)
	m.install("path/kubectl", "Client Version: v1.37.0")
	m.env["KUBEBUILDER_ASSETS"] = filepath.Join(m.dir, "assets")
	m.want("an empty folder", map[string]string{"kubectl": "path/kubectl"})
	m.install("assets/kube-apiserver", "Kubernetes v1.32.4")
	m.install("assets/etcd", "etcd Version: 3.5.16")
	m.install("assets/kubectl", "Client Version: v1.32.4")
	m.want("an older version that Latchkey supports", map[string]string{
		"kube-apiserver": "assets/kube-apiserver", "etcd": "assets/etcd", "kubectl": "assets/kubectl",
	})
	m.install("assets/kube-apiserver", "Kubernetes v1.31.4")
	m.want("one that is too old", map[string]string{"etcd": "assets/etcd", "kubectl": "assets/kubectl"},
		"Not using kube-apiserver from KUBEBUILDER_ASSETS", "v1.31.4, which is too old for Latchkey")
}

func TestVersions(t *testing.T) {
	for text, want := range map[string]version{
		"Kubernetes v1.37.2":                            {1, 37, 2},
		"etcd Version: 3.6.4\nGit SHA: 1.2\nGo 1.2.3":   {3, 6, 4},
		`version.Info{Major:"1", GitVersion:"v1.26.1"}`: {1, 26, 1},
		"Client Version: v1.33.1-eks-1-2-3":             {1, 33, 1},
	} {
		if got, err := parseVersion(text); got != want || err != nil {
			t.Errorf("of %q: %v, %v; want %v", text, got, err, want)
		}
	}
	if _, err := parseVersion("no version 1.2"); err == nil {
		t.Error("a text without a version has one")
	}
	if (version{2, 37, 0}).skew(version{1, 37, 0}) < 100 {
		t.Error("another major version is close")
	}
}
