package plaintext_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/fault"
	"github.com/latchkey-dev/latchkey/internal/testing/process"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

// carried are requests that have a token in them, of a caller with another one, and the
// steps that panic. What the backend would be sent in a query or a body panics before: that
// is the backend's to keep.
var carried = []struct {
	name    string
	steps   []string
	request func(plaintext, caller, panics string) string
}{
	{"as caller's", []string{"received", "admitted", "forwarded", "answered"}, func(p, _, panics string) string {
		return get(acme, "/api/v1/orders", "Authorization: token "+p, panics)
	}},
	{"in the query", []string{"received", "admitted", "forwarded"}, func(p, caller, panics string) string {
		return get(acme, asQuery("/api/v1/orders", "token", p), "Authorization: token "+caller, panics)
	}},
	{"in the path", []string{"received", "admitted", "forwarded"}, func(p, caller, panics string) string {
		return get(acme, "/api/v1/orders/"+p, "Authorization: token "+caller, "Referer: https://x/"+p, panics)
	}},
	{"in a body", []string{"received", "admitted", "forwarded"}, func(p, caller, panics string) string {
		return send("/api/v1/orders", p, "Authorization: token "+caller, panics)
	}},
	{"in a body for the portal", []string{"received", "admitted"}, func(p, caller, panics string) string {
		return send("/api/v1/tokens", `{"name":"x","description":"`+p+`"}`, "Authorization: token "+caller, "Content-Type: application/json", panics)
	}},
	{"in an address of the portal's", []string{"received", "admitted"}, func(p, caller, panics string) string {
		return get(acme, "/api/v1/tokens/"+p, "Authorization: token "+caller, panics)
	}},
}

// send is a request with a body.
func send(target, body string, headers ...string) string {
	head := []string{"POST " + target + " HTTP/1.1", "Host: " + acme + "." + baseDomain, "Connection: close", fmt.Sprintf("Content-Length: %d", len(body))}
	return lines(append(head, headers...)...) + body
}

// ask makes a step of a program with fault points panic, once, by the value of fault.Header
// or by the name of an ApiToken.
func (w *world) ask(step string) string {
	asked := fmt.Sprintf("panic-%s-%d", step, len(w.asked))
	w.asked = append(w.asked, asked)
	return asked
}

// panics makes every step of the programs with fault points panic while a token is under way.
func (w *world) panics() {
	w.t.Helper()
	w.told = filepath.Join(w.t.TempDir(), "told") // where nothing is searched
	must(w.t, os.WriteFile(w.told, nil, 0o600))
	w.managerProgram, w.apiServerProgram = "manager"+faulty, "apiserver"+faulty
	w.startManager()
	w.startAPIServer()
	plaintext := w.plugin("create", "panics", "--lifetime", "1h", "--scope", "orders:read").token()
	w.works(acme, plaintext)
	w.works(acme, w.manages)
	w.panicOnTheWay(plaintext)
	w.panicWhileIssuing()
	b := w.newBrowser(acme)
	ticket := w.plugin("settings", acme, "--no-browser").token()
	w.internal(b.post("/sign-in/token", url.Values{"token": {ticket}}, fault.Header, w.ask("found")))
	b.enter(ticket) // which the panic has not used up
	w.panicOfManager()
	w.listen()
	w.wantPanics()
}

// panicOnTheWay has the steps of a request to the backend, and to the portal, panic.
func (w *world) panicOnTheWay(plaintext string) {
	w.t.Helper()
	for _, c := range carried {
		for _, step := range c.steps {
			if status := w.status(w.front, c.request(plaintext, w.manages, fault.Header+": "+w.ask(step))); !strings.HasPrefix(status, "HTTP/1.1 500 ") {
				w.t.Errorf("a token %s, with a panic when it was %s: %s", c.name, step, status)
			}
		}
	}
	for _, gateway := range []string{"nginx", "ingress-nginx", "traefik", "envoy"} {
		status := w.status(w.gateway, get(acme, "/auth/"+gateway, "Authorization: token "+plaintext, "X-Original-Url: /api/v1/orders?token="+plaintext, fault.Header+": "+w.ask("asked")))
		if !strings.HasPrefix(status, "HTTP/1.1 500 ") {
			w.t.Errorf("a panic before %s was answered: %s", gateway, status)
		}
	}
}

// status sends a request, and waits for the first line of its answer: who closes its half
// of the connection, as raw does, may be taken to be gone.
func (w *world) status(address, request string) string {
	w.t.Helper()
	conn := w.hold(address, request)
	defer conn.Close()
	must(w.t, conn.SetReadDeadline(time.Now().Add(time.Minute)))
	line, _ := bufio.NewReader(conn).ReadString('\n') // the caller sees that there is none
	return line
}

// internal wants the answer to a panic.
func (w *world) internal(a answer) {
	w.t.Helper()
	if a.status != http.StatusInternalServerError || tokenPattern.MatchString(a.body) {
		w.t.Errorf("a panic was answered: %d %.300s", a.status, withoutToken(a.body))
	}
}

// panicWhileIssuing has the steps between a token's being minted and its being shown
// panic. What was asked for is there all the same, and can be rotated.
func (w *world) panicWhileIssuing() {
	w.t.Helper()
	b := w.atSettings(acme)
	for _, authorization := range []string{"token " + w.manages, "Bearer " + w.workload} {
		for _, step := range []string{"minted", "stored", "represented"} {
			w.internal(w.call(acme, http.MethodPost, basePath+"/tokens", authorization, `{"name":"`+w.ask(step)+`","lifetime":"1h"}`))
		}
		for _, step := range []string{"minted", "rotated", "represented"} {
			name := w.ask(step)
			w.plugin("create", name, "--lifetime", "1h").token()
			w.internal(w.call(acme, http.MethodPost, basePath+"/tokens/"+name+"/rotate", authorization, ""))
			w.works(acme, w.post("/tokens/"+name+"/rotate", authorization, "", http.StatusOK))
		}
	}
	for _, step := range []string{"minted", "stored", "shown"} {
		w.internal(b.post("/tokens", newForm(w.ask(step))))
	}
	for _, step := range []string{"minted", "rotated", "shown"} {
		name := w.ask(step)
		w.plugin("create", name, "--lifetime", "1h").token()
		w.internal(b.post("/tokens/"+name+"/rotate", b.rotateForm(name)))
		w.works(acme, b.rotate(name))
	}
}

// panicOfManager has the manager panic before it issues, and between its writes. It tries
// again.
func (w *world) panicOfManager() {
	w.t.Helper()
	for _, step := range []string{"read", "recorded"} {
		w.works(acme, w.plugin("create", w.ask(step), "--lifetime", "1h").token())
		w.works(acme, w.create(w.ask(step), "token "+w.manages))
		w.works(acme, w.atSettings(acme).create(w.ask(step)))
	}
}

// wantPanics looks for the stack of each panic that was asked for.
func (w *world) wantPanics() {
	w.t.Helper()
	var all []byte
	for _, program := range []string{w.managerProgram, w.apiServerProgram} {
		content, err := os.ReadFile(w.logOf(program))
		must(w.t, err)
		all = append(all, content...)
	}
	for _, asked := range w.asked {
		found := false
		for line := range bytes.Lines(all) {
			found = found || bytes.Contains(line, []byte("asked for: "+asked+":")) && bytes.Contains(line, []byte(`goroutine `)) && bytes.Contains(line, []byte("internal/fault/enabled.go"))
		}
		if !found {
			w.t.Errorf("the stack of %s is in no log", asked)
		}
	}
}

// crashUnderWay ends the API server by a panic that nothing recovers, while a
// token that it minted waits for the manager, and another is in a body that it reads.
func (w *world) crashUnderWay() {
	w.t.Helper()
	const name = "under-way"
	w.signal(w.manager, syscall.SIGSTOP)
	defer w.signal(w.manager, syscall.SIGCONT)
	caller := "Authorization: token " + w.manages
	minting := w.hold(w.front, send("/api/v1/tokens", `{"name":"`+name+`","lifetime":"1h"}`, caller, "Content-Type: application/json"))
	defer minting.Close()
	reading := w.hold(w.front, lines("POST /api/v1/orders HTTP/1.1", "Host: "+acme+"."+baseDomain, caller, "Content-Length: 999")+w.manages)
	defer reading.Close()
	testenv.Eventually(w.t, func() error {
		return env().Client.Get(w.t.Context(), client.ObjectKey{Namespace: v1alpha1.TenantNamespacePrefix + acme, Name: name}, &v1alpha1.ApiToken{})
	})
	raw(w, w.front, get(acme, "/api/v1/orders", caller, fault.Header+": crash-received-0"))
	w.wantCrashed(w.apiServer)
	content, err := os.ReadFile(w.logOf(w.apiServerProgram))
	must(w.t, err)
	if !bytes.Contains(content, []byte("panic: asked for: crash-received-0: ")) {
		w.t.Error("the API server did not end by the panic that was asked for")
	}
	w.listen()
}

// hold sends a request and leaves the connection open.
func (w *world) hold(address, request string) net.Conn {
	w.t.Helper()
	conn, err := net.Dial("tcp", address)
	must(w.t, err)
	_, err = io.WriteString(conn, request)
	must(w.t, err)
	return conn
}

// crash ends a program as a deadlock would be looked into: it dumps all its
// goroutines to its log.
func (w *world) crash(p *process.Process) {
	w.t.Helper()
	w.signal(p, syscall.SIGQUIT)
	w.wantCrashed(p)
}

func (w *world) wantCrashed(p *process.Process) {
	w.t.Helper()
	<-p.Done()
	if text := p.Err().Error(); !strings.Contains(text, "exit status 2") {
		w.t.Errorf("it did not dump its goroutines: %s", text)
	}
}

// listen reads which tokens the API server minted, and notes those that nobody was given.
func (w *world) listen() {
	w.t.Helper()
	content, err := os.ReadFile(w.told)
	must(w.t, err)
	w.mu.Lock()
	defer w.mu.Unlock()
	for plaintext := range strings.FieldsSeq(string(content)) {
		id := strings.Split(plaintext, "_")[1]
		if _, given := w.tokens[id]; !given {
			w.withheld[id] = plaintext
		}
	}
}

// logOf is the present log of a program.
func (w *world) logOf(program string) string {
	return filepath.Join(w.logs, fmt.Sprintf("%s-%d.log", program, w.starts[program]))
}
