package cli_test

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// publicAPI answers for the tokens' endpoint, and keeps what it was asked.
func publicAPI(t testing.TB, answer http.HandlerFunc) (address string, asked *[]*http.Request, caFile string) {
	t.Helper()
	asked = new([]*http.Request)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*asked = append(*asked, r)
		answer(w, r)
	}))
	t.Cleanup(server.Close)
	caFile = filepath.Join(t.TempDir(), "ca.crt")
	must(t, os.WriteFile(caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600))
	return server.URL, asked, caFile
}

func TestWhoami(t *testing.T) {
	t.Parallel()
	const answer = `{"id":"0123456789","tenant":"acme","scopes":["a","b"],"owner":"e\u001b[31m","allowedCIDRs":[]}`
	address, asked, caFile := publicAPI(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(answer)) })
	_, namespace := newTenant(t, v1alpha1.AnnotationOrigin, address)
	viewer := member(t, "vi@example.com", namespace, v1alpha1.TenantViewerClusterRole)
	plaintext := mint(t)

	r := latchkeyWithInput(t, plaintext+"\n", viewer, "whoami", "-n", namespace, "--ca-file", caFile).mustSucceed(t)
	for _, want := range []string{"id: 0123456789", "scopes: a, b", "owner: e\uFFFD[31m", "allowedCIDRs: none"} {
		if !strings.Contains(strings.Join(strings.Fields(r.stdout), " "), want) {
			t.Errorf("lacks %q:\n%s", want, r.stdout)
		}
	}
	r = latchkeyWithInput(t, plaintext, "/nonexistent", "whoami", "--url", address+"/api/v1/", "--ca-file", caFile, "-o", "json").mustSucceed(t)
	if strings.TrimSpace(r.stdout) != answer {
		t.Errorf("printed %q", r.stdout)
	}
	for _, request := range *asked {
		if request.Method != http.MethodGet || request.URL.Path != "/api/v1/token" || request.Header.Get("Authorization") != "token "+plaintext {
			t.Errorf("asked %s %s with %v", request.Method, request.URL, request.Header)
		}
	}
	if len(*asked) != 2 {
		t.Errorf("asked %d times", len(*asked))
	}
}

func TestWhoamiAnswers(t *testing.T) {
	t.Parallel()
	plaintext := mint(t)
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"problem": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"type":"https://latchkey.dev/errors#token-expired","title":"The API token has expired","detail":"Ask for a new one."}`))
		}, "answered 401: The API token has expired. Ask for a new one. (https://latchkey.dev/errors#token-expired)"},
		"stranger": {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "hello", http.StatusTeapot) }, "none of Latchkey's answers"},
		"redirect": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) }, "answered 302"},
	} {
		t.Run(name, func(t *testing.T) {
			address, asked, caFile := publicAPI(t, c.answer)
			r := latchkeyWithInput(t, plaintext, "", "whoami", "--url", address, "--ca-file", caFile).mustFail(t, c.want)
			if len(*asked) != 1 || strings.Contains(r.err.Error()+r.stderr+r.stdout, plaintext) {
				t.Errorf("asked %d times; %v", len(*asked), r.err)
			}
		})
	}
}

// The token goes nowhere where it could be read on the way, or where it is none.
func TestWhoamiSendsNothing(t *testing.T) {
	t.Parallel()
	_, namespace := newTenant(t, v1alpha1.AnnotationOrigin, "http://acme.example.com")
	viewer := member(t, "vi@example.com", namespace, v1alpha1.TenantViewerClusterRole)
	address, asked, caFile := publicAPI(t, func(http.ResponseWriter, *http.Request) {})
	for _, c := range []struct {
		input string
		args  []string
		want  string
	}{
		{mint(t), []string{"-n", namespace}, "over https only"},
		{mint(t), []string{"--url", "http://127.0.0.1.example.com/api/v1"}, "over https only"},
		{mint(t), []string{"--url", "https://user:pass@example.com"}, "must be an address"},
		{mint(t), []string{"--url", address}, "certificate"},
		{mint(t)[:40], []string{"--url", address, "--ca-file", caFile}, "nothing was sent"},
		{mint(t), []string{"--url", address, "--ca-file", caFile, "--prefix", "shop"}, "nothing was sent"},
		{mint(t), []string{"--url", address, "--ca-file", "/nonexistent"}, "--ca-file"},
		{"", []string{mint(t)}, "treat that token as leaked"},
	} {
		latchkeyWithInput(t, c.input, viewer, append([]string{"whoami"}, c.args...)...).mustFail(t, c.want)
	}
	if len(*asked) != 0 {
		t.Errorf("asked %d times", len(*asked))
	}
}
