package plaintext_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// ways are all ways in which a token comes to be issued: each makes an ApiToken of
// acme's with the name, and returns the tokens that it was given, the one that works
// last. A new way of issuing is a line here.
var ways = []struct {
	name  string
	issue func(w *world, name string) []string
}{
	{"kubectl latchkey create", func(w *world, name string) []string {
		return []string{w.plugin("create", name, "--lifetime", "1h", "--scope", "orders:read").token()}
	}},
	{"kubectl latchkey create -o json", func(w *world, name string) []string {
		var printed struct{ Token string }
		must(w.t, json.Unmarshal([]byte(w.plugin("create", name, "--lifetime", "1h", "-o", "json").stdout), &printed))
		return []string{w.remember(printed.Token)}
	}},
	{"kubectl latchkey issue", func(w *world, name string) []string {
		must(w.t, env().Client.Create(w.t.Context(), &v1alpha1.ApiToken{
			ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.TenantNamespacePrefix + acme, Name: name},
		}))
		return []string{w.plugin("issue", name).token()}
	}},
	{"kubectl latchkey rotate", func(w *world, name string) []string {
		first := w.plugin("create", name, "--lifetime", "1h", "--overlap", "10m").token()
		return []string{first, w.plugin("rotate", name).token()}
	}},
	{"API for tokens, create by an API token", func(w *world, name string) []string {
		return []string{w.create(name, "token "+w.manages)}
	}},
	{"API for tokens, rotate by an API token", func(w *world, name string) []string {
		first := w.create(name, "token "+w.manages)
		return []string{first, w.post("/tokens/"+name+"/rotate", "token "+w.manages, "", http.StatusOK)}
	}},
	{"API for tokens, create by a Kubernetes token", func(w *world, name string) []string {
		return []string{w.create(name, "Bearer "+w.workload)}
	}},
	{"API for tokens, rotate by a Kubernetes token", func(w *world, name string) []string {
		first := w.create(name, "Bearer "+w.workload)
		return []string{first, w.post("/tokens/"+name+"/rotate", "Bearer "+w.workload, "", http.StatusOK)}
	}},
	{"API for tokens, a token rotates itself", func(w *world, name string) []string {
		first := w.create(name, "token "+w.manages)
		return []string{first, w.post("/token/rotate", "token "+first, "", http.StatusOK)}
	}},
	{"Settings, create, signed in by pasting", func(w *world, name string) []string {
		return []string{w.signIn(acme).create(name)}
	}},
	{"Settings, create, signed in by the plugin's page", func(w *world, name string) []string {
		return []string{w.signInByPage(acme).create(name)}
	}},
	{"Settings, issue the first", func(w *world, name string) []string {
		must(w.t, env().Client.Create(w.t.Context(), &v1alpha1.ApiToken{
			ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.TenantNamespacePrefix + acme, Name: name},
		}))
		return []string{w.atSettings(acme).rotate(name)}
	}},
	{"Settings, rotate", func(w *world, name string) []string {
		b := w.atSettings(acme)
		return []string{b.create(name), b.rotate(name)}
	}},
	{"Settings, regenerate", func(w *world, name string) []string {
		b := w.atSettings(acme)
		b.create(name)
		w.expire(name)
		b.awaitExpired(name)
		return []string{b.rotate(name)}
	}},
}

// expire has a token end at once.
func (w *world) expire(name string) {
	w.t.Helper()
	patch := fmt.Sprintf(`{"spec":{"lifetime":null,"expiresAt":%q}}`, time.Now().Add(-time.Second).UTC().Format(time.RFC3339))
	must(w.t, env().Client.Patch(w.t.Context(), &v1alpha1.ApiToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.TenantNamespacePrefix + acme, Name: name},
	}, client.RawPatch(types.MergePatchType, []byte(patch))))
}

// create makes a token by the API for tokens.
func (w *world) create(name, authorization string) string {
	w.t.Helper()
	return w.post("/tokens", authorization, `{"name":"`+name+`","scopes":["orders:read"],"lifetime":"1h","overlap":"10m"}`, http.StatusCreated)
}

// post wants an answer with a plaintext in it.
func (w *world) post(target, authorization, body string, status int) string {
	w.t.Helper()
	a := w.call(acme, http.MethodPost, basePath+target, authorization, body)
	var issued struct{ Plaintext string }
	if err := json.Unmarshal([]byte(a.body), &issued); err != nil || a.status != status {
		w.t.Errorf("POST %s: %d %.300s", target, a.status, withoutToken(a.body))
		return ""
	}
	return w.remember(issued.Plaintext)
}

// endings are the ways in which a token is ended.
var endings = []func(w *world, name, plaintext string){
	func(w *world, name, _ string) { must(w.t, w.plugin("revoke", name, "--yes").err) },
	func(w *world, _, plaintext string) { w.end("/token", plaintext) },
	func(w *world, name, _ string) { w.end("/tokens/"+name, w.manages) },
	func(w *world, name, _ string) { w.atSettings(acme).revoke(name) },
	func(w *world, name, _ string) {
		must(w.t, env().Client.Delete(w.t.Context(), &v1alpha1.ApiToken{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.TenantNamespacePrefix + acme, Name: name}}))
	},
}

func (w *world) end(target, caller string) {
	w.t.Helper()
	if a := w.call(acme, http.MethodDelete, basePath+target, "token "+caller, ""); a.status != http.StatusNoContent {
		w.t.Errorf("DELETE %s: %d %.300s", target, a.status, a.body)
	}
}

// verbose are what people do with the plugin that has a token in it.
var verbose = []func(w *world, plaintext string){
	func(w *world, plaintext string) { w.run(command{stdin: plaintext + "\n", args: []string{"verify"}}) },
	func(w *world, plaintext string) { w.refused(w.plugin("verify", plaintext)) },
	func(w *world, plaintext string) { w.refused(w.plugin("show", plaintext)) },
	func(w *world, plaintext string) { w.refused(w.plugin("revoke", plaintext, "--yes")) },
	func(w *world, plaintext string) { w.refused(w.plugin("rotate", plaintext, "--yes")) },
	func(w *world, plaintext string) { w.refused(w.plugin("create", plaintext)) },
	func(w *world, plaintext string) { w.refused(w.plugin("settings", plaintext, "--no-browser")) },
	func(w *world, plaintext string) { w.refused(w.plugin("issue", plaintext[:len(plaintext)-1]+"~")) },
}

func (w *world) refused(r ran) {
	w.t.Helper()
	if r.err == nil {
		w.t.Errorf("the plugin took a token for a name: %s", withoutToken(r.stdout))
	}
}

// issueToFile has the plugin write tokens to files, which is where people asked for
// them: they are read and removed.
func issueToFile(t *testing.T, w *world, name string) {
	dir := t.TempDir()
	file := filepath.Join(dir, "token")
	must(t, w.plugin("create", name, "--lifetime", "1h", "--overlap", "10m", "--output-file", file).err)
	w.remember(readToken(t, file))
	must(t, w.plugin("rotate", "--field-selector", "metadata.name="+name, "--yes", "--output-dir", dir).err)
	w.works(acme, w.remember(readToken(t, filepath.Join(dir, name+".token"))))
}

// asQuery is a target with the plaintext as a parameter.
func asQuery(path, parameter, plaintext string) string {
	return path + "?" + url.Values{parameter: {plaintext}}.Encode()
}

func readToken(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	must(t, err)
	return strings.TrimSpace(string(content))
}
