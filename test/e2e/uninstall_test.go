//go:build e2e

package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// nothingWrittenDown looks for every token of the story in the cluster's objects
// and the logs.
func nothingWrittenDown(t *testing.T, w *world) {
	objects := w.kubectl(t, "get", "apitokens,tenants,publicapis,namespaces,secrets,configmaps,events,leases", "-A", "-o", "yaml")
	logs := ""
	err := fs.WalkDir(os.DirFS(filepath.Join(w.work, "logs")), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(filepath.Join(w.work, "logs", path))
		logs += string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if id := strings.Split(w.token, "_")[1]; !strings.Contains(objects, id) || !strings.Contains(logs, `"level":"INFO"`) {
		t.Error("the search does not see the ApiTokens or the logs")
	}
	for _, plaintext := range w.tokens {
		if strings.Contains(objects, plaintext) || strings.Contains(logs, plaintext) {
			t.Errorf("the token %s is written down", strings.Split(plaintext, "_")[1])
		}
	}
}

const kept = `
apiVersion: v1
kind: ConfigMap
metadata: {name: theirs, namespace: tenant-acme}
`

// uninstall does what the guide says. Nothing of ours is left, nothing of theirs
// is lost.
func uninstall(t *testing.T, w *world) {
	w.apply(t, kept)
	for _, block := range guide(t, "install.md", "Uninstall", "sh") {
		if w.install == "chart" && strings.Contains(block, "dist/install.yaml") {
			block = "helm uninstall latchkey\nkubectl delete crd -l app.kubernetes.io/part-of=latchkey\n"
		}
		w.sh(t, block)
	}
	// acme's namespace was let go; Kubernetes gives every namespace two objects.
	want := append(slices.Clone(w.snapshot), "ConfigMap tenant-acme theirs", "ConfigMap tenant-acme kube-root-ca.crt",
		"Namespace <none> tenant-acme", "ServiceAccount tenant-acme default")
	if w.install == "manifests" {
		// Of the chapters before this one.
		w.kubectl(t, "delete", "namespace", "gateway", "latchkey-e2e-killer", "--ignore-not-found")
		w.kubectl(t, "-n", "example", "delete", "service", "backend", "--ignore-not-found")
	}
	slices.Sort(want)
	eventually(t, within, func() error {
		after := w.everything(t)
		if left, lost := without(after, want), without(want, after); len(left)+len(lost) > 0 {
			return fmt.Errorf("left over: %q; lost: %q", left, lost)
		}
		return nil
	})
	for _, namespace := range []string{"tenant-acme", "globex-apps"} {
		if content := w.kubectl(t, "get", "namespace", namespace, "-o", "jsonpath={.metadata.labels} {.metadata.annotations} {.metadata.ownerReferences}"); strings.Contains(strings.ReplaceAll(content, "e2e.latchkey.dev/made", ""), "latchkey") {
			t.Errorf("namespace %s still has %s", namespace, content)
		}
	}
}

func without(all, those []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return slices.Contains(those, s) })
}
