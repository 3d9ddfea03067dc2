package cli_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
	"github.com/latchkey-dev/latchkey/internal/token"
)

// site plays the part of a tenant's host and of the manager: it issues what signs in,
// and exchanges it.
type site struct {
	tenant, namespace, kubeconfig string
	*httptest.Server

	mu sync.Mutex
	// made is the last ApiToken that was issued, and posted the tokens that came.
	made   *v1alpha1.ApiToken
	posted []string
}

// settingsSite is a new tenant whose Settings page is at /team/settings.
func settingsSite(t *testing.T, status func(*v1alpha1.ApiToken)) *site {
	t.Helper()
	s := &site{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.exchange(t, w, r) }))
	t.Cleanup(s.Close)
	s.tenant, s.namespace = newTenant(t, v1alpha1.AnnotationOrigin, s.URL, v1alpha1.AnnotationSettingsPath, "/team/settings")
	s.kubeconfig = member(t, "jo@example.com", s.namespace, v1alpha1.TenantAdminClusterRole)
	s.manage(t, status)
	return s
}

// manage gives the status to each ApiToken that comes with a credential.
func (s *site) manage(t *testing.T, status func(*v1alpha1.ApiToken)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	watch, err := env().Client.Watch(ctx, &v1alpha1.ApiTokenList{}, client.InNamespace(s.namespace))
	must(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for event := range watch.ResultChan() {
			object, ok := event.Object.(*v1alpha1.ApiToken)
			if !ok || object.Spec.Credential == nil || len(object.Status.Conditions) > 0 || event.Type != "ADDED" {
				continue
			}
			status(object)
			if err := env().Client.Status().Update(ctx, object); err != nil && ctx.Err() == nil {
				t.Errorf("write the status: %v", err)
			}
			s.mu.Lock()
			s.made = object
			s.mu.Unlock()
		}
	}()
	t.Cleanup(func() { cancel(); watch.Stop(); <-done })
}

// exchange deletes the ApiToken of the token that is posted, as the Settings page does.
func (s *site) exchange(t *testing.T, w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || r.URL.String() != "/team/settings/sign-in/token" {
		http.NotFound(w, r)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.posted = append(s.posted, r.PostFormValue("token"))
	if err := env().Client.Delete(r.Context(), s.made); err != nil {
		t.Errorf("delete the ApiToken: %v", err)
	}
}

func (s *site) issued() (made *v1alpha1.ApiToken, posted []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.made, s.posted
}

// browser is a program for BROWSER, whose first argument is the address.
func browser(t *testing.T, script string) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "browser")
	must(t, os.WriteFile(file, []byte("#!/bin/sh\nset -eu\ncd "+filepath.Dir(file)+"\n"+script), 0o700))
	return file
}

// settings runs the built plugin with the browser.
func (s *site) settings(t *testing.T, browser string, args ...string) (command *exec.Cmd, stderr fmt.Stringer) {
	t.Helper()
	command, errOut := pluginCommand(t, append([]string{"settings", s.tenant, "--kubeconfig", s.kubeconfig}, args...)...)
	command.Env = append(os.Environ(), "BROWSER="+browser)
	return command, errOut
}

const tenMinutes = 10 * time.Minute

// The browser is given the token by the page, once, and posts it to the tenant's host.
// It asks in some ways before in which it is not given.
func TestSettingsSignsInThroughTheBrowser(t *testing.T) {
	t.Parallel()
	s := settingsSite(t, activated(tenMinutes))
	// Users of a machine see each other's command lines. Only root can try it as another.
	asSomebodyElse := ""
	if os.Getuid() == 0 {
		asSomebodyElse = `setpriv --reuid 65534 --clear-groups curl -sS -o /dev/null -w '%{http_code} ' "$1" >>statuses`
	}
	script := browser(t, `
		echo "$@" >arguments
		status() { curl -sS -o /dev/null -w '%{http_code} ' "$@" >>statuses; }
		status "$1x"; status -H 'Host: evil.example' "$1"; status -X POST "$1"; status -I "$1"
		status -H 'Sec-Purpose: prefetch' "$1"
		`+asSomebodyElse+`
		curl -sS -D headers -o page "$1"
		status "$1"
		field() { sed -n "s|.*$1=\"\([^\"]*\)\".*|\1|p" page; }
		curl -sS --data-urlencode "token=$(field 'name="token" value')" "$(field action)"`)
	command, stderr := s.settings(t, script)
	stdout, err := command.Output()
	mustExit(t, err, 0)
	made, posted := s.issued()
	if len(posted) != 1 || len(stdout) != 0 {
		t.Fatalf("posted %d times, stdout %q, stderr %s", len(posted), stdout, stderr)
	}
	plaintext := posted[0]
	mustMatch(t, made, s.tenant, plaintext)
	spec := v1alpha1.ApiTokenSpec{
		Description: made.Spec.Description, Owner: "jo@example.com", Scopes: []string{v1alpha1.ScopeSettings},
		Lifetime: &metav1.Duration{Duration: tenMinutes}, Credential: made.Spec.Credential,
	}
	if got, want := asJSON(t, made.Spec), asJSON(t, spec); got != want {
		t.Errorf("spec = %s\nwant   %s", got, want)
	}
	for annotation, want := range map[string]string{
		v1alpha1.AnnotationCreatedBy: "jo@example.com", v1alpha1.AnnotationIssuedBy: "jo@example.com", v1alpha1.AnnotationCreatedVia: v1alpha1.ViaSettings,
	} {
		if got := made.Annotations[annotation]; got != want {
			t.Errorf("%s = %q, want %q", annotation, got, want)
		}
	}
	for _, text := range []string{s.URL + "/team/settings as jo@example.com", "The browser has the token", "The token was exchanged"} {
		if !strings.Contains(stderr.String(), text) {
			t.Errorf("standard error lacks %q:\n%s", text, stderr)
		}
	}

	dir := filepath.Dir(script)
	want := "404 404 404 404 503 410 "
	if asSomebodyElse != "" {
		want = "404 404 404 404 503 403 410 "
	}
	if got := readFile(t, filepath.Join(dir, "statuses")); got != want {
		t.Errorf("the statuses were %s, want %s", got, want)
	}
	arguments := readFile(t, filepath.Join(dir, "arguments"))
	if !regexp.MustCompile(`^http://127\.0\.0\.1:[0-9]+/[A-Z2-7]{26}\n$`).MatchString(arguments) {
		t.Errorf("the browser's arguments were %q", arguments)
	}
	_, secret, _ := strings.Cut(plaintext[3:], "_")
	if strings.Contains(arguments+stderr.String(), secret) {
		t.Error("the token was in the browser's arguments or on standard error")
	}
	headers := readFile(t, filepath.Join(dir, "headers"))
	for _, want := range []string{
		"Cache-Control: no-store\r", "Referrer-Policy: no-referrer\r", "X-Content-Type-Options: nosniff\r",
		"; form-action " + s.URL + "; base-uri 'none'; frame-ancestors 'none'\r",
	} {
		if !strings.Contains(headers, want) {
			t.Errorf("the page's headers lack %q:\n%s", want, headers)
		}
	}
}

func TestSettingsWithoutBrowser(t *testing.T) {
	s := settingsSite(t, activated(tenMinutes))
	for name, c := range map[string]struct {
		env  map[string]string
		args []string
		note string
	}{
		"asked for":            {map[string]string{"BROWSER": "true"}, []string{"--no-browser"}, ""},
		"a command is missing": {map[string]string{"BROWSER": "/nonexistent:also-nonexistent %s"}, nil, "none of the commands that BROWSER names"},
		"over ssh":             {map[string]string{"SSH_CONNECTION": "192.0.2.1 1 192.0.2.2 22"}, nil, "over ssh"},
		"without a display":    {nil, nil, "there is no display"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, variable := range []string{"BROWSER", "SSH_CONNECTION", "DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"} {
				t.Setenv(variable, c.env[variable])
			}
			r := latchkey(t, s.kubeconfig, append([]string{"settings", "-n", s.namespace}, c.args...)...).mustSucceed(t)
			made, _ := s.issued()
			mustMatch(t, getToken(t, s.namespace, made.Name), s.tenant, r.mustPrintToken(t, "lk"))
			if !strings.Contains(r.stderr, "Open "+s.URL+"/team/settings\n") || !strings.Contains(r.stderr, c.note) {
				t.Errorf("standard error = %s, want the address and %q", r.stderr, c.note)
			}
		})
	}
}

// What is not to be signed in with is not left behind.
func TestSettingsWithdraws(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status func(*v1alpha1.ApiToken)
		args   []string
		want   string
	}{
		"refused":       {refused(v1alpha1.ReasonPolicyViolation, "Not issued: denied."), nil, "Not issued: denied."},
		"not confirmed": {func(*v1alpha1.ApiToken) {}, []string{"--wait", "1s"}, "has not confirmed the token within 1s"},
		"never used":    {activated(3 * time.Second), nil, "nobody was signed in"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := settingsSite(t, c.status)
			command, stderr := s.settings(t, "true", c.args...)
			stdout, err := command.Output()
			mustExit(t, err, 1)
			if len(stdout) != 0 || !strings.Contains(stderr.String(), c.want) {
				t.Errorf("stdout = %q, stderr = %s, want %q", stdout, stderr, c.want)
			}
			mustHaveNone(t, s.namespace)
		})
	}
}

func TestSettingsIsInterrupted(t *testing.T) {
	t.Parallel()
	s := settingsSite(t, activated(tenMinutes))
	script := browser(t, `echo "$1" >address.partial; mv address.partial address`)
	command, stderr := s.settings(t, script)
	must(t, command.Start())
	testenv.Eventually(t, func() error {
		_, err := os.Stat(filepath.Join(filepath.Dir(script), "address"))
		return err
	})
	must(t, command.Process.Signal(os.Interrupt))
	mustExit(t, command.Wait(), 1)
	if !strings.Contains(stderr.String(), "error: interrupted before you were signed in") {
		t.Errorf("stderr = %s", stderr)
	}
	mustHaveNone(t, s.namespace)
	if response, err := http.Get(strings.TrimSpace(readFile(t, filepath.Join(filepath.Dir(script), "address")))); err == nil {
		_ = response.Body.Close()
		t.Errorf("the page is still served: %s", response.Status)
	}
}

// Where the browser does not come up, its user opens the page.
func TestSettingsWhoseBrowserFails(t *testing.T) {
	t.Parallel()
	s := settingsSite(t, activated(tenMinutes))
	script := browser(t, `echo "$1" >address.partial; mv address.partial address; exit 3`)
	command, stderr := s.settings(t, script+" %s")
	must(t, command.Start())
	address := ""
	testenv.Eventually(t, func() error {
		content, err := os.ReadFile(filepath.Join(filepath.Dir(script), "address"))
		address = strings.TrimSpace(string(content))
		return err
	})
	response, err := http.Get(address)
	must(t, err)
	page, err := io.ReadAll(response.Body)
	must(t, errors.Join(err, response.Body.Close()))
	made, _ := s.issued()
	if found := regexp.MustCompile(token.Pattern("lk")).FindAllString(string(page), -1); len(found) != 1 || token.DigestOf(s.tenant, found[0]).String() != made.Spec.Credential.Digest {
		t.Errorf("the page is %s %s", response.Status, page)
	}
	must(t, env().Client.Delete(t.Context(), made))
	mustExit(t, command.Wait(), 0)
	if !strings.Contains(stderr.String(), "could not be opened: "+script+": exit status 3") {
		t.Errorf("stderr = %s", stderr)
	}
}

func TestSettingsOfAnotherTenant(t *testing.T) {
	t.Parallel()
	s := settingsSite(t, activated(tenMinutes))
	other, namespace := newTenant(t)
	latchkey(t, s.kubeconfig, "settings", other).mustFail(t, `you may not get namespace "`+namespace+`"`)
	latchkey(t, s.kubeconfig, "settings", other, "-n", s.namespace).mustFail(t, `is that of tenant "`+s.tenant+`", not of "`+other+`"`)
	viewer := member(t, "vi@example.com", s.namespace, v1alpha1.TenantViewerClusterRole)
	latchkey(t, viewer, "settings", s.tenant).mustFail(t, "you may not create apitokens", "role Admin")
	mustHaveNone(t, s.namespace)
}

func TestSettingsAddress(t *testing.T) {
	t.Parallel()
	for origin, want := range map[string]string{
		"http://acme.example.com":    "which takes https",
		"http://acme.localhost:8080": "",
		"https://acme.example.com":   "",
	} {
		tenant, namespace := newTenant(t, v1alpha1.AnnotationOrigin, origin)
		r := latchkey(t, proxy{}.kubeconfig(t), "settings", tenant, "--no-browser", "--wait", "1ms")
		if want == "" {
			want = "has not confirmed the token within 1ms"
		}
		r.mustFail(t, want)
		mustHaveNone(t, namespace)
	}
	tenant, _ := newTenant(t, v1alpha1.AnnotationHost, "")
	latchkey(t, proxy{}.kubeconfig(t), "settings", tenant).mustFail(t, "does not say yet where its Settings page is")
}

// Nobody is signed in as nobody.
func TestSettingsOfAnUnknownUser(t *testing.T) {
	t.Parallel()
	tenant, namespace := newTenant(t)
	kubeconfig := proxy{handle: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.HasSuffix(r.URL.Path, "/selfsubjectreviews") {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	}}.kubeconfig(t)
	latchkey(t, kubeconfig, "settings", tenant).mustFail(t, "nobody can be signed in")
	mustHaveNone(t, namespace)
}

func TestSettingsUsage(t *testing.T) {
	t.Parallel()
	plaintext := mint(t)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"a", "b"}, "one TENANT is expected, not 2"},
		{[]string{"Acme"}, `TENANT "Acme": must be`},
		{[]string{plaintext}, "treat that token as leaked"},
		{[]string{"acme", "--wait", "0"}, "must be positive"},
		{[]string{"acme", "--token", plaintext}, "unknown flag: --token"},
	} {
		latchkey(t, "/nonexistent", append([]string{"settings"}, c.args...)...).mustFail(t, c.want, "See 'kubectl latchkey settings --help'")
	}
}

// The platform team may list the Tenants that can be named.
func TestTenantsAreCompleted(t *testing.T) {
	t.Parallel()
	tenant, _ := newTenant(t)
	object := &v1alpha1.Tenant{ObjectMeta: metav1.ObjectMeta{Name: tenant}, Spec: v1alpha1.TenantSpec{DisplayName: "Acme\x1b Ltd"}}
	if err := env().Client.Create(t.Context(), object); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	r := latchkey(t, "", "__complete", "--kubeconfig", proxy{}.kubeconfig(t), "settings", "").mustSucceed(t)
	if names := strings.Split(r.stdout, "\n"); !slices.Contains(names, tenant+"\tAcme\uFFFD Ltd") {
		t.Errorf("completes to %q", names)
	}
}
