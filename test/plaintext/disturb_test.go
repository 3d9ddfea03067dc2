package plaintext_test

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// disturb issues tokens while things go wrong: what becomes of a plaintext then is
// decided in code that is seldom run.
func (w *world) disturb(round int) {
	w.t.Helper()
	name := func(what string) string { return fmt.Sprintf("%s-%d", what, round) }
	w.refusals(name)
	w.loseAnswers(name)
	w.freezeManager(name)
	w.killManager(name)
	issueToFile(w.t, w, name("file"))
}

// refusals asks for what nobody may have, and for names that are taken.
func (w *world) refusals(name func(string) string) {
	w.t.Helper()
	taken := name("taken")
	w.plugin("create", taken, "--lifetime", "1h").token()
	for _, args := range [][]string{
		{"create", taken}, {"issue", taken}, {"issue", "missing"}, {"rotate", "missing"},
		{"create", name("scope"), "--scope", "admin:all"}, {"create", name("long"), "--lifetime", "99999h"},
		{"create", name("cidr"), "--allow-cidr", "300.0.0.0/8"}, {"create", name("owner"), "--owner", "a\nb"},
	} {
		// What the plugin can't know to be forbidden is minted, shown, and refused then.
		if r := w.plugin(args...); r.err == nil {
			w.t.Errorf("%q is no error, and printed %d bytes", args, len(r.maybe()))
		} else {
			r.maybe()
		}
	}
	for _, authorization := range []string{"token " + w.manages, "Bearer " + w.workload} {
		for _, body := range []string{
			`{"name":"` + taken + `"}`, `{"name":"y","scopes":["admin:all"]}`, `{"name":"y","lifetime":"99999h"}`,
			`{"name":"y","allowedCIDRs":["300.0.0.0/8"]}`, `{"name":"y","owner":"a\nb"}`, `{"name":"y","expiresAt":"2001-01-01T00:00:00Z"}`,
		} {
			if a := w.call(acme, http.MethodPost, basePath+"/tokens", authorization, body); a.status < 400 {
				w.t.Errorf("%s was answered with %d", body, a.status)
			}
		}
	}
	w.refuseForms(taken)
	// The manager alone counts a tenant's tokens: it refuses one that was minted.
	there := w.atSettings(crowded)
	for i := range 2 {
		w.plugin("create", name(fmt.Sprintf("crowd-%d", i)), "-n", v1alpha1.TenantNamespacePrefix+crowded, "--lifetime", "1h", "--wait", "5s").maybe()
	}
	w.maybe(there.post("/tokens", newForm(name("crowd-form"))))
	w.toNowhere("create", name("full"), "--lifetime", "1h")
	w.toNowhere("settings", acme, "--no-browser")
}

// refuseForms is refusals by the forms of Settings.
func (w *world) refuseForms(taken string) {
	w.t.Helper()
	b := w.atSettings(acme)
	wrong := []url.Values{newForm(taken)}
	for field, value := range map[string]string{"name": "A", "scope": "admin:all", "lifetime": "99999h", "addresses": "300.0.0.0/8", "owner": "a\nb"} {
		_, form := newFormWith(field, value)
		wrong = append(wrong, form)
	}
	for _, form := range wrong {
		if a := b.post("/tokens", form); a.status < http.StatusBadRequest {
			w.t.Errorf("the form %s was answered with %d", form.Encode(), a.status)
		}
	}
	for _, target := range []string{"/tokens/missing/rotate", "/tokens/" + taken + "/rotate"} {
		if a := b.post(target, url.Values{"credential": {"0123456789"}}); a.status < http.StatusBadRequest {
			w.t.Errorf("POST %s was answered with %d", target, a.status)
		}
	}
}

// toNowhere has the plugin print to a full disk.
func (w *world) toNowhere(args ...string) {
	w.t.Helper()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	must(w.t, err)
	defer full.Close()
	log, err := os.OpenFile(filepath.Join(w.logs, "nowhere.log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	must(w.t, err)
	defer log.Close()
	cmd := (&command{args: args}).cmd(w.t.Context(), w)
	cmd.Stdout, cmd.Stderr = full, log
	if err := cmd.Run(); err == nil {
		w.t.Error("a token that could not be printed is no error")
	}
}

// loseAnswers cuts the connection when a credential was just stored, before who
// stored it knows.
func (w *world) loseAnswers(name func(string) string) {
	w.t.Helper()
	lost := name("lost")
	w.loseAnswer(w.toPortal, lost, func() {
		w.maybe(w.call(acme, http.MethodPost, basePath+"/tokens", "token "+w.manages, `{"name":"`+lost+`","lifetime":"1h","overlap":"10m"}`))
	})
	w.plugin("create", lost+"-2", "--lifetime", "1h", "--overlap", "10m").token()
	w.loseAnswer(w.toPortal, lost+"-2", func() {
		w.maybe(w.call(acme, http.MethodPost, basePath+"/tokens/"+lost+"-2/rotate", "Bearer "+w.workload, ""))
	})
	b := w.atSettings(acme)
	w.loseAnswer(w.toPortal, lost+"-4", func() { w.maybe(b.post("/tokens", newForm(lost+"-4"))) })
	w.plugin("create", lost+"-5", "--lifetime", "1h").token()
	form := b.rotateForm(lost + "-5")
	w.loseAnswer(w.toPortal, lost+"-5", func() { w.maybe(b.post("/tokens/"+lost+"-5/rotate", form)) })
	w.loseAnswer(w.toMember, lost+"-3", func() { w.plugin("create", lost+"-3", "--lifetime", "1h", "--overlap", "10m").maybe() })
	w.loseAnswer(w.toMember, lost+"-2", func() { w.plugin("rotate", lost+"-2", "--yes").maybe() })
}

// loseAnswer does something on a slow link, which it cuts once the ApiToken has
// another credential.
func (w *world) loseAnswer(l *link, name string, do func()) {
	w.t.Helper()
	namespace := client.InNamespace(v1alpha1.TenantNamespacePrefix + acme)
	present := &v1alpha1.ApiTokenList{}
	must(w.t, env().Client.List(w.t.Context(), present, namespace))
	before := ""
	for i := range present.Items {
		if t := &present.Items[i]; t.Name == name {
			before = t.Spec.Credential.ID
		}
	}
	options := &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: present.ResourceVersion}}
	watcher, err := env().Client.Watch(w.t.Context(), &v1alpha1.ApiTokenList{}, namespace, options)
	must(w.t, err)
	defer watcher.Stop()
	l.slow.Store(true)
	var doing sync.WaitGroup
	doing.Go(do)
	for event := range watcher.ResultChan() {
		t, ok := event.Object.(*v1alpha1.ApiToken)
		if ok && event.Type != watch.Deleted && t.Name == name && t.Spec.Credential != nil && t.Spec.Credential.ID != before {
			break
		}
	}
	l.cut()
	l.slow.Store(false)
	doing.Wait()
}

// maybe remembers the plaintext of an answer that may have one.
func (w *world) maybe(a answer) {
	for _, plaintext := range tokenPattern.FindAllString(a.body, -1) {
		w.remember(plaintext)
	}
}

// freezeManager issues while nobody confirms.
func (w *world) freezeManager(name func(string) string) {
	w.t.Helper()
	frozen := name("frozen")
	existing := w.create(frozen, "token "+w.manages)
	w.plugin("create", frozen+"-1", "--lifetime", "1h").token()
	b := w.atSettings(acme)
	rotation := b.rotateForm(frozen + "-1")
	w.signal(w.manager, syscall.SIGSTOP)
	var doing sync.WaitGroup
	doing.Go(func() { w.plugin("settings", acme, "--no-browser", "--wait", "1s").maybe() })
	doing.Go(func() { w.maybe(b.post("/tokens", newForm(frozen+"-5"))) })
	doing.Go(func() { w.maybe(b.post("/tokens/"+frozen+"-1/rotate", rotation)) })
	doing.Go(func() { w.plugin("create", frozen+"-2", "--wait", "1s").maybe() })
	doing.Go(func() { w.plugin("rotate", frozen+"-1", "--yes", "--wait", "1s").maybe() })
	for i, authorization := range []string{"token " + w.manages, "Bearer " + w.workload} {
		doing.Go(func() {
			w.maybe(w.call(acme, http.MethodPost, basePath+"/tokens", authorization, fmt.Sprintf(`{"name":"%s-%d","lifetime":"1h"}`, frozen, 3+i)))
		})
	}
	doing.Go(func() { w.maybe(w.call(acme, http.MethodPost, basePath+"/token/rotate", "token "+existing, "")) })
	doing.Wait()
	w.signal(w.manager, syscall.SIGCONT)
}

// killManager kills the manager while it issues.
func (w *world) killManager(name func(string) string) {
	w.t.Helper()
	killed := name("killed")
	var doing sync.WaitGroup
	for i := range 4 {
		doing.Go(func() {
			w.works(acme, w.plugin("create", fmt.Sprintf("%s-%d", killed, i), "--lifetime", "1h", "--wait", "0").token())
		})
	}
	must(w.t, w.manager.Kill())
	w.startManager()
	doing.Wait()
}
